"""The callbacks with the real frameworks: ``make test-integrations`` installs them."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from trainers import make_manager

from expmgr import InvalidInputError, StorageError
from expmgr.storage.transfer import AzureFolder

torch = pytest.importorskip("torch", reason="make test-integrations runs these")


@pytest.fixture
def manager(sqlite_uri, credentials, plugin_name):
    manager = make_manager(
        sqlite_uri, credentials, plugin_name, main_metric="accuracy", is_loss=False
    )
    manager.set_iteration("one")
    return manager


@pytest.fixture
def kept(blob_names):
    """A function: the names of the models' files in the container, by the folder of the model."""

    def found():
        models = {}
        for name in blob_names():
            if "/models/m-" in name:
                model, _, path = name.partition("/artifacts/")
                models.setdefault(model.rpartition("/")[2], set()).add(path)
        return models

    return found


def steps_of(manager, ids):
    table = manager.models().set_index("model_id")
    return sorted(int(table.loc[one, "step"]) for one in ids)


# -------------------------------------------------------------------------------- Hugging Face


def trainer_of(manager, folder, accuracies, **options):
    """A Trainer of a tiny model, with an evaluation whose accuracies are given."""
    transformers = pytest.importorskip("transformers")
    from expmgr.integrations.huggingface import CheckpointCallback

    class Tiny(transformers.PreTrainedModel):
        config_class = transformers.PretrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.layer = torch.nn.Linear(2, 2)
            self.post_init()

        def _init_weights(self, module):
            pass

        def forward(self, x=None, labels=None):
            logits = self.layer(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [{"x": torch.randn(2), "labels": number % 2} for number in range(8)]
    left = iter(accuracies)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        num_train_epochs=len(accuracies),
        eval_strategy="epoch",
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **options,
    )
    return transformers.Trainer(
        model=Tiny(transformers.PretrainedConfig()),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda _: {"accuracy": next(left)},
        callbacks=[CheckpointCallback(manager)],
    )


def test_a_trainer_s_best_and_last_checkpoints_are_stored_and_its_own_files_stay(
    manager, tmp_path, kept
):
    trainer = trainer_of(
        manager,
        tmp_path / "out",
        [0.2, 0.9, 0.4, 0.3],
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    with manager.run({"rate": 1}):
        trainer.train()
    assert steps_of(manager, kept()) == [4, 8]
    for files in kept().values():
        assert {"MLmodel", "trainer_state.json", "model.safetensors", "optimizer.pt"} <= files
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        *("checkpoint-4", "checkpoint-8"),
    ]
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")
    folder = manager.download_best_model(destination=tmp_path / "best")
    state = torch.load(tmp_path / "out" / "checkpoint-4" / "optimizer.pt", weights_only=False)
    assert (folder / "trainer_state.json").is_file()
    stored = torch.load(folder / "optimizer.pt", weights_only=False)
    assert stored["param_groups"] == state["param_groups"]
    own = manager.client.search_logged_models([manager.current_iteration_id])
    values = {(one.name, metric.key): metric.value for one in own for metric in one.metrics or ()}
    assert values["checkpoint-4", "accuracy"] == 0.9
    assert ("checkpoint-4", "eval_loss") in values
    assert not [key for _, key in values if "runtime" in key or "second" in key]


def test_a_trainer_resumes_from_a_checkpoint_that_was_stored(manager, tmp_path, kept):
    with manager.run({"rate": 1}) as run:
        trainer_of(manager, tmp_path / "out", [0.2, 0.9, 0.4]).train()
    assert steps_of(manager, kept()) == [2, 4, 6], "the best three and the last"
    folder = manager.download_model(run.run_id, destination=tmp_path / "down")
    again = trainer_of(manager, tmp_path / "again", [0.2, 0.9, 0.4])
    with manager.run({"rate": 2}):
        again.train(resume_from_checkpoint=str(folder))
    assert again.state.global_step == 6


def test_a_trainer_that_would_rank_otherwise_is_refused(manager, tmp_path):
    trainer = trainer_of(manager, tmp_path / "out", [0.2])
    with pytest.raises(InvalidInputError, match="no run is under way"):
        trainer.train()
    trainer = trainer_of(
        manager, tmp_path / "out", [0.2], metric_for_best_model="loss", greater_is_better=False
    )
    with pytest.raises(InvalidInputError, match=r"'loss'.*'accuracy'"), manager.run({"a": 1}):
        trainer.train()


