"""What a command is to plan: ids, a policy, a saved plan, or what is due. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from expmgr.catalog.parts import as_part
from expmgr.errors import InvalidInputError
from expmgr.policies import in_plain_values

if TYPE_CHECKING:
    import argparse

    from expmgr.catalog.parts import Part
    from expmgr.catalog.policy import Policy
    from expmgr.cleanup.selection import Per

__all__ = ["Wanted", "chosen_experiments", "read_wanted"]


@dataclass(frozen=True)
class Wanted:
    """What somebody asked for.

    Attributes
    ----------
    way
        How: by ``ids``, a ``policy``, a saved ``plan``, or what is ``due``.
    part
        One name, or patterns.
    """

    way: Literal["ids", "policy", "plan", "due"]
    ids: tuple[str, ...] = ()
    file: str = ""
    where: Policy | None = None
    keep: Policy | None = None
    per: Per = "experiment"
    part: Part = "model"
    experiments: str | list[str] | None = None
    everything: bool = False


def chosen_experiments(options: argparse.Namespace) -> str | list[str] | None:
    """Return which experiments are meant, as the manager takes them."""
    return "all" if options.all else options.experiment


def read_wanted(options: argparse.Namespace) -> Wanted:
    """Return what is to be planned.

    Raises
    ------
    InvalidInputError
        Nothing is named, things that do not go together are, or a value does not parse.
    """
    policy = [flag for flag, given in _policy_flags(options).items() if given]
    file, due = getattr(options, "plan", None), getattr(options, "due", False)
    ways = {
        "ids": bool(options.ids),
        "a policy": bool(policy),
        "--plan": file is not None,
        "--due": due,
    }
    named = [way for way, given in ways.items() if given]
    chosen = chosen_experiments(options)
    _check_together(options, named, policy, chosen)
    if file is not None:
        return Wanted("plan", file=file)
    if due:
        return Wanted("due", experiments=chosen)
    part = _part(options.part or ["model"])
    if options.ids:
        return Wanted("ids", ids=tuple(options.ids), part=part)
    where, keep = in_plain_values(
        options.older_than,
        options.larger_than,
        options.status or (),
        options.keep_best,
        options.keep_last,
        own=options.mine,
    )
    return Wanted(
        "policy",
        where=where,
        keep=keep,
        per=options.per or "experiment",
        part=part,
        experiments=chosen,
        everything=options.everything,
    )


def _part(named: list[str]) -> Part:
    return as_part(named[0] if len(named) == 1 else named)


def _policy_flags(options: argparse.Namespace) -> dict[str, bool]:
    return {
        "--older-than": options.older_than is not None,
        "--larger-than": options.larger_than is not None,
        "--status": bool(options.status),
        "--mine": options.mine,
        "--keep-best": options.keep_best is not None,
        "--keep-last": options.keep_last is not None,
        "--everything": options.everything,
    }


def _check_together(
    options: argparse.Namespace,
    named: list[str],
    policy: list[str],
    chosen: str | list[str] | None,
) -> None:
    if not named:
        others = ", --plan FILE or --due" if hasattr(options, "due") else ""
        message = (
            "say what: ids, or a policy such as --older-than 30d --keep-best 3"
            f"{others}; --everything takes all that nothing protects."
        )
        raise InvalidInputError(message)
    if len(named) > 1:
        message = f"{' and '.join(named)} do not go together: name one of them"
        raise InvalidInputError(f"{message} ({', '.join(policy)})." if policy else f"{message}.")
    (way,) = named
    wrong = []
    if way != "a policy" and options.per is not None:
        wrong.append("--per")
    if way in {"ids", "--plan"} and chosen is not None:
        wrong.append("--experiment and --all")
    if way in {"--plan", "--due"} and options.part is not None:
        wrong.append("--part")
    if way != "ids" and getattr(options, "force", False):
        wrong.append("--force")
    if way == "--due" and options.after is not None:
        wrong.append("--after")
    if wrong:
        raise InvalidInputError(f"{' and '.join(wrong)} means nothing with {way}: leave it out.")
