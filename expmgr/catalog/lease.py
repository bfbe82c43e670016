"""A run's last sign of life, by which a dead run is told from one at work. Pure.

A run that expmgr began carries the tag ``expmgr.lease``: when its process last said that it lives,
in UTC, as ``2026-11-29T16:19:17.123Z``. It is renewed every few minutes
(`expmgr.training.lease`); one that was not for a day is called interrupted. A run without a
readable lease, or with one from before it began (tools copy all tags of a run to another one), is
as active as MLflow says, for ever.

The time is the training machine's, and is held against the clock of whoever asks. Both are assumed
to be right to the minute or so, which a day makes harmless; nothing is deleted on their word alone
(`expmgr.training.killing`).
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from expmgr.formatting import format_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LEASE_LASTS",
    "LEASE_TAG",
    "active_words",
    "interrupted_since",
    "lease_of",
    "lease_text",
]

LEASE_TAG = "expmgr.lease"
"""On a run: when its process last said that it lives."""

LEASE_LASTS = 24 * 3_600_000
"""Milliseconds without a sign of life after which a RUNNING run is called interrupted."""

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
_READABLE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def lease_text(at: int) -> str:
    """Return the tag's value for a time in milliseconds since 1970."""
    return f"{_moment(at):%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def lease_of(tags: Mapping[str, str], began: int) -> int | None:
    """Return a run's last sign of life in milliseconds since 1970, None without a lease.

    Parameters
    ----------
    began
        When the run began, in milliseconds since 1970, by the clock that wrote the lease.
    """
    text = tags.get(LEASE_TAG) or ""
    if not _READABLE.fullmatch(text):
        return None
    try:
        moment = datetime.strptime(text, _FORM).replace(tzinfo=timezone.utc)
    except ValueError:  # the 30th of February
        return None
    at = round(moment.timestamp() * 1000)
    return at if at >= began else None


def interrupted_since(status: str, tags: Mapping[str, str], began: int, at: int) -> int | None:
    """Return a run's last sign of life where it is interrupted, else None.

    The one place that tells: table, plan, page and `mark_killed` ask here.

    Parameters
    ----------
    status
        MLflow's.
    began
        See `lease_of`.
    at
        Now, in milliseconds since 1970.
    """
    lease = lease_of(tags, began) if status == "RUNNING" else None
    return lease if lease is not None and at - lease > LEASE_LASTS else None


def active_words(run_id: str, status: str, tags: Mapping[str, str], began: int, at: int) -> str:
    """Return why a run that has not ended keeps its models, in words; see `interrupted_since`."""
    since = interrupted_since(status, tags, began, at)
    if since is None:
        return f"the run is {status}"
    return (
        f"interrupted: no sign of life since {format_moment(since)}; "
        f'mark_killed("{run_id}") ends it'
    )


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, timezone.utc)