def test_an_upload_that_fails_ends_the_training_with_its_error(manager, tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError("no")

    monkeypatch.setattr(AzureFolder, "send", fail)
    trainer = trainer_of(manager, tmp_path / "out", [0.2, 0.3])
    with pytest.raises(StorageError, match="step 2"), manager.run({"a": 1}):
        trainer.train()


# ----------------------------------------------------------------------------------- Lightning


def fit(lightning, manager, folder, values, *, metric="val_accuracy", validates=True, **options):
    from expmgr.integrations.lightning import CheckpointCallback

    class Tiny(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.left = iter(values)

        def training_step(self, batch, index):
            if not validates and index == 0:
                self.log(metric, next(self.left), on_epoch=True, on_step=False)
            return self.layer(batch).sum()

        def validation_step(self, batch, index):
            if not self.trainer.sanity_checking and index == 0:
                self.log(metric, next(self.left))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    data = torch.utils.data.DataLoader(torch.randn(4, 2), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=len(values),
        default_root_dir=folder,
        callbacks=[CheckpointCallback(manager, **{"monitor": metric, **options})],
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Tiny(), data, data if validates else None)
    return trainer


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request, monkeypatch):
    """Each name of Lightning; the callback takes the one that is imported."""
    module = pytest.importorskip(request.param)
    for name in list(sys.modules):
        if name.startswith("expmgr.integrations.lightning"):
            monkeypatch.delitem(sys.modules, name)
    other = {"lightning.pytorch", "pytorch_lightning"} - {request.param}
    monkeypatch.delitem(sys.modules, other.pop(), raising=False)
    return module


def test_lightning_keeps_the_best_k_and_the_last_and_nothing_on_this_machine(
    manager, tmp_path, kept, lightning
):
    from expmgr.integrations.lightning import CheckpointCallback

    assert issubclass(CheckpointCallback, lightning.Callback)
    with manager.run({"rate": 1}):
        fit(lightning, manager, tmp_path / "root", [0.2, 0.9, 0.4, 0.3], save_top_k=1, mode="max")
    assert steps_of(manager, kept()) == [4, 8]
    assert list((tmp_path / "root").iterdir()) == []
    path = manager.download_best_model(destination=tmp_path / "best")
    assert path.name == "epoch=1-step=4.ckpt"
    assert torch.load(path, weights_only=False)["global_step"] == 4
    own = manager.client.search_logged_models([manager.current_iteration_id])
    values = {one.name: one.metrics[0].value for one in own if one.metrics}
    assert values["checkpoint-4"] == pytest.approx(0.9)


def test_lightning_without_validation_saves_at_the_end_of_the_epoch(
    manager, tmp_path, kept, lightning
):
    with manager.run({"rate": 1}):
        fit(
            *(lightning, manager, tmp_path, [0.2, 0.9, 0.4]),
            metric="accuracy",
            validates=False,
            monitor=None,
            save_top_k=0,
            every_n_epochs=2,
        )
    assert steps_of(manager, kept()) == [4]


def test_lightning_s_errors_come_out_of_fit_and_leave_nothing(
    manager, tmp_path, lightning, monkeypatch
):
    with pytest.raises(InvalidInputError, match="ranked by 'val_f1'"), manager.run({"a": 1}):
        fit(lightning, manager, tmp_path / "root", [0.2], monitor="val_f1")
    with pytest.raises(InvalidInputError, match="no run is under way"):
        fit(lightning, manager, tmp_path / "root", [0.2])

    def fail(*_):
        raise PermissionError("no")

    monkeypatch.setattr(AzureFolder, "send", fail)
    with pytest.raises(StorageError, match="step 2"), manager.run({"a": 2}):
        fit(lightning, manager, tmp_path / "root", [0.2])
    assert list((tmp_path / "root").iterdir()) == []


def test_expmgr_imports_none_of_them():
    program = (
        "import sys, expmgr.manager, expmgr.azure_blob, expmgr.integrations; "
        "print(*{'torch', 'transformers', 'lightning', 'pytorch_lightning'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert not said.strip()


def test_training_goes_on_while_a_checkpoint_is_uploaded(manager, tmp_path, monkeypatch):
    """The second epoch is trained before the first one's checkpoint is let go."""
    go = threading.Event()
    send = AzureFolder.send

    def wait(self, *arguments):
        assert go.wait(60)
        return send(self, *arguments)

    monkeypatch.setattr(AzureFolder, "send", wait)
    trainer = trainer_of(manager, tmp_path / "out", [0.2, 0.3])

    class Opens(type(trainer.callback_handler.callbacks[-1]).__mro__[1]):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                go.set()

    trainer.add_callback(Opens())
    with manager.run({"a": 1}):
        trainer.train()
    assert trainer.state.global_step == 4
