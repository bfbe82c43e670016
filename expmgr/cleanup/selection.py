"""Which models a policy takes, and of each other one why it stays. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from expmgr.catalog.parts import is_named, part_words
from expmgr.catalog.policy import Policy
from expmgr.catalog.reason import kinds_of
from expmgr.catalog.states import DELETABLE_STATES
from expmgr.cleanup.plan import Kept
from expmgr.errors import InvalidInputError, LocationError, TakesEverythingError
from expmgr.formatting import format_count
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from expmgr.catalog.facts import Facts
    from expmgr.catalog.parts import Part
    from expmgr.catalog.policy import Asking
    from expmgr.cleanup.plan import DeletionPlan, RunPlan

__all__ = ["Per", "Selection", "check_policy", "only_selected", "select"]

Per = Literal["experiment", "study", "run"]

_MOST_NAMED = 10
"""Experiments that an error names."""

_STATES = {
    "deleting": "it is being deleted",
    "elsewhere": "it lies in no container of these credentials",
    "unknown": "nothing tells yet whether there is a model: it was not measured",
}


@dataclass(frozen=True)
class Selection:
    """What is to be planned.

    Attributes
    ----------
    ids
        Of models; of runs where their models go together only.
    makers
        The runs that made them.
    paths
        Where the selected models lie, and nothing else.
    left
        Where the other models lie.
    kept
        What stays.
    note
        In words, where nothing is selected.
    """

    ids: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    kept: tuple[Kept, ...] = ()
    note: str = ""

    def plus(self, other: Selection) -> Selection:
        """Return both: of models, and of runs for what they have beside them."""
        ids = tuple(dict.fromkeys([*self.ids, *other.ids]))
        kept = (*self.kept, *other.kept)
        return Selection(
            ids,
            tuple(dict.fromkeys([*self.makers, *other.makers])),
            self.paths | other.paths,
            self.left | other.left,
            kept,
            "" if ids else _nothing(len(kept)),
        )


def check_policy(where: object, keep: object, per: str) -> None:
    """Refuse what is no policy, or one in the other's place.

    Raises
    ------
    InvalidInputError
        It is.
    """
    if per not in get_args(Per):
        message = f"per must be one of {', '.join(get_args(Per))}, not {plain(repr(per), 60)}."
        raise InvalidInputError(message)
    for use, given, example in (
        ("where", where, "older_than('30d')"),
        ("keep", keep, "best(3) | last(1)"),
    ):
        if given is None:
            continue
        said = plain(repr(given), 200)
        if not isinstance(given, Policy):
            message = f"{use} must be a policy of expmgr.policies such as {example}, not {said}."
            raise InvalidInputError(message)
        if given.use != use:
            message = f"{said} is for {given.use}=, not for {use}=, which takes {example}."
            raise InvalidInputError(message)


def select(
    models: Iterable[Facts],
    asking: Asking,
    where: Policy | None = None,
    keep: Policy | None = None,
    *,
    per: Per = "experiment",
    part: Part = "model",
    everything: bool = False,
) -> Selection:
    """Return which of some models a policy takes.

    Parameters
    ----------
    models
        All of the chosen experiments; what ``keep`` says is said among all of them.
    where
        Selects; None for every model.
    keep
        Keeps, of each group; None for nothing.
    per
        The groups: an experiment; in it a study, the outermost parent run with all below it; or a
        run. A model without a run is a group of its own.
    part
        ``raw`` for raw artifacts, else the models; of parts that a run has beside its models the
        runs are what is chosen among.
    everything
        Whether a policy may take every model of an experiment.

    Raises
    ------
    TakesEverythingError
        It takes every model of an experiment, and ``everything`` does not say so.
    """
    check_policy(where, keep, per)
    rows = sorted(models, key=lambda model: (model.experiment_id, -model.created, model.id))
    chosen = [True] * len(rows) if where is None else where.judge(rows, asking)
    held = _held(rows, asking, keep, per)
    why: dict[str, str] = {}
    kinds: dict[str, str] = {}
    taken: list[Facts] = []
    for model, selected in zip(rows, chosen, strict=True):
        stays = (
            _out_of_reach(model, part)
            or (_not_chosen(model, selected, where) if where is not None else "")
            or (_held_back(model, held[model.id], keep) if keep is not None else "")
        )
        if stays:
            why[model.id] = stays
        else:
            taken.append(model)
    if not everything and is_named(part):
        if where is None and keep is None:
            message = (
                "no policy says which runs are meant: nothing was planned. Give where=... or "
                "keep=..., or everything=True for all of them."
            )
            raise InvalidInputError(message)
    elif not everything:
        _refuse_everything(rows, {model.id for model in taken}, where, keep)
    for model in taken:
        if model.reasons:
            why[model.id] = "; ".join(model.reasons)
            kinds[model.id] = kinds_of(model.reasons)
    _with_their_run(rows, why)
    going = [model for model in rows if model.id not in why]
    return Selection(
        tuple(dict.fromkeys(model.id if model.alone else model.run_id for model in going)),
        tuple(dict.fromkeys(model.run_id for model in going if model.run_id)),
        frozenset(model.path for model in going if model.path is not None),
        frozenset(model.path for model in rows if model.id in why and model.path is not None),
        tuple(
            Kept(model.id, model.name, why[model.id], model.bytes, kinds.get(model.id, ""))
            for model in rows
            if model.id in why
        ),
        "" if going else _nothing(len(rows)),
    )


def _group(model: Facts, per: Per) -> tuple[str, str]:
    if per == "experiment":
        return model.experiment_id, ""
    within = model.study if per == "study" else model.run_id
    return model.experiment_id, within or model.id


def _held(
    rows: Sequence[Facts], asking: Asking, keep: Policy | None, per: Per
) -> dict[str, bool | None]:
    if keep is None:
        return {}
    groups: dict[tuple[str, str], list[Facts]] = defaultdict(list)
    for model in rows:
        groups[_group(model, per)].append(model)
    return {
        model.id: verdict
        for group in groups.values()
        for model, verdict in zip(group, keep.judge(group, asking), strict=True)
    }


def _out_of_reach(model: Facts, part: Part) -> str:
    if model.state not in DELETABLE_STATES:
        return _STATES.get(model.state, f"it is {model.state}")
    if (model.kind == "raw") is not (part == "raw"):
        if part == "raw":
            return "part='raw' takes raw artifacts only"
        return "raw artifacts, of which MLflow recorded no model, go by part='raw' only"
    return ""


def _not_chosen(model: Facts, selected: bool | None, where: Policy) -> str:
    if selected is None:
        return f"{where.unknown(model)}, so it is not selected by {where!r}"
    return "" if selected else f"not {_grouped(where)}"


def _held_back(model: Facts, held: bool | None, keep: Policy) -> str:
    if held is None:
        return f"{keep.unknown(model)}, so {keep!r} keeps it"
    return f"kept by {keep!r}" if held else ""


def _grouped(policy: Policy) -> str:
    said = repr(policy)
    return f"({said})" if " " in said else said


def _refuse_everything(
    rows: Sequence[Facts], taken: set[str], where: Policy | None, keep: Policy | None
) -> None:
    """Refuse to leave nothing of an experiment, or only halves of models where there are whole."""
    there: dict[str, list[Facts]] = defaultdict(list)
    for model in rows:
        if model.state in DELETABLE_STATES:
            there[model.experiment_id].append(model)
    emptied = []
    for models in there.values():
        whole = [model for model in models if model.whole]
        if all(model.id in taken for model in whole or models):
            name = plain(models[0].experiment_name) or models[0].experiment_id
            emptied.append(f"{name!r} ({format_count(len(whole or models), 'model')})")
    if not emptied and (where is not None or keep is not None):
        return
    more = f" and {len(emptied) - _MOST_NAMED} more" if len(emptied) > _MOST_NAMED else ""
    named = ", ".join(sorted(emptied)[:_MOST_NAMED]) or "the chosen experiments"
    said = f"where={where!r}, keep={keep!r}"
    message = (
        f"{plain(said, 400)} takes every model of {named}{more}: nothing was planned. Say what "
        "stays, as keep=best(1), or everything=True if that is meant; what is protected stays "
        "either way."
    )
    raise TakesEverythingError(message)


def _with_their_run(rows: Sequence[Facts], why: dict[str, str]) -> None:
    """Keep models that go with their run only where another one of the run stays."""
    runs: dict[str, list[Facts]] = defaultdict(list)
    for model in rows:
        if model.run_id:
            runs[model.run_id].append(model)
    for models in runs.values():
        stays = next((model.id for model in models if model.id in why), "")
        if stays and not all(model.alone for model in models):
            for model in models:
                if not model.alone:
                    why.setdefault(model.id, f"it goes with its run only, of which {stays} stays")


def _nothing(count: int) -> str:
    if not count:
        return "there are no models in these experiments"
    return f"nothing to delete: {'the one model stays' if count == 1 else f'all {count:,} stay'}"


def _narrowed(run: RunPlan, selection: Selection) -> RunPlan:
    """Return the plan of a run's optimizer states without those of models that were not selected.

    A run that was selected for what it has beside its models is planned with them.
    """
    if run.part != "optimizer" or run.asked:
        return run
    locations = tuple(
        planned
        for planned in run.locations
        if planned.location.kind != "logged_model" or planned.location.path in selection.paths
    )
    kept = {one.location.owner_id for one in locations}
    ids = tuple(model_id for model_id in run.model_ids if model_id in kept)
    return replace(run, locations=locations, model_ids=ids)


def _has_only_models(run: RunPlan) -> bool:
    """Whether all that a run has is its model: a refusal to who names it, to a policy a fact."""
    error = run.problem_error
    return isinstance(error, InvalidInputError) and not isinstance(error, LocationError)


def only_selected(plan: DeletionPlan, selection: Selection) -> DeletionPlan:
    """Return the plan of a selection with what turned out to stay among what is kept.

    What is protected is out of the reach of ``force`` then: a policy is no person who names a
    model. And where the plan of a run shows more than was selected of it, nothing of it goes.
    """
    stays: list[Kept] = []
    goes: list[RunPlan] = []
    for planned in plan.runs:
        run = _narrowed(planned, selection)
        if run.reasons:
            why, kinds = "; ".join(run.reasons), kinds_of(run.reasons)
            stays.append(Kept(run.id, run.run_name, why, run.bytes, kinds))
        elif run.part == "other" and _has_only_models(run):
            stays.append(Kept(run.id, run.run_name, run.problem, run.bytes))
        elif is_named(run.part) and not run.files and not run.problem:
            why = run.note or f"it has no {part_words(run.part)}"
            stays.append(Kept(run.id, run.run_name, why, 0))
        elif not is_named(run.part) and any(
            one.location.path not in selection.paths for one in run.locations
        ):
            why = "it has other models than those that were selected by now: plan again"
            stays.append(Kept(run.id, run.run_name, why, run.bytes))
        else:
            goes.append(run)
    kept = (*stays, *selection.kept)
    return replace(
        plan,
        runs=tuple(goes),
        kept=kept,
        note=selection.note or ("" if goes else _nothing(len(kept))),
    )
