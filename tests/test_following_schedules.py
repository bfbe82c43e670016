"""Runs, models, evaluations, versions and pins in any order: what a refreshed table then shows.

As long as only such things happen as a refresh promises to see, it shows what a reading of
everything shows. Whatever else happens, it shows that for the runs that changed; and once
everything was read again, for all. ``EXPMGR_FOLLOWINGS`` is how many schedules are drawn.
"""

from __future__ import annotations

import itertools
import json
import os
import uuid
from random import Random

import pandas as pd
import pytest
from lab import METRIC, Lab
from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric
from seeds import seed_of
from servers import Backend
from world import empty_tables, wipe

from expmgr.catalog.model import INITIAL_TAG, KEEP_TAG
from expmgr.cleanup import following
from expmgr.tracking.journal import now_ms

SCHEDULES = int(os.environ.get("EXPMGR_FOLLOWINGS") or 5)
SEED = seed_of("EXPMGR_FOLLOWING_SEED", 1003)
FIRST = int(os.environ.get("EXPMGR_FOLLOWING_FIRST") or 0)
STEPS = 10
VALUES = (0.0, 0.25, 0.5, 0.5, 0.75, 0.9)


class Story:
    """One team at work, and what it did so far."""

    def __init__(self, lab, put, chance: Random) -> None:
        self.lab, self.client, self.put, self.chance = lab, lab.client, put, chance
        self.manager = lab.manager()
        self.homes = [lab.experiment_id, lab.experiment("second")]
        self.elsewhere = lab.experiment("evaluations", plugin=f"others of {lab.plugin}")
        self.running: list[str] = []
        self.ended: list[str] = []
        self.models: list[str] = []
        self.pinned: list[str] = []
        self.versions: list[tuple[str, str]] = []
        self.told: list[str] = []

    # ------------------------------------------------------------------- what a refresh promises

    def begin(self) -> str:
        run_id = self.client.create_run(self.chance.choice(self.homes)).info.run_id
        self.client.log_param(run_id, "depth", self.chance.choice("123"))
        self.running.append(run_id)
        return run_id

    def log(self) -> None:
        run_id = self._one(self.running) or self.begin()
        name = self.chance.choice((METRIC, METRIC, "loss"))
        self.client.log_metric(run_id, name, self.chance.choice(VALUES))

    def make(self, run_id: str | None = None) -> str:
        run_id = run_id or self._one(self.running) or self.begin()
        home = self.client.get_run(run_id).info.experiment_id
        model_id = self.client.create_logged_model(home, source_run_id=run_id).model_id
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, self.chance.choice((0, 1)))])
        if run_id in self.running and self.chance.random() < 0.5:
            self._value(run_id, model_id)
        if self.chance.random() < 0.6:
            self.put(f"{self._path(model_id)}/MLmodel")
        if self.chance.random() < 0.8:
            self.client.finalize_logged_model(model_id, self.chance.choice(("READY", "FAILED")))
        self.models.append(model_id)
        return model_id

    def record(self) -> None:
        run_id = self._one(self.running) or self.begin()
        uri = self.client.get_run(run_id).info.artifact_uri
        path = uri.partition("core.windows.net/")[2]
        self.put(f"{path}/weights.bin" if self.chance.random() < 0.3 else f"{path}/model/MLmodel")
        if self.chance.random() < 0.4:  # told by its files alone
            return
        history = json.dumps([{"run_id": run_id, "artifact_path": "model"}])
        self.client.set_tag(run_id, "mlflow.log-model.history", history)

    def end(self) -> None:
        run_id = self._one(self.running)
        if run_id is not None:
            self.running.remove(run_id)
            self.ended.append(run_id)
            self.client.set_terminated(run_id, self.chance.choice(("FINISHED",) * 3 + ("FAILED",)))

    def end_all(self) -> None:
        for _ in list(self.running):
            self.end()

    def train(self) -> None:
        run_id = self.begin()
        self.client.log_metric(run_id, METRIC, self.chance.choice(VALUES))
        for _ in range(self.chance.choice((1, 1, 2))):
            self.make(run_id)
        self.end_all()

    def link(self) -> None:
        model_id = self._one(self.models)
        if model_id is not None:
            run_id = self.begin()
            self.client.log_metric(run_id, METRIC, self.chance.choice(VALUES))
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
            self.end_all()

    def challenge(self) -> None:
        """Train with another model beside: a best, initial or pinned run protects what it names."""
        model_id = self._one(self.models)
        run_id = self.begin()
        if model_id is not None:
            self.client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
        if self.chance.random() < 0.2:
            self.client.set_tag(run_id, INITIAL_TAG, "true")
        self.client.log_metric(run_id, METRIC, self.chance.choice(VALUES))
        self.make(run_id)
        self.end_all()

    def evaluate(self) -> None:
        model_id = self._one(self.models)
        if model_id is not None:
            home = self.chance.choice((self.elsewhere, *self.homes))
            run_id = self.client.create_run(home).info.run_id
            self.client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
            self._value(run_id, model_id)
            self.client.set_terminated(run_id)

    def make_alone(self) -> None:
        home = self.chance.choice(self.homes)
        model_id = self.client.create_logged_model(home).model_id
        self.client.finalize_logged_model(model_id, "READY")
        self.models.append(model_id)

    def make_late(self) -> None:
        run_id = self._one(self.ended)
        if run_id is not None:
            self.make(run_id)

    def finalize(self) -> None:
        model_id = self._one(self.models)
        if model_id is not None and self.client.get_logged_model(model_id).status == "PENDING":
            self.client.finalize_logged_model(model_id, "READY")

    def register(self) -> None:
        model_id = self._one(self.models)
        if model_id is not None:
            name = f"{self.lab.plugin}-{len(self.versions)}"
            self.client.create_registered_model(name)
            model = self.client.get_logged_model(model_id)
            run_id = model.source_run_id if self.chance.random() < 0.5 else None
            version = self.client.create_model_version(name, model.artifact_location, run_id)
            self.versions.append((name, str(version.version)))

    def pin(self) -> None:
        id_ = self._one(self.ended + self.models)
        if id_ is not None:
            self.manager.pin(id_, "for the audit")
            self.pinned.append(id_)

    def unpin(self) -> None:
        id_ = self._one(self.pinned)
        if id_ is not None:
            self.manager.unpin(id_)
            self.pinned.remove(id_)

    def mark(self) -> None:
        id_ = self._one(self.ended)
        if id_ is not None:
            self.manager.delete_models([id_], after="7d", progress=False)

    def delete(self) -> None:
        id_ = self._one(self.ended)
        if id_ is not None:
            self.manager.delete_models([id_], progress=False)

    def measure(self) -> None:
        self.manager.storage_usage()

    # --------------------------------------------------------------- what shows once all was read

    def value_without_an_end(self) -> None:
        model_id = self._one(self.models)
        if model_id is not None:
            self._value(self.begin(), model_id)

    def pin_behind_its_back(self) -> None:
        run_id = self._one(self.ended)
        if run_id is not None:
            self.client.set_tag(run_id, KEEP_TAG, "somebody else's")

    def delete_a_run(self) -> None:
        run_id = self._one(self.ended)
        if run_id is not None:
            self.ended.remove(run_id)
            self.client.delete_run(run_id)

    def delete_a_logged_model(self) -> None:
        model_id = self._one(self.models)
        if model_id is not None:
            self.models.remove(model_id)
            self.client.delete_logged_model(model_id)

    def move_an_alias(self) -> None:
        version = self._one(self.versions)
        if version is not None:
            self.client.set_registered_model_alias(version[0], "champion", version[1])

    def delete_a_version(self) -> None:
        version = self._one(self.versions)
        if version is not None:
            self.versions.remove(version)
            self.client.delete_model_version(*version)

    # -------------------------------------------------------------------------------------------

    def _one(self, some: list):
        return self.chance.choice(some) if some else None

    def _path(self, model_id: str) -> str:
        location = self.client.get_logged_model(model_id).artifact_location
        return location.partition("core.windows.net/")[2]

    def _value(self, run_id: str, model_id: str) -> None:
        value = Metric(
            METRIC, self.chance.choice(VALUES), now_ms(), 0, model_id=model_id, run_id=run_id
        )
        self.client.log_batch(run_id, [value])

    def step(self, names: tuple[str, ...]) -> None:
        name = self.chance.choice(names)
        self.told.append(name)
        getattr(self, name)()


