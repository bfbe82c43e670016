"""A plan before protection, and how drafts become plans: the same way for whatever is planned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from expmgr.catalog.protection import reasons_of
from expmgr.catalog.reason import Reason, distinct
from expmgr.moving_in import metrics_after_deletion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.catalog.model import Model
    from expmgr.cleanup.evidence import Subject
    from expmgr.cleanup.gathered import Gathered
    from expmgr.cleanup.part_plans import Guarded
    from expmgr.cleanup.plan import RunPlan

__all__ = ["Draft", "protected", "told_after"]


@dataclass(frozen=True)
class Draft:
    """A plan before protection, with what the rules look at; None where nothing can be judged.

    Attributes
    ----------
    doubt
        What no force passes: whose files these are.
    guarded
        Of a part: what of the subject it touches.
    matched
        Of patterns: those that match something.
    """

    plan: RunPlan
    subject: Subject | None = None
    doubt: tuple[Reason, ...] = ()
    guarded: Guarded | None = None
    matched: frozenset[str] = frozenset()


def protected(drafts: Sequence[Draft], gathered: Gathered) -> tuple[RunPlan, ...]:
    """Return the drafts as plans, each with why it must stay."""
    subjects = [draft.subject for draft in drafts if draft.subject is not None]
    evidence = gathered.inquiry.evidence(subjects)
    plans = []
    records: Counter[str] = Counter()
    going = frozenset(model.path for subject in subjects for model in subject.models)
    for draft in drafts:
        experiment = gathered.experiments.get(draft.plan.experiment_id)
        # Several models of one run each have a record of their own.
        number = int(draft.plan.record_id) + records[draft.plan.journal_id]
        records[draft.plan.journal_id] += 1
        plan = replace(
            draft.plan,
            experiment_name="" if experiment is None else experiment.name,
            record_id=str(number),
        )
        subject = draft.subject
        if subject is not None and draft.guarded is not None:
            guards = distinct(draft.guarded.reasons(subject.maker, evidence))
            plan = replace(plan, reasons=guards)
        elif subject is not None:
            reasons = [
                reason
                for model in subject.models
                if not model.empty
                for reason in reasons_of(model, subject.maker, evidence)
            ]
            stated = distinct([*reasons, *draft.doubt])
            told = told_after(subject, going)
            others = tuple(str(one.path) for one in _others(subject)) if told else ()
            plan = replace(plan, reasons=stated, doubts=draft.doubt, told_after=told)
            plan = replace(plan, told_with=others)
        plans.append(plan)
    return tuple(plans)


def told_after(
    subject: Subject, going: frozenset[str | None] = frozenset()
) -> tuple[tuple[str, float], ...]:
    """Return what the run's metrics have to say afterwards, where this takes its last model.

    Parameters
    ----------
    going
        Where the models lie that go at the same time.
    """
    if subject.maker is None:
        return ()
    if any(one.path is None or one.path not in going for one in _others(subject)):
        return ()
    return metrics_after_deletion(subject.maker.metrics)


def _others(subject: Subject) -> list[Model]:
    return [one for one in subject.siblings if one.journal != "deleted"]
