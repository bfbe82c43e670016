"""What storage costs: prices that the user gives, and the bill that follows from them. Pure.

Azure bills capacity by the GB and month of the tier, and what leaves a cooler tier before its time
pays for the days that are left, a month of 30 days being the unit of its own examples:
https://learn.microsoft.com/azure/storage/blobs/access-tiers-overview
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "MINIMUM_DAYS",
    "NO_USE",
    "Bill",
    "StoragePrices",
    "TierUse",
    "format_money",
    "merged",
]

MINIMUM_DAYS: Mapping[str, int] = {"Cool": 30, "Cold": 90, "Archive": 180}
"""Days for which a tier is paid at least, by the names that listings use."""
_DAYS_A_MONTH = 30
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class TierUse:
    """What lies in one tier.

    Attributes
    ----------
    bytes
        Its size.
    owed
        Bytes times days that would still be paid for if it went now.
    """

    bytes: int = 0
    owed: float = 0.0

    def plus(self, other: TierUse) -> TierUse:
        """Return the sum."""
        return TierUse(self.bytes + other.bytes, self.owed + other.owed)

    @classmethod
    def of(cls, size: int, tier: str, age: float) -> TierUse:
        """Return the use of one blob.

        Parameters
        ----------
        size
            Bytes.
        age
            Seconds since it came into its tier.
        """
        least = MINIMUM_DAYS.get(tier, 0)
        days = max(0.0, least - max(0.0, age) / _SECONDS_A_DAY) if least else 0.0
        return cls(size, size * days)


NO_USE: Mapping[str, TierUse] = {}


@dataclass(frozen=True)
class Bill:
    """What something costs, and what it costs to be rid of it.

    Attributes
    ----------
    monthly
        A month, in the currency of the prices; NaN where a tier has no price.
    early
        The fee for deleting it now; 0 where nothing lies in a cooler tier.
    currency
        As the prices name it.
    """

    monthly: float = 0.0
    early: float = 0.0
    currency: str = "USD"

    def plus(self, other: Bill) -> Bill:
        """Return the sum; both must be in the same currency."""
        return Bill(self.monthly + other.monthly, self.early + other.early, self.currency)

    @property
    def words(self) -> str:
        """``12.30 USD a month``, and what an early deletion costs."""
        said = f"{format_money(self.monthly, self.currency)} a month"
        if self.early:
            said += f"; deleting it early costs {format_money(self.early, self.currency)} once"
        return said


@dataclass(frozen=True)
class StoragePrices:
    """Prices of an account, per GB and month. See your own price sheet, or Azure's page.

    Parameters
    ----------
    hot, cool, cold, archive
        A month's price of one GB in that tier; None for a tier that is not used: what lies in it
        then has no known cost.
    currency
        What the prices are in; a word for people.
    bytes_per_gb
        What a GB is, as your bill counts it: ``10**9`` or ``2**30``.

    Raises
    ------
    InvalidInputError
        A price that is negative or no number.

    Examples
    --------
    >>> prices = StoragePrices(hot=0.018, cool=0.01)
    >>> prices.bill({"Hot": TierUse(50 * 10**9)}).words
    '0.90 USD a month'
    """

    hot: float
    cool: float | None = None
    cold: float | None = None
    archive: float | None = None
    currency: str = "USD"
    bytes_per_gb: int = 10**9

    def __post_init__(self) -> None:
        """Check them, so that a slip does not pass for a saving."""
        for field in fields(self)[:4]:
            price = getattr(self, field.name)
            if price is None and field.name != "hot":
                continue
            number = isinstance(price, (int, float)) and not isinstance(price, bool)
            if not number or not math.isfinite(price) or price < 0:
                message = f"{field.name} must be a price per GB and month, not {price!r}."
                raise InvalidInputError(message)
        if not self.currency.strip():
            raise InvalidInputError("currency must be a word such as 'USD'.")
        if self.bytes_per_gb not in (10**9, 2**30):
            raise InvalidInputError("bytes_per_gb must be 10**9 or 2**30.")

    def of(self, tier: str) -> float:
        """Return the price of a tier, by the name that listings use; NaN where none is known.

        Blobs without a tier (page blobs, premium accounts) and of tiers that did not exist when
        this was written are priced as hot.
        """
        named = {"Cool": self.cool, "Cold": self.cold, "Archive": self.archive}
        price = named.get(tier, self.hot)
        return math.nan if price is None else float(price)

    def bill(self, use: Mapping[str, TierUse]) -> Bill:
        """Return what some use costs, by tier."""
        monthly = early = 0.0
        for tier, one in use.items():
            each = self.of(tier) / self.bytes_per_gb
            monthly += one.bytes * each
            if one.owed:
                early += one.owed * each / _DAYS_A_MONTH
        return Bill(monthly, early, self.currency)


def merged(uses: Iterable[Mapping[str, TierUse]]) -> dict[str, TierUse]:
    """Return the sum of some uses, by tier."""
    total: dict[str, TierUse] = {}
    for use in uses:
        for tier, one in use.items():
            total[tier] = total.get(tier, TierUse()).plus(one)
    return total


def format_money(amount: float, currency: str) -> str:
    """Return an amount of money; small ones keep two digits that count.

    Examples
    --------
    >>> format_money(1234.5, "EUR"), format_money(0.00123, "USD"), format_money(0, "USD")
    ('1,234.50 EUR', '0.0012 USD', '0.00 USD')
    """
    if math.isnan(amount):
        return f"? {currency} (a tier has no price)"
    if 0 < abs(amount) < 0.01:  # noqa: PLR2004 - a cent
        return f"{amount:.2g} {currency}"
    return f"{amount:,.2f} {currency}"
