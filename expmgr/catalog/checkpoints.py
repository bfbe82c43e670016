"""Which raw checkpoints of a run may go so that its best and its last stay. Pure.

Checkpoints of one folder and one way of naming are a series; each series keeps its own best and
last. What is the best is told by ``trainer_state.json`` or by the names; where nothing tells it,
only the last is known to be worth more than the others.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from expmgr.catalog.files import marked_directories
from expmgr.catalog.globs import matches
from expmgr.catalog.training_files import WEIGHT_FILES, optimizer_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from expmgr.catalog.quality import Goal

__all__ = [
    "CHECKPOINT_NAMES",
    "TRAINER_STATE",
    "Checkpoint",
    "checkpoints_of",
    "kept_checkpoints",
    "newest_states",
]

TRAINER_STATE = "trainer_state.json"
"""In each checkpoint of Hugging Face's Trainer: ``best_model_checkpoint``, ``log_history``."""


class CheckpointName(NamedTuple):
    """How a framework names a checkpoint; the groups ``epoch`` and ``step`` order a series.

    Attributes
    ----------
    certain
        Whether nothing but a checkpoint is named so; ``epoch_3`` may be a folder of plots.
    """

    name: re.Pattern[str]
    source: str
    certain: bool = False


CHECKPOINT_NAMES: tuple[CheckpointName, ...] = tuple(
    CheckpointName(re.compile(name), source, certain)
    for name, source, certain in (
        (r"checkpoint-(?P<step>\d+)", "transformers/trainer_utils.py: PREFIX_CHECKPOINT_DIR", True),
        (r"checkpoint_(?P<step>\d+)", "accelerate: save_state(automatic_checkpoint_naming)", True),
        (
            r"global_step_?(?P<step>\d+)",
            "deepspeed: save_checkpoint; mlflow/utils/checkpoint_utils.py",
            False,
        ),
        (r"epoch[-_](?P<epoch>\d+)", "mlflow/utils/checkpoint_utils.py; torchtune", False),
        (r"step[-_](?P<step>\d+)", "torchtune", False),
        (
            r"(?:.*-)?epoch=(?P<epoch>\d+)(?:-step=(?P<step>\d+))?(?:-.*)?",
            "lightning/pytorch/callbacks/model_checkpoint.py: format_checkpoint_name",
            False,
        ),
        (r"(?:.*-)?step=(?P<step>\d+)(?:-.*)?", "the same", False),
    )
)

