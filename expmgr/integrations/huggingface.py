"""Checkpoints of ``transformers.Trainer``, stored as it writes them.

::

    from expmgr.integrations.huggingface import CheckpointCallback

    with manager.run(params):
        Trainer(model, arguments, ..., callbacks=[CheckpointCallback(manager)]).train()
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.integrations.frameworks import framework, metrics_of
from expmgr.policies import best, last
from expmgr.training.checkpoint_keep import DEFAULT_KEEP

if TYPE_CHECKING:
    from expmgr.catalog.policy import Policy
    from expmgr.manager import ExperimentsManager
    from expmgr.training.checkpoints import Checkpoint

__all__ = ["CheckpointCallback", "keep_of"]

_PREFIX = "eval_"
_SPEED = ("_runtime", "_per_second", "_compilation_time")
"""What the Trainer says of an evaluation that is not about the model."""

TrainerCallback: Any = framework(["transformers"], "transformers").TrainerCallback


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]  # it has no types here
    """Stores each ``checkpoint-N`` that the Trainer saves, with the metrics of its evaluation.

    The Trainer's own files stay as it keeps them (``load_best_model_at_end`` needs its best), and
    its words say what stays in storage; see `keep_of`. What it saves is linked, not copied. The
    process of rank zero uploads what lies in its folder.

    Parameters
    ----------
    manager
        With a run under way. Its main metric is the Trainer's, with or without ``eval_`` before it.
    keep
        What stays (`expmgr.policies`), in place of what the Trainer's arguments say.

    Raises
    ------
    InvalidInputError
        When training begins: no run is under way, or ``metric_for_best_model`` or
        ``greater_is_better`` contradict the manager.
    """

    def __init__(self, manager: ExperimentsManager, keep: Policy | None = None) -> None:
        self.manager = manager
        self.keep = keep
        self._measured: dict[str, Any] = {}
        self._measured_at = -1
        self._last: Checkpoint | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse what would rank checkpoints otherwise than the Trainer does."""
        del control, kwargs
        if not state.is_world_process_zero:
            return
        manager, name = self.manager, args.metric_for_best_model
        if manager.current_run_id is None:
            message = (
                "no run is under way to save checkpoints of; train inside `with manager.run():`."
            )
            raise InvalidInputError(message)
        if name and _bare(name) != _bare(manager.main_metric):
            message = (
                f"the Trainer's metric_for_best_model is {name!r} and the manager's main metric is "
                f"{manager.main_metric!r}: they would call different checkpoints the best."
            )
            raise InvalidInputError(message)
        greater = args.greater_is_better
        if name and greater is not None and bool(greater) is manager.is_loss:
            message = (
                f"greater_is_better={greater} contradicts the manager's is_loss={manager.is_loss}."
            )
            raise InvalidInputError(message)

    def on_evaluate(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Remember what was measured; several data sets of one step add up."""
        del args, control, kwargs
        if self._measured_at != state.global_step:
            self._measured, self._measured_at = {}, state.global_step
        self._measured.update(metrics or {})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save what the Trainer just wrote."""
        del control, kwargs
        if not state.is_world_process_zero:
            return
        step, main = state.global_step, self.manager.main_metric
        keep = keep_of(args) if self.keep is None else self.keep
        measured = {
            name: value
            for name, value in (self._measured if self._measured_at == step else {}).items()
            if name.startswith(_PREFIX) and not name.endswith(_SPEED)
        }
        metrics = metrics_of(measured, f"{_PREFIX}{_bare(main)}", main, keep, step)
        folder = Path(args.output_dir) / f"checkpoint-{step}"
        self._last = self.manager.save_checkpoint(folder, step, metrics, keep, link=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for the last one, and raise its error."""
        del args, state, control, kwargs
        if self._last is not None:
            last_one, self._last = self._last, None
            last_one.wait()


def keep_of(args: Any) -> Policy:
    """Return what ``TrainingArguments`` say that stays.

    ``save_total_limit=N`` is the last N; with ``load_best_model_at_end`` (or
    ``metric_for_best_model``) the best and the last N - 1, at least one, as the Trainer keeps them.
    Without a limit it is what `save_checkpoint` keeps by default, and without any evaluation the
    last one.
    """
    evaluates = str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no"
    limit = args.save_total_limit
    if not evaluates:
        return last(limit or 1)
    if not limit:
        return DEFAULT_KEEP
    if args.load_best_model_at_end or args.metric_for_best_model:
        return best(1) | last(max(1, limit - 1))
    return last(limit)


def _bare(name: str) -> str:
    return name.removeprefix(_PREFIX)
