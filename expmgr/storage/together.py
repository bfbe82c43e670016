"""Measuring many locations that lie side by side by one listing of what is around them.

A request costs a round trip and some milliseconds, a listed blob 0.05 ms and less, so one listing
of LoggedModels' common folder stands for many, unless it holds far more than they do.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from expmgr.storage.listing import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from expmgr.storage.listing import Listing, Page
    from expmgr.storage.location import Location

__all__ = ["is_crowded", "owner_path", "side_by_side", "tally_together"]

_LEAST = 8
"""Fewer are listed one by one."""
_STRANGERS = 100
"""Blobs of others that may be listed for each location: they cost what its own request would."""


def side_by_side(locations: Iterable[Location]) -> dict[str, tuple[Location, ...]]:
    """Return groups of locations that a listing of one folder shows, by its prefix. Pure.

    Locations within each other are in no group: a blob would be two's.
    """
    groups: dict[str, dict[str, Location]] = defaultdict(dict)
    for location in locations:
        owner, _, artifacts = location.path.rpartition("/")
        folder, _, _ = owner.rpartition("/")
        if artifacts == "artifacts" and folder:
            groups[f"{folder}/"][location.path] = location
    return {
        folder: tuple(group.values()) for folder, group in groups.items() if len(group) >= _LEAST
    }


def owner_path(folder: str, name: str) -> str:
    """Return the path of the location, ``<folder><owner>/artifacts``, that a blob would be of.

    Of a blob that is in no such folder "". Pure.
    """
    owner, _, rest = name[len(folder) :].partition("/")
    artifacts, slash, _ = rest.partition("/")
    return f"{folder}{owner}/{artifacts}" if slash else ""


def is_crowded(strangers: int, locations: int) -> bool:
    """Whether a folder holds far more than some locations, so that each is better asked for."""
    return strangers > _STRANGERS * locations


def tally_together(
    pages: Iterator[Page], prefix: str, locations: Sequence[Location]
) -> Mapping[Location, Listing]:
    """Return what a listing of the folder around some locations shows of each.

    A location without a blob is left out, to be asked for by itself: what is empty must be so
    twice. Nothing is returned where the folder holds far more than they do.

    Parameters
    ----------
    pages
        Of the listing of ``prefix``.
    locations
        Each ``<prefix><owner>/artifacts``.
    """
    by_path = {location.path: location for location in locations}
    found: dict[str, Tally] = {}
    strangers = 0
    at = None
    for page in pages:
        at = page.date if at is None else at
        for blob in page.blobs:
            path = owner_path(prefix, blob.name)
            if path in by_path:
                found.setdefault(path, Tally(at)).add(blob)
            else:
                strangers += 1
        if page.token is not None and is_crowded(strangers, len(locations)):
            return {}
    return {by_path[path]: tally.listing() for path, tally in found.items()}
