"""The Clean up and the Deletions view in a real Chromium, on real Azurite and MLflow."""

from __future__ import annotations

import re

import pytest
from axe_core import findings
from azure.storage.blob import BlobServiceClient
from jupyter_driver import open_notebook, write_notebook
from mlflow import MlflowClient
from playwright.sync_api import expect

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.recipes import HOSTILE_NAME, Recipe
from expmgr.demo.sample_runs import create_sample_runs
from expmgr.policies import best, older_than

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(420)]

CELL = """
import os
from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
manager = ExperimentsManagerWithAzureBlobBackend(
    tracking_uri=os.environ["MLFLOW_TRACKING_URI"],
    azure_blob_credentials=AzureBlobCredentials.from_env(os.environ["EXPMGR_CONTAINER"]),
    main_metric="accuracy",
    plugin_name=os.environ["EXPMGR_PLUGIN"],
)
manager.browse()
"""
RECIPES = (
    Recipe("wine", "good tree", "DecisionTreeClassifier"),
    Recipe("wine", "poor tree", "DecisionTreeClassifier", {"max_depth": 1}),
    Recipe("wine", "worse tree", "DecisionTreeClassifier", {"max_depth": 2}),
    Recipe("wine", "old layout", "DecisionTreeClassifier", {"max_depth": 1}, layout="mlflow 2"),
    Recipe("wine", HOSTILE_NAME, "KNeighborsClassifier", {"n_neighbors": 30}),
)
ARMED = 900
"""Milliseconds after which a button takes a click, in the page and in the kernel."""
WHERE, KEEP = older_than("1s"), best(1)


@pytest.fixture
def manager(azurite, container, credentials, sqlite_uri, artifact_root, plugin_name):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        create_sample_runs(
            MlflowClient(sqlite_uri),
            service.get_container_client(container),
            artifact_root,
            recipes=RECIPES,
            plugin_name=plugin_name,
        )
    return ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=sqlite_uri,
        azure_blob_credentials=credentials,
        main_metric="accuracy",
        plugin_name=plugin_name,
    )


@pytest.fixture
def opened(chromium, manager, azurite, container, sqlite_uri, plugin_name, tmp_path):
    """The browser over the sample runs, in JupyterLab."""
    environment = {
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "EXPMGR_CONTAINER": container,
        "EXPMGR_PLUGIN": plugin_name,
    }
    notebook = write_notebook(tmp_path / "nb" / "x.ipynb", [CELL])
    with open_notebook(chromium, notebook, tmp_path / "state", env=environment) as page:
        page.run_all()
        expect(page.page.locator(".xm-totals")).to_contain_text("5 runs", timeout=60_000)
        expect(page.page.locator(".xm-views button[aria-pressed=true]")).to_have_text("Runs")
        yield page


def strip(opened, view):
    """The button that shows a view."""
    return opened.page.locator(".xm-views button").get_by_text(view, exact=True)


def paths_of(plan):
    return {place.location.prefix for run in plan.deletable for place in run.locations}


def test_by_mouse_a_policy_is_seen_confirmed_and_recorded(opened, manager, blob_names):
    plan = manager.plan_cleanup(where=WHERE, keep=KEEP)
    count = sum(len(run.locations) for run in plan.deletable)
    assert count >= 2
    before, page = blob_names(), opened.page

    strip(opened, "Clean up").click()
    view = page.locator(".xm-clean-up")
    expect(view).to_contain_text("nothing to delete", timeout=60_000)  # all are of today
    expect(opened.button("Delete models", view)).to_be_disabled()
    view.get_by_placeholder("any age").fill("1s")
    view.get_by_label("How many of the best stay").select_option("1")
    expect(view.locator(".xm-sum")).to_contain_text(f": {count} models, ", timeout=60_000)
    expect(view.locator(".xm-lines tbody tr")).to_have_count(len(plan.deletable))
    view.get_by_text("The same in Python").click()
    line = 'plan = manager.plan_cleanup(where=older_than("1s"), keep=best(1))'
    expect(view.locator("pre.xm-copy")).to_contain_text(line)
    assert findings(page, ".xm-root") == []

    opened.button(f"Delete {count} models", view).click()
    typed, confirm = view.locator(".xm-count input"), view.locator(".xm-confirm")
    expect(typed.or_(confirm).first).to_be_visible()
    if typed.count():
        typed.fill(str(count))
    confirm.click()
    expect(view.locator(".xm-bulk")).to_contain_text(f"Deleted {count} models", timeout=60_000)
    gone = set(before) - set(blob_names())
    assert gone == {name for name in before if name.startswith(tuple(paths_of(plan)))}

    strip(opened, "Deletions").click()
    log = page.locator(".xm-log-view")
    records = log.locator(".xm-record:visible")
    expect(records.filter(has_text="✓deleted")).to_have_count(len(plan.deletable))
    assert page.title() != "owned"
    assert findings(page, ".xm-root") == []
    strip(opened, "Runs").click()
    rows = page.locator(".xm-row:visible").filter(has_text="deleted")
    expect(rows).to_have_count(len(plan.deletable))
    assert opened.problems == []


