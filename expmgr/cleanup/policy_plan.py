"""From a policy to a plan: measure the experiments, select among their models, plan those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.catalog.facts import facts_of
from expmgr.catalog.policy import Asking
from expmgr.cleanup.plan import DeletionPlan
from expmgr.cleanup.selection import only_selected
from expmgr.cleanup.tables import loading
from expmgr.cleanup.usage import scan_roots
from expmgr.errors import InvalidInputError, StorageError
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import iter_experiments, select_experiments

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    from expmgr.catalog.facts import Facts
    from expmgr.cleanup.planner import Planner
    from expmgr.cleanup.selection import Selection
    from expmgr.cleanup.survey import Survey

__all__ = ["plan_policy"]

_PARTS = ("model", "raw", "optimizer")
"""What of a model; other parts are of a run."""


def plan_policy(
    planner: Planner,
    survey: Survey,
    selection: str | Iterable[str] | None,
    select: Callable[[Sequence[Facts], Asking], Selection],
    *,
    part: str = "model",
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
    if part not in _PARTS:
        message = f"part must be one of {', '.join(_PARTS)}, not {part!r}."
        raise InvalidInputError(message)
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
        models = facts_of(surveyed.catalog, names)
    selected = select(models, Asking(now_ms(), _user()))
    if not selected.ids:
        return DeletionPlan(kept=selected.kept, note=selected.note, home=planner.home)
    plan = planner.plan(
        selected.ids, part=part, makers=selected.makers, on_progress=on_progress, cancel=cancel
    )
    return only_selected(plan, selected)


def _user() -> str:
    """Return whom MLflow would record now as the one who made a run, or ""."""
    from mlflow.tracking.context.default_context import DefaultRunContext
    from mlflow.utils.mlflow_tags import MLFLOW_USER

    try:
        return str(DefaultRunContext().tags().get(MLFLOW_USER) or "")
    except (OSError, KeyError):  # getpass: a container without a name for its user
        return ""
