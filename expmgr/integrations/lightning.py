"""Checkpoints of Lightning's ``Trainer`` (``lightning`` or ``pytorch_lightning``).

::

    from expmgr.integrations.lightning import CheckpointCallback

    checkpoints = CheckpointCallback(manager, monitor="val_accuracy", save_top_k=3)
    with manager.run(params):
        Trainer(callbacks=[checkpoints], enable_checkpointing=False).fit(model, data)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.integrations.frameworks import framework, metrics_of
from expmgr.policies import best, last
from expmgr.training.snapshots import Snapshot, own_folder

if TYPE_CHECKING:
    from expmgr.catalog.policy import Policy
    from expmgr.manager import ExperimentsManager
    from expmgr.training.checkpoints import Checkpoint

__all__ = ["CheckpointCallback", "keep_of"]

Callback: Any = framework(["lightning.pytorch", "pytorch_lightning"], "lightning").Callback


class CheckpointCallback(Callback):  # type: ignore[misc]  # it has no types here
    """Stores a checkpoint after each validation, in the words of Lightning's ``ModelCheckpoint``.

    It writes by ``Trainer.save_checkpoint``, uploads, and leaves nothing on this machine; the
    Trainer's own ``ModelCheckpoint`` may be switched off (``enable_checkpointing=False``).

    Parameters
    ----------
    manager
        With a run under way when fitting begins.
    monitor
        The logged metric that ranks checkpoints: it is stored as the manager's main metric. None
        is the one of that name.
    mode
        ``min`` or ``max``; None as the manager's ``is_loss`` says, which it must not contradict.
    save_top_k
        How many of the best stay: -1 all, 0 none.
    save_last
        Whether the last one stays, too.
    every_n_epochs
        Save after each n-th epoch.
    save_on_train_epoch_end
        Save at the end of the training epoch in place of the validation's; None does so where
        there is no validation.
    save_weights_only
        Leave out the optimizer.

    Raises
    ------
    InvalidInputError
        They contradict the manager or each other. When fitting begins: no run is under way.
    """

    def __init__(
        self,
        manager: ExperimentsManager,
        monitor: str | None = None,
        mode: str | None = None,
        save_top_k: int = 3,
        save_last: bool | None = True,
        every_n_epochs: int = 1,
        save_on_train_epoch_end: bool | None = None,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__()
        if mode not in {None, "min", "max"}:
            raise InvalidInputError(f"mode is 'min' or 'max', not {mode!r}.")
        if mode is not None and (mode == "min") is not manager.is_loss:
            message = f"mode={mode!r} contradicts the manager's is_loss={manager.is_loss}."
            raise InvalidInputError(message)
        if isinstance(every_n_epochs, bool) or not every_n_epochs >= 1:
            message = f"every_n_epochs is a whole number from 1, not {every_n_epochs!r}."
            raise InvalidInputError(message)
        self.manager = manager
        self.monitor = monitor or manager.main_metric
        self.keep = keep_of(save_top_k, save_last=bool(save_last))
        self.every_n_epochs = every_n_epochs
        self.save_on_train_epoch_end = save_on_train_epoch_end
        self.save_weights_only = save_weights_only
        self._folder: Snapshot | None = None
        self._path = ""
        self._saved_at = -1
        self._last: Checkpoint | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make a folder that all processes write to."""
        del pl_module
        if trainer.is_global_zero:
            if self.manager.current_run_id is None:
                message = (
                    "no run is under way to save checkpoints of; fit inside `with manager.run():`."
                )
                raise InvalidInputError(message)
            root = Path(trainer.default_root_dir)
            root.mkdir(parents=True, exist_ok=True)
            self._folder = own_folder(root)
            self._path = str(self._folder.folder)
        self._path = trainer.strategy.broadcast(self._path)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Save, where validation is what is waited for."""
        del pl_module
        if not self._at_train_epoch_end(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save, where validation is not waited for."""
        del pl_module
        if self._at_train_epoch_end(trainer):
            self._save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait for the last one, and raise its error."""
        del trainer, pl_module
        if self._last is not None:
            self._last.wait()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Remove the folder, also after an exception."""
        del trainer, pl_module, stage
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Remove the folder: not every exception is followed by a teardown."""
        del trainer, pl_module, exception
        self._close()

    def _close(self) -> None:
        if self._last is not None:
            self._last.join()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _at_train_epoch_end(self, trainer: Any) -> bool:
        if self.save_on_train_epoch_end is not None:
            return self.save_on_train_epoch_end
        return not sum(trainer.num_val_batches)

    def _save(self, trainer: Any) -> None:
        step = trainer.global_step
        if (
            trainer.fast_dev_run
            or trainer.sanity_checking
            or not self._path
            or step == self._saved_at
            or (trainer.current_epoch + 1) % self.every_n_epochs
        ):
            return
        self._saved_at = step
        file = Path(self._path) / f"epoch={trainer.current_epoch}-step={step}.ckpt"
        trainer.save_checkpoint(file, weights_only=self.save_weights_only)  # by every process
        if not trainer.is_global_zero:
            return
        main = self.manager.main_metric
        try:
            metrics = metrics_of(trainer.callback_metrics, self.monitor, main, self.keep, step)
            self._last = self.manager.save_checkpoint(file, step, metrics, self.keep, link=True)
        finally:
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)


def keep_of(save_top_k: int, *, save_last: bool) -> Policy | None:
    """Return what ``ModelCheckpoint``'s words say that stays; None for all.

    Raises
    ------
    InvalidInputError
        Nothing would stay.
    """
    if isinstance(save_top_k, bool) or not isinstance(save_top_k, int) or save_top_k < -1:
        raise InvalidInputError(f"save_top_k is a whole number from -1, not {save_top_k!r}.")
    if save_top_k == -1:
        return None
    if not save_top_k and not save_last:
        raise InvalidInputError("save_top_k=0 without save_last would save what does not stay.")
    if not save_top_k:
        return last(1)
    return best(save_top_k) | last(1) if save_last else best(save_top_k)