def press(opened, *keys):
    for key in keys:
        opened.page.keyboard.press(key)


def tab_to(opened, target, key="Tab", most=60):
    """Press a key until the target has the focus, as a person would who sees where it is."""
    for _ in range(most):
        if target.evaluate("one => one === one.getRootNode().activeElement"):
            return
        press(opened, key)
    raise AssertionError(f"{key} never came to {target}")


def ask_and_take_back(opened, button):
    """Enter asks and Escape takes back, with the focus where it was."""
    opened.page.wait_for_timeout(ARMED)
    tab_to(opened, button, "Shift+Tab")
    press(opened, "Enter")
    expect(button).to_have_text("Cancel")
    press(opened, "Escape")
    expect(button).to_have_text(re.compile("Mark"))
    expect(button).to_be_focused()
    opened.page.wait_for_timeout(ARMED)


def ask_and_confirm(opened, view, words, count):
    """Enter asks; where so many go their number is typed; Tab leads to Confirm."""
    press(opened, "Enter")
    expect(view.locator(".xm-delete-many")).to_have_text("Cancel")
    typed, confirm = view.locator(".xm-count input"), view.locator(".xm-confirm")
    expect(typed.or_(confirm).first).to_be_visible()
    if typed.count():
        tab_to(opened, typed)
        opened.page.keyboard.type(str(count))
    expect(confirm).to_have_text(words)
    opened.page.wait_for_timeout(ARMED)
    tab_to(opened, confirm)
    press(opened, "Enter")


def test_by_keys_models_are_marked_to_go_in_7_days_and_one_is_kept(opened, manager, blob_names):
    plan = manager.plan_cleanup(where=WHERE, keep=KEEP)
    count = sum(len(run.locations) for run in plan.deletable)
    before, page = blob_names(), opened.page

    strip(opened, "Runs").focus()
    tab_to(opened, strip(opened, "Clean up"))
    press(opened, "Enter")
    view = page.locator(".xm-clean-up")
    expect(page.locator(".xm-views button[aria-pressed=true]")).to_have_text("Clean up")
    age = view.get_by_placeholder("any age")
    tab_to(opened, age)
    press(opened, "Control+a", "1", "s")
    tab_to(opened, view.get_by_label("How many of the best stay"))
    press(opened, "ArrowUp", "ArrowUp")  # from 3 to 1
    delete = view.locator(".xm-delete-many")
    expect(delete).to_have_text(re.compile(rf"Delete {count} models"), timeout=60_000)
    tab_to(opened, view.get_by_label("When it goes"))
    press(opened, "ArrowDown")
    expect(delete).to_have_text(re.compile(rf"Mark {count} models"))

    ask_and_take_back(opened, delete)
    ask_and_confirm(opened, view, f"Mark {count} models", count)
    words = f"Marked {len(plan.deletable)} deletions"
    expect(view.locator(".xm-bulk")).to_contain_text(words, timeout=60_000)
    assert blob_names() == before
    assert len(manager.marks()) == len(plan.deletable)

    page.wait_for_timeout(ARMED)  # Confirm died with the focus on it: a hasty Enter is lost
    tab_to(opened, strip(opened, "Deletions"), "Shift+Tab")
    press(opened, "Enter")
    records = page.locator(".xm-record:visible")
    expect(records.filter(has_text="goes ")).to_have_count(len(plan.deletable), timeout=60_000)
    keep = records.first.locator(".xm-slot")
    expect(keep).to_have_text("Keep")
    page.wait_for_timeout(ARMED)
    tab_to(opened, keep)
    press(opened, "Enter")
    expect(records.first).to_contain_text("Kept: the mark is taken back", timeout=60_000)
    expect(keep).to_be_focused()
    page.wait_for_timeout(ARMED)
    press(opened, "Escape")
    expect(records.filter(has_text="mark taken back")).to_have_count(1, timeout=60_000)
    assert len(manager.marks()) == len(plan.deletable) - 1
    assert blob_names() == before
