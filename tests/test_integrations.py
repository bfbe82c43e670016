"""The callbacks beside stand-ins that only drive their hooks, as the frameworks do.

``make test-integrations`` runs the frameworks themselves (tests/test_integrations_real.py).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import pytest

from expmgr import InvalidInputError
from expmgr.policies import best, last


class Manager:
    """What a callback needs of a manager; it tells what it was asked to save."""

    def __init__(self, main_metric="accuracy", is_loss=False):
        self.main_metric, self.is_loss = main_metric, is_loss
        self.current_run_id = "r1"
        self.saved, self.waited = [], 0

    def save_checkpoint(self, path, step, metrics, keep, *, link):
        assert link
        self.saved.append((path, step, metrics, repr(keep)))
        return self

    def wait(self):
        self.waited += 1

    def join(self):
        pass


@pytest.fixture
def stand_in(monkeypatch):
    """A function: the module of expmgr beside stand-ins of its framework."""

    def make(module, frameworks):
        for name in ("transformers", "lightning", "lightning.pytorch", "pytorch_lightning"):
            monkeypatch.setitem(sys.modules, name, None)
        for name, base in frameworks.items():
            framework = ModuleType(name)
            setattr(framework, base, type(base, (), {"__init__": lambda self: None}))
            monkeypatch.setitem(sys.modules, name, framework)
        monkeypatch.delitem(sys.modules, module, raising=False)
        try:
            return import_module(module)
        finally:
            sys.modules.pop(module, None)

    return make


# ---------------------------------------------------------------------------------- Hugging Face


@pytest.fixture
def huggingface(stand_in):
    return stand_in("expmgr.integrations.huggingface", {"transformers": "TrainerCallback"})


def arguments(**options):
    defaults = {
        "output_dir": "out",
        "eval_strategy": SimpleNamespace(value="epoch"),
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "metric_for_best_model": None,
        "greater_is_better": None,
    }
    return SimpleNamespace(**{**defaults, **options})


def state(step, *, main=True):
    return SimpleNamespace(global_step=step, is_world_process_zero=main)


def test_a_checkpoint_of_the_trainer_is_saved_with_what_was_measured_at_its_step(huggingface):
    manager, args = Manager(), arguments()
    callback = huggingface.CheckpointCallback(manager)
    callback.on_train_begin(args, state(0), None)
    measured = {"eval_accuracy": 0.5, "eval_loss": 1.5, "eval_runtime": 3.0, "epoch": 1.0}
    callback.on_evaluate(args, state(10), None, metrics=measured)
    callback.on_evaluate(args, state(10), None, metrics={"eval_other_accuracy": 0.4})
    callback.on_save(args, state(10), None)
    callback.on_save(args, state(15), None)
    callback.on_save(args, state(20, main=False), None)
    callback.on_train_end(args, state(20), None)
    callback.on_train_end(args, state(20), None)
    own = {"accuracy": 0.5, "eval_loss": 1.5, "eval_other_accuracy": 0.4}
    assert [(str(path), *rest) for path, *rest in manager.saved] == [
        ("out/checkpoint-10", 10, own, "best(3) | last(1)"),
        ("out/checkpoint-15", 15, {"accuracy": None}, "best(3) | last(1)"),
    ]
    assert manager.waited == 1


@pytest.mark.parametrize(
    ("options", "keep"),
    [
        ({}, "best(3) | last(1)"),
        ({"eval_strategy": "no"}, "last(1)"),
        ({"eval_strategy": "no", "save_total_limit": 4}, "last(4)"),
        ({"save_total_limit": 4}, "last(4)"),
        ({"save_total_limit": 4, "load_best_model_at_end": True}, "best(1) | last(3)"),
        ({"save_total_limit": 1, "load_best_model_at_end": True}, "best(1) | last(1)"),
        ({"save_total_limit": 2, "metric_for_best_model": "accuracy"}, "best(1) | last(1)"),
    ],
)
def test_the_trainer_s_limit_says_what_stays(huggingface, options, keep):
    assert repr(huggingface.keep_of(arguments(**options))) == keep


def test_a_policy_of_one_s_own_wins_over_the_limit(huggingface):
    manager = Manager()
    callback = huggingface.CheckpointCallback(manager, keep=last(7))
    callback.on_save(arguments(save_total_limit=2), state(1), None)
    assert manager.saved[0][-1] == "last(7)"


@pytest.mark.parametrize(
    ("options", "manager", "says"),
    [
        ({"metric_for_best_model": "f1"}, Manager(), "'f1'.*'accuracy'"),
        (
            {"metric_for_best_model": "eval_loss", "greater_is_better": False},
            Manager("loss", is_loss=False),
            "greater_is_better=False contradicts",
        ),
    ],
)
def test_a_trainer_that_ranks_otherwise_is_refused(huggingface, options, manager, says):
    callback = huggingface.CheckpointCallback(manager)
    callback.on_train_begin(arguments(**options), state(0, main=False), None)
    with pytest.raises(InvalidInputError, match=says):
        callback.on_train_begin(arguments(**options), state(0), None)


def test_a_trainer_by_its_loss_is_a_manager_s_by_loss(huggingface):
    callback = huggingface.CheckpointCallback(Manager("eval_loss", is_loss=True))
    args = arguments(metric_for_best_model="loss", greater_is_better=False)
    callback.on_train_begin(args, state(0), None)
    callback.on_evaluate(args, state(1), None, metrics={"eval_loss": 0.5})
    callback.on_save(args, state(1), None)
    assert callback.manager.saved[0][2] == {"eval_loss": 0.5}


def test_an_evaluation_without_the_main_metric_is_an_error_where_it_ranks(huggingface):
    callback = huggingface.CheckpointCallback(Manager())
    callback.on_evaluate(arguments(), state(1), None, metrics={"eval_loss": 0.5})
    with pytest.raises(InvalidInputError, match=r"'eval_accuracy'.*step 1: eval_loss"):
        callback.on_save(arguments(), state(1), None)
    callback.on_save(arguments(save_total_limit=2), state(1), None)
    assert callback.manager.saved[0][2] == {"accuracy": None, "eval_loss": 0.5}


def test_a_run_must_be_under_way(huggingface):
    manager = Manager()
    manager.current_run_id = None
    with pytest.raises(InvalidInputError, match="no run is under way"):
        huggingface.CheckpointCallback(manager).on_train_begin(arguments(), state(0), None)


# ------------------------------------------------------------------------------------- Lightning

MODULE = "expmgr.integrations.lightning"


@pytest.fixture
def lightning(stand_in):
    return stand_in(MODULE, {"lightning": "Trainer", "lightning.pytorch": "Callback"})


class Trainer:
    """Drives the hooks of a fit, as Lightning does."""

    def __init__(self, folder, *, main=True):
        self.default_root_dir, self.is_global_zero = folder, main
        self.strategy = SimpleNamespace(broadcast=lambda path: path or str(folder / "other"))
        self.global_step = self.current_epoch = 0
        self.fast_dev_run = self.sanity_checking = False
        self.callback_metrics, self.num_val_batches, self.wrote = {}, [1], []

    def save_checkpoint(self, path, *, weights_only):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"ckpt")
        self.wrote.append((path.name, weights_only))

    def fit(self, callback, values, metric="val_accuracy"):
        callback.on_fit_start(self, None)
        self.sanity_checking = True
        callback.on_validation_end(self, None)
        self.sanity_checking = False
        for self.current_epoch, value in enumerate(values):
            self.global_step += 10
            self.callback_metrics = {metric: value}
            if sum(self.num_val_batches):
                callback.on_validation_end(self, None)
            callback.on_train_epoch_end(self, None)
        callback.on_train_end(self, None)
        callback.teardown(self, None, "fit")


def test_lightning_s_checkpoints_are_saved_after_each_validation_and_leave_no_file(
    lightning, tmp_path
):
    manager, trainer = Manager(), Trainer(tmp_path)
    callback = lightning.CheckpointCallback(manager, "val_accuracy", "max", save_top_k=2)
    trainer.fit(callback, [0.1, 0.2])
    assert [(path.name, *rest) for path, *rest in manager.saved] == [
        ("epoch=0-step=10.ckpt", 10, {"accuracy": 0.1}, "best(2) | last(1)"),
        ("epoch=1-step=20.ckpt", 20, {"accuracy": 0.2}, "best(2) | last(1)"),
    ]
    assert manager.waited == 1
    assert list(tmp_path.iterdir()) == []


def test_lightning_s_other_processes_write_and_do_not_upload(lightning, tmp_path):
    manager, trainer = Manager(), Trainer(tmp_path, main=False)
    manager.current_run_id = None
    trainer.fit(lightning.CheckpointCallback(manager, save_weights_only=True), [0.1], "accuracy")
    assert trainer.wrote == [("epoch=0-step=10.ckpt", True)]
    assert not manager.saved


def test_lightning_without_validation_saves_every_nth_epoch(lightning, tmp_path):
    manager, trainer = Manager(), Trainer(tmp_path)
    trainer.num_val_batches = []
    trainer.fit(
        lightning.CheckpointCallback(manager, every_n_epochs=2), [0.1, 0.2, 0.3], "accuracy"
    )
    assert [step for _, step, *_ in manager.saved] == [20]


@pytest.mark.parametrize(
    ("top", "save_last", "keep"),
    [
        (3, True, best(3) | last(1)),
        (1, False, best(1)),
        (0, True, last(1)),
        (-1, True, None),
    ],
)
def test_lightning_s_words_say_what_stays(lightning, top, save_last, keep):
    callback = lightning.CheckpointCallback(Manager(), save_top_k=top, save_last=save_last)
    assert repr(callback.keep) == repr(keep)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "min"}, "contradicts the manager's is_loss=False"),
        ({"mode": "auto"}, "'min' or 'max'"),
        ({"save_top_k": -2}, "a whole number from -1"),
        ({"save_top_k": 0, "save_last": False}, "would save what does not stay"),
        ({"every_n_epochs": 0}, "a whole number from 1"),
    ],
)
def test_lightning_s_contradictions_are_refused(lightning, options, says):
    with pytest.raises(InvalidInputError, match=says):
        lightning.CheckpointCallback(Manager(), **options)


def test_a_metric_that_lightning_did_not_log_is_an_error_and_leaves_no_file(lightning, tmp_path):
    trainer = Trainer(tmp_path)
    callback = lightning.CheckpointCallback(Manager(), monitor="val_f1")
    with pytest.raises(InvalidInputError, match=r"'val_f1'.*step 10: val_accuracy") as raised:
        trainer.fit(callback, [0.1])
    callback.on_exception(trainer, None, raised.value)
    assert list(tmp_path.iterdir()) == []


def test_either_name_of_lightning_will_do_and_that_which_is_imported_is_taken(stand_in):
    module = stand_in(MODULE, {"pytorch_lightning": "Callback"})
    assert module.CheckpointCallback.__mro__[1] is sys.modules["pytorch_lightning"].Callback


@pytest.mark.parametrize("name", ["huggingface", "lightning"])
def test_without_the_framework_the_import_says_what_to_install(stand_in, name):
    with pytest.raises(ImportError, match=r"is not installed: pip install \w+"):
        stand_in(f"expmgr.integrations.{name}", {})