_WHOLE_FILE = ".ckpt"
_VALUE = re.compile(r"(?:^|-)([A-Za-z][\w./]*)=(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_LEFT_OUT = frozenset({"epoch", "step"})
_OTHER_WEIGHTS = (".bin", ".ckpt", ".h5", ".keras", ".pt", ".pth", ".distcp")


@dataclass(frozen=True)
class Checkpoint:
    """A folder, or Lightning's one file, that holds the state of a training at a step.

    Attributes
    ----------
    path
        Relative to the run's artifacts, as are the paths of its files.
    series
        The folder that it lies in, and how it is named.
    order
        Step and epoch, as far as the name tells: the later, the greater.
    files
        Path to bytes.
    """

    path: str
    series: tuple[str, int]
    order: tuple[int, int]
    files: Mapping[str, int]

    @property
    def name(self) -> str:
        """The last segment of its path."""
        return self.path.rpartition("/")[2]

    @property
    def has_weights(self) -> bool:
        """Whether something in it may be weights: not all that was begun was written."""
        states = set(optimizer_states(self.files).paths)
        return any(
            path not in states
            and (
                path.endswith(_OTHER_WEIGHTS)
                or any(matches(f"**/{row.pattern}", path) for row in WEIGHT_FILES)
            )
            and not path.endswith("training_args.bin")
            for path in self.files
        )


def checkpoints_of(sizes: Mapping[str, int]) -> tuple[Checkpoint, ...]:
    """Return the raw checkpoints among some files; one that holds an ``MLmodel`` is a model.

    Parameters
    ----------
    sizes
        Path to bytes of all files, relative to one folder.
    """
    found: dict[str, tuple[tuple[str, int], tuple[int, int]]] = {}
    files: dict[str, dict[str, int]] = defaultdict(dict)
    for path, size in sizes.items():
        named = _outermost(path)
        if named is not None:
            place, series, order = named
            found[place] = (series, order)
            files[place][path] = size
    every = [Checkpoint(place, *found[place], files[place]) for place in sorted(found)]
    # Of a series one tells: others may be half deleted.
    told = {one.series for one in every if _is_certain(one)}
    models = marked_directories(f"/{path}" for path in sizes)
    return tuple(
        one
        for one in every
        if one.series in told and not any(_touch(f"/{one.path}", model) for model in models)
    )


def _is_certain(one: Checkpoint) -> bool:
    folder, kind = one.series
    if CHECKPOINT_NAMES[kind].certain or one.path.endswith(_WHOLE_FILE):
        return True
    if any("checkpoint" in segment or "ckpt" in segment for segment in folder.lower().split("/")):
        return True
    states = optimizer_states(one.files)
    return bool(states.paths or states.only_copy) or any(
        matches(f"**/{row.pattern}", path) for path in one.files for row in WEIGHT_FILES
    )


def _touch(place: str, model: str) -> bool:
    return f"{place}/".startswith(f"{model}/") or f"{model}/".startswith(f"{place}/")


def _outermost(path: str) -> tuple[str, tuple[str, int], tuple[int, int]] | None:
    segments = path.split("/")
    for at, segment in enumerate(segments):
        is_file = at == len(segments) - 1
        if is_file and not segment.endswith(_WHOLE_FILE):
            return None
        name = segment.removesuffix(_WHOLE_FILE) if is_file else segment
        for kind, row in enumerate(CHECKPOINT_NAMES):
            told = row.name.fullmatch(name)
            if told is not None:
                numbers = told.groupdict()
                step, epoch = (int(numbers.get(key) or -1) for key in ("step", "epoch"))
                place = "/".join(segments[: at + 1])
                return place, ("/".join(segments[:at]), kind), (step, epoch)
    return None


def newest_states(checkpoints: Iterable[Checkpoint]) -> tuple[str, ...]:
    """Return the path of the newest ``trainer_state.json`` of each series: it tells of all."""
    newest: dict[tuple[str, int], tuple[tuple[int, int], str]] = {}
    for one in checkpoints:
        path = f"{one.path}/{TRAINER_STATE}"
        if path in one.files:
            newest[one.series] = max(newest.get(one.series, (one.order, path)), (one.order, path))
    return tuple(path for _, path in newest.values())


def _last(members: Sequence[Checkpoint]) -> set[str]:
    """Return the last of a series, and the last that has weights: it may have been cut short."""
    kept = set()
    for some in (members, [one for one in members if one.has_weights]):
        top = max((one.order for one in some), default=None)
        kept |= {one.path for one in some if one.order == top}
    return kept


def kept_checkpoints(
    checkpoints: Sequence[Checkpoint], states: Mapping[str, str], goals: Sequence[Goal]
) -> dict[str, str]:
    """Return which checkpoints stay, by path, with why.

    Parameters
    ----------
    states
        The text of each ``trainer_state.json`` that was read, by path.
    goals
        What "best" means for the run.

    Raises
    ------
    ValueError
        A state cannot be read, so that nobody knows the best; the path of it is the message.
    """
    kept: dict[str, str] = {}
    series: dict[tuple[str, int], list[Checkpoint]] = defaultdict(list)
    for one in checkpoints:
        series[one.series].append(one)
    for members in series.values():
        last = _last(members)
        best = {one.path for one in _best_by_names(members, goals)}
        for path, text in states.items():
            if any(path in one.files for one in members):
                best |= {one.path for one in _best_by_state(members, path, text, goals)}
        for one in members:
            why = [word for word, some in (("last", last), ("best", best)) if one.path in some]
            if why:
                kept[one.path] = " and ".join(why)
    return kept


def _best_by_names(members: Sequence[Checkpoint], goals: Sequence[Goal]) -> Iterator[Checkpoint]:
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for one in members:
        for metric, value in _VALUE.findall(one.name.removesuffix(_WHOLE_FILE)):
            if metric not in _LEFT_OUT:
                values[metric][one.path] = float(value)
    for metric, known in values.items():
        yield from _top(members, known, _ways(metric, goals))


def _best_by_state(
    members: Sequence[Checkpoint], path: str, text: str, goals: Sequence[Goal]
) -> Iterator[Checkpoint]:
    try:
        state = json.loads(text)
        named = str(state.get("best_model_checkpoint") or "").replace("\\", "/")
        history = [(int(entry["step"]), entry) for entry in state.get("log_history") or ()]
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ValueError(path) from error
    name = named.rstrip("/").rpartition("/")[2]
    yield from (one for one in members if name and one.name == name)
    by_step = {one.order[0]: one.path for one in members if one.order[0] >= 0}
    for metric in {goal.metric for goal in goals}:
        for key in (metric, f"eval_{metric}"):
            known = {
                by_step[step]: float(entry[key])
                for step, entry in history
                if step in by_step and isinstance(entry.get(key), (int, float))
            }
            yield from _top(members, known, _ways(metric, goals))


def _ways(metric: str, goals: Sequence[Goal]) -> tuple[bool, ...]:
    """Return whether less is better; both where that is not known."""
    known = {goal.is_loss for goal in goals if goal.metric == metric}
    if known:
        return tuple(known)
    return (True,) if "loss" in metric.lower() else (True, False)


def _top(
    members: Sequence[Checkpoint], values: Mapping[str, float], ways: Iterable[bool]
) -> Iterator[Checkpoint]:
    finite = {path: value for path, value in values.items() if math.isfinite(value)}
    for is_loss in ways:
        if finite:
            best = min(finite.values()) if is_loss else max(finite.values())
            yield from (one for one in members if finite.get(one.path) == best)
