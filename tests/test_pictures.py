"""`plot_storage` and `plot_frontier`: what they show, as numbers and on real servers."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from jupyter_driver import REPOSITORY
from lab import METRIC, Lab
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from expmgr.catalog.reason import Reason, Reasons
from expmgr.catalog.shares import SHARES, by_experiment
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.errors import ExpmgrError
from expmgr.pictures.bars import bars_of
from expmgr.pictures.draw import draw_frontier, draw_storage
from expmgr.pictures.points import Points, frontier, going_ids, points_of, unmeasured
from expmgr.policies import best, older_than
from expmgr.storage.location import Location

RUN = "0123456789abcdef0123456789abcdef"
HOSTILE = "$E=mc^2$ \u202egnorts <b> " + "x" * 200


@pytest.fixture
def lab(backend, credentials, blob_names, tmp_path, plugin_name):
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


def table(*rows):
    columns = ["model_id", "model", "bytes", "quality", "protected_by"]
    return pd.DataFrame(rows, columns=columns).astype({"bytes": "Int64", "quality": "float64"})


def planned(*locations, part="model", asked="", reasons=()):
    found = tuple(
        PlannedLocation(Location("acct", "box", path, kind, owner), 1, 10, {"a": "1"}, {"a": 10})
        for path, kind, owner in locations
    )
    return DeletionPlan(
        (RunPlan(RUN, model="stored", locations=found, part=part, asked=asked, reasons=reasons),)
    )


# --------------------------------------------------------------------------------------- numbers


def test_points_are_models_with_a_metric_and_a_size_and_the_others_are_counted():
    best_one = Reasons([Reason("best", "of all")])
    points = points_of(
        table(
            ("m-1", "stored", 100, 0.5, Reasons()),
            ("m-2", "stored", 200, 0.9, best_one),
            ("m-3", "broken", 300, 0.8, Reasons()),
            ("m-4", "stored", 400, None, Reasons()),
            ("m-5", "unknown", None, 0.7, Reasons()),
            ("m-6", "deleted", 0, 0.99, Reasons()),
        ),
        None,
        is_loss=False,
    )
    assert points.sizes.tolist() == [100, 200, 300]
    assert points.values.tolist() == [0.5, 0.9, 0.8]
    assert points.front.tolist() == [True, True, False]
    assert points.held.tolist() == [False, True, False]
    assert not points.going.any()
    assert points.left_out == 2


@pytest.mark.parametrize("state", ["stored", "unknown"])
def test_models_that_nobody_measured_are_measured_first(state):
    assert unmeasured(table(("m-1", state, None, 0.5, Reasons())))
    assert not unmeasured(table(("m-1", state, 5, 0.5, Reasons())))
    for out_of_reach in ("elsewhere", "deleted", "none"):
        assert not unmeasured(table(("m-1", out_of_reach, None, 0.5, Reasons())))


def test_the_frontier_of_a_loss_is_of_small_values():
    sizes, values = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.6, 0.1])
    assert frontier(sizes, values, is_loss=True).tolist() == [True, False, True]


def test_what_a_plan_takes_is_known_by_the_ids_of_the_table():
    logged = ("r/models/m-1/artifacts", "logged_model", "m-1")
    directory = (f"r/{RUN}/artifacts/a/model", "run_model", RUN)
    raw = (f"r/{RUN}/artifacts", "run_artifacts", RUN)
    assert going_ids(planned(logged, directory)) == {"m-1", f"{RUN}/a/model"}
    assert going_ids(planned(raw)) == {RUN}
    assert going_ids(planned(logged, asked="m-1")) == {"m-1"}
    assert going_ids(planned(logged, reasons=(Reason("pinned", "by me"),))) == frozenset()


def test_a_part_that_goes_is_said():
    plan = planned(("r/models/m-1/artifacts", "logged_model", "m-1"), part="optimizer")
    frame = table(("m-1", "stored", 100, 0.5, Reasons()))
    assert points_of(frame, plan, is_loss=False).takes == "optimizer states"
    assert points_of(frame, plan, is_loss=False).going.tolist() == [True]


def shares(*rows):
    found = [(id_, name, *numbers, sum(numbers)) for id_, name, numbers in rows]
    return pd.DataFrame(found, columns=["experiment_id", "experiment_name", *SHARES, "bytes"])


def test_many_experiments_are_the_largest_and_one_bar_for_all_others():
    rows = [(str(at), f"e{at}", (100 - at, 1, 0, 0, 0, 0, 0, 0)) for at in range(40)]
    frame = shares(*rows, ("", "", (0, 0, 0, 0, 3, 0, 4, 0)))
    bars = bars_of(frame)
    assert bars.names == (
        *(f"e{at}" for at in range(15)),
        "25 other experiments",
        "in no experiment",
    )
    assert bars.bytes == frame["bytes"].sum() == sum(bars.sums)
    assert list(bars.shares) == ["models", "other artifacts", "journal", "unknown"]
    assert bars.experiments == 40
    nothing = bars_of(shares())
    assert (nothing.bytes, nothing.names) == (0, ())


def test_the_numbers_need_no_matplotlib_and_nothing_needs_pyplot():
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import expmgr.pictures.points, expmgr.pictures.bars, expmgr.azure_blob\n"
        "from expmgr.pictures import drawing\n"
        "from expmgr.errors import ExpmgrError\n"
        "try:\n"
        "    with drawing():\n"
        "        import expmgr.pictures.draw\n"
        "except ExpmgrError as error:\n"
        "    print(error)\n"
        "del sys.modules['matplotlib']\n"
        "import expmgr.pictures.draw\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout.splitlines()
    assert "pip install 'expmgr[pictures]'" in said[0]
    assert said[1] == "False"


# ---------------------------------------------------------------------------------------- drawing


def some_points(count, *, wide=True):
    random = np.random.default_rng(count)
    sizes = random.lognormal(20, 1.3 if wide else 0.2, count)
    values = random.beta(8, 2, count)
    front = frontier(sizes, values, is_loss=False)
    going = ~front & (random.random(count) < 0.5)
    return Points(sizes, values, front, going, front.copy(), 3, "the model")


def boxes(ax):
    """What must not stand over one another: title, legend, axes' names, ticks, the picture."""
    figure = ax.get_figure()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    ticks = [
        label
        for axis in (ax.xaxis, ax.yaxis)
        for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        if label.get_text()
        and min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    ]
    parts = {
        "title": ax.title if ax.get_title() else ax._left_title,
        "legend": ax.get_legend(),
        "x label": ax.xaxis.label,
        "y label": ax.yaxis.label,
        **{f"tick {at} {one.get_text()}": one for at, one in enumerate(ticks)},
    }
    found = {
        name: one.get_window_extent(renderer)
        for name, one in parts.items()
        if one is not None and not (hasattr(one, "get_text") and not one.get_text())
    }
    return {**found, "picture": ax.patch.get_window_extent(renderer)}, figure.bbox


