"""A policy as controls say it: one value, and the line of Python that plans the same. Pure."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from expmgr.policies import best, larger_than, last, mine, older_than, status

if TYPE_CHECKING:
    from expmgr.catalog.policy import Policy
    from expmgr.cleanup.selection import Per

__all__ = ["PARTS", "PERS", "CleanUp"]

PARTS = (
    ("Whole models", "model"),
    ("Optimizer states only", "optimizer"),
    ("Raw artifacts", "raw"),
)
"""What `plan_cleanup` takes as ``part``, in words."""
PERS = (("experiment", "experiment"), ("study", "study"), ("run", "run"))
_MARKABLE = ("model", "raw")
"""Parts that ``delete_models(after=)`` can mark."""


@dataclass(frozen=True)
class CleanUp:
    """What is asked for; the start is one that nobody regrets.

    Attributes
    ----------
    older_than, larger_than
        An age and a size as people write them, "" for any.
    status
        MLflow's status of the run, "" for any.
    mine
        Only models that the one who asks made.
    best, last
        How many of each group stay, 0 for no such rule.
    per
        The groups.
    part
        What of a model goes.
    experiments
        As `plan_cleanup` takes them.
    everything
        Whether it was said that every model of an experiment may go.
    """

    older_than: str = "30d"
    larger_than: str = ""
    status: str = ""
    mine: bool = False
    best: int = 3
    last: int = 0
    per: Per = "experiment"
    part: str = "model"
    experiments: str | tuple[str, ...] | None = None
    everything: bool = False

    @property
    def where(self) -> Policy | None:
        """What selects, None for every model.

        Raises
        ------
        InvalidInputError
            An age or a size does not parse.
        """
        rules: list[Policy] = []
        if self.older_than.strip():
            rules.append(older_than(self.older_than))
        if self.larger_than.strip():
            rules.append(larger_than(self.larger_than))
        if self.status:
            rules.append(status(self.status))
        if self.mine:
            rules.append(mine())
        return reduce(operator.and_, rules) if rules else None

    @property
    def keep(self) -> Policy | None:
        """What keeps, None for nothing but what is protected."""
        rules: list[Policy] = []
        if self.best:
            rules.append(best(self.best))
        if self.last:
            rules.append(last(self.last))
        return reduce(operator.or_, rules) if rules else None

    @property
    def can_wait(self) -> bool:
        """Whether it can be marked to go later."""
        return self.part in _MARKABLE

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of `plan_cleanup`, without those that are its defaults.

        Raises
        ------
        InvalidInputError
            As `where` does.
        """
        said = {
            "where": (self.where, None),
            "keep": (self.keep, None),
            "per": (self.per, "experiment"),
            "part": (self.part, "model"),
            "experiments": (self.experiments, None),
            "everything": (self.everything, False),
        }
        return {name: value for name, (value, usual) in said.items() if value != usual}

    def line(self) -> str:
        """Return the line of Python that plans the same; raises as `where` does.

        Examples
        --------
        >>> CleanUp(last=1).line()
        'manager.plan_cleanup(where=older_than("30d"), keep=best(3) | last(1))'
        """
        said = ", ".join(f"{name}={value!r}" for name, value in self.keywords().items())
        return f"manager.plan_cleanup({said})"

    def script(self, after: str = "") -> str:
        """Return all of a script that does the same; raises as `where` does.

        Parameters
        ----------
        after
            How long it waits, "" for not at all.
        """
        rules = [rule for rule in (self.where, self.keep) if rule is not None]
        names = {repr(leaf).partition("(")[0] for rule in rules for leaf in rule.leaves()}
        imports = f"from expmgr.policies import {', '.join(sorted(names))}\n" if names else ""
        wait = f", after={after!r}" if after else ""
        return f"{imports}plan = {self.line()}\nmanager.delete_models(plan{wait})"
