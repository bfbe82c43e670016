"""The Clean up and the Deletions view without a page: what is planned, asked, done and told."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from cleaning_manager import NOW, CleaningManager, failing, log_of, record
from hypothesis import given
from hypothesis import strategies as st
from scripted_manager import ScriptedManager, run_table
from study_tables import study_manager
from test_session import Drawn

import expmgr.policies
from expmgr.errors import InvalidInputError
from expmgr.prices import StoragePrices
from expmgr.results import DeletionResult
from expmgr.widgets.session.clean_up import PARTS, PERS, CleanUp
from expmgr.widgets.session.cleaning import CLEAN_UP
from expmgr.widgets.session.log_lines import KEEPS_NOTHING, log_lines
from expmgr.widgets.session.logbook import DUE
from expmgr.widgets.session.session import CLEAN_UP_VIEW, LOG_VIEW, RUNS_VIEW, Session

NAMES = {name: getattr(expmgr.policies, name) for name in expmgr.policies.__all__}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("expmgr.widgets.session.cleaning.PAUSE", 0.01)


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


def cleaning_of(session):
    do(session, lambda: session.show(CLEAN_UP_VIEW))
    return session.cleaning


# --------------------------------------------------------------------------------- the line of code


class Echo:
    def plan_cleanup(self, **said):
        return said


@given(
    st.builds(
        CleanUp,
        older_than=st.sampled_from(["", "30d", " 1.5w "]),
        larger_than=st.sampled_from(["", "1GB", "500 MiB"]),
        status=st.sampled_from(["", "FAILED"]),
        mine=st.booleans(),
        best=st.integers(0, 5),
        last=st.integers(0, 5),
        per=st.sampled_from([value for _, value in PERS]),
        part=st.sampled_from([value for _, value in PARTS]),
        experiments=st.sampled_from([None, "all", 'a "b" / c', ("a", "b\\")]),
        everything=st.booleans(),
    )
)
def test_the_line_that_is_shown_asks_for_what_is_planned(asked):
    shown = eval(asked.line(), {"manager": Echo(), **NAMES})
    assert shown == asked.keywords()
    scope = {"manager": type("M", (Echo,), {"delete_models": lambda _, *args, **kw: (args, kw)})()}
    exec(asked.script("7d").replace("manager.delete_models", "done = manager.delete_models"), scope)
    assert scope["done"] == ((asked.keywords(),), {"after": "7d"})


def test_the_start_is_a_careful_one():
    assert CleanUp().line() == 'manager.plan_cleanup(where=older_than("30d"), keep=best(3))'


# ------------------------------------------------------------------------------------- the Clean up


def test_nothing_is_planned_or_read_before_a_view_is_opened(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    assert session.views == (RUNS_VIEW, CLEAN_UP_VIEW, LOG_VIEW)
    assert manager.calls["plan_cleanup"] == manager.calls["deletion_log"] == 0
    cleaning = cleaning_of(session)
    assert (manager.calls["plan_cleanup"], cleaning.fresh, cleaning.count) == (1, True, 10)
    do(session, lambda: session.show(RUNS_VIEW))
    do(session, lambda: session.show(CLEAN_UP_VIEW))
    assert manager.calls["plan_cleanup"] == 1
    assert not any("MainThread" in name for name in manager.threads)


def test_a_manager_that_plans_no_clean_up_has_no_such_view(open_session):
    session = open_session(ScriptedManager(run_table(3)))
    assert session.views == (RUNS_VIEW,)
    with pytest.raises(InvalidInputError, match="no view 'clean up'"):
        session.loop.call(lambda: session.show(CLEAN_UP_VIEW))


def test_changes_that_follow_one_another_are_planned_once(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    cleaning = cleaning_of(session)

    def changes():
        for age in ("3", "30", "30d", "300d"):
            cleaning.ask(older_than=age)
        cleaning.ask(best=1, part="optimizer", per="run")

    do(session, changes)
    assert manager.calls["plan_cleanup"] == 2
    asked = manager.asked[-1]
    assert repr(asked["where"]) == 'older_than("300d")'
    assert (repr(asked["keep"]), asked["per"], asked["part"]) == ("best(1)", "run", "optimizer")


def test_a_change_cancels_the_plan_under_way_and_its_answer_is_not_heard(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    gate = manager.hold("plan_cleanup")
    session.loop.call(lambda: session.show(CLEAN_UP_VIEW))
    cleaning = session.cleaning
    first = cleaning._cancel
    manager.gates.clear()
    manager.goes = manager.goes[:3]
    do(session, lambda: cleaning.ask(older_than="60d"))
    assert first.is_set()
    assert cleaning.count == 3
    gate.set()
    assert session.loop.wait(10)
    assert cleaning.count == 3


def test_planning_tells_how_far_it_is_and_can_be_given_up(open_session):
    manager = CleaningManager()
    session = open_session(manager, patience=0.01)
    gate = manager.hold("plan_cleanup")
    session.loop.call(lambda: session.show(CLEAN_UP_VIEW))
    told = threading.Event()
    session.loop.later(0.2, told.set)
    assert told.wait(5)
    message = session.cleaning.message
    assert message.busy
    assert message.cancel
    assert message.text.startswith("Finding out what would go; ")
    do(session, session.cleaning.cancel)
    assert session.cleaning.message.text == "The planning was cancelled."
    assert not session.cleaning.fresh
    gate.set()
    manager.gates.clear()
    do(session, session.cleaning.plan_anew)
    assert session.cleaning.fresh


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"older_than": "soon"}, "'soon' is not an age"),
        ({"larger_than": "big"}, "'big' is not a size"),
    ],
)
def test_what_does_not_parse_is_said_in_its_place_and_planned_nowhere(open_session, change, words):
    manager = CleaningManager()
    session = open_session(manager)
    cleaning = cleaning_of(session)
    do(session, lambda: cleaning.ask(**change))
    assert words in cleaning.message.text
    assert cleaning.message.bad
    assert cleaning.plan is None
    assert cleaning.script == ""
    assert manager.calls["plan_cleanup"] == 1
    do(session, cleaning.press)
    assert cleaning.deletion is None


def test_an_error_is_said_and_can_be_tried_again(open_session):
    manager = CleaningManager()
    manager.faults["plan_cleanup"] = [RuntimeError("away")]
    session = open_session(manager)
    cleaning = cleaning_of(session)
    assert cleaning.message.text == "Nothing is planned: away (RuntimeError)"
    assert cleaning.message.retry
    do(session, cleaning.plan_anew)
    assert cleaning.fresh


def test_a_policy_that_takes_everything_asks_for_the_word_of_this_policy(open_session):
    manager = CleaningManager()
    manager.takes_everything = True
    session = open_session(manager)
    cleaning = cleaning_of(session)
    assert cleaning.wants_word
    assert "takes every model" in cleaning.message.text
    do(session, lambda: cleaning.ask(word="everythin"))
    assert not cleaning.fresh
    do(session, lambda: cleaning.ask(word="everything"))
    assert cleaning.fresh
    assert manager.asked[-1]["everything"] is True
    assert "everything=True" in cleaning.script
    do(session, lambda: cleaning.ask(best=1))
    assert cleaning.wants_word, "what was said of one policy is not said of another"


def test_what_is_shown_is_what_goes_and_the_table_says_so(open_session):
    manager = CleaningManager()
    manager.prices = StoragePrices(hot=0.018)
    session = open_session(manager)
    cleaning = cleaning_of(session)
    plan = cleaning.plan
    manager.goes = manager.table["run_id"].tolist()  # what comes meanwhile
    do(session, cleaning.press)
    deletion = cleaning.deletion
    assert (deletion.phase, deletion.offer.text) == ("armed", "Delete 10 models")
    assert deletion.message.startswith("Delete 10 models: 120 files, 341 MB? It saves ")
    assert manager.calls["delete_models"] == manager.calls["plan_deletion"] == 0
    do(session, lambda: session.confirm(CLEAN_UP, deletion.offer))
    assert deletion.message.startswith("Deleted 10 models, 120 files, 341 MB in ")
    assert deletion.plan is plan
    assert {result.run_id for result in deletion.results} == {run.id for run in plan}
    for run in plan:
        assert session.lines.content.value(run.id, "model") == "deleted"
    do(session, cleaning.press)
    assert cleaning.deletion is None
    assert manager.calls["plan_cleanup"] == 2, "what went is planned no more"


def test_a_change_takes_back_what_was_offered(open_session):
    session = open_session(CleaningManager())
    cleaning = cleaning_of(session)
    do(session, cleaning.press)
    offer = cleaning.deletion.offer
    do(session, lambda: cleaning.ask(best=1))
    assert cleaning.deletion is None
    do(session, lambda: session.confirm(CLEAN_UP, offer))
    assert session.manager.calls["delete_models"] == 0


def test_leaving_the_view_takes_back_what_was_offered(open_session):
    session = open_session(CleaningManager())
    cleaning = cleaning_of(session)
    do(session, cleaning.press)
    offer = cleaning.deletion.offer
    do(session, lambda: session.show(RUNS_VIEW))
    do(session, lambda: session.confirm(CLEAN_UP, offer))
    assert cleaning.deletion is None
    assert session.manager.calls["delete_models"] == 0


def test_while_models_go_nothing_else_is_asked_for_and_stop_stops(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    cleaning = cleaning_of(session)
    do(session, cleaning.press)
    gate = manager.hold("delete_models")
    deletion = cleaning.deletion
    session.loop.call(lambda: session.confirm(CLEAN_UP, deletion.offer))
    asked = cleaning.asked
    session.loop.call(lambda: cleaning.ask(best=1))
    assert cleaning.asked == asked
    session.loop.call(cleaning.press)
    assert deletion.phase == "stopping"
    gate.set()
    assert session.loop.wait(10)
    assert deletion.message.endswith("stopped before the other 10")


@pytest.mark.parametrize(("goes", "kept"), [(101, 500), (20, 19)])
def test_more_than_100_or_half_of_all_is_typed(open_session, goes, kept):
    manager = CleaningManager(goes + kept, goes=range(goes))
    session = open_session(manager)
    cleaning = cleaning_of(session)
    do(session, cleaning.press)
    deletion = cleaning.deletion
    assert (deletion.typed, deletion.offer) == (goes, None)
    do(session, lambda: session.dialogues.type_number(CLEAN_UP, str(goes + 1)))
    assert deletion.offer is None
    do(session, lambda: session.dialogues.type_number(CLEAN_UP, str(goes)))
    assert deletion.offer.text == f"Delete {goes} models"


def test_failures_are_named_and_retried_alone(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    cleaning = cleaning_of(session)
    bad = manager.goes[2]
    failing(manager, bad)
    do(session, cleaning.press)
    deletion = cleaning.deletion
    do(session, lambda: session.confirm(CLEAN_UP, deletion.offer))
    assert (deletion.failed, deletion.offer.text) == (True, "Retry the failures")
    assert "9 models" in deletion.message
    assert "1 failed" in deletion.message
    assert session.dialogues.get(bad).message == "403: not permitted", "in its own line, too"
    del manager.results[bad]
    do(session, lambda: session.confirm(CLEAN_UP, deletion.offer))
    assert deletion.message.startswith("Deleted 1 model, 12 files")
    assert [result.run_id for result in deletion.results] == [bad]
    assert not deletion.failed
    assert session.dialogues.get(bad) is None
    assert session.lines.content.value(bad, "model") == "deleted"


def test_a_grace_period_marks_and_deletes_nothing(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    cleaning = cleaning_of(session)
    do(session, lambda: cleaning.wait_for("7d"))
    assert cleaning.script.endswith("manager.delete_models(plan, after='7d')")
    do(session, cleaning.press)
    deletion = cleaning.deletion
    assert deletion.message.startswith("Mark 10 models to go in 7 days? Nothing goes before")
    assert deletion.offer.text == "Mark 10 models"
    loads = manager.calls["runs"]
    do(session, lambda: session.confirm(CLEAN_UP, deletion.offer))
    assert manager.marked == [(id_, "7d") for id_ in manager.goes]
    assert manager.calls["delete_models"] == 0
    assert deletion.message.startswith("Marked 10 deletions in ")
    assert "goes 6 Dec" in deletion.message
    assert manager.calls["runs"] > loads, "the table reads when they go"
    assert session.lines.content.value(manager.goes[0], "model") == "stored"


def test_a_mark_that_failed_is_marked_again_and_offers_no_deletion_in_its_line(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    cleaning = cleaning_of(session)
    do(session, lambda: cleaning.wait_for("7d"))
    bad = manager.goes[0]
    failing(manager, bad)
    do(session, cleaning.press)
    deletion = cleaning.deletion
    do(session, lambda: session.confirm(CLEAN_UP, deletion.offer))
    assert deletion.failed
    assert session.dialogues.get(bad) is None
    manager.marked.clear()
    manager.results.clear()
    do(session, lambda: session.confirm(CLEAN_UP, deletion.offer))
    assert manager.marked == [(bad, "7d")]
    assert manager.calls["delete_models"] == 0


def test_a_run_whose_only_model_went_by_its_own_id_reads_deleted(open_session):
    manager = study_manager()
    session = open_session(manager)
    content = session.lines.content
    models = manager.models_frame.set_index("run_name")["model_id"]
    run_id = content.models.set_index("model_id")["run_id"][models["plain 2"]]
    do(session, lambda: session.lines.ended(DeletionResult(models["plain 2"], "deleted")))
    assert content.value(run_id, "model") == "deleted"
    of_four = models["four checkpoints"].iloc[0]
    do(session, lambda: session.lines.ended(DeletionResult(of_four, "deleted")))
    assert content.value(content.maker(of_four), "model") == "stored"


def test_optimizer_states_that_went_make_no_model_deleted_nor_a_line_offer_to_delete_it(
    open_session,
):
    manager = CleaningManager()
    manager.part = "optimizer"
    session = open_session(manager)
    cleaning = cleaning_of(session)
    failing(manager, manager.goes[1])
    do(session, lambda: cleaning.ask(part="optimizer"))
    do(session, cleaning.press)
    loads = manager.calls["runs"]
    do(session, lambda: session.confirm(CLEAN_UP, cleaning.deletion.offer))
    assert cleaning.deletion.outcome == "failed"
    for id_ in manager.goes:
        assert session.lines.content.value(id_, "model") == "stored"
        assert session.dialogues.get(id_) is None, "Retry there would plan the whole model"
    assert manager.calls["runs"] > loads


def test_what_cannot_be_marked_goes_now_or_not(open_session):
    session = open_session(CleaningManager())
    cleaning = cleaning_of(session)
    do(session, lambda: cleaning.wait_for("7d"))
    do(session, lambda: cleaning.ask(part="optimizer"))
    assert cleaning.after == ""
    do(session, lambda: cleaning.wait_for("7d"))
    assert cleaning.after == ""


# ------------------------------------------------------------------------------------ the Deletions


def logbook_of(session):
    do(session, lambda: session.show(LOG_VIEW))
    return session.logbook


def due_in(after, id_, **values):
    return record(id_, "marked", due=NOW + timedelta(hours=after), **values)


def test_what_will_go_stands_on_top_the_next_first_and_the_rest_newest_first():
    table = log_of(
        [
            record("a", hours=5),
            record("b", "failed", hours=2),
            due_in(72, "later"),
            due_in(-1, "due", hours=50),
        ]
    )
    lines = log_lines(table, NOW, keeps=None)
    assert [line.id for line in lines] == ["due", "later", "b", "a"]
    assert lines[0].outcome.startswith("due since ")
    assert lines[1].outcome.startswith("goes ")
    assert lines[1].when.startswith("in 3 d; marked ")
    assert [line.due for line in lines] == [True, False, False, False]
    assert [line.offers for line in lines] == ["keep", "keep", "resume", "restore"]


def test_only_the_newest_record_of_a_model_offers_anything():
    table = log_of([record("a", "interrupted", hours=9), record("a", hours=1)])
    newest, older = log_lines(table, NOW, keeps=True)
    assert (newest.offers, older.offers) == ("restore", "")
    assert older.about == "a later deletion followed"


def test_a_part_that_was_interrupted_is_not_planned_as_a_model():
    (line,) = log_lines(log_of([record("a", "interrupted", part="optimizer")]), NOW, keeps=None)
    assert (line.offers, line.part) == ("", "optimizer states")
    assert "resume_deletions() finishes it" in line.about
    (line,) = log_lines(log_of([record("a", "interrupted", part="plots/**")]), NOW, keeps=None)
    assert line.part == "files that match plots/**"


def test_where_the_account_keeps_nothing_that_is_said_instead_of_offering_it():
    (line,) = log_lines(log_of([record("a")]), NOW, keeps=False)
    assert (line.offers, line.about) == ("", KEEPS_NOTHING)


def test_records_that_cannot_be_read_are_lines_too():
    dark = record("", "unknown", files=None, bytes=None, when=None, run_id="", name="", part="")
    (line,) = log_lines(log_of([dark]), NOW, keeps=None)
    assert (line.offers, line.size, line.when) == ("", "", "")


def test_a_mark_is_kept_with_one_click_and_the_table_reads_it(open_session):
    manager = CleaningManager(records=[due_in(72, "a")])
    session = open_session(manager)
    logbook = logbook_of(session)
    (line,) = logbook.shown
    loads = manager.calls["runs"]
    do(session, lambda: logbook.press(line.key))
    assert manager.kept == ["a"]
    assert logbook.told(line).message == "Kept: the mark is taken back, nothing goes."
    assert manager.calls["runs"] > loads
    do(session, lambda: logbook.press(line.key))
    assert [one.outcome for one in logbook.shown] == ["mark taken back"]


def test_a_restoration_is_asked_for_once_and_told(open_session):
    manager = CleaningManager(records=[record("a")])
    session = open_session(manager)
    logbook = logbook_of(session)
    (line,) = logbook.shown
    do(session, lambda: logbook.press(line.key))
    deletion = logbook.told(line)
    assert (deletion.phase, deletion.offer.text) == ("armed", "Restore")
    assert manager.calls["restore_model"] == 0
    do(session, lambda: session.confirm("a", deletion.offer))
    assert deletion.message == "Restored 3 files, 1.00 MB in 0.0 s"
    do(session, lambda: logbook.press(line.key))
    assert [one.outcome for one in logbook.shown] == ["restored"]


def test_a_restoration_that_failed_says_why_and_can_be_tried_again(open_session):
    manager = CleaningManager(records=[record("a")])
    manager.faults["restore_model"] = [RuntimeError("nothing is kept")]
    session = open_session(manager)
    logbook = logbook_of(session)
    (line,) = logbook.shown
    do(session, lambda: logbook.press(line.key))
    deletion = logbook.told(line)
    do(session, lambda: session.confirm("a", deletion.offer))
    assert deletion.message == "Not restored: nothing is kept (RuntimeError)"
    do(session, lambda: session.confirm("a", deletion.offer))
    assert deletion.outcome == "restored"


def test_an_interrupted_deletion_is_resumed_by_the_dialogue_of_the_table(open_session):
    manager = CleaningManager()
    id_ = manager.table["run_id"].iloc[0]
    manager.table.loc[0, "model"] = "interrupted"
    manager.log = [record(id_, "interrupted")]
    session = open_session(manager)
    logbook = logbook_of(session)
    (line,) = logbook.shown
    do(session, lambda: logbook.press(line.key))
    deletion = logbook.told(line)
    assert deletion is session.dialogues.get(id_)
    assert deletion.message.startswith("A deletion was interrupted: delete the 12 files")
    do(session, lambda: session.confirm(id_, deletion.offer))
    assert manager.calls["delete_model"] == 1
    assert deletion.outcome == "deleted"
    assert session.lines.content.value(id_, "model") == "deleted"


def test_resume_offers_no_deletion_of_a_model_that_is_whole_by_now(open_session):
    manager = CleaningManager()
    id_ = manager.table["run_id"].iloc[0]
    manager.log = [record(id_, "interrupted")]
    session = open_session(manager)
    logbook = logbook_of(session)
    (line,) = logbook.shown
    do(session, lambda: logbook.press(line.key))
    deletion = logbook.told(line)
    assert (deletion.phase, deletion.offer) == ("ended", None)
    assert "Nothing of it is interrupted any more" in deletion.message
    assert manager.calls["delete_model"] == 0


def test_what_is_due_goes_after_one_confirmation(open_session):
    manager = CleaningManager(records=[due_in(-1, "a"), due_in(-2, "b"), due_in(9, "c")])
    session = open_session(manager)
    logbook = logbook_of(session)
    do(session, logbook.press_due)
    deletion = logbook.deletion
    assert deletion.message.startswith("Delete what is due, 2 marks: 2.00 MB as it was then?")
    assert manager.calls["delete_due"] == 0
    loads = manager.calls["runs"]
    do(session, lambda: session.confirm(DUE, deletion.offer))
    assert manager.calls["delete_due"] == 1
    assert manager.calls["runs"] > loads, "a mark may be of some models of a run only"
    assert deletion.message.startswith("Deleted 2 models, 6 files, 2.00 MB")
    do(session, logbook.press_due)
    assert [line.id for line in logbook.shown if line.mark] == ["c"]


def test_where_nothing_is_due_nothing_is_asked(open_session):
    session = open_session(CleaningManager(records=[due_in(9, "c")]))
    logbook = logbook_of(session)
    do(session, logbook.press_due)
    assert logbook.deletion is None


def test_records_are_searched_and_paged(open_session):
    records = [record(f"{at:02}", hours=at + 1, who="bob" if at % 2 else "ann") for at in range(60)]
    session = open_session(CleaningManager(records=records))
    logbook = logbook_of(session)
    assert (len(logbook.shown), logbook.pages) == (25, 3)
    do(session, lambda: logbook.turn(9))
    assert [line.id for line in logbook.shown] == [f"{at:02}" for at in range(50, 60)]
    do(session, lambda: logbook.look_for("BOB name"))
    assert (len(logbook.found), logbook.page) == (30, 0)


def test_the_log_is_read_again_once_something_went(open_session):
    manager = CleaningManager()
    session = open_session(manager)
    logbook_of(session)
    logbook_of(session)
    assert manager.calls["deletion_log"] == 1
    cleaning = cleaning_of(session)
    do(session, cleaning.press)
    do(session, lambda: session.confirm(CLEAN_UP, cleaning.deletion.offer))
    logbook_of(session)
    assert manager.calls["deletion_log"] == 2


def test_a_log_that_cannot_be_read_says_so(open_session):
    manager = CleaningManager(records=[record("a")])
    manager.faults["deletion_log"] = [RuntimeError("away")]
    session = open_session(manager)
    logbook = logbook_of(session)
    assert logbook.message.text == "The deletions could not be read: away (RuntimeError)"
    do(session, logbook.refresh)
    assert len(logbook.shown) == 1


# ------------------------------------------------------------------------------------- read-only


def test_a_read_only_session_plans_and_reads_and_refuses_all_else(open_session):
    manager = CleaningManager(records=[due_in(-1, "a"), record("b"), record("c", "interrupted")])
    session = open_session(manager, read_only=True)
    cleaning, logbook = cleaning_of(session), logbook_of(session)
    assert cleaning.count == 10
    deeds = [cleaning.press, logbook.press_due]
    deeds += [lambda key=line.key: logbook.press(key) for line in logbook.shown]
    assert len(deeds) == 5
    for deed in deeds:
        with pytest.raises(InvalidInputError, match="read-only"):
            session.loop.call(deed)
    changing = ("delete_models", "mark_models", "delete_due", "keep", "restore_model")
    assert not any(manager.calls[name] for name in (*changing, "delete_model", "plan_deletion"))


@pytest.mark.parametrize("name", [CLEAN_UP, DUE])
def test_a_view_s_id_is_of_no_run_or_model(name):
    assert " " in name
    assert not name.startswith("m-")
