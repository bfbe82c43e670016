"""Looks through many worlds for one that fails, and makes that one small.

Hypothesis varies what it drew before, to find the same value in two places: of a hundred worlds
some thirty were different. Where each costs a second, every one has to be new; and what is left out
of a world to make it small (`world.pruned`) is known here better than to a general shrinker.
"""

from __future__ import annotations

import os
import pprint
import time
import traceback
from random import Random
from typing import TYPE_CHECKING, Any

from seeds import seed_of
from world import imagined, pruned, size
from world_steps import plot

if TYPE_CHECKING:
    from collections.abc import Callable

    from world import World

    Judge = Callable[..., None]

WORLDS = int(os.environ.get("EXPMGR_WORLDS") or 60)
SEED = seed_of("EXPMGR_WORLD_SEED", 2186941068)
FIRST = int(os.environ.get("EXPMGR_WORLD_FIRST") or 0)
SHRINK_SECONDS = float(os.environ.get("EXPMGR_WORLD_SHRINK") or 120)


def search(judge: Judge, count: int, *, plots: bool = False) -> None:
    """Call ``judge`` with world after world, and with what happens there, if ``plots``.

    Raises
    ------
    AssertionError
        A world fails; the message holds a small one that fails at the same place, and the seed.
    """
    for number in range(FIRST, FIRST + count):
        chance = Random(f"{SEED} {number}")
        world, steps = imagined(chance), plot(chance) if plots else ()
        error = _failure(judge, world, steps)
        if error is None:
            continue
        world, steps, error = _smallest(judge, world, steps, error)
        words = (
            f"{error}\n\nEXPMGR_WORLD_SEED={SEED} EXPMGR_WORLD_FIRST={number} EXPMGR_WORLDS=2 "
            f"draws it again; it became\n{pprint.pformat(world, width=160)}"
        )
        raise AssertionError(words + "".join(f"\n{step}" for step in steps)) from error


def _failure(judge: Judge, world: World, steps: tuple[Any, ...]) -> Exception | None:
    try:
        judge(world, *((steps,) if steps else ()))
    except Exception as error:  # noqa: BLE001 - whatever it is, it shall be shown small
        return error
    return None


def _place(error: Exception) -> tuple[type, int | None]:
    """Where an error comes from: the same place is taken for the same failure."""
    return type(error), traceback.extract_tb(error.__traceback__)[-1].lineno


def _smallest(
    judge: Judge, world: World, steps: tuple[Any, ...], error: Exception
) -> tuple[World, tuple[Any, ...], Exception]:
    """Leave out one element or step after another as long as the same failure stays."""
    deadline = time.monotonic() + SHRINK_SECONDS
    kept = [True] * (size(world) + len(steps))
    smallest = (world, steps, error)
    for index in reversed(range(len(kept))):
        if time.monotonic() > deadline:
            break
        kept[index] = False
        fewer = pruned(world, iter(kept).__next__)
        left = tuple(s for s, keep in zip(steps, kept[size(world) :], strict=True) if keep)
        found = _failure(judge, fewer, left) if left or not steps else None
        if found is not None and _place(found) == _place(error):
            smallest = (fewer, left, found)
        else:
            kept[index] = True
    return smallest
