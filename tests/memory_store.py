"""A store in memory, which fails on purpose: another `Storage` than Azure's, and nothing of it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from types import MappingProxyType

from expmgr.errors import (
    ConflictError,
    DeletionCancelledError,
    DeletionError,
    NotFoundError,
    StorageError,
)
from expmgr.results import DeletionProgress
from expmgr.retry import RetryConfig, retrying
from expmgr.storage.addresses import Addresses
from expmgr.storage.journal_blobs import check_journal_name
from expmgr.storage.listing import Blob, Listing
from expmgr.storage.location import check_names
from expmgr.storage.protocol import StorageDeletion
from expmgr.storage.restoration import StorageRestoration
from expmgr.storage.retention import Retention
from expmgr.storage.store import Store
from expmgr.storage.transfer import RemoteFile


class PassingError(Exception):
    """A fault that passes."""


class RefusalError(Exception):
    """A fault that stays."""


@dataclass(frozen=True)
class Held:
    content: bytes
    etag: str
    modified: datetime

    def as_blob(self, name):
        return Blob(name, len(self.content), self.etag, self.modified)


class MemoryStore:
    """Every call below the public methods is counted and may fail, as `fault(kind, name)` says.

    Kinds are "list", "delete" (any number of blobs), "read", "write" and "account".
    """

    def __init__(self, retry=None, *, store=None, artifacts_destination=None):
        store = store or Store("memory", "models", "https://memory.blob.core.windows.net")
        self.addresses = Addresses(store, artifacts_destination)
        self.retry = retry or RetryConfig()
        self.blobs: dict[str, Held] = {}
        self.held: set[str] = set()  # blobs that refuse to go
        self.trash: dict[str, Held] = {}
        self.calls: Counter = Counter()
        self.fault = lambda kind, name: None
        self._tags = itertools.count(1)
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------------- the "wire"

    def _call(self, kind, name, action):
        with self._lock:
            self.calls[kind] += 1
            error = self.fault(kind, name)
            if error is not None:
                raise error
            return action()

    def put(self, name, content=b"12345"):
        with self._lock:
            tag = f"{next(self._tags):x}"
            self.blobs[name] = Held(content, tag, datetime.now(timezone.utc))
            return tag

    def _ask(self, params, kind, name, action, cancel=None):
        again = retrying(
            params, cancel=cancel, is_retryable=lambda error: isinstance(error, PassingError)
        )
        try:
            return again(self._call, kind, name, action)
        except (PassingError, RefusalError) as error:
            raise StorageError(f"{kind} {name!r} failed: {error}") from error

    def _below(self, prefix):
        if prefix and not prefix.endswith("/"):
            raise ValueError(f"prefix {prefix!r} must end with a slash")
        return {name: self.blobs[name] for name in sorted(self.blobs) if name.startswith(prefix)}

    # --------------------------------------------------------------------------------- reading

    def list(self, prefix, *, cancel=None):
        if cancel is not None and cancel.is_set():
            raise StorageError(f"the listing of {prefix!r} was cancelled")
        found = self._ask(
            self.retry.list_blobs, "list", prefix, lambda: self._below(prefix), cancel
        )
        for name, held in found.items():
            yield held.as_blob(name)

    def exists(self, prefix):
        return any(self.list(prefix))

    def folders(self, prefix):
        found = self._ask(self.retry.list_blobs, "list", prefix, lambda: self._below(prefix))
        below = (name[len(prefix) :] for name in found)
        return frozenset(rest.split("/")[0] for rest in below if "/" in rest)

    def measure(self, location, *, cancel=None):
        at = datetime.now(timezone.utc)
        blobs = list(self.list(location.prefix, cancel=cancel))
        return Listing(
            len(blobs),
            sum(blob.bytes for blob in blobs),
            MappingProxyType({blob.name: blob.etag for blob in blobs}),
            at,
            MappingProxyType({blob.name: blob.bytes for blob in blobs}),
        )

    def measure_together(self, locations, *, cancel=None):
        found = {location: self.measure(location, cancel=cancel) for location in locations}
        return {location: listing for location, listing in found.items() if listing.etags}

    def read_text(self, name, *, limit=1_000_000):
        def read():
            if name not in self.blobs:
                raise RefusalError("it is not there")
            return self.blobs[name].content[:limit]

        return self._ask(self.retry.download, "read", name, read).decode(errors="replace")

    # -------------------------------------------------------------------------------- deleting

    def delete(
        self,
        locations,
        *,
        etags=None,
        sizes=None,
        not_after=None,
        only=None,
        on_progress=None,
        cancel=None,
        total_files=None,
        total_bytes=None,
    ):
        for location in locations:
            self.addresses.check(location)
        deletion = _Deletion(self, locations, etags, not_after, check_names(only, locations))
        planned = etags if sizes is not None and not_after is None else None

        def report(note=""):
            if on_progress is not None:
                on_progress(
                    DeletionProgress(
                        deletion.files, deletion.bytes, total_files, total_bytes, note=note
                    )
                )

        def attempt():
            if cancel is not None and cancel.is_set():
                raise RefusalError("cancelled")
            deletion.attempts += 1
            deletion.run(planned if deletion.attempts == 1 else None, cancel, report)

        try:
            retrying(
                self.retry.delete_model,
                cancel=cancel,
                on_wait=lambda number, error, seconds: report(str(error)),
                is_retryable=lambda error: isinstance(error, PassingError),
            )(attempt)
        except (PassingError, RefusalError) as error:
            cancelled = cancel is not None and cancel.is_set()
            if not cancelled:
                deletion.look()
            raise deletion.error(error, cancelled=cancelled) from error
        return StorageDeletion(
            deletion.files,
            deletion.bytes,
            deletion.attempts,
            time.monotonic() - deletion.begun,
            tuple(deletion.kept),
            permanent=False,
        )

    def delete_together(self, orders, *, cancel=None):
        for order in orders:
            try:
                ended = self.delete(
                    order.locations,
                    etags=order.etags,
                    sizes=order.sizes,
                    not_after=order.not_after,
                    only=order.only,
                    on_progress=order.on_progress,
                    cancel=cancel,
                    total_files=order.total_files,
                    total_bytes=order.total_bytes,
                )
            except Exception as error:  # noqa: BLE001 - yielded: it is this one's end
                ended = error
            yield order, ended

    def retention(self):
        return self._ask(self.retry.inspect, "account", "", lambda: Retention(7, versioning=False))

    def undelete(self, locations):
        for location in locations:
            self.addresses.check(location)
        names = [name for name in self.trash if any(place.holds(name) for place in locations)]
        back = {name: self.trash.pop(name) for name in names}
        self.blobs.update(back)
        size = sum(len(held.content) for held in back.values())
        return StorageRestoration(len(back), size, 0.0)

    # ----------------------------------------------------------------------------- the journal

    def write_text(self, name, text, *, replaces=None):
        check_journal_name(name)

        def write():
            held = self.blobs.get(name)
            if (None if held is None else held.etag) != replaces:
                raise ConflictError(f"{name!r} was written by somebody else meanwhile")
            return self.put(name, text.encode())

        return self._ask(self.retry.upload, "write", name, write)

    def delete_text(self, name, *, etag):
        check_journal_name(name)

        def delete():
            if name in self.blobs:
                if self.blobs[name].etag != etag:
                    raise ConflictError(f"{name!r} changed meanwhile, and was left")
                del self.blobs[name]

        self._ask(self.retry.upload, "delete", name, delete)

    # ------------------------------------------------------------------------------- transfers

    @contextmanager
    def folder(self, location):
        yield _Folder(self, self.addresses.check(location))


class _Deletion:
    """One deletion, over its attempts."""

    def __init__(self, store, locations, etags, not_after, only):
        self.begun = time.monotonic()
        self.attempts = self.files = self.bytes = 0
        self.kept = ()
        self.left = ()
        self._store = store
        self._prefixes = tuple(place.prefix for place in locations)
        self._markers = {place.marker for place in locations if place.marker_last}
        self._etags = etags
        self._not_after = not_after
        self._only = only

    def run(self, planned, cancel, report):
        here = self._list() if planned is None else self._concerned(planned)
        going = [name for name, tag in here.items() if self._may_go(name, tag)]
        first = [name for name in going if name not in self._markers]
        self._delete({name: here[name] for name in first}, cancel, report)
        last = [name for name in going if name in self._markers]
        if last and set(self._list()) <= set(last):
            self._delete({name: here[name] for name in last}, cancel, report)
        # The end is seen, not believed.
        left = self._list()
        self.kept = tuple(name for name, tag in left.items() if not self._may_go(name, tag))
        self.left = tuple(name for name in left if name not in self.kept)
        if self.left:
            raise RefusalError(f"{self.left[0]!r} did not go")

    def look(self):
        with suppress(PassingError, RefusalError):
            self._list()

    def _list(self):
        found = {}
        for prefix in self._prefixes:
            found |= self._store._call("list", prefix, lambda at=prefix: self._store._below(at))
        here = self._concerned({name: held.etag for name, held in found.items()})
        self.left = tuple(here)
        return here

    def _concerned(self, tags):
        only = self._only
        return {name: tag for name, tag in tags.items() if only is None or name in only}

    def _may_go(self, name, tag):
        held = self._store.blobs.get(name)
        if self._not_after is not None and held is not None and held.modified > self._not_after:
            return False
        return self._etags is None or self._etags.get(name) == tag

    def _delete(self, tags, cancel, report):
        if cancel is not None and cancel.is_set():
            raise RefusalError("cancelled")
        if not tags:
            return

        def delete():
            for name, tag in tags.items():
                held = self._store.blobs.get(name)
                if held is None or held.etag != tag or name in self._store.held:
                    continue
                self._store.trash[name] = self._store.blobs.pop(name)
                self.files += 1
                self.bytes += len(held.content)

        self._store._call("delete", next(iter(tags)), delete)
        report()

    def error(self, error, *, cancelled):
        kind = DeletionCancelledError if cancelled else DeletionError
        return kind(
            f"deletion not finished: {error}",
            files=self.files,
            bytes=self.bytes,
            attempts=self.attempts,
            left=self.left,
        )


class _Folder:
    def __init__(self, store, location):
        self._store = store
        self._location = location

    @property
    def where(self):
        return self._location.path

    def files(self):
        prefix = self._location.prefix
        return [
            RemoteFile(blob.name[len(prefix) :], blob.bytes) for blob in self._store.list(prefix)
        ]

    def send(self, source, path, on_bytes):
        content = source.read_bytes()
        name = f"{self._location.path}/{path}"
        self._store._call("write", name, lambda: self._store.put(name, content))
        on_bytes(len(content))

    def fetch(self, file, target, on_bytes):
        name = f"{self._location.path}/{file.path}"

        def read():
            if name not in self._store.blobs:
                raise NotFoundError(f"{name!r} is not there")
            return self._store.blobs[name].content

        content = self._store._call("read", name, read)
        target.write_bytes(content)
        on_bytes(len(content))
