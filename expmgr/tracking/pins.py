"""Pins: the tag ``expmgr.keep`` on a run or a model, with the reason as its value."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from expmgr.catalog.model import KEEP_TAG, is_model_id, is_pin
from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.tracking.queries import asking, logged_model, run_or_none

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["pin", "unpin"]

_LONGEST = 5_000
"""Characters; MLflow cuts a tag's value silently at 8,000."""


def pin(client: MlflowClient, owner_id: str, reason: str) -> None:
    """Pin a run or a model.

    Raises
    ------
    InvalidInputError
        The reason is no words, too long, or reads as the opposite.
    NotFoundError, TrackingError
        There is no such run or model, or it takes no tags (it is in the trash).
    """
    if not isinstance(reason, str) or not reason.strip() or not is_pin(reason):
        message = f"a pin needs a reason in words, such as 'for the audit', not {reason!r}."
        raise InvalidInputError(message)
    if len(reason) > _LONGEST:
        message = f"the reason has {len(reason):,} characters; at most {_LONGEST:,}."
        raise InvalidInputError(message)
    _tags(client, owner_id)
    with asking(f"pin {owner_id}"):
        if is_model_id(owner_id):
            client.set_logged_model_tags(owner_id, {KEEP_TAG: reason.strip()})
        else:
            client.set_tag(owner_id, KEEP_TAG, reason.strip())


def unpin(client: MlflowClient, owner_id: str) -> bool:
    """Take a pin back; returns whether there was one.

    Raises
    ------
    NotFoundError, TrackingError
        As `pin`.
    """
    if KEEP_TAG not in _tags(client, owner_id):
        return False
    # A retry whose first answer was lost finds no tag any more, which is what was wanted.
    with suppress(NotFoundError), asking(f"unpin {owner_id}"):
        if is_model_id(owner_id):
            client.delete_logged_model_tag(owner_id, KEEP_TAG)
        else:
            client.delete_tag(owner_id, KEEP_TAG)
    return True


def _tags(client: MlflowClient, owner_id: str) -> dict[str, str]:
    if is_model_id(owner_id):
        model = logged_model(client, owner_id)
        found = None if model is None else dict(model.tags)
    else:
        run = run_or_none(client, owner_id)
        found = None if run is None else run.data.tags
    if found is None:
        message = f"the tracking server has no run or model {owner_id!r}; check the id."
        raise NotFoundError(message, run_id=owner_id)
    return found