def assert_apart(ax):
    found, page = boxes(ax)
    for (one, a), (other, b) in itertools.combinations(found.items(), 2):
        inside = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(inside) <= 1, f"{one} and {other}"
    for name, box in found.items():
        assert box.x0 >= -1, name
        assert box.y0 >= -1, name
        assert box.x1 <= page.x1 + 1, name
        assert box.y1 <= page.y1 + 1, name


@pytest.mark.parametrize("count", [1, 2, 30, 1000])
@pytest.mark.parametrize("wide", [True, False])
def test_nothing_stands_over_another_in_the_picture_of_quality(count, wide):
    assert_apart(draw_frontier(some_points(count, wide=wide), METRIC, is_loss=False))
    assert_apart(draw_frontier(some_points(count, wide=wide), HOSTILE, is_loss=True))


@pytest.mark.parametrize("count", [1, 2, 30, 1000])
def test_nothing_stands_over_another_in_the_picture_of_storage(count):
    rows = [(str(at), f"{at} {HOSTILE}", (at, 1, 2, 3, 0, 7, 0, 5)) for at in range(count)]
    frame = shares(*rows, ("", "", (0, 0, 0, 0, 3, 0, 4, 0)))
    ax = draw_storage(bars_of(frame))
    assert_apart(ax)
    drawn = sum(patch.get_width() for patch in ax.patches)
    unit = {"B": 1, "KB": 1000}[ax.get_xlabel().rpartition("(")[2].rstrip(")")]
    assert round(drawn * unit) == frame["bytes"].sum()


def test_where_there_is_nothing_the_picture_says_so():
    nothing = np.array([])
    none = nothing.astype(bool)
    ax = draw_frontier(Points(nothing, nothing, none, none, none, 4), METRIC, is_loss=False)
    assert "4 of 4 models left out" in ax.texts[0].get_text()
    assert draw_storage(bars_of(shares())).texts[0].get_text() == "Nothing is stored."


def test_the_axes_of_somebody_else_are_drawn_on_and_returned():
    ax = Figure().add_subplot()
    assert draw_frontier(some_points(30), METRIC, ax, is_loss=False) is ax
    assert not hasattr(ax, "_repr_png_")
    points = replace(some_points(30), takes=r"files that match '$\no{'")
    own = draw_frontier(points, "💥 loss", is_loss=False)
    assert own._repr_png_().startswith(b"\x89PNG")


# ----------------------------------------------------------------------------------- real servers


@pytest.mark.parametrize("backend", ["sqlite", "proxied"], indirect=True)
def test_the_pictures_of_a_container(lab, put_blob):
    lab.best()
    poor = lab.run(0.1)
    lab.history_model(poor)
    lab.with_model(None)
    put_blob("strange/file.bin", b"s" * 77)
    manager = lab.manager()

    ax = manager.plot_storage()
    stored = sum(patch.get_width() for patch in ax.patches) * 1000
    usage = manager.storage_usage()
    assert round(stored) == usage["bytes"].sum() + usage["other_bytes"].sum()
    assert "stored (KB)" in ax.get_xlabel()
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "models: 6.04 KB" in names
    if lab.backend.kind == "sqlite":
        assert "unknown: 77 B" in names
    assert by_experiment(usage)["models"].sum() == 3 * 2012

    plan = manager.plan_cleanup(where=older_than("0s"), keep=best(1))
    ax = lab.manager().plot_frontier(plan)  # a manager that has measured nothing yet
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["protected: 1", "the plan takes: 1, 2.01 KB", "best for its size"]
    assert f"1 of 3 models left out: no {METRIC}, or no size" in ax.get_xlabel()
    assert ax.get_ylabel() == METRIC
    assert "pyplot" not in type(ax.get_figure().canvas).__module__
    with pytest.raises(ExpmgrError, match="nowhere"):
        manager.plot_frontier(experiments="nowhere")
