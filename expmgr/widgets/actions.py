"""What the browser does, one thing at a time, on its loop's thread."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.catalog.model import KEEP_TAG
from expmgr.catalog.reason import Reason, Reasons
from expmgr.formatting import format_count
from expmgr.text import escape
from expmgr.widgets.bulk import Ticked
from expmgr.widgets.columns import (
    MOST_COMPARED,
    Context,
    column_of,
    compare_url,
    default_columns,
)
from expmgr.widgets.deletion import describe_failure
from expmgr.widgets.pictures import draw_pictures
from expmgr.widgets.stale import candidates, stale_days
from expmgr.widgets.table import Surroundings
from expmgr.widgets.theme import style_sheet
from expmgr.widgets.view import but_the_best, deletable_mask, whoami

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import ipywidgets as widgets

    from expmgr.results import DeletionResult
    from expmgr.widgets.bulk import BulkDeletion
    from expmgr.widgets.columns import Column
    from expmgr.widgets.deletion import Deletion, Deletions
    from expmgr.widgets.details import Details
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.loader import Loader
    from expmgr.widgets.loop import Job, Loop, Timer
    from expmgr.widgets.notice import Notice
    from expmgr.widgets.shown import ShownRuns
    from expmgr.widgets.sizes import SizeScan
    from expmgr.widgets.table import RunTable
    from expmgr.widgets.toolbar import Footer, Toolbar

__all__ = ["BrowserActions"]


class BrowserActions:
    """The moving part of `RunBrowser`, which builds the fixed part."""

    manager: Any
    read_only: bool
    toolbar: Toolbar
    footer: Footer
    notice: Notice
    bulk: BulkDeletion | None
    details: Details
    _kit: Kit
    _loop: Loop
    _loader: Loader
    _sizes: SizeScan
    _deletions: Deletions
    _table: RunTable
    _runs: ShownRuns
    _style: widgets.HTML
    _pictures: widgets.HTML
    _scope: str
    _main_metric: str
    _columns: tuple[Column, ...]
    _stale: dict[str, float]
    _stale_after: float
    _search_timer: Timer | None
    _picture_job: Job | None
    _show_pictures: bool
    _measure_first: bool

    def _now(self) -> datetime:
        return datetime.now(timezone.utc)

    def _context(self) -> Context:
        plugin = getattr(self.manager, "plugin_name", "")
        return Context(
            now=self._now(),
            tracking_uri=getattr(self.manager, "tracking_uri", ""),
            main_metric=self._main_metric,
            prefix=f"{plugin} / " if plugin else "",
            stale=self._stale,
            largest=self._runs.largest(),
        )

    def _say_error(self, error: BaseException) -> None:
        self.notice.show(f"Something went wrong: {describe_failure(error)}", bad=True)

    def _arrived(self, frame: pd.DataFrame, complete: bool, sent: float) -> None:
        self._runs.take(frame, sent, complete=complete)
        self._loader.frame = self._runs.frame
        self._offer()
        self._draw()
        if not complete:
            return
        away = self._runs.all_elsewhere()
        if away:
            self.notice.show(
                f"None of {format_count(away, 'model')} lies in this container: are account and "
                "container the right ones? manager.check() tells more.",
                bad=True,
            )
        if not self.read_only:
            self._look_for_stale()
        if self._measure_first:
            self._measure_first = False
            self._measure()

    def _refresh(self) -> None:
        self._deletions.forget_ended()
        self._draw()
        self._loader.refresh()

    def _offer(self) -> None:
        frame = self._runs.frame
        usual = [column.key for column in default_columns(self._main_metric)]
        keys = sorted(
            str(key)
            for key in frame.columns
            if str(key).startswith(("metrics.", "params.", "tags.")) and key not in usual
        )
        self.toolbar.chooser.offer([*usual[1:], "run_id", "end_time", *keys])
        self.toolbar.offer_experiments(self._runs.experiments())
        self.toolbar.offer_owners(self._runs.owners(), whoami())
        self._show_query()

    def _look_for_stale(self) -> None:
        now = self._now()
        runs = candidates(self._runs.frame, self._stale_after, now)
        if not runs:
            self._stale = {}
            return

        def done(stale: dict[str, float] | None, error: Exception | None) -> None:
            if error is None and stale is not None and stale != self._stale:
                self._stale = stale
                self._draw()

        self._loop.work(lambda: stale_days(self.manager, runs, self._stale_after, now), done)

    def _ask(self, **changes: Any) -> None:
        if "search" in changes and self._search_timer is not None:
            self._search_timer.cancel()  # what was typed before is not what is asked for now
        if not self._runs.ask(**changes):
            return
        if "sort_by" in changes:
            self._draw_header()
        self._show_query()
        self._draw()

    def _filter_refused(self, why: str) -> None:
        self.toolbar.show_filter_error(why)
        self._show_query()

    def _show_query(self) -> None:
        self.toolbar.show_query(self._runs.query, self._loader.filter_string)

    def _filter(self, filter_string: str) -> None:
        if filter_string != self._loader.filter_string or self._loader.failure:
            self._loader.filter_string = filter_string
            self._loader.start()
        self._show_query()

    def _clear(self, names: Sequence[str]) -> None:
        if "search" in names:
            self.toolbar.search.value = ""
        self._ask(**{name: "" for name in names if name != "filter_string"})
        if "filter_string" in names:
            self.toolbar.filter_box.value = ""
            self._filter("")

    def _draw_header(self) -> None:
        query = self._runs.query
        self._table.show_columns(self._columns, query.sort_by, ascending=query.ascending)

    def _turn(self, where: str) -> None:
        runs = self._runs
        before = runs.page
        places = {
            "first": 0,
            "previous": before - 1,
            "next": before + 1,
            "last": runs.pages - 1,
        }
        runs.turn(places[where])
        if runs.page != before:
            self._draw()

    def _show_columns(self, keys: Sequence[str]) -> None:
        usual = {column.key: column for column in default_columns(self._main_metric)}
        self._columns = tuple(usual.get(key) or column_of(key) for key in keys)
        self._style.value = style_sheet(self._scope, self._columns)
        self.toolbar.chooser.show(keys)
        self._draw_header()
        self._draw()

    def _view(self) -> dict[str, Any]:
        query = self._runs.query
        return {
            "columns": [column.key for column in self._columns],
            **asdict(query),
            "filter_string": self._loader.filter_string,
            "page_size": self._runs.page_size,
        }

    def _look_as(self, view: Mapping[str, Any]) -> None:
        if "page_size" in view:
            self.footer.show_size(view["page_size"])
            self._runs.resize(view["page_size"])
        if "columns" in view:
            self._show_columns(view["columns"])
        others = ("columns", "page_size", "filter_string")
        if "search" in view:
            self.toolbar.search.value = view["search"]
        self._ask(**{name: value for name, value in view.items() if name not in others})
        if "filter_string" in view:
            self.toolbar.filter_box.value = view["filter_string"]
            self._filter(view["filter_string"])
        self._draw()

    def _draw(self) -> None:
        self._table.show_page(
            self._runs.records,
            self._surroundings(),
            page_size=self._runs.page_size,
            empty=self._empty_text(),
        )
        self._draw_footer()
        if self._show_pictures:
            self._draw_pictures()

    def _deletion_of(self, run_id: str) -> Deletion | None:
        with_others = self.bulk.deletion_of(run_id) if self.bulk is not None else None
        return with_others or self._deletions.get(run_id)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._context(),
            deletion_of=self._deletion_of,
            selected=self._runs.selected,
            opened=(self.details.run_id, self.details.box) if self.details.run_id else None,
            checking=not self._runs.complete,
        )

    def _empty_text(self) -> str:
        """Return why no run is shown, as HTML."""
        if not self._loader.complete:
            return "" if self._loader.loading else "No runs could be loaded."
        query = self._runs.query
        if len(self._runs.frame):
            asked = ", ".join(f"{name} {value!r}" for name, value in query.filters().items())
            return escape(f"No run matches {asked}.", 400)
        if self._loader.filter_string:
            return escape(f"No run matches the MLflow filter {self._loader.filter_string!r}.", 400)
        plugin = str(getattr(self.manager, "plugin_name", ""))
        if plugin and self._loader.experiments is None:
            return escape(f"There are no runs yet in experiments that begin with '{plugin} / '.")
        return "There are no runs yet."

    def _draw_footer(self) -> None:
        totals = self._runs.totals()
        self.footer.show(
            totals,
            page=self._runs.page + 1,
            pages=self._runs.pages,
            note=" · ".join(note for note in (self._sizes.note, self._no_best()) if note),
            complete=self._runs.complete,
            compare=self._compare(),
        )
        if self.bulk is not None:
            self.bulk.show_ticked()

    def _no_best(self) -> str:
        """Return that nothing is called best in an experiment, whose models all can be deleted."""
        names = self._runs.without_best()
        if not names:
            return ""
        where = names[0] if len(names) == 1 else f"{len(names):,} experiments"
        return f"no model in {where} has {self._main_metric}, so none is called best there"

    def _compare(self) -> str:
        if len(self._runs.selected) > MOST_COMPARED:
            return ""
        chosen = self._selected_in_order()
        experiments = [str(self._runs.value(run_id, "experiment_id")) for run_id in chosen]
        uri = getattr(self.manager, "tracking_uri", "")
        return compare_url(chosen, list(dict.fromkeys(experiments)), uri)

    def _row_changed(self, run_id: str) -> None:
        for row, record in zip(self._table.pool, self._runs.records, strict=False):
            if row.run_id == run_id:
                self._table.show_row(row, record, self._surroundings())
                break
        deletion = self._deletions.get(run_id)
        if self.details.run_id == run_id and (deletion is None or not deletion.busy):
            self.details.draw()

    def _press_row(self, run_id: str) -> None:
        name, deletion = self._runs.name(run_id), self._deletion_of(run_id)
        if deletion is not None and deletion.phase == "ended":
            self._deletions.forget(run_id)
        elif deletion is not None:
            self._deletions.take_back(run_id)
        elif run_id in self._stale:
            self._deletions.ask_to_kill(run_id, name, self._stale_after)
        else:
            self._deletions.ask(run_id, name)

    def _deletion_ended(self, result: DeletionResult) -> None:
        self._runs.ended(result)
        self.toolbar.offer_experiments(self._runs.experiments())
        self._draw_footer()

    def _run_killed(self, run_id: str) -> None:
        self._stale.pop(run_id, None)
        held = self._runs.value(run_id, "protected_by")
        self._runs.change(
            run_id,
            {
                "status": "KILLED",
                "protected_by": held.without("active") if isinstance(held, Reasons) else held,
                "end_time": pd.Timestamp(self._now()),
            },
        )

    def _kept(self, run_id: str, reason: str) -> None:
        """Follow a pin that was set, or taken back ("")."""
        held = self._runs.value(run_id, "protected_by")
        pinned = (Reason("pinned", f"the run has the tag {KEEP_TAG}", run_id),) if reason else ()
        if held is None or isinstance(held, Reasons):
            parts = held.parts if held is not None else ()
            others = [one for one in parts if (one.kind, one.subject) != ("pinned", run_id)]
            held = Reasons((*others, *pinned))
        self._runs.change(run_id, {"protected_by": held, f"tags.{KEEP_TAG}": reason or None})
        deletion = self._deletions.get(run_id)
        if reason and deletion is not None and deletion.phase in ("planning", "armed"):
            self._deletions.take_back(run_id)
        if reason:
            self._runs.tick([run_id], on=False)
        self.details.note_kept(run_id, reason)
        self._draw()

    def _bulk_ended(self, results: Sequence[DeletionResult]) -> None:
        for result in results:
            if result.outcome == "failed":
                self._deletions.settle(result, self._runs.name(result.run_id))
            else:
                self._runs.ended(result)
        self.toolbar.offer_experiments(self._runs.experiments())
        self._draw()

    def _selected_in_order(self) -> list[str]:
        frame, selected = self._runs.frame, self._runs.selected
        if not selected or "run_id" not in frame:
            return []
        return [str(run_id) for run_id in frame.loc[frame["run_id"].isin(selected), "run_id"]]

    def _ticked(self) -> Ticked:
        checking = not self._runs.complete
        if not self._runs.selected:
            return Ticked(checking=checking)
        totals = self._runs.totals()
        here = {str(record["run_id"]) for record in self._runs.records}
        chosen = self._selected_in_order()
        return Ticked(
            tuple(chosen),
            elsewhere=sum(1 for run_id in chosen if run_id not in here),
            bytes=totals.selected_bytes,
            all_bytes=totals.all_bytes,
            checking=checking,
        )

    def _select(self, run_ids: Sequence[str]) -> None:
        self._runs.selected.clear()
        self._runs.tick(run_ids, on=True)
        self._draw()

    def _select_many(self, which: str) -> None:
        runs = self._runs
        if not runs.complete:
            return  # the best are known only among all
        if which == "all":
            shown = runs.frame.iloc[runs.positions]
            self._select([str(run_id) for run_id in shown.loc[deletable_mask(shown), "run_id"]])
        elif which.startswith("best "):
            chosen = but_the_best(
                runs.frame,
                runs.positions,
                self._main_metric,
                int(which.removeprefix("best ")),
                is_loss=bool(getattr(self.manager, "is_loss", False)),
            )
            self._select(chosen)
        else:
            self._select([])

    def _tick(self, run_ids: Sequence[str], *, on: bool) -> None:
        self._runs.tick(run_ids, on=on)
        for run_id in run_ids:
            if len(run_ids) > 1 or (run_id in self._runs.selected) != on:
                self._row_changed(run_id)
        self._draw_footer()

    def _open(self, run_id: str) -> None:
        if self.details.run_id == run_id:
            self.details.close()
            self._draw()
            return
        record = self._runs.record(run_id)
        if record is not None:
            self.details.open(record, self._draw)

    def _measure(self) -> None:
        frame = self._runs.frame
        if "experiment_id" in frame and hasattr(self.manager, "storage_usage"):
            self._sizes.start(list(dict.fromkeys(frame["experiment_id"])))

    def _measured(self, usage: pd.DataFrame, sent: float) -> None:
        self._runs.measured(usage, sent)
        self.toolbar.offer_experiments(self._runs.experiments())
        if not self._sizes.busy and self._runs.query.sort_by in ("bytes", "files"):
            self._runs.recompute()  # once, at the end: rows do not run about under the pointer
        self._draw()

    def _toggle_pictures(self) -> None:
        self._show_pictures = not self._show_pictures
        kit = self._kit
        self.toolbar.pictures_button.description = "Table" if self._show_pictures else "Pictures"
        self._table.box.layout = kit.gone if self._show_pictures else kit.shown
        self.footer.pager.layout = self._table.box.layout
        self._pictures.layout = kit.shown if self._show_pictures else kit.gone
        if self._show_pictures:
            self._draw_pictures()

    def _draw_pictures(self) -> None:
        if self._picture_job is not None:
            self._picture_job.abandon()
        table = self._runs.table()
        if not self._pictures.value:
            words = f"Drawing {format_count(len(table), 'run')} …"
            self._pictures.value = f'<p class="xm-dim" role="status">{words}</p>'

        def done(html: str | None, error: Exception | None) -> None:
            self._picture_job = None
            why = describe_failure(error) if error else "nothing was drawn"
            self._pictures.value = html or f'<p class="xm-bad">{escape(why, 400)}</p>'

        metric, is_loss = self._main_metric, bool(getattr(self.manager, "is_loss", False))
        self._picture_job = self._loop.work(
            lambda: draw_pictures(table, metric, is_loss=is_loss), done
        )
