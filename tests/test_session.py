"""The browser without a page: its session, its dialogues, and that they need no widget."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pandas as pd
import pytest
from scripted_manager import ScriptedManager, run_table
from study_tables import study_manager

from expmgr.cleanup.plan import DeletionPlan
from expmgr.errors import InvalidInputError
from expmgr.prices import StoragePrices, TierUse
from expmgr.results import DeletionResult
from expmgr.widgets.session.deletion import Deletion
from expmgr.widgets.session.dialogues import MANY
from expmgr.widgets.session.session import Session


class Drawn:
    """A view that writes down what it is told to draw."""

    def __init__(self):
        self.parts = []

    def __getattr__(self, name):
        return lambda *args: self.parts.append((name.removeprefix("draw_"), *args))


@pytest.fixture
def open_session():
    opened = []

    def make(manager, **options):
        session = Session(manager, **{"measure": False, **options})
        session.view = Drawn()
        session.loop.post(session.loading.start)
        opened.append(session)
        assert session.loop.wait(10)
        return session

    yield make
    for session in opened:
        session.close()


def do(session, action):
    answer = session.loop.call(action)
    assert session.loop.wait(10)
    return answer


def told(session, id_):
    return session.loop.call(lambda: session.dialogues.get(id_))


def id_of(session, name, at=0):
    frame = session.lines.frame
    return frame.loc[frame["run_name"] == name, "run_id"].iloc[at]


def test_a_session_imports_no_widget():
    code = (
        "import sys, expmgr.widgets.session.session as s; "
        "sys.exit(any(name.startswith(('ipywidgets', 'anywidget')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_is_asked_confirmed_and_deleted(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    do(session, lambda: session.press(id_))
    deletion = told(session, id_)
    assert (deletion.phase, deletion.message) == ("armed", "Delete 12 files, 34.1 MB?")
    assert manager.calls["delete_model"] == 0
    do(session, lambda: session.confirm(id_, deletion.offer))
    assert (deletion.phase, deletion.outcome) == ("ended", "deleted")
    assert ("line", id_) in session.view.parts
    assert session.lines.content.value(id_, "model") == "deleted"
    do(session, lambda: session.press(id_))
    assert told(session, id_) is None


def test_a_stop_between_the_confirmation_and_the_deletion_stops_it(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    do(session, lambda: session.press(id_))
    offer = told(session, id_).offer

    def both():
        session.confirm(id_, offer)
        session.press(id_)

    do(session, both)
    assert manager.cancelled == [id_]
    assert told(session, id_).message == "Cancelled after 3 files."


def test_an_offer_that_was_taken_back_is_confirmed_by_nobody(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    do(session, lambda: session.press(id_))
    offer = told(session, id_).offer
    do(session, lambda: session.press(id_))
    do(session, lambda: session.confirm(id_, offer))
    assert manager.calls["delete_model"] == 0
    assert told(session, id_) is None


def test_a_plan_that_was_given_up_is_not_heard(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    gate = manager.hold("plan_deletion")
    session.loop.call(lambda: session.press(id_))
    do(session, lambda: session.press(id_))
    assert told(session, id_) is None
    gate.set()
    assert session.loop.wait(10)
    assert told(session, id_) is None


def test_a_failure_is_planned_anew_where_there_was_no_plan(open_session):
    manager = ScriptedManager(run_table(3))
    manager.faults["plan_deletion"] = [RuntimeError("away")]
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    do(session, lambda: session.press(id_))
    deletion = told(session, id_)
    assert (deletion.phase, deletion.failed, deletion.offer.text) == ("ended", True, "Retry")
    do(session, lambda: session.confirm(id_, deletion.offer))
    assert (deletion.phase, deletion.offer.text) == ("armed", "Delete 12 files")
    assert manager.calls["delete_model"] == 0


def test_a_study_s_deletion_offers_its_children_in_its_own_line(open_session):
    manager = study_manager()
    session = open_session(manager, take_back=0.01)
    study = id_of(session, "search A")
    do(session, lambda: session.press(study))
    deletion = told(session, study)
    assert deletion.kind == "many"
    assert deletion.message == "Delete 6 models: 72 files, 205 MB?"
    assert set(deletion.ids) == {id_of(session, f"trial {at}") for at in range(6)}
    lapsed = threading.Event()
    session.loop.later(0.1, lapsed.set)
    assert lapsed.wait(5)
    assert told(session, study) is deletion, "so many are not taken back while one reads"
    do(session, lambda: session.confirm(study, deletion.offer))
    assert deletion.message.startswith("Deleted 6 models, 72 files")
    assert session.lines.content.value(id_of(session, "trial 3"), "model") == "deleted"
    assert session.lines.content.value(id_of(session, "trial 3", 0), "bytes") == 0
    assert told(session, MANY) is None


def test_only_what_matches_goes_with_its_study(open_session):
    manager = study_manager()
    manager.table.loc[manager.table["run_name"] == "trial 3", "status"] = "FAILED"
    session = open_session(manager)
    do(session, lambda: session.ask(status="FINISHED"))
    study = id_of(session, "search A")
    do(session, lambda: session.press(study))
    assert id_of(session, "trial 3") not in told(session, study).ids
    assert len(told(session, study).ids) == 5


def test_a_failure_within_a_study_is_told_on_its_own_line(open_session):
    manager = study_manager()
    session = open_session(manager)
    study, bad = id_of(session, "search A"), id_of(session, "trial 3")
    manager.results[bad] = DeletionResult(bad, "failed", message="403: not permitted")
    do(session, lambda: session.press(study))
    do(session, lambda: session.confirm(study, told(session, study).offer))
    assert "1 failed" in told(session, study).message
    assert told(session, bad).message == "403: not permitted"
    assert told(session, bad).offer.text == "Retry"


def test_more_than_half_of_all_is_typed_in_a_study_s_line_too(open_session):
    manager = study_manager()
    manager.table.loc[manager.table["run_name"] == "trial 3", "bytes"] = 10**9
    session = open_session(manager)
    study = id_of(session, "search A")
    do(session, lambda: session.press(study))
    deletion = told(session, study)
    assert (deletion.typed, deletion.offer) == (6, None)
    do(session, lambda: session.dialogues.type_number(study, "7"))
    assert deletion.offer is None
    do(session, lambda: session.dialogues.type_number(study, " 6 "))
    offer = deletion.offer
    do(session, lambda: session.dialogues.type_number(study, "66"))
    do(session, lambda: session.confirm(study, offer))
    assert manager.calls["delete_models"] == 0


def test_one_model_of_several_is_deleted_by_its_own_id(open_session):
    manager = study_manager()
    session = open_session(manager)
    run_id = id_of(session, "four checkpoints")
    own = list(session.lines.content.models_of(run_id)["model_id"])
    do(session, lambda: session.press(own[0]))
    assert told(session, own[0]).name == "checkpoint of four checkpoints"
    do(session, lambda: session.confirm(own[0], told(session, own[0]).offer))
    assert session.lines.content.value(own[0], "model") == "deleted"
    assert session.lines.content.value(run_id, "bytes") == 750


def test_the_models_of_a_run_but_its_best_are_ticked_and_shown(open_session):
    session = open_session(study_manager())
    run_id = id_of(session, "four checkpoints")
    own = list(session.lines.content.models_of(run_id)["model_id"])
    do(session, lambda: session.pick_but_its_best(run_id))
    assert session.lines.chosen() == own[:3]
    assert session.lines.record(run_id)["unfolded"]
    do(session, lambda: session.pick_many("best of each run"))
    assert session.lines.chosen() == own[:3]
    assert session.asked().elsewhere == 0


def test_the_best_of_an_experiment_are_told_by_the_quality_of_models(open_session):
    session = open_session(study_manager())
    do(session, lambda: session.pick_many("best 1"))
    frame = session.lines.frame.set_index("run_id")
    kept = set(frame.index) - set(session.lines.chosen())
    assert id_of(session, "four checkpoints") in kept
    assert id_of(session, "plain 5") not in kept, "a checkpoint of another run is better"


def test_a_pin_on_a_run_protects_its_models_lines(open_session):
    manager = study_manager()
    session = open_session(manager)
    run_id = id_of(session, "trial 2")
    own = list(session.lines.content.models_of(run_id)["model_id"])
    do(session, lambda: session.tick([own[0]], on=True))
    do(session, lambda: session.open(run_id))
    do(session, lambda: session.keep(run_id, "audit"))
    assert manager.pins == {run_id: "audit"}
    assert session.lines.selected == set()
    for id_ in (run_id, *own):
        assert str(session.lines.content.value(id_, "protected_by")).startswith("pinned")
    do(session, lambda: session.keep(run_id, ""))
    assert session.lines.content.value(own[0], "protected_by") is None


def test_runs_with_several_models_are_measured_model_by_model(open_session):
    manager = study_manager()
    session = open_session(manager)
    manager.models_frame["bytes"] = 7
    do(session, session.measure)
    assert (manager.calls["storage_usage"], manager.calls["models"]) == (1, 1)
    own = session.lines.content.models_of(id_of(session, "four checkpoints"))
    assert own["bytes"].to_list() == [7] * 4
    plain = open_session(ScriptedManager(run_table(9)))
    do(plain, plain.measure)
    assert plain.manager.calls["models"] == 0


def test_a_read_only_session_refuses_whatever_changes_anything(open_session):
    manager = study_manager()
    session = open_session(manager, read_only=True)
    study = id_of(session, "search A")
    do(session, lambda: session.open(study))
    for action in (
        lambda: session.press(study),
        lambda: session.press(id_of(session, "plain 0")),
        lambda: session.delete_picked(confirmed=True),
        lambda: session.keep(study, "x"),
    ):
        with pytest.raises(InvalidInputError, match="read-only"):
            session.loop.call(action)
    assert manager.calls["plan_deletion"] == 1, "the details tell what a deletion would do"
    assert manager.calls["delete_models"] == manager.calls["pin"] == 0


def test_a_closed_session_ends_its_dialogues(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    ids = session.lines.content.ids
    do(session, lambda: session.press(ids[0]))
    gate = manager.hold("plan_deletion")
    session.loop.call(lambda: session.press(ids[1]))
    tasks = [told(session, ids[at]).task for at in (0, 1)]
    session.close()
    gate.set()
    assert all(task.done() for task in tasks)


def test_many_that_end_at_once_are_drawn_once(open_session, monkeypatch):
    manager = ScriptedManager(run_table(400))
    session = open_session(manager)
    do(session, lambda: session.pick_many("all"))
    turned = []
    read = session.lines._read_page
    monkeypatch.setattr(session.lines, "_read_page", lambda: (turned.append(1), read())[1])
    do(session, lambda: session.delete_picked(confirmed=True))
    assert told(session, MANY).summary.count("\ndeleted\t") > 200
    assert len(turned) < 5


def test_an_error_of_our_own_is_not_told_as_the_server_s(open_session, caplog):
    session = open_session(ScriptedManager(run_table(3)))

    def broken(*_, **__):
        raise KeyError("ours")

    session.lines.take = broken
    do(session, session.loading.start)
    assert session.loading.message.text.startswith("Something went wrong: 'ours'")
    assert "could not finish an action" in caplog.text


def test_what_is_saved_is_said_where_prices_are_known(open_session):
    class Priced(ScriptedManager):
        def plan_deletion(self, run_ids, **options):
            plan = super().plan_deletion(run_ids, **options)
            tiers = {"Cool": TierUse.of(10**12, "Cool", 21 * 86_400)}
            runs = (
                replace(run, locations=tuple(replace(one, tiers=tiers) for one in run.locations))
                for run in plan.runs
            )
            return DeletionPlan(tuple(runs), prices=StoragePrices(hot=0.02, cool=0.01))

    session = open_session(Priced(run_table(6)))
    ids = session.lines.content.ids
    said = "It saves 10.00 USD a month; deleting it early costs 3.00 USD once."
    do(session, lambda: session.press(ids[0]))
    assert told(session, ids[0]).message == f"Delete 12 files, 34.1 MB? {said}"
    do(session, lambda: session.pick(list(ids[3:5])))
    do(session, session.press_many)
    assert "It saves 20.00 USD a month; deleting it early costs 6.00 USD" in (
        told(session, MANY).message
    )


def test_a_pin_on_a_model_holds_its_run_back_too(open_session):
    session = open_session(study_manager())
    run_id = id_of(session, "trial 2")
    own = list(session.lines.content.models_of(run_id)["model_id"])
    do(session, lambda: session.unfold(id_of(session, "search A")))
    do(session, lambda: session.pick([run_id]))
    do(session, lambda: session.open(own[0]))
    do(session, lambda: session.keep(own[0], "audit"))
    assert str(session.lines.content.value(run_id, "protected_by")).startswith("pinned")
    assert run_id not in session.lines.content.deletable()
    assert run_id not in session.lines.selected
    (shown,) = [one for one in session.lines.records if one["id"] == run_id]
    assert str(shown["protected_by"]).startswith("pinned"), "the line says so too"
    assert own[1] in session.lines.content.deletable()
    do(session, lambda: session.keep(own[0], ""))
    assert run_id in session.lines.content.deletable()


def test_two_bulks_over_one_child_do_not_end_each_other_s_words(open_session):
    manager = study_manager()
    session = open_session(manager)
    study, child = id_of(session, "search A"), id_of(session, "trial 3")
    gate = manager.hold("delete_models")
    do(session, lambda: session.press(study))
    offer = told(session, study).offer
    session.loop.call(lambda: session.confirm(study, offer))
    while manager.calls["delete_models"] < 1:
        session.loop.wait(0.01)
    assert told(session, child).message.startswith("Being deleted, with 6")
    other = Deletion(MANY, going=(SimpleNamespace(id=child),))
    session.loop.call(lambda: session.dialogues._tell_lines(other, ""))
    assert told(session, child).message.startswith("Being deleted, with 6")
    gate.set()
    assert session.loop.wait(10)
    assert told(session, child) is None


def test_details_are_asked_for_anew_when_what_they_told_of_is_gone(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    do(session, lambda: session.open(id_))
    assert session.looking.facts.plan.startswith("model: 12 files")
    do(session, lambda: session.press(id_))
    offer = told(session, id_).offer
    manager.files, manager.size = 0, 0
    do(session, lambda: session.confirm(id_, offer))
    assert session.looking.facts.plan == "nothing is stored"
    assert session.looking.record["model"] == "deleted"


def test_a_look_for_dead_runs_that_ends_late_brings_no_killed_one_back(open_session, monkeypatch):
    now = datetime.now(timezone.utc)
    table = run_table(5, now=now)
    table.loc[2, "start_time"] = pd.Timestamp(now - timedelta(days=9))
    gate, asked = threading.Event(), threading.Event()

    def slow(manager, runs, days, at):
        asked.set()
        assert gate.wait(10)
        return dict.fromkeys(runs, 9.0)

    monkeypatch.setattr("expmgr.widgets.session.session.stale_days", slow)
    session = Session(ScriptedManager(table), measure=False)
    session.view = Drawn()
    try:
        session.loop.post(session.loading.start)
        assert asked.wait(10)
        session.loop.call(lambda: session._run_killed(table["run_id"][2]))
        gate.set()
        assert session.loop.wait(10)
        assert session.context.stale == {}
    finally:
        gate.set()
        session.close()


def test_a_confirmation_in_the_moment_of_the_lapse_says_nothing(open_session):
    manager = ScriptedManager(run_table(3))
    session = open_session(manager)
    id_ = session.lines.content.ids[0]
    do(session, lambda: session.press(id_))
    deletion = told(session, id_)

    def both():
        deletion.answer.give(False)
        session.confirm(id_, deletion.offer)
        return deletion.message

    assert session.loop.call(both).startswith("Delete 12 files")
    assert session.loop.wait(10)
    assert told(session, id_) is None
    assert manager.calls["delete_model"] == 0
