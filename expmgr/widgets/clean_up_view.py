"""The Clean up view: a policy as controls, what it would do, and one confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.text import escape
from expmgr.widgets.clean_up_html import (
    PAGE,
    going_html,
    in_order,
    script_html,
    staying_html,
    sum_words,
)
from expmgr.widgets.errand_line import ErrandLine, failures_html
from expmgr.widgets.notice import Notice
from expmgr.widgets.pager import Pager
from expmgr.widgets.session.clean_up import PARTS, PERS
from expmgr.widgets.session.cleaning import EVERYTHING, GRACE
from expmgr.widgets.toolbar import STATUS_CHOICES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import ipywidgets as widgets

    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.cleaning import Cleaning
    from expmgr.widgets.session.session import Session

__all__ = ["CleanUpView"]

COUNTS = (1, 2, 3, 5, 10, 20, 50)
_READ_ONLY = (
    '<span role="note">This page is read-only: it shows what a policy would take, and deletes '
    "nothing.</span>"
)


class CleanUpView:
    """The widgets of the view, made when it is first shown.

    Attributes
    ----------
    older_than, larger_than, status, owner, best, last, per, part, experiment
        The controls of the policy.
    word
        The box for the word that lets a policy take everything.
    line
        Delete, or Mark, and what becomes of it; None in a read-only browser.
    when
        When it goes; None in a read-only browser.
    """

    def __init__(
        self, kit: Kit, session: Session, actions: OfferActions, loud: Callable[[], bool]
    ) -> None:
        self._kit = kit
        self._loading = session.loading
        cleaning = session.cleaning
        self._post = post = session.loop.post
        self._listed: tuple[DeletionPlan | None, bool, int] | None = None
        self._experiments: tuple[tuple[str, str], ...] = ()

        def ask(name: str) -> Callable[[Any], None]:
            def changed(value: Any) -> None:
                if loud():
                    post(lambda: cleaning.ask(**{name: value}))

            return changed

        start = cleaning.asked
        self.older_than = kit.text(
            "any age",
            ask("older_than"),
            "xm-short",
            value=start.older_than,
            tooltip="Older than: an age such as 30d, 12h or 2w; empty for any",
        )
        self.larger_than = kit.text(
            "any size",
            ask("larger_than"),
            "xm-short",
            value=start.larger_than,
            tooltip="Larger than: a size such as 500MB or 1GB; empty for any",
        )
        self.status = kit.choice(
            STATUS_CHOICES, ask("status"), tooltip="Status of the run that made it"
        )
        self.owner = kit.choice(
            [("Anybody's", False), ("Only mine", True)], ask("mine"), tooltip="Who made it"
        )
        self.experiment = kit.choice(
            [("All experiments", "")], ask("experiments"), tooltip="Experiment to clean up"
        )
        counts = [("none", 0), *((f"{count}", count) for count in COUNTS)]
        self.best = kit.choice(
            counts,
            ask("best"),
            "xm-count-of",
            tooltip="How many of the best stay",
            value=start.best,
        )
        self.last = kit.choice(
            counts, ask("last"), "xm-count-of", tooltip="How many of the newest stay"
        )
        self.per = kit.choice(PERS, ask("per"), "xm-per", tooltip="Of which groups they stay")
        self.part = kit.choice(PARTS, ask("part"), "xm-part", tooltip="What of it goes")
        self.word = kit.text(
            f"Type {EVERYTHING}",
            ask("word"),
            "xm-word",
            tooltip=f"Type {EVERYTHING} to let it take every model that nothing protects",
        )
        self.word.layout = kit.gone
        self.notice = Notice(
            kit,
            "planning",
            cancel=lambda: post(cleaning.cancel),
            retry=lambda: post(cleaning.plan_anew),
        )
        self._told = kit.box((self.notice.box,), "xm-notices")
        self.when: widgets.Dropdown | None = None
        self.line: ErrandLine | None = None
        if not session.read_only:
            self.when = kit.choice(
                GRACE,
                lambda after: post(lambda: cleaning.wait_for(after)) if loud() else None,
                "xm-when",
                tooltip="When it goes: until then anybody can keep it",
            )
            self.line = ErrandLine(kit, actions, lambda: post(cleaning.press), self.when)
        self.again_button = kit.button(
            "Plan again", lambda: post(cleaning.plan_anew), tooltip="Look again what would go"
        )
        self.sum = kit.html("", "xm-sum")
        self.order = kit.choice(
            [("Newest first", False), ("Largest first", True)],
            lambda size: post(lambda: cleaning.list_by(size=size)) if loud() else None,
            tooltip="Order of what goes",
        )
        self.pager = Pager(kit, "what goes", lambda page: post(lambda: cleaning.turn(page)))
        self.failures = kit.html("")
        self.going = kit.html("", "xm-going")
        self.staying = kit.html("", "xm-staying")
        self.script = kit.html("")
        said = self._said
        where = (
            *(said("Older than"), self.older_than, said("larger than"), self.larger_than),
            *(self.status, self.owner, self.experiment),
        )
        keep = (
            *(said("Keep the best"), self.best, said("and the last"), self.last),
            *(said("of each"), self.per, said("Take"), self.part),
        )
        self._controls = tuple(one for one in (*where, *keep) if hasattr(one, "disabled"))
        parts = (
            kit.box(where, "xm-bar-line"),
            kit.box(keep, "xm-bar-line"),
            kit.html(_READ_ONLY, "xm-read-only") if self.line is None else self.line.box,
            self.failures,
            kit.box(
                (self.sum, self._told, self.word, self.order, self.again_button),
                "xm-bar-line",
                "xm-sums",
            ),
            self.going,
            self.pager.box,
            self.staying,
            self.script,
        )
        self.box = kit.box(parts, "xm-view", "xm-clean-up")

    def _said(self, words: str) -> widgets.HTML:
        return self._kit.html(f'<span class="xm-label">{escape(words)}</span>')

    def offer_experiments(self, experiments: Mapping[str, int | None]) -> None:
        """Set the experiments that can be chosen, keeping what is chosen."""
        options = (("All experiments", ""), *((name, name) for name in experiments))
        if options != self._experiments:
            self._experiments = options
            chosen = self.experiment.value
            self.experiment.options = options
            self.experiment.value = chosen if chosen in experiments else ""

    def show(self, cleaning: Cleaning) -> None:
        """Draw what is asked for, planned and done."""
        kit, deletion = self._kit, cleaning.deletion
        busy = deletion is not None and deletion.busy
        self._show_controls(cleaning, busy=busy)
        self.notice.show(cleaning.message)
        self._told.layout = kit.shown if cleaning.message.text else kit.gone
        self.sum.layout = kit.gone if cleaning.message.text else kit.shown
        self.word.layout = kit.shown if cleaning.wants_word else kit.gone
        if not cleaning.wants_word and not cleaning.asked.everything:
            self.word.value = ""
        if self.line is not None and self.when is not None:
            able = cleaning.fresh and cleaning.count > 0
            models = format_count(cleaning.count, "model") if able else "models"
            label = f"{'Mark' if cleaning.after else 'Delete'} {models} …"
            words = _waits(cleaning) if able else ""
            self.line.show(deletion, label, words, able=able, about="that the list shows")
            self.when.layout = kit.shown if deletion is None else kit.gone
        self.failures.value = failures_html(deletion)
        self.again_button.disabled = busy
        self._show_plan(cleaning)
        self.script.value = script_html(cleaning.script)

    def _show_controls(self, cleaning: Cleaning, *, busy: bool) -> None:
        asked = cleaning.asked
        chosen = asked.experiments if isinstance(asked.experiments, str) else ""
        held: tuple[tuple[Any, Any], ...] = (
            (self.status, asked.status),
            (self.owner, asked.mine),
            (self.best, asked.best),
            (self.last, asked.last),
            (self.per, asked.per),
            (self.part, asked.part),
            (self.experiment, chosen if (chosen, chosen) in self._experiments else ""),
            (self.order, cleaning.by_size),
        )
        for control, value in held:
            if control.value != value:
                control.value = value
        for control in self._controls:
            control.disabled = busy
        if self.when is not None:
            self.when.disabled = busy or not asked.can_wait
            if self.when.value != cleaning.after:
                self.when.value = cleaning.after

    def _show_plan(self, cleaning: Cleaning) -> None:
        plan = cleaning.plan
        deletion = cleaning.deletion
        ended = deletion is not None and deletion.phase == "ended"
        old = " xm-old" if ended or not cleaning.fresh else ""
        words = "" if plan is None else ("As it was planned: " if ended else "") + sum_words(plan)
        if plan is not None and self._loading.filter_string:
            words += ". The MLflow filter of the Runs view does not count here"
        self.sum.value = f'<span class="xm-words{old}" role="status">{escape(words, 600)}</span>'
        self.order.layout = self._kit.shown if cleaning.count > 1 else self._kit.gone
        shown = (plan, cleaning.by_size, cleaning.page)
        if self._listed is not None and all(
            one is other for one, other in zip(shown, self._listed, strict=True)
        ):
            return
        self._listed = shown
        runs = [] if plan is None else in_order(plan, by_size=cleaning.by_size)
        pages = max(1, -(-len(runs) // PAGE))
        page = min(cleaning.page, pages - 1)
        self.going.value = going_html(runs, page)
        self.pager.show(page, pages)
        self.staying.value = "" if plan is None else staying_html(plan)


def _waits(cleaning: Cleaning) -> str:
    plan = cleaning.plan
    size = "" if plan is None else format_bytes(plan.bytes)
    if cleaning.after:
        return f"{size}: a mark only; it goes when delete_due() runs then, and Keep takes it back"
    return f"{size}: asks once before anything goes"
