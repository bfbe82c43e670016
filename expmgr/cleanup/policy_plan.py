"""From a policy to a plan: measure the experiments, select among their models, plan those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.catalog.facts import facts_of, facts_of_runs
from expmgr.catalog.parts import is_named, is_of_run
from expmgr.catalog.policy import Asking
from expmgr.cleanup.plan import DeletionPlan
from expmgr.cleanup.selection import only_selected
from expmgr.cleanup.usage import scan_roots
from expmgr.collector import loading
from expmgr.errors import StorageError
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import iter_experiments, select_experiments
from expmgr.tracking.user import user_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    from expmgr.catalog.facts import Facts
    from expmgr.catalog.model import Size
    from expmgr.catalog.parts import Part
    from expmgr.catalog.usage import Scan
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.planner import Planner
    from expmgr.cleanup.selection import Selection
    from expmgr.cleanup.survey import Survey, Surveyed

__all__ = ["plan_policy"]


def plan_policy(
    planner: Planner,
    survey: Survey,
    selection: str | Iterable[str] | None,
    select: Callable[[Sequence[Facts], Asking], Selection],
    *,
    part: Part = "model",
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> DeletionPlan:
    """Return the plan of what ``select`` selects; nothing is changed.

    Protection is asked twice, by the same rules: of everything at once for the selection, and by
    the plan's own questions for what was selected.

    Parameters
    ----------
    selection
        Of experiments, as `select_experiments` takes it.

    Raises
    ------
    InvalidInputError
        ``select`` refuses.
    NotFoundError, TrackingError, StorageError
        An experiment is not there, or something could not be asked.
    """
    client = planner.client
    every = list(iter_experiments(client, deleted=True))
    finder = planner.finder(every)
    chosen = select_experiments(every, selection, survey.is_own)
    cancelled = DeletionPlan(note="the planning was cancelled", home=planner.home)
    try:
        scan = scan_roots(finder, every, chosen, cancel=cancel)
    except StorageError:
        if cancel is not None and cancel.is_set():
            return cancelled
        raise
    if cancel is not None and cancel.is_set():
        return cancelled
    survey.remember(scan)
    with loading():
        surveyed = survey.read(client, finder, every, [one.experiment_id for one in chosen])
        names = {one.experiment_id: str(one.name) for one in surveyed.experiments}
        models = () if is_of_run(part) else facts_of(surveyed.catalog, names)
        runs: tuple[Facts, ...] = ()
        if is_named(part):
            began = {run.info.run_id: run.info.start_time or 0 for run in surveyed.runs}
            runs = facts_of_runs(surveyed.catalog, names, began, _beside(finder, surveyed, scan))
            models = tuple(model for model in models if model.kind != "raw")
    asking = Asking(now_ms(), user_name())
    selected = select(models, asking)
    if is_named(part):
        selected = selected.plus(select(runs, asking))
    if not selected.ids:
        return DeletionPlan(kept=selected.kept, note=selected.note, home=planner.home)
    plan = planner.plan(
        selected.ids,
        part=part,
        makers=selected.makers,
        leave=selected.left,
        on_progress=on_progress,
        cancel=cancel,
    )
    return only_selected(plan, selected)


def _beside(finder: Finder, surveyed: Surveyed, scan: Scan) -> dict[str, Size]:
    """Return what runs have beside their models, of those that have something."""
    by_run = surveyed.catalog.by_run()
    found: dict[str, Size] = {}
    for run in surveyed.runs:
        path = finder.path_or_none(run.info.artifact_uri)
        folder = None if path is None else scan.folder(path)
        if path is None or folder is None:
            continue
        models = [one for one in by_run.get(run.info.run_id, ()) if one.kind == "directory"]
        size = folder.size.minus(folder.holding(path, models))
        if size.files:
            found[run.info.run_id] = size
    return found
