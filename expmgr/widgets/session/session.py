"""What the browser does, one thing at a time, on its loop's thread. It knows no widget.

A view draws it and posts to it: the view's every wish is a method here that returns at once, and
each change is told to the view as the part of the page that is to be drawn again.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.catalog.model import KEEP_TAG
from expmgr.catalog.parts import is_named
from expmgr.catalog.reason import Reason, Reasons
from expmgr.errors import InvalidInputError
from expmgr.formatting import format_count
from expmgr.text import escape
from expmgr.widgets.columns import (
    MOST_COMPARED,
    Context,
    column_of,
    compare_url,
    default_columns,
)
from expmgr.widgets.session.cleaning import CLEAN_UP, Cleaning
from expmgr.widgets.session.deletion import describe_failure
from expmgr.widgets.session.dialogues import MANY, Dialogues, Listener
from expmgr.widgets.session.keeping import Keeping
from expmgr.widgets.session.lines import Lines
from expmgr.widgets.session.loading import Loading
from expmgr.widgets.session.logbook import DUE, Logbook
from expmgr.widgets.session.looking import Looking
from expmgr.widgets.session.loop import Loop
from expmgr.widgets.session.measuring import Measuring
from expmgr.widgets.session.message import Message
from expmgr.widgets.session.query import but_the_best, deletable_mask
from expmgr.widgets.session.stale import (
    candidates,
    interrupted_runs,
    killing_interrupted,
    killing_stale,
    stale_days,
)
from expmgr.widgets.session.words import Asked
from expmgr.widgets.view_state import check_view

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from expmgr.results import DeletionResult
    from expmgr.widgets.columns import Column
    from expmgr.widgets.session.deletion import Deletion, Offer

    class View(Protocol):
        """What draws. Every call comes on the session's loop."""

        def draw_page(self) -> None: ...
        def draw_line(self, id_: str) -> None: ...
        def draw_many(self) -> None: ...
        def draw_footer(self) -> None: ...
        def draw_loading(self) -> None: ...
        def draw_measuring(self) -> None: ...
        def draw_details(self) -> None: ...
        def draw_query(self) -> None: ...
        def draw_columns(self) -> None: ...
        def draw_choices(self) -> None: ...
        def draw_pictures(self) -> None: ...
        def draw_clean_up(self) -> None: ...
        def draw_log(self) -> None: ...
        def draw_views(self) -> None: ...


__all__ = ["CLEAN_UP_VIEW", "LOG_VIEW", "RUNS_VIEW", "Session", "views_of"]

RUNS_VIEW, CLEAN_UP_VIEW, LOG_VIEW = "runs", "clean up", "deletions"
"""What the browser shows."""

_TYPING = 0.2
"""Seconds that typing pauses before a search."""


def views_of(manager: Any) -> tuple[str, ...]:
    """Return what a browser of this manager can show: what it plans and keeps a log of."""
    needs = {RUNS_VIEW: "runs", CLEAN_UP_VIEW: "plan_cleanup", LOG_VIEW: "deletion_log"}
    return tuple(view for view, method in needs.items() if hasattr(manager, method))


def _tells_models(deletion: Deletion) -> bool:
    """Whether its results tell what became of whole models: those of a plan that takes them."""
    return bool(deletion.going) and not any(is_named(run.part) for run in deletion.going)


