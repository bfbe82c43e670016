"""Whether an entry of a plan is what the oracle says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world_oracle import Entry, Reason


def planned(entry) -> set[str]:
    """The blobs that an entry of a plan would delete."""
    return {name for location in entry.locations for name in location.etags}


def reasons(entry) -> set[Reason]:
    """Kinds and subjects of an entry's reasons; of "best" and "unknown" the kind alone."""
    return {
        (reason.kind, "" if reason.kind in {"best", "unknown"} else reason.subject)
        for reason in entry.reasons
    }


def check_entry(entry, expected: Entry) -> None:
    found = reasons(entry)
    if expected.doubt:
        found.discard(("unknown", ""))
        assert not entry.deletable, "a doubt about whose files these are forbids their deletion"
    names = planned(entry)
    assert names <= expected.names | expected.optional
    if entry.deletable or not (entry.problem or expected.doubt):
        assert names >= expected.names
    if names and not entry.problem:
        assert expected.must <= found <= expected.may, (
            f"{entry.id}: {sorted(entry.reasons)}, "
            f"not {sorted(expected.must)}..{sorted(expected.may)}"
        )
    assert not (entry.deletable and found)
    if expected.deletable is not None:
        assert entry.deletable is expected.deletable, entry.problem
