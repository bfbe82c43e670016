"""What is reachable and permitted, asked by doing it once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from expmgr.errors import ExpmgrError, LocationError, StorageError
from expmgr.storage.location import check_location, run_artifacts_location
from expmgr.tracking.queries import asking, iter_experiments

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from mlflow import MlflowClient

    from expmgr.storage.blob_store import BlobStore

__all__ = ["Preflight"]

Status = Literal["ok", "no", "unknown", "note"]

_FORBIDDEN = frozenset({401, 403})
_BATCH_PARTS_ACCEPTED = frozenset({202, 404})


@dataclass
class Preflight:
    """Asks the tracking server, the registry and the container, one check a row.

    Attributes
    ----------
    client
        Returns the MLflow client; may raise where the server is down.
    blob_path
        Turns an artifact URI into a blob path of the container, or raises LocationError.
    prefix
        What the names of the manager's own experiments begin with.
    """

    client: Callable[[], MlflowClient]
    blob_store: BlobStore
    blob_path: Callable[[str], str]
    prefix: str
    rows: list[tuple[str, Status, str, str]] = field(default_factory=list)

    def run(self) -> pd.DataFrame:
        """Return the table; no failing check keeps the others from being made."""
        import pandas as pd

        self.rows.clear()
        self._tracking()
        self._storage()
        return pd.DataFrame(self.rows, columns=["check", "status", "detail", "advice"])

    def _add(self, check: str, status: Status, detail: str = "", advice: str = "") -> None:
        self.rows.append((check, status, detail, advice))

    def _tracking(self) -> None:
        try:
            client = self.client()
            experiments = list(iter_experiments(client))
        except ExpmgrError as error:
            advice = "Check tracking_uri, the network and that the server runs."
            self._add("tracking server", "no", str(error), advice)
            for check in ("model registry", "experiments"):
                self._add(check, "unknown", "the tracking server could not be asked")
            return
        self._add("tracking server", "ok", f"{len(experiments)} experiments")
        try:
            with asking("read the model registry"):
                client.search_registered_models(max_results=1)
        except ExpmgrError as error:
            advice = "Check registry_uri; until the registry answers, every model is protected."
            self._add("model registry", "no", str(error), advice)
        else:
            self._add("model registry", "ok")
        own = [e for e in experiments if e.name.startswith(self.prefix)]
        elsewhere = []
        reason = ""
        for experiment in own:
            try:
                self.blob_path(experiment.artifact_location)
            except LocationError as error:
                elsewhere.append(experiment.name)
                reason = str(error)
        if elsewhere:
            advice = (
                "Models of these experiments cannot be deleted with these credentials. For "
                "mlflow-artifacts: give artifacts_destination."
            )
            detail = f"{len(elsewhere)} of {len(own)} keep artifacts elsewhere: {reason}"
            self._add("experiments", "note", detail, advice)
        else:
            self._add("experiments", "ok", f"{len(own)} named '{self.prefix}...'")

    def _storage(self) -> None:
        store = self.blob_store.store
        owner = f"expmgr-check-{secrets.token_hex(8)}"
        location = run_artifacts_location(
            f"wasbs://{store.container}@{store.account}.blob.core.windows.net/{owner}/artifacts",
            owner,
            store,
        )
        check_location(location, store=store)
        name = f"{location.prefix}probe.txt"
        container = self.blob_store.container_client()
        if not self._try(
            "container list",
            lambda: self.blob_store.exists(location.prefix),
            "The credentials need the List permission on the container, and it must exist.",
        ):
            for check in ("container read", "container write", "container delete"):
                self._add(check, "unknown", "the container could not be listed")
        else:
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
            retention = self.blob_store.retention()
        except StorageError as error:
            for check in ("soft delete", "versioning", "hierarchical namespace"):
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
