"""The runs and models that were loaded, and what has become of them since. No widgets, no I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.catalog.reason import Reasons, distinct
from expmgr.catalog.states import DELETABLE_STATES, MODEL_STATES, run_state
from expmgr.widgets.columns import is_missing
from expmgr.widgets.session.families import Families
from expmgr.widgets.session.query import OWNER, WHOLE, deletable_mask, haystack

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from expmgr.results import DeletionResult

__all__ = ["Content", "records_of"]

AS_RUN = {
    "run_id": "model_id",
    "run_name": "name",
    "experiment_id": "experiment_id",
    "experiment_name": "experiment_name",
    "status": "status",
    "start_time": "created",
    "model": "model",
    "files": "files",
    "bytes": "bytes",
    "is_best": "is_best",
    "protected_by": "protected_by",
    "goes": "goes",
}
"""Columns of the table of runs, and what a model has for them."""

_MEASURED = ("model", "files", "bytes")
_NOT_SEARCHED = frozenset({"files", "bytes", "is_best", "end_time"})
_MOST_TOLD_ANEW = 2_000
"""Rows whose search text is made anew at once; of more it is quicker to make it all when asked."""
_NOWHERE: NDArray[np.intp] = np.empty(0, dtype=np.intp)


class Content:
    """Runs and models by their ids. Belongs to the session's loop.

    Attributes
    ----------
    frame
        All runs loaded, then the models without a run; ``run_id`` holds a line's id: what a plan
        takes, a run's or a model's own.
    models
        All models loaded.
    complete
        Whether these are all, so that what needs all of them (the best) is known.
    runs
        How many rows of ``frame`` are runs.
    families
        Which run lies below which.
    version
        Counts what was taken, changed and measured: what was read at another one may be old.
    ids, place
        The id of each row of ``frame``, and the row of each id.
    """

    def __init__(self, main_metric: str = "", *, is_loss: bool = False) -> None:
        self.frame = pd.DataFrame()
        self.models = pd.DataFrame()
        self.complete = False
        self.runs = 0
        self.families = Families.of(self.frame)
        self.ids: NDArray[np.object_] = np.empty(0, dtype=object)
        self.place: dict[str, int] = {}
        self.metric = f"metrics.{main_metric}"
        self._is_loss = is_loss
        self._model_place: dict[str, int] = {}
        self._models_of: dict[str, NDArray[np.intp]] = {}
        self._changes: dict[str, dict[str, tuple[float, Any]]] = {}
        self._measurements: list[tuple[float, pd.DataFrame]] = []
        self._texts: list[str] | None = None
        self._asked_for: Unsearched | None = None
        self.version = 0
        self._forget()

    def _forget(self) -> None:
        """Drop what was worked out of states and protections as they were."""
        self.version += 1
        self._without_best: list[str] | None = None
        self._held: set[str] | None = None

    def take(
        self, frame: pd.DataFrame, models: pd.DataFrame | None, sent: float, *, complete: bool
    ) -> None:
        """Take tables that a query brought.

        Parameters
        ----------
        sent
            When the query was sent (monotonic seconds): what this browser changed since then is
            newer than the tables and stays on top.
        complete
            Whether these are all runs and models.
        """
        self.models = pd.DataFrame() if models is None else _typed(models)
        self.frame, self.complete = _typed(frame), complete
        self.runs = len(self.frame)
        if len(self.models):
            self._add_loose()
        self.ids = np.asarray(self.frame.get("run_id", ()), dtype=object)
        self.place = {run_id: at for at, run_id in enumerate(self.ids)}
        self.families = Families.of(self.frame)
        self._take_models()
        for when, usage in self._measurements:
            if when > sent:
                self._take_sizes(usage, when)
        if complete:
            self._measurements = [one for one in self._measurements if one[0] > sent]
        for id_, known in list(self._changes.items()):
            newer = {name: one for name, one in known.items() if one[0] > sent}
            self._put(id_, {name: value for name, (_, value) in newer.items()})
            if complete and newer:
                self._changes[id_] = newer
            elif complete:
                del self._changes[id_]
        self._texts = self._asked_for = None
        self._repeated: set[str] | None = None
        self._makers_at: set[str] | None = None
        self._forget()

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return runs and models as they are by now."""
        return self.frame.iloc[: self.runs], self.models

    def _add_loose(self) -> None:
        """Put the models whose run is not among those shown below the runs."""
        known = self.frame.get("run_id", ())
        loose = self.models[~self.models["run_id"].isin(known)]
        if loose.empty:
            return
        told = {name: source for name, source in AS_RUN.items() if source in loose}
        part = pd.DataFrame({name: loose[source].array for name, source in told.items()})
        for key in loose:
            if str(key).startswith("metrics."):
                part[key] = loose[key].array
        part[self.metric] = pd.to_numeric(loose["quality"], errors="coerce").to_numpy(
            dtype=float, na_value=np.nan
        )
        part["is_best"] = part["is_best"].astype(bool)
        self.frame = _typed(pd.concat([self.frame, part], ignore_index=True))

    def _take_models(self) -> None:
        """Tell which runs unfold into models: those with several, and studies with one."""
        self._models_of, self._model_place = {}, {}
        if self.models.empty:
            return
        self._model_place = {id_: at for at, id_ in enumerate(self.models["model_id"])}
        counts = self.models["run_id"].value_counts()
        wanted = set(counts.index[counts > 1])
        wanted |= {self.ids[at] for at in self.families.children}
        own = self.models[self.models["run_id"].isin(wanted - {""})]
        for run_id, places in own.groupby("run_id", sort=False).indices.items():
            if str(run_id) in self.place:
                self._models_of[str(run_id)] = own.index.to_numpy()[places]

    # -------------------------------------------------------------------------------- what happens

    def change(self, id_: str, values: dict[str, Any], when: float | None = None) -> None:
        """Write down what has become of a run or a model, now or at another time (monotonic)."""
        when = time.monotonic() if when is None else when
        known = self._changes.setdefault(id_, {})
        known.update({name: (when, value) for name, value in values.items()})
        self._put(id_, values)
        at = self.place.get(id_)
        if at is not None and set(values) - _NOT_SEARCHED:
            self._tell_anew(np.array([at], dtype=np.intp))
        self._forget()

    def ended(self, result: DeletionResult, planned: Collection[str] | None = None) -> set[str]:
        """Write down what a deletion changed; returns the ids of what is gone.

        Parameters
        ----------
        planned
            The models that its plan held, where it tells: others of the run stay.
        """
        state = {"deleted": "deleted", "not_found": "none"}.get(result.outcome)
        if state is None:
            return set()
        gone = {result.run_id}
        values = {"model": state, "files": 0, "bytes": 0}
        self.change(result.run_id, values)
        for place in self._models_of.get(result.run_id, ()):
            id_ = str(self.models["model_id"].iat[place])
            if planned is not None and id_ not in planned:
                continue
            gone.add(id_)
            if self.models["model"].iat[place] in MODEL_STATES:
                self.change(id_, values)
        maker = self.maker(result.run_id)
        if maker and maker not in self._models_of:  # its only model stands in the run's own line
            gone.add(maker)
            self.change(maker, values)
        self.sum_up(maker or (result.run_id if planned is not None else ""))
        return gone

    def sum_up(self, run_id: str) -> None:
        """Write down a run as its models are by now, where it unfolds into them."""
        if run_id not in self._models_of:
            return
        own = self.models_of(run_id)
        there = own[own["model"].isin(MODEL_STATES)]
        held = [one for one in there["protected_by"] if isinstance(one, Reasons)]
        values: dict[str, Any] = {
            "model": run_state(own["model"]),
            "is_best": bool(there["is_best"].astype(bool).any()),
            "protected_by": Reasons(distinct([part for one in held for part in one.parts])),
        }
        for name in ("files", "bytes"):
            values[name] = int(own[name].sum()) if own[name].notna().all() else pd.NA
        self.change(run_id, values)

    def measured(self, usage: pd.DataFrame, sent: float) -> None:
        """Write down sizes, and the model states that only a measurement tells.

        Parameters
        ----------
        usage
            ``run_id`` or ``model_id``, ``model``, ``files`` and ``bytes``.
        sent
            When the measurement began (monotonic seconds): what became of a line since then is
            newer.
        """
        self._measurements.append((time.monotonic(), usage))
        self._take_sizes(usage, sent)
        self._forget()

    def _take_sizes(self, usage: pd.DataFrame, sent: float) -> None:
        """Write sizes into the tables, a column at a time: a container holds 100,000 runs."""
        newer = {
            id_
            for id_, known in self._changes.items()
            if any(name in known and known[name][0] > sent for name in _MEASURED)
        }
        ids = usage["model_id" if "model_id" in usage else "run_id"].astype(str).to_list()
        for frame, place in ((self.frame, self.place), (self.models, self._model_place)):
            at = np.array(
                [-1 if id_ in newer else place.get(id_, -1) for id_ in ids], dtype=np.intp
            )
            for name in _MEASURED:
                if name not in usage or name not in frame:
                    continue
                told = (at >= 0) & ~usage[name].isna().to_numpy(dtype=bool)
                if not told.any():
                    continue
                column = frame[name].array.copy()
                if name == "model" and frame is self.frame:
                    moved = at[told][column[at[told]] != usage[name].to_numpy()[told]]
                    column[at[told]] = usage[name].to_numpy()[told]
                    frame[name] = column
                    self._tell_anew(moved)
                else:
                    column[at[told]] = usage[name].array[told]
                    frame[name] = column

    def _tell_anew(self, rows: NDArray[np.intp]) -> None:
        """Follow rows whose text has changed; many of them are told when somebody searches."""
        if not len(rows):
            return
        if self._asked_for is not None:
            self._asked_for.changed.update(map(int, rows))
        if self._texts is None:
            return
        if len(rows) > _MOST_TOLD_ANEW:
            self._texts = None
            return
        for at, text in zip(rows, haystack(self.frame.iloc[rows]), strict=True):
            self._texts[at] = text

    def _put(self, id_: str, values: dict[str, Any]) -> None:
        for frame, at in (
            (self.frame, self.place.get(id_)),
            (self.models, self._model_place.get(id_)),
        ):
            if at is None:
                continue
            for name, value in values.items():
                if name in frame:
                    frame.at[at, name] = value  # take() made the index 0, 1, 2, ...

    # -------------------------------------------------------------------------------------- asking

    def value(self, id_: str, column: str) -> Any:
        """Return one value of a line, None where there is none."""
        for frame, at in (
            (self.frame, self.place.get(id_)),
            (self.models, self._model_place.get(id_)),
        ):
            if at is not None and column in frame:
                value = frame[column].iat[at]
                return None if is_missing(value) else value
        return None

    def is_model(self, id_: str) -> bool:
        """Tell whether an id is a model's own."""
        return id_ in self._model_place and self.place.get(id_, self.runs) >= self.runs

    def model_place(self, id_: str) -> int | None:
        """Return the row of a model in ``models``."""
        return self._model_place.get(id_)

    def maker(self, id_: str) -> str:
        """Return the run that made a model, "" where there is none among those shown."""
        if not self.is_model(id_):
            return ""
        maker = str(self.models["run_id"].iat[self._model_place[id_]])
        return maker if maker in self.place else ""

    def models_of(self, run_id: str) -> pd.DataFrame:
        """Return the models that a run unfolds into."""
        return self.models.iloc[self._models_of.get(run_id, _NOWHERE)]

    def unfolds_in(self, experiment_id: str) -> bool:
        """Tell whether an experiment holds runs that unfold into models."""
        if self._makers_at is None:
            rows = [self.place[run_id] for run_id in self._models_of]
            self._makers_at = set(self.frame["experiment_id"].iloc[rows].astype(str))
        return experiment_id in self._makers_at

    @property
    def holders(self) -> dict[str, NDArray[np.intp]]:
        """The runs that unfold into models, each with their rows in ``models``."""
        return self._models_of

    def name(self, id_: str) -> str:
        """Return a line's name, or its id where it has none; whose it is, where names repeat."""
        if self.is_model(id_):
            name = str(self.models["name"].iat[self._model_place[id_]] or id_)
            maker = self.maker(id_)
            return f"{name} of {self.name(maker)}" if maker else name
        study = self.study(id_)
        return self.plain_name(id_) + (f" in {study}" if study else "")

    def study(self, run_id: str) -> str:
        """Return the study of a run whose name says too little, as others bear it too; or ""."""
        at = self.place.get(run_id)
        parent = -1 if at is None or not self.families.nested else self.families.parents[at]
        if parent < 0 or self.plain_name(run_id) not in self.repeated():
            return ""
        return self.plain_name(str(self.ids[parent]))

    def plain_name(self, run_id: str) -> str:
        """Return a run's name, or its id where it has none."""
        return str(self.value(run_id, "run_name") or run_id)

    def repeated(self) -> set[str]:
        """Return the names that several runs bear."""
        if self._repeated is None:
            names = self.frame["run_name"] if "run_name" in self.frame else pd.Series(dtype=object)
            self._repeated = set(names[names.duplicated()].dropna().astype(str))
        return self._repeated

    def deletable(self) -> set[str]:
        """Return the runs and models that offer a delete."""
        if self._held is None:
            self._held = set()
            if len(self.frame):
                self._held |= set(self.frame.loc[deletable_mask(self.frame), "run_id"])
            if self._models_of:
                own = self.models.iloc[np.concatenate(list(self._models_of.values()))]
                self._held |= set(own.loc[deletable_mask(own), "model_id"])
        return self._held

    def by_quality(self) -> pd.DataFrame:
        """Return the table with each run's best model's quality for its main metric."""
        frame = self.frame
        if self.models.empty or "run_id" not in frame:
            return frame
        whole = self.models[self.models["model"] == WHOLE]
        quality = pd.to_numeric(whole["quality"], errors="coerce")
        grouped = quality.groupby(whole["run_id"].to_numpy())
        best = (grouped.min() if self._is_loss else grouped.max()).dropna()
        told = frame["run_id"].map(best).astype("float64")
        # What a run logged may be of a model that is gone: of models that are told, theirs counts.
        own = frame[self.metric] if self.metric in frame else pd.Series(np.nan, frame.index)
        own = own.where(~frame["run_id"].isin(self.models["run_id"]))
        return frame.assign(**{self.metric: told.fillna(own)})

    def largest(self) -> int:
        """Return the bytes of the largest model of all, 0 where none is measured."""
        largest: Any = self.frame["bytes"].max() if "bytes" in self.frame else None
        return 0 if is_missing(largest) else int(largest)

    def experiments(self) -> dict[str, int | None]:
        """Return the names of all experiments and the bytes in each; None: not measured."""
        if "experiment_name" not in self.frame:
            return {}
        sizes = self.frame.groupby("experiment_name")["bytes"].sum(min_count=1)
        return {
            str(name): None if is_missing(size) else int(size)
            for name, size in sorted(sizes.items(), key=lambda item: str(item[0]).casefold())
        }

    def without_best(self) -> list[str]:
        """Return the experiments that hold models, none of which is called best."""
        if self._without_best is None:
            self._without_best = self._find_without_best()
        return self._without_best

    def _find_without_best(self) -> list[str]:
        frame = self.frame
        if not self.complete or not {"is_best", "model", "experiment_name"} <= set(frame):
            return []
        holding = frame[frame["model"].isin(DELETABLE_STATES)]
        best = set(frame.loc[frame["is_best"].astype(bool), "experiment_name"])
        names = {str(name) for name in holding["experiment_name"].dropna()} - best
        return sorted(names, key=str.casefold)

    def all_elsewhere(self) -> int:
        """Return how many lines keep a model, where none of them keeps it in this container."""
        if not self.complete or "model" not in self.frame:
            return 0
        models = self.frame["model"]
        kept = models[~models.isin(["none", "unknown"])]
        return len(kept) if len(kept) and (kept == "elsewhere").all() else 0

    def owners(self) -> list[str]:
        """Return the names of those who made the runs."""
        if OWNER not in self.frame:
            return []
        return sorted({str(name) for name in self.frame[OWNER].dropna()} - {""}, key=str.casefold)

    def haystack(self) -> list[str]:
        """Return for each line the text that a search looks into."""
        if self._texts is None:
            self._texts = haystack(self.frame)
        return self._texts

    def unsearched(self) -> Unsearched | None:
        """Return what to make the search text of, elsewhere and ahead; None where that is quick."""
        if self._texts is not None or len(self.frame) <= _MOST_TOLD_ANEW:
            return None
        self._asked_for = Unsearched(self.frame.copy(deep=False))
        return self._asked_for

    def keep_texts(self, made_of: Unsearched, texts: list[str]) -> None:
        """Take the search text that was made elsewhere, unless other tables have come since."""
        if self._asked_for is not made_of:
            return
        self._asked_for = None
        if self._texts is None:
            self._texts = texts
            self._tell_anew(np.array(sorted(made_of.changed), dtype=np.intp))


@dataclass(frozen=True, eq=False)
class Unsearched:
    """A table of which the search text is made elsewhere, and the rows that changed meanwhile."""

    frame: pd.DataFrame
    changed: set[int] = field(default_factory=set)

    def texts(self) -> list[str]:
        """Return the text of each row."""
        return haystack(self.frame)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with a fresh index whose columns can hold whatever is written down later."""
    frame = frame.reset_index(drop=True)
    if "run_id" not in frame:
        return frame
    for name in ("files", "bytes"):
        values: Any = (
            pd.to_numeric(frame[name], errors="coerce").astype("Int64")
            if name in frame
            else pd.array([pd.NA] * len(frame), dtype="Int64")
        )
        frame = frame.assign(**{name: values})
    for name in ("run_id", "model_id", "model", "status", "protected_by"):
        if name in frame:
            frame[name] = frame[name].astype(object)
    return frame


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts."""
    records: list[Any] = frame.to_dict("records")
    return records
