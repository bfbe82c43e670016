"""What the account keeps of a deleted blob: soft delete, versions, hierarchy.

None of this has met the real service: Azurite has neither soft delete that keeps anything nor
versions. It follows the documented protocol, and tests hold the requests against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_count
from expmgr.retry import retrying
from expmgr.storage.answers import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.storage.blob import BlobServiceClient, ContainerClient

    from expmgr.retry import RetryParams

__all__ = ["Retention", "read_hierarchical", "read_retention"]

_SAMPLE = 100  # blobs looked at for a version id


@dataclass(frozen=True)
class Retention:
    """What an account keeps after a deletion.

    Attributes
    ----------
    soft_delete_days
        Days for which deleted blobs are kept and billed, 0 where soft delete is off, None where
        the credentials may not ask (a shared access signature of a container may not).
    versioning
        True where a deleted blob stays as a previous version; False where the newest of the blobs
        that were looked at was written without a version; None where nothing told.
    hierarchical
        True where the account has a hierarchical namespace; None where it could not be asked.
    """

    soft_delete_days: int | None = None
    versioning: bool | None = None
    hierarchical: bool | None = None

    @property
    def keeps(self) -> bool | None:
        """True where deleted bytes are still kept and billed; None where that is not known."""
        if self.soft_delete_days or self.versioning:
            return True
        if self.soft_delete_days is None or self.versioning is None:
            return None
        return False

    def __str__(self) -> str:
        if self.versioning:
            return "the account keeps deleted blobs as previous versions"
        if self.soft_delete_days:
            days = format_count(self.soft_delete_days, "day")
            return f"the account keeps deleted blobs for {days}"
        if self.keeps is None:
            return "whether the account keeps deleted blobs is not known"
        return "the account keeps nothing of deleted blobs"


def read_retention(
    service: BlobServiceClient, container: ContainerClient, params: RetryParams
) -> Retention:
    """Ask the account what it keeps: at most three small requests, each may be refused.

    Soft delete comes from Get Blob Service Properties, the hierarchical namespace from Get
    Account Information (``x-ms-is-hns-enabled``). Versioning is shown by no request of the data
    plane; but List Blobs with ``include=versions`` gives every blob that was written under
    versioning its ``VersionId``
    (https://learn.microsoft.com/azure/storage/blobs/versioning-overview).
    """
    hierarchical = read_hierarchical(service, params)
    versioning = False if hierarchical else _ask(lambda: _has_versions(container), params)
    return Retention(
        soft_delete_days=_ask(lambda: _soft_delete_days(service), params),
        versioning=versioning,
        hierarchical=hierarchical,
    )


def read_hierarchical(service: BlobServiceClient, params: RetryParams) -> bool | None:
    """Ask whether the account has a hierarchical namespace: one request; None where refused."""
    answer: bool | None = _ask(lambda: _is_hierarchical(service), params)
    return answer


def _ask(question: Callable[[], Any], params: RetryParams) -> Any:
    """Return the answer, None where it was refused or did not come: this is for reports only."""
    from azure.core.exceptions import AzureError

    def ask() -> Any:
        with readable("the answer about the account"):
            return question()

    try:
        return retrying(params)(ask)
    except AzureError:
        return None


def _soft_delete_days(service: BlobServiceClient) -> int:
    policy = service.get_service_properties()["delete_retention_policy"]
    return int(policy.days or 0) if policy.enabled else 0


def _is_hierarchical(service: BlobServiceClient) -> bool:
    return bool(service.get_account_information()["is_hns_enabled"])


def _has_versions(container: ContainerClient) -> bool | None:
    pages = container.list_blobs(include=["versions"], results_per_page=_SAMPLE).by_page()
    blobs = list(next(pages, iter(())))
    if not blobs:
        return None
    newest = max(blobs, key=lambda blob: blob.last_modified)
    return newest.version_id is not None