PROMISED = (
    *("train",) * 3,
    *("challenge",) * 2,
    *("begin", "log", "make", "record", "end", "end_all", "link", "evaluate", "evaluate"),
    *("make_alone", "make_late", "finalize", "register", "pin", "unpin", "mark", "delete"),
    "measure",
)
OTHERS = (
    "value_without_an_end",
    "pin_behind_its_back",
    "delete_a_run",
    "delete_a_logged_model",
    "move_an_alias",
    "delete_a_version",
)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """A table without columns that hold nothing, and with reasons in no order."""
    reasons = [
        tuple(sorted((one.kind, one.words, one.subject) for one in cell.parts))
        for cell in table["protected_by"]
    ]
    told = table.assign(protected_by=pd.Series(reasons, index=table.index, dtype="object"))
    return told[[name for name in told if not told[name].isna().all() or "." not in name]]


def same(refreshed, fresh) -> None:
    for found, wanted in zip(refreshed, fresh, strict=True):
        pd.testing.assert_frame_equal(plain(found), plain(wanted))


@pytest.fixture
def stories(_without_fsync, lab, put_blob, monkeypatch):
    """Makes one team after another on an empty server."""
    monkeypatch.setattr(following, "CLOCK_MARGIN_MS", 3)
    database = lab.backend.tracking_uri.removeprefix("sqlite:///")
    tables = empty_tables(database)

    def make(seed: str) -> Story:
        wipe(database, tables)
        lab.experiment_id = lab.experiment("first")
        return Story(lab, put_blob, Random(seed))

    return make


