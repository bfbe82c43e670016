"""Who competes in one experiment, kept by maker: a change costs what its own maker costs. Pure.

The rules are `expmgr.catalog.protection`'s and `expmgr.catalog.quality`'s; here stands only what
they would compute again for everybody when one run ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expmgr.catalog.catalog import Catalog
from expmgr.catalog.protection import best_linking, candidates
from expmgr.catalog.quality import best_models, star_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from expmgr.catalog.model import Maker, Model
    from expmgr.catalog.quality import Candidate, Entry, Goal, Rank

__all__ = ["JudgedCatalog", "Standings"]


@dataclass(frozen=True)
class JudgedCatalog(Catalog):
    """Some models of a catalog, of which all together were compared already.

    Attributes
    ----------
    starred
        What `stars` returns.
    compared
        What `ranked` returns.
    """

    starred: Mapping[str, float] = field(default_factory=dict)
    compared: Mapping[str, Candidate] = field(default_factory=dict)

    def ranked(self) -> dict[str, Candidate]:
        """Return the models that may be best by their experiment's first goal, by id."""
        return dict(self.compared)

    def stars(self) -> dict[str, float]:
        """Return the models that are best by quality, with that quality."""
        return {id_: value for id_, value in self.starred.items() if id_ in self.models}


@dataclass
class Standings:
    """Who competes by one goal in one experiment.

    Families are the models of one maker, by its id; a model without one is a family of its own.
    """

    experiment_id: str
    goal: Goal
    _home: dict[str, Sequence[Candidate]] = field(default_factory=dict)
    _starring: dict[str, Sequence[Candidate]] = field(default_factory=dict)
    _guests: dict[str, Sequence[Candidate]] = field(default_factory=dict)
    _finished: dict[str, float] = field(default_factory=dict)

    def copy(self) -> Standings:
        """Return one that may change."""
        return replace(
            self,
            _home=dict(self._home),
            _starring=dict(self._starring),
            _guests=dict(self._guests),
            _finished=dict(self._finished),
        )

    def enter(
        self,
        family: str,
        models: Iterable[Model],
        makers: Mapping[str, Maker],
        proved: Mapping[Entry, bool | None],
    ) -> None:
        """Enter a family as it is now, in place of what was known of it.

        Parameters
        ----------
        models
            All models of the family, wherever they are.
        """
        maker = makers.get(family)
        here = maker is not None and maker.experiment_id == self.experiment_id
        concerned = [one for one in models if here or one.experiment_id == self.experiment_id]
        home = {one.id for one in concerned if one.experiment_id == self.experiment_id}
        entered = candidates(concerned, makers, self.goal, proved)
        at_home = [one for one in entered if one.id in home]
        self._put(self._home, family, at_home)
        self._put(self._guests, family, [one for one in entered if one.id not in home])
        if len(home) < len(concerned):  # the star is told among those at home alone
            alone = [one for one in concerned if one.id in home]
            at_home = candidates(alone, makers, self.goal, proved)
        self._put(self._starring, family, at_home)
        value = self.goal.value_of(maker.metrics) if here and maker is not None else None
        if maker is None or value is None or maker.status != "FINISHED" or maker.in_trash:
            self._finished.pop(family, None)
        else:
            self._finished[family] = value

    @staticmethod
    def _put(
        where: dict[str, Sequence[Candidate]], family: str, found: Sequence[Candidate]
    ) -> None:
        if found:
            where[family] = found
        else:
            where.pop(family, None)

    def ranks(self, makers: Mapping[str, Maker]) -> dict[str, Rank]:
        """Return the best models, by id: what `expmgr.catalog.protection.best_in` returns."""
        home = [one for family in self._home.values() for one in family]
        found = best_models(home, self.goal)
        for family, guests in self._guests.items():
            maker = makers.get(family)
            if maker is None or maker.experiment_id != self.experiment_id:
                continue
            for guest in guests:
                rank = best_models([*home, guest], self.goal).get(guest.id)
                if rank is not None:
                    found[guest.id] = rank
        return found

    def stars(self) -> dict[str, float]:
        """Return the models that carry the star, by id, with their quality."""
        return star_models((one for family in self._starring.values() for one in family), self.goal)

    def compared(self, families: Iterable[str]) -> dict[str, Candidate]:
        """Return some families' models at home as they were compared for the star, by id."""
        return {one.id: one for family in families for one in self._starring.get(family, ())}

    def linking(
        self, makers: Mapping[str, Maker], is_stored: Callable[[str], bool]
    ) -> tuple[Maker, ...]:
        """Return the runs that are best here by a model that others made.

        Of those below the best run with a model of its own none can be: they are not looked at.

        Parameters
        ----------
        is_stored
            Whether a LoggedModel has files, by its id.
        """
        owners = self._home.keys() | self._guests.keys()
        floor = self.goal.best(
            value for run_id, value in self._finished.items() if run_id in owners
        )
        above = [
            makers[run_id]
            for run_id, value in self._finished.items()
            if floor is None or not self.goal.is_better(floor, value)
        ]
        listed = {id_: is_stored(id_) for run in above for id_ in run.outputs}
        return best_linking(above, listed, owners, self.goal)
