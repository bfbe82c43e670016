"""What policies look at, of one model: plain values, read out of the catalog. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from expmgr.tracking.user import USER_TAG

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from expmgr.catalog.catalog import Catalog
    from expmgr.catalog.model import Maker, ModelKind, Size
    from expmgr.catalog.reason import Reason

__all__ = ["Facts", "facts_of", "facts_of_runs"]

_PARENT_TAG = "mlflow.parentRunId"
"""``mlflow.utils.mlflow_tags.MLFLOW_PARENT_RUN_ID``"""


@dataclass(frozen=True, slots=True)
class Facts:
    """One model, or what a run has beside its models, as a policy sees it.

    Attributes
    ----------
    kind
        The model's; ``run`` for what a run has beside its models.
    name
        What people know it by: its run's name, else its own.
    state
        See `expmgr.catalog.states.ModelState`.
    path
        Where its files lie, None where that is elsewhere or not known.
    run_id
        Its maker, "" where it has none.
    study
        The outermost parent of its maker: the maker itself where that has none, "" without one.
    status
        Its maker's (``FINISHED``, ``FAILED`` ...), "" without one.
    user
        Who made it, as MLflow recorded that, or "".
    created
        Milliseconds since 1970, 0 where that is not known.
    step
        At which its run lists it; None where it lists it at none.
    bytes
        None where it was not measured.
    quality
        Its main metric (`expmgr.catalog.quality`); None where it has none that counts.
    metric
        The name of that metric, "" where nothing is called best in its experiment.
    is_loss
        Whether the smaller quality is the better one.
    whole
        Whether it was seen to be a complete model; others never take a place from one that is.
    sure
        Whether the quality is certain (see `expmgr.catalog.protection.candidates`).
    alone
        Whether it may go by its own id, or with its run only.
    reasons
        Why it must stay, whatever a policy says.
    """

    id: str
    name: str = ""
    kind: ModelKind | Literal["run"] = "logged"
    state: str = "stored"
    path: str | None = None
    experiment_id: str = ""
    experiment_name: str = ""
    run_id: str = ""
    study: str = ""
    status: str = ""
    user: str = ""
    created: int = 0
    step: int | None = None
    bytes: int | None = None
    quality: float | None = None
    metric: str = ""
    is_loss: bool = False
    whole: bool = True
    sure: bool = True
    alone: bool = True
    reasons: tuple[Reason, ...] = ()


def facts_of(catalog: Catalog, names: Mapping[str, str]) -> tuple[Facts, ...]:
    """Return the facts of the models of some experiments, those that are seen to be gone left out.

    Models in the trash are none of a policy's: nobody uses them, and no metric ranks them.

    Parameters
    ----------
    names
        Of the experiments, by their ids.
    """
    states, reasons = catalog.states(), catalog.reasons()
    ranked = catalog.ranked()
    found = []
    for model in catalog.models.values():
        state = states[model.id]
        if model.experiment_id not in names or model.in_trash or state in {"deleted", "none"}:
            continue
        maker = catalog.makers.get(model.run_id)
        candidate = ranked.get(model.id)
        goals = catalog.goals.get(model.experiment_id, ())
        found.append(
            Facts(
                model.id,
                (maker.name if maker is not None else "") or model.name,
                model.kind,
                state,
                model.path,
                model.experiment_id,
                names[model.experiment_id],
                model.run_id,
                _outermost(model.run_id, catalog.makers),
                "" if maker is None else maker.status,
                model.tags.get(USER_TAG) or ("" if maker is None else _user(maker)),
                model.created,
                None if maker is None else maker.outputs.get(model.id),
                None if model.stored is None else model.stored.size.bytes,
                None if candidate is None else candidate.quality,
                goals[0].metric if goals else "",
                bool(goals) and goals[0].is_loss,
                model.whole,
                candidate is not None and candidate.whole,
                model.alone,
                reasons[model.id],
            )
        )
    return tuple(found)


def facts_of_runs(
    catalog: Catalog,
    names: Mapping[str, str],
    created: Mapping[str, int],
    beside: Mapping[str, Size],
) -> tuple[Facts, ...]:
    """Return the facts of the runs that have artifacts beside their models.

    How good a run is, is the value of its own main metric: its files are not a model's.

    Parameters
    ----------
    names
        Of the experiments, by their ids.
    created
        When the runs began (ms), by their ids.
    beside
        What each has beside its models; runs that are missing have nothing.
    """
    found = []
    for run_id, began in created.items():
        maker = catalog.makers.get(run_id)
        if maker is None or maker.experiment_id not in names or not beside.get(run_id):
            continue
        goals = catalog.goals.get(maker.experiment_id, ())
        found.append(
            Facts(
                run_id,
                maker.name,
                "run",
                "stored",
                None,
                maker.experiment_id,
                names[maker.experiment_id],
                run_id,
                _outermost(run_id, catalog.makers),
                maker.status,
                _user(maker),
                began,
                None,
                beside[run_id].bytes,
                goals[0].value_of(maker.metrics) if goals else None,
                goals[0].metric if goals else "",
                bool(goals) and goals[0].is_loss,
            )
        )
    return tuple(found)


def _user(maker: Maker) -> str:
    return maker.tags.get(USER_TAG) or ""


def _outermost(run_id: str, makers: Mapping[str, Maker]) -> str:
    """Return the outermost parent of a run, as far as it is told; a ring ends where it began."""
    seen: Collection[str] = {run_id}
    while (maker := makers.get(run_id)) is not None:
        parent = maker.tags.get(_PARENT_TAG) or ""
        if not parent:
            break
        if parent in seen:
            return min(seen)
        seen = {*seen, parent}
        run_id = parent
    return run_id