def drawn(stories, tell, count: int = SCHEDULES):
    """Tell each story; a failure says which it was and what had happened."""
    for number in range(FIRST, FIRST + count):
        story = stories(f"{SEED} {number}")
        try:
            tell(story)
        except Exception as error:
            draws = f"EXPMGR_FOLLOWING_SEED={SEED} EXPMGR_FOLLOWING_FIRST={number}"
            error.add_note(f"{draws} EXPMGR_FOLLOWINGS=1: {', '.join(story.told)}")
            raise


def tell_what_is_promised(story: Story) -> None:
    for _ in range(story.chance.randint(0, 5)):
        story.step(PROMISED)
    followed = story.manager.follow()
    followed.read()
    for _ in range(STEPS):
        for _ in range(story.chance.choice((1, 1, 2, 4))):
            story.step(PROMISED)
        story.told.append("REFRESH")
        same(followed.refresh(), story.manager.runs_and_models())


@pytest.mark.timeout(120 + 20 * SCHEDULES)
def test_a_refresh_shows_what_reading_everything_shows_where_it_promises_to(stories):
    drawn(stories, tell_what_is_promised)


@pytest.mark.timeout(180)
def test_over_http_it_shows_the_same(
    mlflow_server,
    artifact_root,
    container,
    credentials,
    blob_names,
    put_blob,
    tmp_path,
    monkeypatch,
):
    del artifact_root
    monkeypatch.setattr(following, "CLOCK_MARGIN_MS", 3)
    backend = Backend("http", mlflow_server.tracking_uri, None, container)

    def make(seed: str) -> Story:
        plugin = f"plugin-{uuid.uuid4().hex[:8]}"
        lab = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin)
        return Story(lab, put_blob, Random(f"http {seed}"))

    drawn(make, tell_what_is_promised, 1)


@pytest.mark.timeout(120 + 20 * SCHEDULES)
def test_whatever_happened_all_is_right_once_everything_was_read(stories):
    def tell(story: Story) -> None:
        followed = story.manager.follow()
        followed.read()
        for _ in range(STEPS // 3):
            for _ in range(story.chance.randint(1, 3)):
                story.step(PROMISED + OTHERS * 3)
                story.told.append("REFRESH")
                shown = followed.refresh()
                fresh = story.manager.runs_and_models()
                changed = [*story.running, *itertools.islice(reversed(story.ended), 1)]
                own = ["run_id", "status", "start_time", "end_time"]
                for run_id in changed:
                    rows = [table.runs[table.runs["run_id"] == run_id] for table in (shown, fresh)]
                    found, wanted = (row[own].reset_index(drop=True) for row in rows)
                    pd.testing.assert_frame_equal(found, wanted)
                    assert len(found) == 1
            followed.read()
            story.told.append("READ")
            story.step(PROMISED)
            same(followed.refresh(), story.manager.runs_and_models())

    drawn(stories, tell)
