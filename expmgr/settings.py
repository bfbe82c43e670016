"""What a manager is made from, as the environment says it. Pure, but for the login it finds.

Used by notebooks, `expmgr app` and the command line alike, so that one set of variables fits all;
the names that MLflow reads itself are MLflow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.errors import CredentialsError, InvalidInputError
from expmgr.secrecy import forgets_arguments
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from expmgr.prices import StoragePrices

__all__ = ["NEEDED", "VARIABLES", "manager_arguments"]

VARIABLES: Mapping[str, str] = {
    "tracking_uri": "MLFLOW_TRACKING_URI",
    "azure_blob_credentials": "EXPMGR_CONTAINER",
    "plugin_name": "EXPMGR_PLUGIN",
    "main_metric": "EXPMGR_MAIN_METRIC",
    "is_loss": "EXPMGR_IS_LOSS",
    "registry_uri": "MLFLOW_REGISTRY_URI",
    "artifacts_destination": "EXPMGR_ARTIFACTS_DESTINATION",
    "storage_prices": "EXPMGR_PRICES",
}
"""Arguments of the manager and the variables that say them; the container's is beside a login."""

NEEDED: Mapping[str, str] = {
    "MLFLOW_TRACKING_URI": "the tracking server, such as http://127.0.0.1:5000",
    "EXPMGR_CONTAINER": "the container of the models, such as models",
    "EXPMGR_PLUGIN": 'whose experiments: their names begin with it and " / ", such as churn',
    "EXPMGR_MAIN_METRIC": "the metric whose best model stays, such as accuracy",
}
"""What has no default. The metric has none either: by a wrong one the best model would go."""

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})
_ANY_CONTAINER = "container"
_TIERS = frozenset({"hot", "cool", "cold", "archive"})
_PRICES = "hot=0.018,cool=0.01,currency=USD"


@forgets_arguments
def manager_arguments(environ: Mapping[str, str], given: Container[str] = ()) -> dict[str, Any]:
    """Return the arguments of a manager that the environment says.

    Parameters
    ----------
    environ
        The variables.
    given
        Arguments that the caller has already, of which nothing is read.

    Raises
    ------
    InvalidInputError
        Something is missing or cannot be read; all of it is named at once. It is a
        CredentialsError where nothing but the login to storage is wrong.
    """
    read = {
        name: environ.get(variable, "").strip()
        for name, variable in VARIABLES.items()
        if name not in given
    }
    missing = [VARIABLES[name] for name in read if VARIABLES[name] in NEEDED and not read[name]]
    loss = read.get("is_loss", "").lower()
    wrong = (
        [] if loss in _YES | _NO else [f"EXPMGR_IS_LOSS is {plain(loss, 40)!r}: say true or false"]
    )
    prices = None
    try:
        prices = _prices(read.pop("storage_prices", ""))
    except InvalidInputError as error:
        wrong.append(f"EXPMGR_PRICES: {error.message} Such as {_PRICES}")
    login, credentials = "", None
    if "azure_blob_credentials" in read:
        from expmgr.credentials import AzureBlobCredentials

        try:
            credentials = AzureBlobCredentials.from_env(
                read["azure_blob_credentials"] or _ANY_CONTAINER, environ=environ
            )
        except CredentialsError as error:
            login = error.message
    if missing or wrong or login:
        raise _refusal(missing, wrong, login)
    found: dict[str, Any] = {name: value for name, value in read.items() if value}
    if credentials is not None:
        found["azure_blob_credentials"] = credentials
    if prices is not None:
        found["storage_prices"] = prices
    if "is_loss" in read:
        found["is_loss"] = loss in _YES
    return found


def _prices(text: str) -> StoragePrices | None:
    """Return what a text such as ``hot=0.018,cool=0.01,currency=USD`` says.

    Raises
    ------
    InvalidInputError
        It says something else.
    """
    from expmgr.prices import StoragePrices

    if not text:
        return None
    given: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (one.strip() for one in part.partition("="))
        if not equals or name not in _TIERS | {"currency"} or name in given:
            message = f"{plain(part.strip(), 40)!r} is no price: name hot, cool, cold, archive."
            raise InvalidInputError(message)
        try:
            given[name] = float(value) if name in _TIERS else value
        except ValueError:
            raise InvalidInputError(f"{plain(value, 40)!r} is no number.") from None
    if "hot" not in given:
        raise InvalidInputError("the price of hot is missing.")
    return StoragePrices(**given)


def _refusal(missing: list[str], wrong: list[str], login: str) -> InvalidInputError:
    if not missing and not wrong:
        return CredentialsError(login)
    said = [f"set {name} ({NEEDED[name]})" for name in missing] + wrong + [login] * bool(login)
    return InvalidInputError(
        f"the environment does not say all that a manager needs: {'; '.join(said)}."
    )
