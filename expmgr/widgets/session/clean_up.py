"""A policy as controls say it: one value, and the line of Python that plans the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.catalog.parts import MARKABLE_PARTS
from expmgr.policies import in_plain_values

if TYPE_CHECKING:
    from expmgr.catalog.policy import Policy
    from expmgr.cleanup.selection import Per

__all__ = ["PARTS", "PERS", "CleanUp"]

PARTS = (
    ("Whole models", "model"),
    ("Optimizer states only", "optimizer"),
    ("Raw artifacts", "raw"),
    ("Raw checkpoints of runs", "checkpoints"),
    ("All of runs but models", "other"),
)
"""What `plan_cleanup` takes as ``part``, in words."""
PERS = (("experiment", "experiment"), ("study", "study"), ("run", "run"))


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
    def policies(self) -> tuple[Policy | None, Policy | None]:
        """What selects, None for every model; and what keeps, None for what is protected alone.

        Raises
        ------
        InvalidInputError
            An age or a size does not parse.
        """
        return in_plain_values(
            self.older_than.strip() or None,
            self.larger_than.strip() or None,
            [self.status] if self.status else (),
            self.best or None,
            self.last or None,
            own=self.mine,
        )

    @property
    def can_wait(self) -> bool:
        """Whether it can be marked to go later."""
        return self.part in MARKABLE_PARTS

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of `plan_cleanup`, without those that are its defaults.

        Raises
        ------
        InvalidInputError
            As `policies` does.
        """
        where, keep = self.policies
        said = {
            "where": (where, None),
            "keep": (keep, None),
            "per": (self.per, "experiment"),
            "part": (self.part, "model"),
            "experiments": (self.experiments, None),
            "everything": (self.everything, False),
        }
        return {name: value for name, (value, usual) in said.items() if value != usual}

    def line(self) -> str:
        """Return the line of Python that plans the same; raises as `policies` does.

        Examples
        --------
        >>> CleanUp(last=1).line()
        'manager.plan_cleanup(where=older_than("30d"), keep=best(3) | last(1))'
        """
        said = ", ".join(f"{name}={value!r}" for name, value in self.keywords().items())
        return f"manager.plan_cleanup({said})"

    def script(self, after: str = "") -> str:
        """Return all of a script that does the same; raises as `policies` does.

        Parameters
        ----------
        after
            How long it waits, "" for not at all.
        """
        rules = [rule for rule in self.policies if rule is not None]
        names = {repr(leaf).partition("(")[0] for rule in rules for leaf in rule.leaves()}
        imports = f"from expmgr.policies import {', '.join(sorted(names))}\n" if names else ""
        wait = f", after={after!r}" if after else ""
        return f"{imports}plan = {self.line()}\nmanager.delete_models(plan{wait})"
