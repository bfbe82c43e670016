"""The rules of protection as pure code, and the search for the best against reading everything."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from expmgr.catalog.model import Maker, Model, Size, Stored, is_pin
from expmgr.catalog.protection import Evidence, NamingRun, best_in, best_linking, reasons_of
from expmgr.catalog.quality import Entry, Goal, Rank
from expmgr.catalog.versions import Version, VersionsBuilder
from expmgr.cleanup.contest import Contest, Looks
from expmgr.cleanup.evidence import ask_protection
from expmgr.cleanup.locate import Finder
from expmgr.storage.addresses import Addresses
from expmgr.storage.listing import Blob
from expmgr.storage.store import Store
from expmgr.tracking.queries import asking

UP = Goal("acc", is_loss=False)
DOWN = Goal("acc", is_loss=True)
HOUR = 3_600_000


def maker(**changes) -> Maker:
    plain = {
        "id": "r",
        "name": "r",
        "experiment_id": "1",
        "status": "FINISHED",
        "tags": {},
        "metrics": {},
        "outputs": {},
    }
    return Maker(**{**plain, **changes})


def model(id_="m-1", **changes) -> Model:
    plain = {"kind": "logged", "experiment_id": "1", "run_id": "r", "path": f"x/{id_}/artifacts"}
    return Model(id_, **{**plain, **changes})


def kinds(model_, maker_=None, evidence=None):
    return [reason.kind for reason in reasons_of(model_, maker_ or maker(), evidence or Evidence())]


def test_nothing_protects_a_plain_model():
    assert kinds(model()) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"status": "RUNNING"}, "active"),
        ({"status": "SCHEDULED"}, "active"),
        ({"tags": {"expmgr.keep": ""}}, "pinned"),
        ({"tags": {"expmgr.keep": "true"}}, "pinned"),
        ({"tags": {"expmgr.initial_model": "true"}}, "initial"),
    ],
)
def test_what_the_run_itself_says(changes, kind):
    assert kinds(model(), maker(**changes)) == [kind]


def test_a_pin_on_the_model_itself_protects_it():
    assert kinds(model(tags={"expmgr.keep": "1"})) == ["pinned"]


def test_a_model_without_a_run_may_be_uploading_for_a_day():
    young = model(run_id="", status="PENDING", created=0)
    assert [r.kind for r in reasons_of(young, None, Evidence(at=23 * HOUR))] == ["active"]
    assert reasons_of(young, None, Evidence(at=25 * HOUR)) == ()


def test_a_pin_is_taken_back_only_in_words_that_mean_it():
    assert [is_pin(value) for value in (None, "false", " No ", "0")] == [False] * 4
    assert [is_pin(value) for value in ("", "true", "off?", "keep for audit")] == [True] * 4


@given(st.text("abc/", max_size=6), st.text("abc/", max_size=6))
def test_a_version_registered_by_path_protects_what_holds_it_and_what_it_holds(source, path):
    builder = VersionsBuilder()
    builder.path(source, Version("v1", "v/1"))
    within = f"{source}/".startswith(f"{path}/") or f"{path}/".startswith(f"{source}/")
    assert bool(builder.build().of(model(path=path))) is within


def test_a_version_of_one_model_leaves_its_siblings_free():
    builder = VersionsBuilder()
    builder.model("m-1", Version("churn v1", "churn/1"))
    evidence = Evidence(versions=builder.build())
    assert kinds(model("m-1"), evidence=evidence) == ["registered"]
    assert kinds(model("m-2"), evidence=evidence) == []


def test_a_run_that_names_the_model_protects_it_and_no_other():
    evidence = Evidence(naming=(NamingRun("other", "pinned", frozenset({"m-1"})),))
    assert kinds(model("m-1"), evidence=evidence) == ["used"]
    assert kinds(model("m-2"), evidence=evidence) == []
    assert kinds(model("m-1", run_id="other"), maker(id="other"), evidence) == []


def test_a_best_model_says_by_what():
    evidence = Evidence(best={"m-1": (Rank(UP, 0.5, own=True),)})
    (reason,) = reasons_of(model(), maker(), evidence)
    assert reason == "best: acc = 0.5 is the best of its experiment"


def test_a_failed_look_up_protects():
    def broken(experiment_id, goal):
        with asking("rank the models"):
            raise MlflowException("the server said 503")

    server = Server([])
    server._registry_uri = None
    server.search_model_versions = lambda max_results, page_token: Page([], None)
    store = Store("acct", "box", "https://acct.blob.core.windows.net")
    finder = Finder(Addresses(store), server.list, ())
    evidence = ask_protection(server, finder, ["1"], [("1", UP)], broken, {}, naming=True)
    (reason,) = reasons_of(model(), maker(), evidence)
    assert reason.kind == "unknown"
    assert "503" in reason


def test_a_linking_run_is_best_only_where_no_run_with_a_model_is_better():
    links = maker(id="links", metrics={"acc": 0.8}, outputs={"m-1": 0})
    owner = maker(id="owner", metrics={"acc": 0.9})
    assert best_linking([links, owner], {"m-1": True}, ["owner"], UP) == ()
    assert best_linking([links, owner], {"m-1": True}, ["owner"], DOWN) == (links,)
    assert best_linking([links], {"m-1": False}, [], UP) == ()


def test_a_model_made_for_another_experiment_counts_in_its_makers_too_and_displaces_nobody():
    home = model("m-home", run_id="a", stored=Stored(Size(1, 1), marked=True))
    guest = model("m-guest", run_id="b", experiment_id="2", stored=Stored(Size(1, 1), marked=True))
    makers = {
        "a": maker(id="a", metrics={"acc": 0.5}),
        "b": maker(id="b", metrics={"acc": 0.9}),
    }
    assert set(best_in("1", [home, guest], makers, UP, {})) == {"m-home", "m-guest"}
    makers["b"] = maker(id="b", metrics={"acc": 0.4})
    assert set(best_in("1", [home, guest], makers, UP, {})) == {"m-home"}


# ------------------------------------------------------------- the best, against reading everything


class Server:
    """Answers as MLflow and a container do, from rows kept in memory, and counts."""

    def __init__(self, rows) -> None:
        self.rows = 0
        self.asked = 0
        self.runs, self.entities, self.files = [], [], set()
        for index, row in enumerate(rows):
            self._add(index, *row)

    def _add(self, index, value, own, stored, status):
        run_id, model_id = f"r{index}", f"m-{index}"
        metrics = {} if value is None else {"acc": value}
        outputs = [SimpleNamespace(model_id=model_id, step=0)] if stored is not None else []
        self.runs.append(
            SimpleNamespace(
                info=SimpleNamespace(
                    run_id=run_id,
                    run_name=run_id,
                    experiment_id="1",
                    status=status,
                    lifecycle_stage="active",
                    start_time=index,
                    end_time=index,
                    artifact_uri=f"wasbs://box@acct.blob.core.windows.net/e/{run_id}/artifacts",
                ),
                data=SimpleNamespace(metrics=metrics, params={}, tags={}),
                outputs=SimpleNamespace(model_outputs=outputs),
                inputs=None,
            )
        )
        if stored is None:
            return
        entries = [] if own is None else [self._metric("acc", own, run_id)]
        path = f"e/models/{model_id}/artifacts"
        self.entities.append(
            SimpleNamespace(
                model_id=model_id,
                experiment_id="1",
                source_run_id=run_id,
                name="model",
                status="READY",
                creation_timestamp=index,
                last_updated_timestamp=index,
                artifact_location=f"wasbs://box@acct.blob.core.windows.net/{path}",
                params={},
                tags={},
                metrics=entries,
            )
        )
        if stored:
            self.files |= (
                {f"{path}/MLmodel", f"{path}/w.bin"} if stored == "whole" else {f"{path}/w"}
            )

    @staticmethod
    def _metric(key, value, run_id):
        # Like the SQL store, which keeps 0 for a NaN and 1.797e308 for infinity.
        value = 0.0 if math.isnan(value) else max(min(value, 1.797e308), -1.797e308)
        return SimpleNamespace(key=key, value=value, timestamp=1, step=0, run_id=run_id)

    def search_runs(self, ids, filter_string, run_view_type, max_results, page_token):
        found = [run for run in self.runs[::-1] if run.info.status == "FINISHED"]
        if match := re.search(r"metrics\.`acc` (>=|<=) (-?[0-9.]+)$", filter_string):
            bound = float(match[2])
            kept = []
            for run in found:
                value = run.data.metrics.get("acc")
                if value is None:
                    continue
                value = 0.0 if math.isnan(value) else value
                if value >= bound if match[1] == ">=" else value <= bound:
                    kept.append(run)
            found = kept
        else:
            assert "metrics" not in filter_string, filter_string
        return self._page(found, max_results, page_token)

    def search_logged_models(
        self, ids, filter_string=None, max_results=100, order_by=None, page_token=None
    ):
        found = list(self.entities)
        if filter_string:
            makers = set(re.findall(r"'(r\d+)'", filter_string))
            found = [entity for entity in found if entity.source_run_id in makers]
        field = order_by[0]["field_name"]
        sign = 1 if order_by[0]["ascending"] else -1
        if field == "metrics.acc":
            found.sort(
                key=lambda e: (
                    not e.metrics,
                    sign * e.metrics[0].value if e.metrics else 0,
                    -e.creation_timestamp,
                )
            )
        return self._page(found, max_results, page_token)

    def _page(self, found, max_results, page_token):
        start = int(page_token or 0)
        page = found[start : start + max_results]
        self.rows += len(page)
        self.asked += 1
        more = start + max_results < len(found)
        return Page(page, str(start + max_results) if more else None)

    def get_run(self, run_id):
        return self.runs[int(run_id[1:])]

    def get_metric_history(self, run_id, key):
        self.asked += 1
        return [
            SimpleNamespace(value=value, step=0, timestamp=1)
            for value in self.logged.get(run_id, ())
        ]

    def list(self, prefix, *, cancel=None):
        self.asked += 1
        for name in sorted(self.files):
            if name.startswith(prefix):
                yield Blob(name, 1, "0x1", None)

    def folders(self, prefix):
        self.asked += 1
        return frozenset(
            name[len(prefix) :].split("/")[0] for name in self.files if name.startswith(prefix)
        )


class Page(list):
    def __init__(self, items, token) -> None:
        super().__init__(items)
        self.token = token


def contest(server, goal):
    store = Store("acct", "box", "https://acct.blob.core.windows.net")
    proved: dict[Entry, bool | None] = {}
    finder = Finder(Addresses(store), server.list, ("e",))
    found = Contest(
        server,
        finder,
        Looks(server),
        "1",
        goal,
        {"1": SimpleNamespace(lifecycle_stage="active")},
        proved,
    ).run()
    return set(best_in("1", list(found.models.values()), found.makers, goal, proved))


def everything(server, goal):
    """The best by reading all there is."""
    from expmgr.cleanup.contest import prove
    from expmgr.tracking.models import maker_of, model_of

    store = Store("acct", "box", "https://acct.blob.core.windows.net")
    finder = Finder(Addresses(store), server.list, ("e",))
    looks = Looks(server)
    models = [
        looks.measured(model_of(entity, finder.path_or_none(entity.artifact_location)))
        for entity in server.entities
    ]
    makers = {run.info.run_id: maker_of(run, whole=True) for run in server.runs}
    proved: dict[Entry, bool | None] = {}
    prove(server, models, [goal], proved)
    return set(best_in("1", models, makers, goal, proved))


numbers = st.one_of(
    st.none(),
    st.floats(0, 1).map(lambda value: round(value, 1)),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e17, 1e-7, 3e300, 0.0]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            numbers,
            numbers,
            st.sampled_from(["whole", "whole", "half", "", None]),
            st.sampled_from(["FINISHED", "FINISHED", "FINISHED", "FAILED"]),
        ),
        max_size=120,
    ),
    st.booleans(),
)
def test_the_best_are_those_that_reading_everything_finds(rows, is_loss):
    server = Server(rows)
    server.logged = {
        f"r{index}": [own] for index, (_, own, _, _) in enumerate(rows) if own is not None
    }
    goal = Goal("acc", is_loss)
    assert contest(server, goal) == everything(server, goal)


def test_the_best_of_ten_thousand_is_found_without_reading_them_all():
    rows = [
        ((index * 7919 % 10_007) / 10_007, (index * 7919 % 10_007) / 10_007, "whole", "FINISHED")
        for index in range(10_000)
    ]
    server = Server(rows)
    assert len(contest(server, UP)) == 1
    assert server.rows < 1_000
    assert server.asked < 12


def test_a_thousand_equal_models_are_not_all_looked_at():
    server = Server([(1.0, 1.0, "whole", "FINISHED")] * 1_000)
    assert len(contest(server, UP)) == 10
    assert server.asked < 60
