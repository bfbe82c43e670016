"""Every model of some experiments with all that is known of it, joined once. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from expmgr.catalog.protection import candidates, reasons_of
from expmgr.catalog.quality import star_models
from expmgr.catalog.reason import Reason, distinct
from expmgr.catalog.states import MODEL_STATES, ModelState, model_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expmgr.catalog.model import Maker, Model
    from expmgr.catalog.protection import Evidence
    from expmgr.catalog.quality import Candidate, Entry, Goal

__all__ = ["Catalog"]


@dataclass(frozen=True)
class Catalog:
    """The models of some experiments; what is worked out of them is worked out once.

    Attributes
    ----------
    models
        By id.
    makers
        Runs by id, those without a model among them.
    evidence
        What protects.
    goals
        By experiment id, the one that carries the star first.
    proved
        See `expmgr.catalog.protection.candidates`.
    doubts
        Of raw models, why they may not be one, by id.
    """

    models: Mapping[str, Model]
    makers: Mapping[str, Maker]
    evidence: Evidence
    goals: Mapping[str, Sequence[Goal]] = field(default_factory=dict)
    proved: Mapping[Entry, bool | None] = field(default_factory=dict)
    doubts: Mapping[str, Reason] = field(default_factory=dict)

    def states(self) -> dict[str, ModelState]:
        """Return the state of each model."""
        return dict(self._states)

    @cached_property
    def _states(self) -> dict[str, ModelState]:
        return {model_id: model_state(model) for model_id, model in self.models.items()}

    def reasons(self) -> dict[str, tuple[Reason, ...]]:
        """Return why each model must stay; of models that are not there, nothing."""
        return dict(self._reasons)

    @cached_property
    def _reasons(self) -> dict[str, tuple[Reason, ...]]:
        found: dict[str, tuple[Reason, ...]] = {}
        for model_id, model in self.models.items():
            if model.empty or self._states[model_id] not in MODEL_STATES:
                found[model_id] = ()
                continue
            reasons = reasons_of(model, self.makers.get(model.run_id), self.evidence)
            doubt = self.doubts.get(model_id)
            found[model_id] = reasons if doubt is None else distinct([*reasons, doubt])
        return found

    def ranked(self) -> dict[str, Candidate]:
        """Return the models that may be best by their experiment's first goal, by id."""
        return {one.id: one for _, entered in self._entered for one in entered}

    def qualities(self) -> dict[str, float]:
        """Return the quality of each model by its experiment's first goal, where it has one."""
        return {
            id_: candidate.quality
            for id_, candidate in self.ranked().items()
            if candidate.quality is not None
        }

    @cached_property
    def _entered(self) -> list[tuple[Goal, list[Candidate]]]:
        """What enters the comparison by each experiment's first goal."""
        by_experiment: dict[str, list[Model]] = defaultdict(list)
        for model in self.models.values():
            by_experiment[model.experiment_id].append(model)
        return [
            (goal, candidates(models, self.makers, goal, self.proved))
            for experiment_id, models in by_experiment.items()
            for goal in self.goals.get(experiment_id, ())[:1]
        ]

    def stars(self) -> dict[str, float]:
        """Return the models that are best by quality, with that quality."""
        found: dict[str, float] = {}
        for goal, entered in self._entered:
            found |= star_models(entered, goal)
        return found

    def by_run(self) -> dict[str, list[Model]]:
        """Return the models of each run."""
        found: dict[str, list[Model]] = defaultdict(list)
        for model in self.models.values():
            if model.run_id:
                found[model.run_id].append(model)
        return found
