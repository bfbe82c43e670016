"""Clocks that are moved on by hand: of this machine, and of the storage."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

from expmgr.storage.blob_store import BlobStore


class Clock:
    """This machine's clock and what the storage says its own is, moved on by hand."""

    def __init__(self, monkeypatch) -> None:
        self.ahead = timedelta(0)
        self.storage_ahead = timedelta(0)
        here = self
        later = SimpleNamespace(time=lambda: time.time() + here.ahead.total_seconds())
        monkeypatch.setattr("expmgr.tracking.journal_record.time", later)
        measure = BlobStore.measure

        def measured(store, location, **options):
            listing = measure(store, location, **options)
            return replace(listing, listed_at=listing.listed_at + here.storage_ahead)

        monkeypatch.setattr(BlobStore, "measure", measured)
        measure_together = BlobStore.measure_together

        def measured_together(store, locations, **options):
            return {
                location: replace(listing, listed_at=listing.listed_at + here.storage_ahead)
                for location, listing in measure_together(store, locations, **options).items()
            }

        monkeypatch.setattr(BlobStore, "measure_together", measured_together)

    def move(self, *, storage: bool = True, **ahead) -> None:
        self.ahead += timedelta(**ahead)
        if storage:
            self.storage_ahead += timedelta(**ahead)
