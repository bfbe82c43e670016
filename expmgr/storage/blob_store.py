"""A container of Azure Blob Storage as `expmgr.storage.protocol.Storage`: the one door to Azure."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from expmgr.errors import StorageError
from expmgr.retry import RetryConfig, is_retryable_error, is_transient_error, retrying
from expmgr.secrecy import bare
from expmgr.storage.addresses import Addresses
from expmgr.storage.answers import readable
from expmgr.storage.azure_errors import because
from expmgr.storage.batch import BatchSupport
from expmgr.storage.deletion import Bounds, Deletion
from expmgr.storage.deletion_attempts import carried_out
from expmgr.storage.deletion_together import SharedPass, delete_together
from expmgr.storage.journal_blobs import delete_journal_blob, write_journal_blob
from expmgr.storage.listing import PAGE_SIZE, Blob, Listing, Page, Tally, read_page
from expmgr.storage.listing_check import Advance
from expmgr.storage.location import check_names
from expmgr.storage.protocol import DeletionOrder, StorageDeletion
from expmgr.storage.ranged_blob import RangedBlob
from expmgr.storage.restoration import StorageRestoration, recover_all
from expmgr.storage.retention import Retention, read_hierarchical, read_retention
from expmgr.storage.store import Store
from expmgr.storage.together import side_by_side, tally_together
from expmgr.storage.transfer import (
    BLOCK_SIZE,
    IN_ONE_REQUEST,
    WORKERS,
    AzureFolder,
    RemoteFolder,
)

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from azure.storage.blob import BlobServiceClient, ContainerClient

    from expmgr.credentials import AzureBlobCredentials
    from expmgr.results import DeletionProgress
    from expmgr.retry import RetryParams
    from expmgr.storage.location import Location

__all__ = ["Blob", "BlobStore", "Listing", "Retention", "StorageDeletion", "StorageRestoration"]

_CONNECTIONS = 4 * WORKERS


class BlobStore:
    """One container, seen through the credentials. Safe to use from several threads.

    Parameters
    ----------
    credentials
        Whose account and container.
    retry
        Retry parameters for each kind of operation.
    workers
        Delete requests under way at once, over all deletions of this store.
    artifacts_destination
        Where a tracking server that proxies artifacts keeps them, see `Addresses`.
    is_retryable
        Which errors of the service are worth another attempt, in place of
        :func:`expmgr.retry.is_retryable_error`; transport errors, 408 and 429 always are.

    Notes
    -----
    No request is made before the first method is called.
    """

    def __init__(
        self,
        credentials: AzureBlobCredentials,
        retry: RetryConfig | None = None,
        *,
        workers: int = 8,
        artifacts_destination: str | None = None,
        is_retryable: Callable[[BaseException], bool] | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.store = Store.of(credentials)
        self.addresses = Addresses(self.store, artifacts_destination)
        self.retry = retry or RetryConfig()
        self.workers = workers
        self.credentials = credentials
        self._is_retryable = is_retryable
        self._support = BatchSupport()
        self._lock = threading.Lock()
        self._service: BlobServiceClient | None = None
        self._pool: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"BlobStore({self.store} at {self.store.endpoint})"

    # --------------------------------------------------------------------------------- reading

    def list(self, prefix: str, *, cancel: threading.Event | None = None) -> Iterator[Blob]:
        """Yield the blobs whose names begin with a prefix, in the order of their names.

        Parameters
        ----------
        prefix
            Ends with a slash, so that ``run1/`` is not also ``run10/``; "" is the whole container.
        cancel
            Ends the listing before the next page when set.

        Raises
        ------
        StorageError
            Where a page could not be had, after the retries that ``retry.list_blobs`` allows, or
            the listing was cancelled.
        """
        for page in self._pages(prefix, cancel=cancel):
            yield from page.blobs

    def exists(self, prefix: str) -> bool:
        """Return True where a blob is under the prefix: one small request."""
        return any(page.blobs for page in self._pages(prefix, size=1))

    def folders(self, prefix: str) -> frozenset[str]:
        """Return the names of the folders right below a prefix: one request for 5,000 of them.

        Parameters
        ----------
        prefix
            Ends with a slash; "" is the top of the container.

        Raises
        ------
        StorageError
            Where they could not be listed, after the retries that ``retry.list_blobs`` allows.
        """
        return frozenset(
            folder[len(prefix) :].rstrip("/")
            for page in self._pages(prefix, delimiter="/")
            for folder in page.folders
        )

    def read_text(self, name: str, *, limit: int = 1_000_000) -> str:
        """Return the beginning of a small text blob, up to ``limit`` bytes: one request.

        Raises
        ------
        StorageError
            It is not there or could not be read, after the retries that ``retry.download`` allows.
        """
        from azure.core.exceptions import AzureError

        client = self.container_client().get_blob_client(name)

        def read() -> bytes:
            with readable(f"the answer about {name!r}"):
                return client.download_blob(offset=0, length=limit, max_concurrency=1).readall()

        try:
            content = retrying(self.retry.download, is_retryable=self._is_transient)(read)
        except AzureError as error:
            raise StorageError(
                f"reading {name!r} in {self.store} failed: {because(error)}"
            ) from bare(error)
        return content.decode("utf-8", errors="replace")

    def measure(self, location: Location, *, cancel: threading.Event | None = None) -> Listing:
        """Return how much is in a location, and exactly which versions of which blobs."""
        tally: Tally | None = None
        for page in self._pages(location.prefix, cancel=cancel):
            tally = Tally(page.date) if tally is None else tally
            for blob in page.blobs:
                tally.add(blob)
        return (Tally(datetime.now(timezone.utc)) if tally is None else tally).listing()

    def measure_together(
        self, locations: Sequence[Location], *, cancel: threading.Event | None = None
    ) -> Mapping[Location, Listing]:
        """Return what is in those of many locations that a few listings show."""
        found: dict[Location, Listing] = {}
        for prefix, group in side_by_side(locations).items():
            found.update(tally_together(self._pages(prefix, cancel=cancel), prefix, group))
        return found

    def _pages(
        self,
        prefix: str,
        *,
        size: int = PAGE_SIZE,
        cancel: threading.Event | None = None,
        delimiter: str = "",
    ) -> Iterator[Page]:
        from azure.core.exceptions import AzureError

        if prefix and not prefix.endswith("/"):
            raise ValueError(f"prefix {prefix!r} must end with a slash")
        container = self.container_client()
        advance = Advance(prefix)
        ask = partial(
            read_page, container, prefix, account=self.store.account, size=size, delimiter=delimiter
        )
        token: str | None = None
        asked_twice = False
        while True:
            if cancel is not None and cancel.is_set():  # part of a listing must not pass for all
                raise StorageError(f"the listing of {prefix or 'everything'!r} was cancelled")
            retry = retrying(self.retry.list_blobs, cancel=cancel, is_retryable=self._is_transient)
            try:
                page = retry(ask, token)
            except AzureError as error:
                raise StorageError(
                    f"listing {prefix or 'everything'!r} in {self.store} failed: {because(error)}"
                ) from bare(error)
            nothing = token is None and not (page.blobs or page.folders or page.token)
            if nothing and not asked_twice:
                asked_twice = True  # a cache may say so, too: what is empty is so twice
                continue
            yield advance.check(page)
            token = page.token
            if token is None:
                return

    # --------------------------------------------------------------------------------- deleting

    def delete(
        self,
        locations: Sequence[Location],
        *,
        etags: Mapping[str, str] | None = None,
        sizes: Mapping[str, int] | None = None,
        not_after: datetime | None = None,
        only: Collection[str] | None = None,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        params: RetryParams | None = None,
        total_files: int | None = None,
        total_bytes: int | None = None,
    ) -> StorageDeletion:
        """Delete everything below some locations, and nothing else.

        The first attempt of a planned deletion deletes the plan's names under their entity tags;
        any other lists what is there and deletes it in batches while the listing goes on. Where
        something passing went wrong, the rest of the attempt is done, and the next one lists
        again; so attempts converge, and doing it twice is harmless. The end, and what is named as
        left, is what one more listing shows, whatever was answered. Snapshots go with their blob.
        On a hierarchical account the location's own empty directory stays: it is not below it.

        To ``If-Match`` Azurite answers the same for a changed and a missing blob (412), and what
        Azure answers has not been seen, so that listing alone tells which it was. Where it shows
        the very tag that was asked for, the next attempt asks for the time in its place
        (``If-Unmodified-Since``).

        Parameters
        ----------
        locations
            Each passes the guard again, before the first request.
        etags
            What a plan saw: name to entity tag. Other blobs, and blobs that changed since (even
            while this runs), are left and returned as ``kept``.
        sizes
            What the same plan saw: name to bytes, directory stubs left out. With it nothing is
            listed before the first attempt.
        not_after
            Blobs modified later are left and returned as ``kept``.
        only
            These names alone are deleted, at every attempt; the rest of the locations stays as it
            is and is not spoken of.
        on_progress
            Called on this thread after every answer and before every wait.
        cancel
            When set, no further request is begun.
        params
            In place of ``retry.delete_model``. Its deadline bounds an attempt, too: no request
            begins after it.
        total_files, total_bytes
            What the plan holds, handed on to ``on_progress``.

        Returns
        -------
        StorageDeletion
            With ``files`` 0 where nothing was there.

        Raises
        ------
        LocationError
            Where a location is not safe, or holds none of a name; nothing was touched.
        DeletionError
            Where something is left. Its cause is Azure's error.
        DeletionCancelledError
            Where ``cancel`` was set before the end.
        """
        params = params or self.retry.delete_model
        order = DeletionOrder(
            locations, etags, sizes, not_after, only, on_progress, total_files, total_bytes
        )
        return carried_out(
            self._deletion(order, params, cancel),
            params,
            is_transient=self._is_transient,
            cancel=cancel,
        )

    def delete_together(
        self, orders: Iterable[DeletionOrder], *, cancel: threading.Event | None = None
    ) -> Generator[tuple[DeletionOrder, StorageDeletion | Exception]]:
        """Carry out several deletions, each as `delete` does, and yield how each ended, as it does.

        The first attempts share their batches, and where models lie side by side the listing that
        proves the end. Where something is left, or what is asked for is no plain plan, the rest is
        done as `delete` does it, a few at a time.
        """
        params = self.retry.delete_model
        return delete_together(
            orders,
            lambda order: self._deletion(order, params, cancel),
            partial(carried_out, params=params, is_transient=self._is_transient, cancel=cancel),
            SharedPass(
                self.container_client(),
                self._executor(),
                support=self._support,
                in_flight=2 * self.workers,
                deadline=time.monotonic() + params.deadline,
                cancel=cancel,
                resend=params.attempts > 1,
            ),
            patience=params.deadline,
        )

    def _deletion(
        self, order: DeletionOrder, params: RetryParams, cancel: threading.Event | None
    ) -> Deletion:
        for location in order.locations:
            self.addresses.check(location)
        names = check_names(order.only, order.locations)
        return Deletion(
            self.container_client(),
            self._executor(),
            order.locations,
            bounds=Bounds(order.etags, order.not_after, names),
            support=self._support,
            in_flight=2 * self.workers,
            is_transient=self._is_transient,
            deadline=time.monotonic() + params.deadline,
            planned=_planned(order.etags, order.sizes, order.not_after),
            on_progress=order.on_progress,
            cancel=cancel,
            total_files=order.total_files,
            total_bytes=order.total_bytes,
        )

    # -------------------------------------------------------------------------- what is kept

    def retention(self) -> Retention:
        """Return what the account keeps of deleted blobs, as far as these credentials may ask."""
        return read_retention(self.service_client(), self.container_client(), self.retry.inspect)

    def undelete(self, locations: Sequence[Location]) -> StorageRestoration:
        """Bring back what was deleted below some locations and is still kept.

        Blobs that are there are left as they are. Not tried against the real service, see
        :mod:`expmgr.storage.restoration`.

        Raises
        ------
        StorageError
            Where the account is hierarchical, or nothing could be brought back.
        """
        for location in locations:
            self.addresses.check(location)
        if read_hierarchical(self.service_client(), self.retry.inspect):
            raise StorageError(
                f"account {self.store.account!r} has a hierarchical namespace, where each deleted "
                "path has its own deletion id: restore in the portal (Show deleted directories) "
                "or with azure-storage-file-datalake (get_deleted_paths, undelete)"
            )
        return recover_all(
            self.container_client(),
            locations,
            self._executor(),
            again=lambda: retrying(self.retry.list_blobs, is_retryable=self._is_transient),
        )

    # ------------------------------------------------------------------------------ the journal

    def write_text(self, name: str, text: str, *, replaces: str | None = None) -> str:
        """Write a small blob of the journal, see `expmgr.storage.protocol.Storage.write_text`."""
        return write_journal_blob(
            self.container_client(),
            name,
            text,
            replaces=replaces,
            again=lambda: retrying(self.retry.upload, is_retryable=self._is_transient),
        )

    def delete_text(self, name: str, *, etag: str) -> None:
        """Delete a blob of the journal, see `expmgr.storage.protocol.Storage.delete_text`."""
        delete_journal_blob(
            self.container_client(),
            name,
            etag=etag,
            again=lambda: retrying(self.retry.upload, is_retryable=self._is_transient),
        )

    # -------------------------------------------------------------------------------- transfers

    @contextmanager
    def folder(self, location: Location) -> Iterator[RemoteFolder]:
        """Yield a location to upload files to and to download them from.

        Large files go in blocks, over connections of their own.
        """
        self.addresses.check(location)
        with self._new_service(
            _CONNECTIONS,
            max_block_size=BLOCK_SIZE,
            max_single_put_size=IN_ONE_REQUEST,
            max_single_get_size=IN_ONE_REQUEST,
            max_chunk_get_size=BLOCK_SIZE,
        ) as service:
            container = service.get_container_client(self.store.container)
            yield AzureFolder(container, location.path, self.list)

    # ----------------------------------------------------------------------------------- the rest

    def beside(self, container: str) -> BlobStore:
        """Return another container of the same account, by the same credentials."""
        return BlobStore(
            self.credentials.model_copy(update={"container_name": container}),
            self.retry,
            workers=self.workers,
            is_retryable=self._is_retryable,
        )

    @contextmanager
    def opened(self, name: str, size: int, etag: str) -> Iterator[RangedBlob]:
        """Open a blob for reading, as long as its entity tag stays what it was.

        Reading raises StorageError where a range could not be had, after the retries that
        ``retry.download`` allows.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import AzureError

        client = self.container_client().get_blob_client(name)
        retry = retrying(self.retry.download, is_retryable=self._is_transient)

        def ask(offset: int, length: int) -> bytes:
            with readable(f"the answer about {name!r}"):
                return client.download_blob(
                    offset=offset,
                    length=length,
                    max_concurrency=1,
                    etag=f'"{etag}"',
                    match_condition=MatchConditions.IfNotModified,
                ).readall()

        def read(offset: int, length: int) -> bytes:
            try:
                return retry(ask, offset, length)
            except AzureError as error:
                raise StorageError(
                    f"reading {name!r} in {self.store} failed: {because(error)}"
                ) from bare(error)

        with RangedBlob(read, size, BLOCK_SIZE) as blob:
            yield blob

    def container_client(self) -> ContainerClient:
        """Return the SDK's client of the container, which does not retry by itself."""
        return self.service_client().get_container_client(self.store.container)

    def service_client(self) -> BlobServiceClient:
        """Return the SDK's client of the account, made once."""
        with self._lock:
            if self._service is None:
                self._service = self._new_service(self.workers + 4)
            return self._service

    def _new_service(self, pool_size: int, **options: Any) -> BlobServiceClient:
        return self.credentials.service_client(
            pool_size=pool_size,
            connection_timeout=self.retry.connection_timeout,
            read_timeout=self.retry.read_timeout,
            **options,
        )

    def close(self) -> None:
        """Close connections and end the threads, after the requests under way."""
        with self._lock:
            pool, self._pool = self._pool, None
            service, self._service = self._service, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if service is not None:
            service.close()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="expmgr-blobs")
            return self._pool

    def _is_transient(self, error: BaseException) -> bool:
        if self._is_retryable is None:
            return is_transient_error(error)
        if self._is_retryable(error):
            return True
        return is_transient_error(error) and not is_retryable_error(error)


def _planned(
    etags: Mapping[str, str] | None, sizes: Mapping[str, int] | None, not_after: datetime | None
) -> list[Blob] | None:
    """Return what a plan saw as blobs; None where it does not tell all that a deletion needs."""
    if etags is None or sizes is None or not_after is not None:
        return None
    unknown = datetime.min.replace(tzinfo=timezone.utc)
    return [
        Blob(name, sizes.get(name, 0), etag, unknown, is_directory=name not in sizes)
        for name, etag in etags.items()
    ]
