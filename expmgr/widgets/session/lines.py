"""The lines of the table: what matches, folded and in order, a page of it, and what is ticked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.catalog.states import MODEL_STATES
from expmgr.widgets.session.content import AS_RUN, Content, records_of
from expmgr.widgets.session.families import best_of, family_of
from expmgr.widgets.session.query import (
    WHOLE,
    Query,
    Totals,
    deletable_mask,
    matching,
    sort_key,
    totals,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from expmgr.results import DeletionResult

__all__ = ["Lines"]


class Lines:
    """The lines of the table. Belongs to the session's loop.

    A run with several models unfolds into them; a run with children (a study) unfolds into its own
    models and those. A model without a run among those shown is a line of its own.

    Attributes
    ----------
    content
        The runs and models behind the lines.
    query
        What the person asked to see.
    positions
        Which rows of the content match, in order, folded away or not.
    selected
        Ids that are ticked.
    page, page_size
        The page from 0, and lines on it.
    records
        The page's lines as dicts: the columns of the table, ``line`` ("run", "study", "model"),
        ``id`` (what a plan takes), ``depth``, ``unfolds`` (how many lines lie below it) and
        ``unfolded``; of a study its ``family``; ``within``, its study, where a name repeats;
        ``of``, the name of what it stands under; of a model its ``step``, and its maker's
        ``run_id``, "" for none.
    """

    def __init__(self, page_size: int, main_metric: str = "", *, is_loss: bool = False) -> None:
        self.content = Content(main_metric, is_loss=is_loss)
        self.query = Query()
        self.positions: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.selected: set[str] = set()
        self.page = 0
        self.page_size = page_size
        self._records: list[dict[str, Any]] = []
        self._read_at: tuple[int, int, int] | None = None
        self._is_loss = is_loss
        self._unfolded: set[str] = set()
        self._below_of: dict[int, list[int]] = {}
        self._sequence = self.positions
        self._matched: NDArray[np.bool_] = np.empty(0, dtype=bool)

    @property
    def frame(self) -> pd.DataFrame:
        """All runs loaded, then the models without a run."""
        return self.content.frame

    @property
    def complete(self) -> bool:
        """Whether these are all."""
        return self.content.complete

    # ------------------------------------------------------------------------------------- content

    def take(
        self,
        frame: pd.DataFrame,
        sent: float,
        *,
        complete: bool,
        models: pd.DataFrame | None = None,
    ) -> None:
        """Take tables that a query brought; see `Content.take`."""
        self.content.take(frame, models, sent, complete=complete)
        if complete:
            self.selected &= self.content.deletable()
        self.recompute()

    def ended(
        self, *results: DeletionResult, planned: Mapping[str, Collection[str]] | None = None
    ) -> None:
        """Write down what deletions changed.

        Parameters
        ----------
        planned
            By what was deleted, the models that its plan held.
        """
        for result in results:
            self.selected -= self.content.ended(result, (planned or {}).get(result.run_id))

    def measured(self, usage: pd.DataFrame, sent: float) -> None:
        """Write down sizes; see `Content.measured`."""
        self.content.measured(usage, sent)
        self.selected &= self.content.deletable()

    # -------------------------------------------------------------------------------------- layout

    def ask(self, **changes: Any) -> bool:
        """Change the query; returns whether anything changed."""
        query = replace(self.query, **changes)
        if query == self.query:
            return False
        self.query = query
        self.page = 0
        self.recompute()
        return True

    @property
    def _nested(self) -> bool:
        return self.content.families.nested and not self.query.flat

    def recompute(self) -> None:
        """Find what matches and in what order."""
        content = self.content
        families = content.families if self._nested else None
        self.positions = matching(content.frame, self.query, content.haystack, families)
        self._matched = np.zeros(len(content.frame), dtype=bool)
        self._matched[self.positions] = True
        self._below_of = {}
        self._lay_out()

    def unfold(self, id_: str) -> None:
        """Show what lies below a line, or hide it again."""
        self._unfolded ^= {id_}
        self._lay_out()

    def _lay_out(self) -> None:
        """Put what matches into lines, those that are folded away left out."""
        self._read_at = None
        tops = self.positions
        if self._nested:
            tops = tops[self.content.families.shown_parents(tops, self._matched) < 0]
        self._sequence = tops
        place = self.content.place
        unfolded = [place[id_] for id_ in self._unfolded if id_ in place]
        for at in np.flatnonzero(np.isin(tops, unfolded))[::-1] if unfolded else ():
            self._sequence = np.insert(self._sequence, at + 1, self._below(int(tops[at])))
        self.turn(self.page)

    def _below(self, at: int) -> list[int]:
        """Return the lines below one that is unfolded: rows, and a model as -1 - its row."""
        lines = [-1 - place for place in self._own_models(self._id(at))]
        for child in self._children(at):
            lines.append(child)
            if self._id(child) in self._unfolded:
                lines += self._below(child)
        return lines

    def _own_models(self, run_id: str) -> list[int]:
        """Return the rows of the models that a run unfolds into, in the table's order."""
        own, key = self.content.models_of(run_id), self.query.sort_by
        key = "quality" if key == self.content.metric else AS_RUN.get(key, key)
        if key in own and len(own):
            order = sort_key(own, key).sort_values(
                ascending=self.query.ascending, na_position="last", kind="stable"
            )
            return [int(place) for place in order.index]
        return [int(place) for place in own.index]

    def _children(self, at: int) -> list[int]:
        """Return the matching children of a study, in the table's order."""
        children = self.content.families.children.get(at, ()) if self._nested else ()
        if not children:
            return []
        mine = self.positions[np.isin(self.positions, children)]
        return [int(child) for child in mine]

    def _id(self, at: int) -> str:
        return str(self.content.ids[at])

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-len(self._sequence) // self.page_size))

    @property
    def foldable(self) -> bool:
        """Whether any line may unfold into others."""
        return bool(self.content.holders) or self._nested

    def turn(self, page: int) -> None:
        """Go to a page, or the nearest one there is."""
        self.page = max(0, min(page, self.pages - 1))

    @property
    def records(self) -> list[dict[str, Any]]:
        """The page's lines as they are by now, read once for all who ask."""
        now = (self.content.version, self.page, self.page_size)
        if self._read_at != now:
            self._read_at, self._records = now, self._read_page()
        return self._records

    def _read_page(self) -> list[dict[str, Any]]:
        start = self.page * self.page_size
        part = self._sequence[start : start + self.page_size]
        runs = part[part >= 0]
        found = iter(records_of(self.content.frame.iloc[runs]) if len(runs) else ())
        return [
            self._run_line(next(found), int(at)) if at >= 0 else self._model_line(-1 - int(at))
            for at in part
        ]

    def resize(self, rows: int) -> None:
        """Change the lines on a page, keeping the first one in view."""
        top = self.page * self.page_size
        self.page_size = rows
        self.turn(top // rows)

    # --------------------------------------------------------------------------------------- lines

    def _run_line(self, record: dict[str, Any], at: int) -> dict[str, Any]:
        content, id_ = self.content, self._id(at)
        record["id"] = id_
        if at >= content.runs:
            loose = {"run_id": "", "line": "model", "of": "", "step": None, "depth": 0}
            return record | loose | {"unfolds": 0}
        own = len(content.holders.get(id_, ()))
        record |= {
            "line": "run",
            "depth": self._depth(at),
            "unfolds": own if own > 1 else 0,
            "unfolded": id_ in self._unfolded,
        }
        if record.get("model") == "interrupted" and own:
            states = set(content.models_of(id_)["model"])
            record["resumes"] = not states & (MODEL_STATES - {"interrupted"})
        if record["depth"]:
            record["of"] = content.plain_name(self._id(int(content.families.parents[at])))
        else:
            record["within"] = content.study(id_)
        below = self._lying_below(at)
        if below:
            holding = (content.holders.get(self._id(one), ()) for one in (at, *below))
            record["line"] = "study"
            children = content.families.children.get(at, [])
            record["unfolds"] = own + int(self._matched[children].sum())
            record["family"] = family_of(
                content.frame,
                at,
                below,
                content.metric,
                counts=[max(1, len(models)) for models in holding],
                is_loss=self._is_loss,
            )
        return record

    def _lying_below(self, at: int) -> list[int]:
        """Return the matching rows below a row, at any depth; walked once for a layout."""
        if not self._nested:
            return []
        if at not in self._below_of:
            self._below_of[at] = self.content.families.below(at, self._matched)
        return self._below_of[at]

    def _depth(self, at: int) -> int:
        depth, parents = 0, self.content.families.parents
        while self._nested and parents[at] >= 0 and self._matched[parents[at]]:
            depth, at = depth + 1, int(parents[at])
        return depth

    def _model_line(self, place: int) -> dict[str, Any]:
        model = records_of(self.content.models.iloc[[place]])[0]
        record = {name: model.get(source) for name, source in AS_RUN.items()}
        record |= {key: value for key, value in model.items() if str(key).startswith("metrics.")}
        at = self.content.place.get(str(model["run_id"]))
        return record | {
            self.content.metric: model.get("quality"),
            "line": "model",
            "id": str(model["model_id"]),
            "run_id": str(model["run_id"]),
            "of": str(model["run_name"] or model["run_id"]),
            "step": model.get("step"),
            "alone": bool(model.get("alone", True)),
            "depth": 1 + (0 if at is None else self._depth(at)),
            "unfolds": 0,
        }

    def record(self, id_: str) -> dict[str, Any] | None:
        """Return a line with all its columns."""
        at, place = self.content.place.get(id_), self.content.model_place(id_)
        if at is not None:
            return self._run_line(records_of(self.content.frame.iloc[[at]])[0], at)
        return None if place is None else self._model_line(place)

    def family(self, id_: str) -> list[str]:
        """Return a study and all that match below it, or just the line."""
        at = self.content.place.get(id_)
        if at is None or not self._nested:
            return [id_]
        return [id_, *self.content.ids[self._lying_below(at)]]

    def is_ticked(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a line's box is ticked: a study's where all is that can go with it.

        The models of a ticked run go with it, so that theirs are too.
        """
        if record.get("line") == "model":
            return bool({record["id"], record.get("run_id")} & self.selected)
        if record.get("line") != "study":
            return record["id"] in self.selected
        able = self.content.deletable().intersection(self.family(str(record["id"])))
        return bool(able) and able <= self.selected

    def but_its_best(self, run_id: str) -> list[str]:
        """Return the models of a run but for its best; none where they are not told apart."""
        own = self.content.models_of(run_id)
        own = own[own["model"] == WHOLE] if len(own) else own
        best = best_of(own["quality"], is_loss=self._is_loss) if len(own) else None
        if best is None:
            return []
        quality = pd.to_numeric(own["quality"], errors="coerce").to_numpy(float, na_value=best)
        worse = own[(quality != best) & deletable_mask(own)]
        return [str(id_) for id_ in worse["model_id"]]

    # --------------------------------------------------------------------------------------- ticks

    def tick(self, ids: Iterable[str], *, on: bool) -> None:
        """Tick or untick lines; what offers no delete cannot be ticked.

        A run holds its models: where it is ticked they go with it, so that taking the tick off one
        of them leaves it on the others.
        """
        content = self.content
        if not on:
            self.selected.difference_update(ids)
            for id_ in ids:
                maker = content.maker(id_)
                if maker in self.selected:
                    others = set(content.models_of(maker)["model_id"]) - {id_}
                    self.selected.discard(maker)
                    self.selected |= others & content.deletable()
            return
        wanted = content.deletable().intersection(ids)
        for id_ in wanted:
            maker = content.maker(id_)
            if maker not in self.selected and maker not in wanted:
                self.selected.add(id_)
            if id_ in content.holders and not content.is_model(id_):
                own = content.models["model_id"].iloc[content.holders[id_]]
                self.selected.difference_update(set(own) - {id_})

    def chosen(self) -> list[str]:
        """Return what is ticked: runs in the table's order, then models of runs."""
        frame = self.content.frame
        if not self.selected or "run_id" not in frame:
            return []
        ids = [str(id_) for id_ in frame.loc[frame["run_id"].isin(self.selected), "run_id"]]
        rest = self.selected.difference(ids)
        if not rest:
            return ids
        models = self.content.models["model_id"]
        return ids + [str(id_) for id_ in models[models.isin(rest)]]

    def totals(self) -> Totals:
        """Return the footer's numbers."""
        found = totals(self.content.frame, self.positions, self.selected)
        loose = len(self.content.frame) - self.content.runs
        found = replace(found, runs=self.content.runs, models=loose)
        own = [id_ for id_ in self.selected if id_ not in self.content.place]
        if not own:
            return found
        models = self.content.models
        sizes = models.loc[models["model_id"].isin(own), "bytes"]
        return replace(
            found,
            selected=found.selected + len(sizes),
            selected_bytes=found.selected_bytes + int(sizes.sum()),
            selected_measured=found.selected_measured + int(sizes.notna().sum()),
        )

    def table(self) -> pd.DataFrame:
        """Return what matches, in order, as a copy."""
        return self.content.frame.iloc[self.positions].reset_index(drop=True).copy()
