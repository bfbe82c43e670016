"""What a container and its account permit, asked by doing it once."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal

from expmgr.errors import ExpmgrError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.storage.addresses import Addresses
    from expmgr.storage.blob_store import BlobStore
    from expmgr.storage.location import Location

__all__ = ["Row", "Status", "check_container", "probe_location"]

Status = Literal["ok", "no", "unknown", "note"]
Row = tuple[str, Status, str, str]
"""A check, how it ended, details, and what to do about it."""

_FORBIDDEN = frozenset({401, 403})
_BATCH_PARTS_ACCEPTED = frozenset({202, 404})
_OF_THE_CONTAINER = ("container read", "container write", "container delete")
_OF_THE_ACCOUNT = ("soft delete", "versioning", "hierarchical namespace")


def check_container(blob_store: BlobStore) -> list[Row]:
    """Write one small blob of our own, read it and delete it again; one check a row.

    No failing check keeps the others from being made.
    """
    checks = _Checks(blob_store)
    checks.storage()
    return checks.rows


def probe_location(addresses: Addresses) -> Location:
    """Return a new place of our own, for blobs that are made to be deleted."""
    owner = f"expmgr-check-{secrets.token_hex(8)}"
    return addresses.run_artifacts(addresses.uri_of(f"{owner}/artifacts"), owner)


class _Checks:
    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.rows: list[Row] = []

    def _add(self, check: str, status: Status, detail: str = "", advice: str = "") -> None:
        self.rows.append((check, status, detail, advice))

    def storage(self) -> None:
        from azure.core.exceptions import AzureError

        location = probe_location(self.store.addresses)
        try:
            self.store.exists(location.prefix)
        except (AzureError, ExpmgrError) as error:
            self._not_listed(error)
            return
        self._add("container list", "ok")
        name = f"{location.prefix}probe.txt"
        container = self.store.container_client()
        written = self._try(
            "container write",
            lambda: container.upload_blob(name, b"expmgr check", overwrite=False),
            "Deleting does not need it; saving models does (Write or Create permission).",
        )
        if written:
            self._try(
                "container read",
                lambda: container.download_blob(name).readall(),
                "Deleting does not need it; downloading models does (Read permission).",
            )
        else:
            self._add("container read", "unknown", "there was no blob of ours to read")
        self._delete(container, name)
        self._account()

    def _not_listed(self, error: BaseException) -> None:
        """Say what follows for the rest; an account that is silent is not asked again."""
        if _is_silence(error):
            advice = "Check the account's name, account_url and the network."
            self._add("container list", "no", _shown(error), advice)
            for check in (*_OF_THE_CONTAINER, *_OF_THE_ACCOUNT):
                self._add(check, "unknown", "the account did not answer")
            return
        advice = "The credentials need the List permission on the container, and it must exist."
        self._add("container list", "no", _shown(error), advice)
        for check in _OF_THE_CONTAINER:
            self._add(check, "unknown", "the container could not be listed")
        self._account()

    def _delete(self, container: Any, name: str) -> None:
        """Delete the probe in a batch of one; a blob that is not there tells as much."""
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        advice = "The credentials need the Delete permission on the container."
        try:
            parts = list(container.delete_blobs(name, raise_on_any_failure=False))
            status = parts[0].status_code if len(parts) == 1 else 400
        except AzureError as error:
            status, detail = getattr(error, "status_code", None) or 400, _shown(error)
        else:
            detail = f"a batch was answered with status {status}"
        if status in _BATCH_PARTS_ACCEPTED:
            self._add("container delete", "ok")
            self._add("batch delete", "ok", "256 blobs a request")
            return
        try:
            container.delete_blob(name)
        except ResourceNotFoundError:
            pass
        except AzureError as error:
            self._add("container delete", "no", _shown(error), advice)
            refused = status in _FORBIDDEN
            self._add("batch delete", "unknown" if refused else "no", detail)
            return
        self._add("container delete", "ok")
        note = "Slower, not worse: blobs are deleted one by one."
        self._add("batch delete", "no", detail, note)

    def _account(self) -> None:
        try:
            retention = self.store.retention()
        except StorageError as error:
            for check in _OF_THE_ACCOUNT:
                self._add(check, "unknown", str(error))
            return
        days = retention.soft_delete_days
        may_not = "these credentials may not ask"
        if days is None:
            self._add("soft delete", "unknown", may_not)
        elif days:
            detail = f"on, {days} days"
            advice = "Deleted models are billed until then, and restore_model() can undo."
            self._add("soft delete", "note", detail, advice)
        else:
            self._add("soft delete", "ok", "off: deleted is freed, and cannot be undone")
        if retention.versioning is None:
            self._add("versioning", "unknown", may_not)
        elif retention.versioning:
            advice = "Deleted blobs stay as previous versions; only a lifecycle rule frees them."
            self._add("versioning", "note", "on", advice)
        else:
            self._add("versioning", "ok", "off")
        hierarchical = retention.hierarchical
        if hierarchical is None:
            self._add("hierarchical namespace", "unknown", may_not)
        else:
            self._add("hierarchical namespace", "ok", "on" if hierarchical else "off")

    def _try(self, check: str, action: Callable[[], object], advice: str) -> bool:
        from azure.core.exceptions import AzureError

        try:
            action()
        except (AzureError, ExpmgrError) as error:
            self._add(check, "no", _shown(error), advice)
            return False
        self._add(check, "ok")
        return True


def _shown(error: BaseException) -> str:
    """Return the first line of an error; Azure's go on with request ids and headers."""
    return str(error).split("\n", 1)[0]


def _is_silence(error: BaseException | None) -> bool:
    """Tell whether nothing was answered: a name that does not resolve, a port that is closed."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    while error is not None:
        if isinstance(error, (ServiceRequestError, ServiceResponseError)):
            return True
        error = error.__cause__
    return False
