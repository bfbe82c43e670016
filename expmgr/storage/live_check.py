"""What a real account answers to each way in which expmgr deletes, beside what expmgr assumes.

No emulator can tell: Azurite answers some of these otherwise than the documentation says. Blobs of
our own are made below one prefix of our own, and whatever happens that prefix is emptied at last.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from expmgr.errors import ExpmgrError
from expmgr.storage.azure_errors import describe, error_code, status_of
from expmgr.storage.self_check import probe_location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.storage.blob import ContainerClient

    from expmgr.storage.blob_store import BlobStore
    from expmgr.storage.self_check import Row

__all__ = ["check_live"]

_BATCH = "a batch"
_OTHER_TAG = '"0x0"'


def check_live(blob_store: BlobStore) -> list[Row]:
    """Try every kind of deletion on blobs of our own; a row a trial, whatever the others say.

    Returns
    -------
    list of rows
        ``ok`` where the account answers as expmgr assumes, ``note`` where it does not (a deletion
        is right all the same: a listing proves its end), ``unknown`` where it could not be tried.
    """
    location = probe_location(blob_store.addresses)
    trials = _Trials(blob_store.container_client(), location.prefix)
    try:
        rows = [_row(*trial) for trial in trials.all()]
        rows.append(_undelete(blob_store, trials))
    finally:
        left = trials.clean()
    rows.append(_left(location.prefix, left))
    return rows


@dataclass(frozen=True)
class _Trials:
    container: ContainerClient
    prefix: str

    def all(self) -> Iterator[tuple[str, tuple[str, ...], Callable[[], str]]]:
        """Yield what is tried, the answers that expmgr assumes, and the trial."""
        gone = ("404 BlobNotFound",)
        unmet = ("412 ConditionNotMet",)
        yield "delete a blob", ("202",), lambda: self._single(self.made())
        yield "delete a missing blob", gone, lambda: self._single(self._name())
        yield (
            "delete a blob, If-Match its tag",
            ("202",),
            lambda: self._single(*self._with_tag()),
        )
        yield (
            "delete a blob, If-Match another tag",
            unmet,
            lambda: self._single(self.made(), _OTHER_TAG),
        )
        yield (
            "delete a missing blob, If-Match",
            (*gone, *unmet),
            lambda: self._single(self._name(), _OTHER_TAG),
        )
        yield "delete a blob, If-Unmodified-Since", ("202",), lambda: self._since(timedelta(0))
        yield (
            "delete a blob changed after If-Unmodified-Since",
            unmet,
            lambda: self._since(timedelta(days=-1)),
        )
        yield f"{_BATCH}: a blob", ("202",), lambda: self._batch(self.made())
        yield f"{_BATCH}: a missing blob", ("404",), lambda: self._batch(self._name())
        yield (
            f"{_BATCH}: a blob, If-Match its tag",
            ("202",),
            lambda: self._batch(*self._with_tag()),
        )
        yield (
            f"{_BATCH}: a blob, If-Match another tag",
            ("412",),
            lambda: self._batch(self.made(), _OTHER_TAG),
        )
        yield (
            f"{_BATCH}: a missing blob, If-Match",
            ("404", "412"),
            lambda: self._batch(self._name(), _OTHER_TAG),
        )
        yield (
            "delete a blob with a snapshot, the blob alone",
            ("409 SnapshotsPresent",),
            lambda: self._single(self._with_snapshot(), snapshots=None),
        )
        yield (
            "delete a blob with its snapshot",
            ("202",),
            lambda: self._single(self._with_snapshot()),
        )
        yield (
            "delete a directory's stub",
            ("202",),
            lambda: self._single(self.made(hdi_isfolder="true"), snapshots=None),
        )
        yield "delete a blob of the Cool tier", ("202",), lambda: self._single(self._cooled())

    def _name(self) -> str:
        return f"{self.prefix}{secrets.token_hex(6)}"

    def made(self, **metadata: str) -> str:
        """Make a blob; returns its name."""
        name = self._name()
        self.container.upload_blob(name, b"expmgr check", metadata=metadata or None)
        return name

    def _with_tag(self) -> tuple[str, str]:
        name = self.made()
        return name, str(self.container.get_blob_client(name).get_blob_properties().etag)

    def _with_snapshot(self) -> str:
        name = self.made()
        self.container.get_blob_client(name).create_snapshot()
        return name

    def _cooled(self) -> str:
        name = self.made()
        self.container.get_blob_client(name).set_standard_blob_tier("Cool")
        return name

    def _single(
        self, name: str, etag: str = "", *, snapshots: str | None = "include", **options: Any
    ) -> str:
        from azure.core import MatchConditions

        if etag:
            options |= {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        self.container.delete_blob(name, delete_snapshots=snapshots, **options)
        return "202"

    def _since(self, change: timedelta) -> str:
        name = self.made()
        modified = self.container.get_blob_client(name).get_blob_properties().last_modified
        return self._single(name, if_unmodified_since=modified + change)

    def _batch(self, name: str, etag: str = "") -> str:
        target: Any = {"name": name, "etag": etag} if etag else name
        other = self.made()
        parts = list(
            self.container.delete_blobs(
                target, other, delete_snapshots="include", raise_on_any_failure=False
            )
        )
        if len(parts) != 2:  # noqa: PLR2004 - two blobs were named
            return f"{len(parts)} parts for 2 blobs, the first {parts[0].status_code}"
        return str(parts[0].status_code)

    def clean(self) -> list[str]:
        """Delete whatever is left below the prefix; returns what stayed."""
        from azure.core.exceptions import AzureError

        stayed = []
        for name in self._names():
            try:
                self.container.delete_blob(name, delete_snapshots="include")
            except AzureError:
                stayed.append(name)
        return stayed

    def _names(self) -> list[str]:
        from azure.core.exceptions import AzureError

        try:
            return list(self.container.list_blob_names(name_starts_with=self.prefix))
        except AzureError:
            return [self.prefix]


def _row(what: str, assumed: tuple[str, ...], trial: Callable[[], str]) -> Row:
    from azure.core.exceptions import AzureError

    check = f"live: {what}"
    try:
        answer = trial()
    except (AzureError, ExpmgrError) as error:
        status = status_of(error)
        if status is None:
            return check, "unknown", f"no answer ({describe(error)})", ""
        answer = f"{status} {error_code(error) or ''}".strip()
    said = f"answers {answer}; expmgr assumes {' or '.join(assumed)}"
    if answer in assumed:
        return check, "ok", said, ""
    advice = "Deletions end right all the same, as a listing proves their end; please report it."
    return check, "note", said, advice


def _undelete(blob_store: BlobStore, trials: _Trials) -> Row:
    from azure.core.exceptions import AzureError

    check = "live: undelete a deleted blob"
    try:
        days = blob_store.retention().soft_delete_days
        if not days:
            state = "these credentials may not ask" if days is None else "soft delete is off"
            return check, "unknown", f"not tried: {state}", ""
        blob = trials.container.get_blob_client(trials.made())
        blob.delete_blob()
        blob.undelete_blob()
        there = bool(blob.exists())
    except (AzureError, ExpmgrError) as error:
        return check, "note", describe(error), "restore_model() may not work on this account."
    if there:
        return check, "ok", "the blob is back", ""
    advice = "restore_model() may not work on this account."
    return check, "note", "answered, and the blob is not back", advice


def _left(prefix: str, left: list[str]) -> Row:
    if left:
        advice = "Delete what is below that prefix by hand."
        return "live: cleaned up", "no", f"{len(left)} left below {prefix}", advice
    return "live: cleaned up", "ok", f"nothing is left below {prefix}", ""
