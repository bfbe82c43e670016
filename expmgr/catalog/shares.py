"""What of each experiment's bytes is what: models, other artifacts, traces, trash. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SHARES", "by_experiment"]

SHARES: tuple[str, ...] = (
    "models",
    "other artifacts",
    "traces",
    "trash",
    "journal",
    "kept copies",
    "unknown",
    "not chosen",
)
"""What bytes may be, in the order in which they are shown; together they are all there is. Kept
copies are versions, snapshots and soft-deleted blobs, of which only the account's report tells."""

_OF_KIND = {
    "run": "other artifacts",
    "model": "other artifacts",
    "traces": "traces",
    "trash": "trash",
    "journal": "journal",
    "experiment": "not chosen",
    **dict.fromkeys(("versions", "snapshots", "soft-deleted"), "kept copies"),
}


def by_experiment(usage: pd.DataFrame) -> pd.DataFrame:
    """Return a row an experiment, the largest first, from the table of `storage_usage`.

    Parameters
    ----------
    usage
        What ``storage_usage`` returned.

    Returns
    -------
    pandas.DataFrame
        ``experiment_id`` and ``experiment_name`` (empty for what belongs to none), a column of
        bytes for each of `SHARES`, and ``bytes``, their sum. All of ``bytes`` is all that the
        usage holds, so the container where nothing was chosen.
    """
    import pandas as pd

    sums: dict[tuple[str, str], dict[str, int]] = {}
    columns = ("experiment_id", "experiment_name", "kind", "bytes", "other_bytes")
    for id_, name, kind, size, other in usage[list(columns)].itertuples(index=False, name=None):
        mine = sums.setdefault((str(id_), str(name)), dict.fromkeys(SHARES, 0))
        mine["models"] += 0 if pd.isna(size) else int(size)
        mine[_OF_KIND.get(kind, "unknown")] += 0 if pd.isna(other) else int(other)
    rows = [(*key, *shares.values(), sum(shares.values())) for key, shares in sums.items()]
    names = ["experiment_id", "experiment_name", *SHARES, "bytes"]
    frame = pd.DataFrame(rows, columns=names).astype(dict.fromkeys([*SHARES, "bytes"], "int64"))
    return frame.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)
