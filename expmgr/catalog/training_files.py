"""What training frameworks write beside weights: one table of patterns, with their sources. Pure.

Only names that the frameworks themselves build are in it. ``MLmodel``, weights, tokenizers,
configs and ``requirements.txt`` match none of them; ``trainer_state.json`` is small and tells the
best checkpoint, so it stays. Lightning's ``.ckpt`` holds weights and optimizer in one file, and
cannot be taken apart. DeepSpeed's ZeRO-3 keeps the weights in the optimizer states alone
(``deepspeed/utils/zero_to_fp32.py`` reads them from there).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from expmgr.catalog.globs import matches

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OPTIMIZER_FILES", "WEIGHT_FILES", "OptimizerStates", "Pattern", "optimizer_states"]


class Pattern(NamedTuple):
    """Names that a framework builds.

    Attributes
    ----------
    pattern
        See `expmgr.catalog.globs`.
    source
        Where the framework builds them.
    """

    pattern: str
    what: str
    source: str


_TRAINER = "transformers/trainer.py: OPTIMIZER_NAME, SCHEDULER_NAME, SCALER_NAME, _save_rng_state"
_ACCELERATE = "accelerate/utils/constants.py; accelerate/checkpointing.py: save_accelerator_state"
_FSDP = "accelerate/utils/fsdp_utils.py: save_fsdp_optimizer"
_DEEPSPEED = "deepspeed/runtime/engine.py: _get_rank_zero_ckpt_name, _get_optimizer_ckpt_name"

OPTIMIZER_FILES: tuple[Pattern, ...] = (
    Pattern("**/optimizer.pt", "optimizer", _TRAINER),
    Pattern("**/scheduler.pt", "scheduler", _TRAINER),
    Pattern("**/scaler.pt", "gradient scaler", _TRAINER),
    Pattern("**/rng_state.pth", "random numbers", _TRAINER),
    Pattern("**/rng_state_[0-9]*.pth", "random numbers of a rank", _TRAINER),
    Pattern("**/optimizer.bin", "optimizer; FSDP's whole one too", _ACCELERATE),
    Pattern("**/optimizer_[0-9]*.bin", "a further optimizer", _ACCELERATE),
    Pattern("**/scheduler.bin", "scheduler", _ACCELERATE),
    Pattern("**/scheduler_[0-9]*.bin", "a further scheduler", _ACCELERATE),
    Pattern("**/random_states_[0-9]*.pkl", "random numbers of a rank", _ACCELERATE),
    Pattern("**/optimizer_[0-9]*/__*.distcp", "a shard of FSDP's optimizer", _FSDP),
    Pattern("**/optimizer_[0-9]*/.metadata", "the index of those shards", _FSDP),
    Pattern("**/*_mp_rank_*_optim_states.pt", "a shard of the optimizer", _DEEPSPEED),
)

WEIGHT_FILES: tuple[Pattern, ...] = (
    Pattern("*.safetensors", "weights", "transformers/utils: SAFE_WEIGHTS_NAME; peft"),
    Pattern("pytorch_model*.bin", "weights", "transformers/utils: WEIGHTS_NAME"),
    Pattern("adapter_model.bin", "weights of an adapter", "peft/utils: WEIGHTS_NAME"),
    Pattern("pytorch_model_fsdp_[0-9]*/__*.distcp", "weights", "accelerate: save_fsdp_model"),
    Pattern("pytorch_model*/__*.distcp", "weights", "accelerate: save_fsdp_model"),
)
"""Relative to a checkpoint's folder."""

_SHARDED = "**/*_mp_rank_*_optim_states.pt"  # in a folder by the checkpoint's tag
_PARTITIONED = "zero_pp_rank_*"
"""ZeRO-3's model states hold no weights: these are in the optimizer states alone."""
_MOST_TIMES = 16
"""Adam's states are 12 bytes a parameter, half-precision weights 2; smaller files are not they."""
_WHOLE_FILE = "**/*.ckpt"


@dataclass(frozen=True)
class OptimizerStates:
    """Which files of a folder are states of optimizers.

    Attributes
    ----------
    paths
        Those that can go.
    inseparable
        Lightning's files, which hold weights and optimizer in one.
    only_copy
        DeepSpeed's shards beside which there are no weights: the weights are in them (ZeRO-3).
    """

    paths: tuple[str, ...]
    inseparable: tuple[str, ...]
    only_copy: tuple[str, ...]


def optimizer_states(sizes: Mapping[str, int]) -> OptimizerStates:
    """Return the optimizer, scheduler, scaler and random number states among some files.

    Parameters
    ----------
    sizes
        Path to bytes of all files of the folder.
    """
    found = [path for path in sizes if any(matches(row.pattern, path) for row in OPTIMIZER_FILES)]
    shards: dict[str, list[str]] = defaultdict(list)
    for path in found:
        if matches(_SHARDED, path):
            shards[path.rpartition("/")[0]].append(path)
    # Weights in the folder around are of one step only.
    steps_in = Counter(step.rpartition("/")[0] for step in shards)
    only_copy = {
        path
        for step, paths in shards.items()
        if _weights_beside(step, sizes, around=steps_in[step.rpartition("/")[0]] == 1) * _MOST_TIMES
        < sum(sizes[path] for path in paths)
        for path in paths
    }
    return OptimizerStates(
        tuple(path for path in found if path not in only_copy),
        tuple(path for path in sizes if matches(_WHOLE_FILE, path)),
        tuple(sorted(only_copy)),
    )


def _weights_beside(step: str, sizes: Mapping[str, int], *, around: bool) -> int:
    """Return the bytes of the weights in DeepSpeed's folder of a step, and in the one around it."""
    parent = step.rpartition("/")[0]
    prefix = f"{parent}/" if parent else ""
    total = 0
    for path, size in sizes.items():
        folder, _, name = path.rpartition("/")
        if folder == step:
            states = matches("*_model_states.pt", name) or matches("*-model_states.pt", name)
            if states and not matches(_PARTITIONED, name):
                total += size
        elif around and path.startswith(prefix):
            below = path[len(prefix) :]
            if any(matches(row.pattern, below) for row in WEIGHT_FILES):
                total += size
    return total
