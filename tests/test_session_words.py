"""What deletions say: never more than is known, and never less than is asked to go."""

from __future__ import annotations

from expmgr.catalog.model import Model
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.cleanup.report import DeletionReport
from expmgr.results import DeletionResult
from expmgr.storage.location import Location
from expmgr.widgets.session.words import Asked, end_of_many, verdict_on_many, verdict_on_one


def planned(number, *, size=10, journal="", files=1):
    id_ = f"m-{number}"
    location = Location("a", "c", f"1/models/{id_}/artifacts", "logged_model", id_)
    return PlannedLocation(
        location, files, size, {}, model=Model(id_, "logged", "1", journal=journal)
    )


def run_plan(id_="r", locations=1, *, model="stored", **options):
    held = tuple(planned(f"{id_}{at}", **options) for at in range(locations))
    return RunPlan(id_, model=model, locations=held)


def test_a_run_of_which_one_model_is_half_gone_is_not_offered_as_what_is_left_of_a_deletion():
    half, whole = planned(1, journal="interrupted"), planned(2)
    both = RunPlan("r", model="interrupted", locations=(half, whole))
    said = verdict_on_one("r", DeletionPlan((both,)))
    assert said.message == "Delete 2 models: 2 files, 20 B?"
    alone = RunPlan("r", model="interrupted", locations=(half, planned(3, files=0)))
    said = verdict_on_one("r", DeletionPlan((alone,)))
    assert said.message.startswith("A deletion was interrupted: delete the ")


def test_many_models_of_one_run_are_counted_and_typed():
    said = verdict_on_one("r", DeletionPlan((run_plan(locations=500),)))
    assert said.message.startswith("Delete 500 models: 500 files")
    assert said.message.endswith("Type 500 to confirm.")
    assert said.typed == 500
    assert verdict_on_one("r", DeletionPlan((run_plan(locations=100),))).typed == 0


def test_what_stays_although_the_run_was_asked_for_is_said():
    note = RunPlan("r", model="stored", locations=(planned(1),), note="MLflow does not tell of m-x")
    assert "MLflow does not tell of m-x" in verdict_on_one("r", DeletionPlan((note,))).message
    many = verdict_on_many(Asked(("r",)), DeletionPlan((note,)))
    assert "Of 1 run something stays" in many.message


def test_where_sizes_are_not_known_the_plan_s_count():
    """The table knew 5 bytes of what is 4 TB."""
    plan = DeletionPlan(tuple(run_plan(f"r{at}", size=10**12) for at in range(4)))
    asked = Asked(("r0", "r1", "r2", "r3"), bytes=5, all_bytes=1000, unmeasured=3)
    assert verdict_on_many(asked, plan).typed == 4
    small = DeletionPlan(tuple(run_plan(f"r{at}", size=10) for at in range(4)))
    assert verdict_on_many(asked, small).typed == 0
    measured = Asked(("r0",), bytes=5, all_bytes=1000)
    assert verdict_on_many(measured, plan).typed == 0


def test_after_a_stop_what_was_not_begun_is_counted_among_what_could_go():
    """A report holds what was protected all along, too."""
    going = [run_plan(f"r{at}") for at in range(40)]
    results = [DeletionResult(f"r{at}", "deleted", 1, 10) for at in range(9)]
    results += [DeletionResult("r9", "protected"), DeletionResult("r10", "failed", message="x")]
    results += [DeletionResult(f"p{at}", "protected") for at in range(15)]
    said = end_of_many(DeletionReport(tuple(results)), going, 1.0, stopped=True).message
    assert "Deleted 9 models" in said
    assert "1 turned out to be protected" in said
    assert "1 failed" in said
    assert said.endswith("stopped before the other 29")


def test_many_end_in_the_models_that_were_asked_about_however_many_a_run_has():
    going = (run_plan("a", 3), run_plan("b", 2), run_plan("c"))
    asked = verdict_on_many(Asked(("a", "b", "c")), DeletionPlan(going)).message
    assert asked.startswith("Delete 6 models")
    results = tuple(DeletionResult(id_, "deleted", files=1) for id_ in "ab")
    report = DeletionReport((*results, DeletionResult("c", "failed")))
    assert "Deleted 5 models" in end_of_many(report, going, 1.0, stopped=False).message
    every = end_of_many(report, (), 1.0, stopped=False, every=True).message
    assert "Deleted 2 models" in every