class Session:
    """A browser without a page.

    Parameters
    ----------
    manager
        An ``ExperimentsManager``; only its public face is used.
    experiments, filter_string
        As in ``manager.runs``.
    page_size
        Lines on a page.
    read_only
        Refuses whatever would change anything.
    take_back, patience, stale_after, measure, inventory
        As in `expmgr.widgets.browser.RunBrowser`.
    draw_pictures
        Draws a table as HTML; in the pool, as it takes a second.

    Attributes
    ----------
    loop
        Where everything happens: ``loop.call`` and ``loop.post`` are the way in.
    view
        What draws; it must be set before anything is posted.
    lines, dialogues, loading, measuring, looking, keeping, cleaning, logbook
        The parts of the state.
    views
        What can be shown: the runs; to clean up, where the manager plans that; what was deleted,
        where it keeps a log.
    shown
        Which of them is.
    columns
        What the table shows.
    pictures
        The pictures as HTML, None while the table is shown.
    """

    view: View

    def __init__(
        self,
        manager: Any,
        *,
        experiments: Any = None,
        filter_string: str = "",
        page_size: int = 25,
        read_only: bool = False,
        take_back: float = 15.0,
        patience: float = 4.0,
        stale_after: float = 7.0,
        measure: bool = True,
        inventory: bool | str = False,
        draw_pictures: Callable[[pd.DataFrame], str] | None = None,
    ) -> None:
        self.manager = manager
        self.read_only = read_only
        self.main_metric = str(getattr(manager, "main_metric", ""))
        self.is_loss = bool(getattr(manager, "is_loss", False))
        self.columns: tuple[Column, ...] = default_columns(self.main_metric)
        self.pictures: str | None = None
        self._draw = draw_pictures
        self._picture_task: asyncio.Task[None] | None = None
        self._stale: dict[str, float] = {}
        self._interrupted: dict[str, datetime] = {}
        self._stale_task: asyncio.Task[None] | None = None
        self._stale_after = stale_after
        self._measure_first = measure
        self._search: Any = None
        self.loop = loop = Loop("expmgr-browser", on_error=self._say_error)
        self.lines = Lines(page_size, self.main_metric, is_loss=self.is_loss)
        self.dialogues = Dialogues(
            manager,
            loop,
            Listener(
                changed=self._deletion_changed,
                finished=self._deletion_ended,
                killed=self._run_killed,
                name_of=self.lines.content.name,
            ),
            take_back=take_back,
            patience=patience,
            read_only=read_only,
        )
        self.measuring = Measuring(
            manager,
            loop,
            measured=self._measured,
            unfolds=self.lines.content.unfolds_in,
            changed=lambda: self.view.draw_measuring(),  # noqa: PLW0108 - as below
            patience=patience,
            inventory=inventory,
        )
        self.looking = Looking(
            manager,
            loop,
            changed=lambda: self.view.draw_details(),  # noqa: PLW0108 - the view comes later
            can_ask=hasattr(manager, "plan_deletion"),
            patience=patience,
        )
        self.keeping = Keeping(
            manager,
            loop,
            kept=self._kept,
            changed=lambda: self.view.draw_details(),  # noqa: PLW0108 - as above
        )
        self.cleaning = Cleaning(
            manager,
            loop,
            self.dialogues,
            experiments=experiments,
            changed=lambda: self.view.draw_clean_up(),  # noqa: PLW0108 - as above
            patience=patience,
        )
        self.logbook = Logbook(
            manager,
            loop,
            self.dialogues,
            experiments=experiments,
            all_bytes=lambda: self.lines.totals().all_bytes,
            changed=lambda: self.view.draw_log(),  # noqa: PLW0108 - as above
            patience=patience,
        )
        self.views = views_of(manager)
        self.shown = RUNS_VIEW
        self.loading = Loading(
            manager,
            loop,
            experiments=experiments,
            filter_string=filter_string,
            first=page_size,
            known=self.lines.content.tables,
            arrived=self._arrived,
            changed=self._loading_changed,
            patience=patience,
        )

    # ----------------------------------------------------------------------------------- to be told

    @property
    def context(self) -> Context:
        """What a cell needs to know."""
        plugin = getattr(self.manager, "plugin_name", "")
        return Context(
            now=datetime.now(timezone.utc),
            tracking_uri=getattr(self.manager, "tracking_uri", ""),
            main_metric=self.main_metric,
            prefix=f"{plugin} / " if plugin else "",
            stale=self._stale,
            interrupted=self._interrupted,
            largest=self.lines.content.largest(),
        )

    @property
    def checking(self) -> bool:
        """Whether it is still unknown what protects the lines."""
        return not self.lines.complete

    @property
    def note(self) -> str:
        """What the footer says besides its numbers."""
        return " · ".join(
            note for note in (self.measuring.note, self.loading.note, self._no_best()) if note
        )

    def _no_best(self) -> str:
        """Return that nothing is called best in an experiment, whose models all can be deleted."""
        names = self.lines.content.without_best()
        if not names:
            return ""
        where = names[0] if len(names) == 1 else f"{len(names):,} experiments"
        return f"no model in {where} has {self.main_metric}, so none is called best there"

    @property
    def nothing(self) -> str:
        """Why no line is shown, in words."""
        if not self.loading.complete:
            return "" if self.loading.loading else "No runs could be loaded."
        if len(self.lines.frame):
            asked = (f"{name} {value!r}" for name, value in self.lines.query.filters().items())
            return f"No run matches {', '.join(asked)}."
        if self.loading.filter_string:
            return f"No run matches the MLflow filter {self.loading.filter_string!r}."
        plugin = str(getattr(self.manager, "plugin_name", ""))
        if plugin and self.loading.experiments is None:
            return f"There are no runs yet in experiments that begin with '{plugin} / '."
        return "There are no runs yet."

    @property
    def compare(self) -> str:
        """Address of the MLflow UI's page that compares what is ticked, "" for none."""
        lines = self.lines
        if not 1 < len(lines.selected) <= MOST_COMPARED:
            return ""
        content = lines.content
        chosen = [id_ for id_ in lines.chosen() if not content.is_model(id_)]
        experiments = [str(content.value(run_id, "experiment_id")) for run_id in chosen]
        uri = getattr(self.manager, "tracking_uri", "")
        return compare_url(chosen, list(dict.fromkeys(experiments)), uri)

    def asked(self) -> Asked:
        """Return what is ticked."""
        lines = self.lines
        if not lines.selected:
            return Asked(checking=self.checking)
        totals = lines.totals()
        here = {record["id"] for record in lines.records}
        chosen = lines.chosen()
        return Asked(
            tuple(chosen),
            elsewhere=sum(1 for id_ in chosen if id_ not in here),
            bytes=totals.selected_bytes,
            all_bytes=totals.all_bytes,
            unmeasured=totals.selected - totals.selected_measured,
            checking=self.checking,
        )

    def offered_columns(self) -> list[str]:
        """Return the keys that a column can be made of, the usual ones first."""
        usual = [column.key for column in default_columns(self.main_metric)]
        keys = sorted(
            str(key)
            for key in self.lines.frame.columns
            if str(key).startswith(("metrics.", "params.", "tags.")) and key not in usual
        )
        return [*usual[1:], "run_id", "end_time", *keys]

    # -------------------------------------------------------------------------------------- loading

    def _say_error(self, error: BaseException) -> None:
        self.loading.say(Message(f"Something went wrong: {describe_failure(error)}", bad=True))

    def _loading_changed(self) -> None:
        self.view.draw_loading()
        self.view.draw_query()

    def _arrived(self, complete: bool, sent: float) -> None:
        lines, loading = self.lines, self.loading
        lines.take(loading.runs, sent, complete=complete, models=loading.models)
        self._interrupted = interrupted_runs(lines.frame, datetime.now(timezone.utc))
        self.view.draw_choices()
        self.view.draw_page()
        if not complete:
            return
        self.loop.start(self._make_searchable())
        away = lines.content.all_elsewhere()
        if away:
            loading.say(
                Message(
                    f"None of {format_count(away, 'model')} lies in this container: are account "
                    "and container the right ones? manager.check() tells more.",
                    bad=True,
                )
            )
        if self.looking.id:
            self.looking.follow(lines.record(self.looking.id))
        if not self.read_only:
            if self._stale_task is not None:
                self._stale_task.cancel()
            self._stale_task = self.loop.start(self._look_for_stale())
        if self._measure_first:
            self._measure_first = False
            self.measure()

    async def _make_searchable(self) -> None:
        """Make the text that a search looks into before somebody waits for it."""
        content = self.lines.content
        table = content.unsearched()
        if table is not None:
            content.keep_texts(table, await self.loop.work(table.texts))

    async def _look_for_stale(self) -> None:
        now = datetime.now(timezone.utc)
        runs = candidates(self.lines.frame, self._stale_after, now)
        stale: dict[str, float] = {}
        if runs:
            stale = await self.loop.work(
                lambda: stale_days(self.manager, runs, self._stale_after, now)
            )
        value = self.lines.content.value  # one may have been ended meanwhile
        stale = {id_: days for id_, days in stale.items() if value(id_, "status") == "RUNNING"}
        if stale != self._stale:
            self._stale = stale
            self.view.draw_page()

    def refresh(self) -> None:
        """Fetch what changed; lines forget what they said of ended deletions."""
        self.dialogues.forget_ended()
        self.view.draw_page()
        self.loading.refresh()

    def filter(self, filter_string: str) -> None:
        """Ask the server with another filter."""
        if filter_string != self.loading.filter_string or self.loading.failure:
            self.loading.filter_string = filter_string
            self.loading.start()
        self.view.draw_query()

    # ---------------------------------------------------------------------------------------- views

    def show(self, view: str) -> None:
        """Show another view; what it needs is asked for when it is first shown.

        Raises
        ------
        InvalidInputError
            There is no such view.
        """
        check_view(view, self.views)
        before, self.shown = self.shown, view
        if before != view:
            self.cleaning.leave()
            self.logbook.leave()
        self.view.draw_views()
        if view == CLEAN_UP_VIEW:
            self.cleaning.open()
        elif view == LOG_VIEW:
            self.logbook.open()

    # -------------------------------------------------------------------------------------- looking

    def ask(self, **changes: Any) -> None:
        """Change the query."""
        if "search" in changes and self._search is not None:
            self._search.cancel()  # what was typed before is not what is asked for now
        if not self.lines.ask(**changes):
            return
        if {"sort_by", "ascending", "flat"} & set(changes):
            self.view.draw_columns()
        self.view.draw_query()
        self.view.draw_page()

    def search_soon(self, text: str) -> None:
        """Search once typing pauses."""
        if self._search is not None:
            self._search.cancel()
        self._search = self.loop.later(_TYPING, lambda: self.ask(search=text))

    def sort(self, key: str) -> None:
        """Sort by a column, the other way round where it is sorted by it."""
        query = self.lines.query
        texts = ("run_name", "experiment_name", "status", "model", "protected_by")
        first_up = key in texts or key.startswith(("params.", "tags."))
        up = not query.ascending if key == query.sort_by else first_up
        self.ask(sort_by=key, ascending=up)

    def turn(self, where: str) -> None:
        """Turn the page: ``first``, ``previous``, ``next`` or ``last``."""
        lines = self.lines
        before = lines.page
        places = {
            "first": 0,
            "previous": before - 1,
            "next": before + 1,
            "last": lines.pages - 1,
        }
        lines.turn(places[where])
        if lines.page != before:
            self.view.draw_page()

    def resize(self, rows: int) -> None:
        """Change the lines on a page."""
        self.lines.resize(rows)
        self.view.draw_page()

    def show_columns(self, keys: Sequence[str]) -> None:
        """Show these columns, in this order."""
        usual = {column.key: column for column in default_columns(self.main_metric)}
        self.columns = tuple(usual.get(key) or column_of(key) for key in keys)
        self.view.draw_columns()
        self.view.draw_page()

    def unfold(self, id_: str) -> None:
        """Show what lies below a line, or hide it again."""
        self.lines.unfold(id_)
        self.view.draw_page()

    def open(self, id_: str) -> None:
        """Open or close a line's details."""
        if self.looking.id == id_:
            self.looking.close()
            self.view.draw_page()
            return
        record = self.lines.record(id_)
        if record is not None:
            self.looking.open(record)
            self.view.draw_page()

    def look(self) -> dict[str, Any]:
        """Return how the table is looked at, as `RunBrowser.view_state` says."""
        return {
            "columns": [column.key for column in self.columns],
            **asdict(self.lines.query),
            "filter_string": self.loading.filter_string,
            "page_size": self.lines.page_size,
            "view": self.shown,
        }

    def look_as(self, look: Mapping[str, Any]) -> None:
        """Look at the table in another way, or at another view; any part may be missing."""
        if "view" in look:
            self.show(look["view"])
        if "page_size" in look:
            self.lines.resize(look["page_size"])
        if "columns" in look:
            self.show_columns(look["columns"])
        others = ("columns", "page_size", "filter_string", "view")
        self.ask(**{name: value for name, value in look.items() if name not in others})
        if "filter_string" in look:
            self.filter(look["filter_string"])
        self.view.draw_page()

    # -------------------------------------------------------------------------------------- picking

    def tick(self, ids: Sequence[str], *, on: bool) -> None:
        """Tick or untick lines, a study with all that match below it."""
        before = set(self.lines.selected)
        ids = [one for id_ in ids for one in self.lines.family(id_)]
        self.lines.tick(ids, on=on)
        changed = before ^ self.lines.selected
        if len(ids) == 1 and changed == set(ids) and not self.lines.foldable:
            self.view.draw_footer()  # no other line's box follows
        else:
            self.view.draw_page()

    def tick_page(self, *, on: bool) -> None:
        """Tick or untick all lines of the page."""
        self.tick([record["id"] for record in self.lines.records], on=on)

    def pick(self, ids: Sequence[str]) -> None:
        """Tick exactly these."""
        self.lines.selected.clear()
        self.lines.tick(ids, on=True)
        self.view.draw_page()

    def pick_many(self, which: str) -> None:
        """Tick many: ``all``, ``none``, ``best N`` or ``best of each run``."""
        lines = self.lines
        if not lines.complete:
            return  # the best are known only among all
        if which == "all":
            shown = lines.frame.iloc[lines.positions]
            self.pick([str(id_) for id_ in shown.loc[deletable_mask(shown), "run_id"]])
        elif which == "best of each run":
            ids = lines.content.ids[lines.positions]
            holders = [str(id_) for id_ in ids if id_ in lines.content.holders]
            self.pick([one for id_ in holders for one in lines.but_its_best(id_)])
        elif which.startswith("best "):
            keep = int(which.removeprefix("best "))
            frame = lines.content.by_quality()
            found = but_the_best(
                frame, lines.positions, self.main_metric, keep, is_loss=self.is_loss
            )
            self.pick(found)
        else:
            self.pick([])

    def pick_but_its_best(self, run_id: str) -> None:
        """Tick the models of a run but for its best, and unfold it."""
        ids = self.lines.but_its_best(run_id)
        self.lines.tick(ids, on=True)
        record = self.lines.record(run_id)
        if ids and record is not None and not record.get("unfolded"):
            self.lines.unfold(run_id)
        self.view.draw_page()

    # ------------------------------------------------------------------------------------- deleting

    def press(self, id_: str) -> None:
        """Delete, Cancel, Stop or Close on a line."""
        name = self.lines.content.name(id_)
        deletion = self.dialogues.get(id_)
        if deletion is not None:
            self.dialogues.take_back(id_)
        elif id_ in self._interrupted:
            killing = killing_interrupted(self.manager, id_, self._interrupted[id_])
            self.dialogues.ask_to_kill(id_, name, killing)
        elif id_ in self._stale:
            killing = killing_stale(self.manager, id_, self._stale_after)
            self.dialogues.ask_to_kill(id_, name, killing)
        else:
            family = self.lines.family(id_)
            if len(family) == 1:
                self.dialogues.ask(id_, name)
            else:
                self.dialogues.ask_many(self._asked_of(family), id_=id_, name=name)

    def is_interrupted(self, id_: str) -> bool:
        """Whether a line is a run whose lease ran out, which its button ends."""
        return id_ in self._interrupted

    def would_ask(self, id_: str) -> tuple[str, ...]:
        """Return what a deletion on a line asks for: a study's is what can go of it."""
        family = self.lines.family(id_)
        return (id_,) if len(family) == 1 else self._asked_of(family).ids

    def _asked_of(self, ids: Sequence[str]) -> Asked:
        """Return what a study's deletion asks for: whatever can go, and what it weighs."""
        frame = self.lines.frame
        able = self.lines.content.deletable().intersection(ids)
        rows = frame[frame["run_id"].isin(able)]
        all_bytes = int(frame["bytes"].sum())
        return Asked(
            tuple(id_ for id_ in ids if id_ in able),
            bytes=int(rows["bytes"].sum()),
            all_bytes=all_bytes,
            unmeasured=int(rows["bytes"].isna().sum()),
        )

    def press_many(self) -> None:
        """Delete selected, Cancel, Stop or Close above the table."""
        if self.dialogues.get(MANY) is None:
            self.dialogues.ask_many(self.asked())
        else:
            self.dialogues.take_back(MANY)

    def delete_picked(self, *, confirmed: bool = False) -> None:
        """Ask to delete what is ticked; raises InvalidInputError where nothing may be changed."""
        if self.read_only:
            raise InvalidInputError("this browser is read-only: it deletes nothing.")
        self.dialogues.ask_many(self.asked(), confirmed=confirmed)

    def confirm(self, id_: str, offer: Offer) -> None:
        """Second click."""
        self.dialogues.confirm(id_, offer)

    def _deletion_changed(self, id_: str) -> None:
        if id_ == MANY:
            self.view.draw_many()
            return
        if id_ == CLEAN_UP:
            self.view.draw_clean_up()
            return
        if self.shown == LOG_VIEW:
            self.view.draw_log()
        if id_ == DUE:
            return
        if id_ == "*":
            self.view.draw_page()
            return
        self.view.draw_line(id_)
        deletion = self.dialogues.get(id_)
        if self.looking.id == id_ and (deletion is None or not deletion.busy):
            self.view.draw_details()

    def _deletion_ended(self, deletion: Deletion, results: Sequence[DeletionResult]) -> None:
        many = deletion.kind == "many"
        self.logbook.stale = True
        if deletion.kind == "keep" and deletion.outcome != "not_found":
            self.logbook.note_kept(deletion.id)
        if deletion.kind in ("keep", "restore") or (many and not _tells_models(deletion)):
            # what it came to stands in tags and in the storage, not in its results
            self.loading.refresh()
            if self.measuring.measured_at is not None:
                self.measure()
            return
        planned = {
            run.id: [one.model.id for one in run.locations]
            for run in deletion.going
            if all(one.model is not None for one in run.locations)
        }
        self.lines.ended(*results, planned=planned)
        if any(result.outcome == "failed" and result.attempts for result in results):
            self.loading.refresh()  # some of it may have gone: the journal tells
        if self.looking.id in {result.run_id for result in results}:
            record = self.lines.record(self.looking.id)
            if record is not None:
                self.looking.open(record)  # what it said is of before
        for result in results if many else ():
            if result.outcome == "failed" and result.run_id != deletion.id:
                self.dialogues.settle(result, self.lines.content.name(result.run_id))
            elif result.outcome == "deleted" and result.run_id != deletion.id:
                self.dialogues.forget_failure(result.run_id)
        self.view.draw_choices()
        if many or self.lines.foldable:  # what it belonged to changes with it
            self.view.draw_page()
        else:
            self.view.draw_footer()

    def _run_killed(self, run_id: str) -> None:
        self._stale.pop(run_id, None)
        leased = self._interrupted.pop(run_id, None) is not None
        held = self.lines.content.value(run_id, "protected_by")
        self.lines.content.change(
            run_id,
            {
                "status": "KILLED",
                "protected_by": held.without("active") if isinstance(held, Reasons) else held,
                "end_time": pd.Timestamp(datetime.now(timezone.utc)),
            },
        )
        if leased:
            self.logbook.stale = True
            self.loading.refresh()  # what it left half done has gone

    # -------------------------------------------------------------------------------------- keeping

    def keep(self, id_: str, reason: str) -> None:
        """Keep the opened line for a reason, or take back what keeps it.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        if self.read_only:
            raise InvalidInputError("this browser is read-only: it keeps nothing.")
        if id_ == self.looking.id:
            self.keeping.toggle(id_, self.looking.kept, reason)

    def _kept(self, id_: str, reason: str) -> None:
        """Follow a pin that was set, or taken back ("")."""
        content = self.lines.content
        whose = "model" if content.is_model(id_) else "run"
        pinned = (Reason("pinned", f"the {whose} has the tag {KEEP_TAG}", id_),) if reason else ()
        below = (
            {str(one) for one in content.models_of(id_)["model_id"]}
            if whose == "run" and (id_ in content.holders)
            else set()
        )
        for one in {id_, *below}:
            held = content.value(one, "protected_by")
            if held is None or isinstance(held, Reasons):
                parts = held.parts if held is not None else ()
                others = [part for part in parts if (part.kind, part.subject) != ("pinned", id_)]
                held = Reasons((*others, *pinned))
            self.lines.content.change(one, {"protected_by": held})
        self.lines.content.change(id_, {f"tags.{KEEP_TAG}": reason or None})
        maker = content.maker(id_)
        content.sum_up(maker)
        deletion = self.dialogues.get(id_)
        if reason and deletion is not None and deletion.phase in ("planning", "armed"):
            self.dialogues.take_back(id_)
        if reason:
            self.lines.tick([id_, *below], on=False)
            self.lines.selected &= content.deletable()
        self.looking.note_kept(id_, reason)
        self.view.draw_page()

    # ------------------------------------------------------------------------------------ measuring

    def measure(self) -> None:
        """Ask the storage account for all sizes."""
        frame = self.lines.frame
        if "experiment_id" in frame and hasattr(self.manager, "storage_usage"):
            self.measuring.start(list(dict.fromkeys(frame["experiment_id"])))

    def _measured(self, usage: pd.DataFrame, models: pd.DataFrame | None, sent: float) -> None:
        self.lines.measured(usage, sent)
        if models is not None:
            self.lines.measured(models, sent)
        self.view.draw_choices()
        if not self.measuring.busy and self.lines.query.sort_by in ("bytes", "files"):
            self.lines.recompute()  # once, at the end: rows do not run about under the pointer
        self.view.draw_page()

    # ------------------------------------------------------------------------------------- pictures

    def toggle_pictures(self) -> None:
        """Change between the table and the pictures."""
        self.pictures = None if self.pictures is not None else ""
        self.draw_pictures()

    def draw_pictures(self) -> None:
        """Draw the table's pictures anew, where they are shown."""
        if self._picture_task is not None:
            self._picture_task.cancel()
        if self.pictures is not None and self._draw is not None:
            self._picture_task = self.loop.start(self._draw_pictures(self._draw))
        self.view.draw_pictures()

    async def _draw_pictures(self, draw: Callable[[pd.DataFrame], str]) -> None:
        table = self.lines.table()
        try:
            self.pictures = await self.loop.work(lambda: draw(table))
        except Exception as error:  # noqa: BLE001 - shown in their place
            self.pictures = f'<p class="xm-bad">{escape(describe_failure(error), 400)}</p>'
        self.view.draw_pictures()

    # ------------------------------------------------------------------------------------------ end

    def close(self) -> None:
        """Stop the background work; deletions end after their batches in flight."""
        self.dialogues.cancel_all()
        self.cleaning.stop()
        self.measuring.stop()
        self.loop.close()
