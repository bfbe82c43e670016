"""The run browser without a mouse, in a real Chromium: keys, focus, names, and the module gone."""

from __future__ import annotations

import pytest
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

TESTS = REPOSITORY / "tests"
SETUP = """
from pathlib import Path
from scripted_manager import ScriptedManager, run_table
from expmgr.widgets import RunBrowser

class Noted(ScriptedManager):
    def delete_model(self, run_id, *args, **kwargs):
        with open("deleted.txt", "a") as file:
            file.write(run_id + "\\n")
        return super().delete_model(run_id, *args, **kwargs)

    def delete_models(self, plan, *args, **kwargs):
        with open("deleted.txt", "a") as file:
            file.writelines(run.run_id + "\\n" for run in plan.deletable)
        return super().delete_models(plan, *args, **kwargs)

table = run_table(43)
table.loc[0, "run_name"] = "forest, 150 trees"
manager = Noted(table)
"""
SHOW = """
browser = RunBrowser(manager, page_size=10, measure=False, read_only=False, take_back=TAKE_BACK)
browser
"""
SLOW = """
gate = manager.hold("delete_model")
real = manager.delete_model
def slow(*args, **kwargs):
    threading.Timer(4, gate.set).start()
    return real(*args, **kwargs)
manager.delete_model = slow
"""
ABSENT = "import sys; sys.modules['anywidget'] = None"
ARMED = 900
"""Milliseconds after which a button takes a click, in the page and in the kernel."""


@pytest.fixture
def opened(chromium, tmp_path):
    """A function that opens the browser in an app and waits for its rows and its keys."""
    contexts = []

    def open_(
        *first, app="lab", views=1, module=True, take_back=600, show=SHOW, more=(), **options
    ):
        cells = [*first, f"TAKE_BACK = {take_back}", SETUP, show]
        cells += ["browser"] * (views - 1) + list(more)
        notebook = write_notebook(tmp_path / app / "x.ipynb", cells)
        context = open_notebook(
            chromium,
            notebook,
            tmp_path / f"{app}-state",
            app=app,
            env={"PYTHONPATH": f"{REPOSITORY}:{TESTS}"},
            **options,
        )
        page = context.__enter__()
        contexts.append(context)
        if app != "voila":
            page.run_all()
        expect(page.page.locator(".xm-row:visible")).to_have_count(10 * views, timeout=90_000)
        expect(page.page.locator(".xm-totals").first).to_contain_text("43 runs")
        if module:
            expect(page.page.locator(".xm-rows[role=list]")).to_have_count(views)
        wait_armed(page)
        return page

    yield open_
    for context in contexts:
        context.__exit__(None, None, None)


def row(page, place):
    return page.page.locator(".xm-row:visible").nth(place)


def press(page, *keys):
    for key in keys:
        page.page.keyboard.press(key)


def wait_armed(page):
    """Wait as long as what has just come takes no click."""
    page.page.wait_for_timeout(ARMED)


def deleted(tmp_path, app="lab"):
    file = tmp_path / app / "deleted.txt"
    return file.read_text().split() if file.exists() else []


def ticked(page):
    boxes = page.page.locator(".xm-row:visible .xm-tick input")
    return [at for at in range(boxes.count()) if boxes.nth(at).is_checked()]


def tab_to(page, target, key="Tab", most=60):
    """Press a key until the target has the focus, as a person would who sees where it is."""
    for _ in range(most):
        if target.evaluate("one => one === one.getRootNode().activeElement"):
            return
        page.page.keyboard.press(key)
    raise AssertionError(f"{key} never came to {target}")


@pytest.mark.parametrize("app", ["lab", "notebook", "voila"])
def test_keys_move_tick_open_ask_and_take_back(opened, tmp_path, app):
    page = opened(app=app)
    row(page, 0).focus()
    press(page, "ArrowDown", "ArrowDown")
    expect(row(page, 2)).to_be_focused()
    press(page, "End")
    expect(row(page, 9)).to_be_focused()
    press(page, "Home", "ArrowUp")
    expect(row(page, 0)).to_be_focused()

    # Space ticks, Shift a range; what cannot be deleted stays out of it
    press(page, "Space", "End", "Shift+Space")
    assert ticked(page) == [0, 3, 4, 5, 6, 8]
    expect(page.button("Delete 6 selected")).to_be_enabled()
    press(page, "Home", "Space")
    expect(page.button("Delete 5 selected")).to_be_enabled()
    row(page, 4).locator("input").focus()
    press(page, "Space")
    row(page, 6).locator("input").focus()
    press(page, "Shift+Space")  # as the last one: not ticked
    expect(page.button("Delete 2 selected")).to_be_enabled()
    assert ticked(page) == [3, 8]
    press(page, "Home")

    # Enter opens, Escape closes
    press(page, "Enter")
    expect(page.page.locator(".xm-details")).to_contain_text("manager.delete_model(")
    expect(row(page, 0).locator(".xm-open")).to_have_attribute("aria-expanded", "true")
    press(page, "Escape")
    expect(page.page.locator(".xm-details")).to_have_count(0)
    expect(row(page, 0)).to_be_focused()

    # Delete asks with the focus on Cancel; Escape takes back, be it ever so hasty
    press(page, "Delete")
    expect(row(page, 0).locator(".xm-confirm")).to_be_visible()
    expect(row(page, 0).locator(".xm-cancel")).to_be_focused()
    press(page, "Escape")
    expect(row(page, 0).locator(".xm-delete")).to_be_focused()
    expect(page.page.locator(".xm-confirm")).to_have_count(0)

    # asked again and confirmed: Confirm dies with the focus on it, and the row's button has it
    wait_armed(page)
    press(page, "Delete")
    expect(row(page, 0).locator(".xm-confirm")).to_be_visible()
    wait_armed(page)
    press(page, "Tab")
    expect(row(page, 0).locator(".xm-confirm")).to_be_focused()
    press(page, "Enter")
    expect(row(page, 0).get_by_role("status")).to_contain_text("Deleted 12 files")
    expect(row(page, 0).locator(".xm-close")).to_be_focused()
    assert deleted(tmp_path, app) == [f"{0:032x}"]
    assert page.problems == [] or app != "lab"


def hint(page) -> str:
    """What the page's style adds to the totals."""
    totals = page.page.locator(".xm-totals > .widget-html-content")
    return totals.evaluate("one => getComputedStyle(one, '::after').content")


def test_from_a_fresh_page_to_the_three_largest_deleted(opened, tmp_path):
    page = opened()
    press(page, "Control+Home")
    page.page.locator(".xm-text input").first.focus()  # where Tab comes to from the cell
    models = page.page.get_by_role("combobox", name="State of the model")
    tab_to(page, models)
    press(page, "ArrowDown")  # "Can be deleted"
    expect(page.page.locator(".xm-totals")).to_contain_text("shown")
    tab_to(page, page.page.locator(".xm-head input"))
    tab_to(page, page.page.get_by_role("button", name="Sort by Size"), "ArrowRight")
    press(page, "Enter")
    expect(page.page.locator(".xm-head-cells")).to_contain_text("Size ▼")
    expect(page.page.locator(".xm-row").first).to_contain_text("spry-model-25")
    wait_armed(page)
    press(page, "Tab", "Space", "ArrowDown", "Space", "ArrowDown", "Space")
    many = page.button("Delete 3 selected")
    expect(many).to_be_enabled()
    tab_to(page, many, "Shift+Tab")
    press(page, "Enter")
    expect(page.page.locator(".xm-bulk .xm-cancel")).to_be_focused()
    expect(page.page.locator(".xm-bulk .xm-confirm")).to_have_text("Delete 3 models")
    wait_armed(page)
    tab_to(page, page.page.locator(".xm-bulk .xm-confirm"))
    press(page, "Enter")
    expect(page.page.locator(".xm-bulk")).to_contain_text("Deleted 3 models")
    expect(page.page.locator(".xm-bulk .xm-close")).to_be_focused()
    sizes = {at: at * 7919 % 1000 + 1 for at in range(43)}
    free = [at for at in sizes if at % 11 != 7 and at % 13 != 9 and at not in (1, 2)]
    largest = sorted(free, key=lambda at: -sizes[at])[:3]
    assert sorted(deleted(tmp_path)) == sorted(f"{at:032x}" for at in largest)


def test_a_held_key_presses_once(opened, tmp_path):
    page = opened()
    row(page, 0).focus()
    for _ in range(30):  # the browser calls every press but the first a repeat
        page.page.keyboard.down("Delete")
    page.page.keyboard.up("Delete")
    expect(row(page, 0).locator(".xm-confirm")).to_be_visible()
    wait_armed(page)
    press(page, "Tab")
    expect(row(page, 0).locator(".xm-confirm")).to_be_focused()
    page.page.keyboard.down("Shift")
    page.page.keyboard.up("Shift")
    press(page, "Shift+Tab")
    page.page.keyboard.down("Enter")  # takes back
    expect(row(page, 0).locator(".xm-delete")).to_be_focused()
    for _ in range(30):
        page.page.keyboard.down("Enter")
        page.page.wait_for_timeout(40)
    page.page.keyboard.up("Enter")
    expect(page.page.locator(".xm-confirm")).to_have_count(0)
    assert deleted(tmp_path) == []


def test_keys_that_come_too_early_do_nothing(opened, tmp_path):
    page = opened()
    row(page, 0).focus()
    press(page, "Delete")
    row(page, 0).locator(".xm-confirm").wait_for()
    row(page, 0).locator(".xm-confirm").focus()
    press(page, "Enter", "Enter", "Space")
    row(page, 1).focus()
    wait_armed(page)
    expect(row(page, 0).locator(".xm-confirm")).to_be_visible()
    press(page, "PageDown")
    expect(row(page, 1)).to_contain_text("spry-model-11")
    press(page, "Delete", "Enter", "Space")
    wait_armed(page)
    expect(page.page.locator(".xm-details")).to_have_count(0)
    expect(page.page.locator(".xm-confirm")).to_have_count(0)
    assert ticked(page) == []
    assert deleted(tmp_path) == []


def test_a_second_enter_on_confirm_does_not_press_stop_in_its_place(opened, tmp_path):
    page = opened("import threading", show=SLOW + SHOW)
    row(page, 0).focus()
    press(page, "Delete")
    row(page, 0).locator(".xm-confirm").wait_for()
    wait_armed(page)
    press(page, "Tab", "Enter")
    expect(row(page, 0).locator(".xm-slot")).to_be_focused()
    press(page, "Enter", "Space")
    expect(row(page, 0).get_by_role("status")).to_contain_text("Deleted 12 files")
    assert deleted(tmp_path) == [f"{0:032x}"]


def test_the_notebooks_own_keys_do_nothing_while_the_table_has_the_focus(opened):
    page = opened()
    cells = page.page.locator(".jp-Notebook .jp-Cell")
    count = cells.count()
    tried = [row(page, 0), *(row(page, 0).locator(one) for one in (".xm-delete", ".xm-tick input"))]
    for place in (*tried, page.page.locator(".xm-pager button").last):
        place.focus()
        press(page, "x", "d", "d", "a", "b", "c", "v", "z", "m", "Shift+Enter", "Control+Enter")
    expect(cells).to_have_count(count)
    expect(page.page.locator(".xm-row:visible")).to_have_count(10)
    expect(page.page.locator(".xm-details, .xm-confirm")).to_have_count(0)
    # a text box keeps its keys
    search = page.page.get_by_placeholder("Search runs")
    search.focus()
    press(page, "x", "?", "Space", "Home", "d", "End", "ArrowLeft", "Delete")
    expect(search).to_have_value("dx?")
    expect(page.page.locator(".xm-keys")).to_have_count(0)
    expect(cells).to_have_count(count)


def test_the_focus_stays_when_the_page_turns_and_ends(opened):
    page = opened()
    row(page, 7).locator(".xm-open").focus()
    press(page, "PageDown")
    expect(row(page, 7)).to_contain_text("spry-model-17")
    expect(row(page, 7).locator(".xm-open")).to_be_focused()
    press(page, "PageDown")
    expect(row(page, 7)).to_contain_text("spry-model-27")
    press(page, "PageDown")
    expect(row(page, 7)).to_contain_text("spry-model-37")
    press(page, "PageDown")  # 43 runs: three rows on the last page
    expect(page.page.locator(".xm-row:visible")).to_have_count(3)
    expect(row(page, 2)).to_be_focused()
    press(page, "PageUp")
    expect(page.page.locator(".xm-row:visible")).to_have_count(10)
    expect(row(page, 2)).to_be_focused()
    page.button("Last").focus()
    press(page, "Enter")
    expect(page.button("Last")).to_be_disabled()
    expect(page.page.locator(".xm-pager :focus")).to_have_count(1)


def test_an_offer_that_lapses_under_the_focus_gives_it_to_delete(opened, tmp_path):
    page = opened(take_back=3)
    row(page, 4).focus()
    press(page, "Delete")
    row(page, 4).locator(".xm-confirm").wait_for()
    press(page, "Tab")
    expect(row(page, 4).locator(".xm-confirm")).to_be_focused()
    expect(page.page.locator(".xm-confirm")).to_have_count(0)
    expect(row(page, 4).locator(".xm-delete")).to_be_focused()
    press(page, "Enter")  # meant for Confirm, and too early for Delete
    wait_armed(page)
    expect(row(page, 4).locator(".xm-delete")).to_be_focused()
    expect(page.page.locator(".xm-confirm")).to_have_count(0)
    assert deleted(tmp_path) == []


def test_two_views_of_one_browser_keep_their_own_focus_and_keys(opened):
    page = opened(views=2)
    first, second = (page.page.locator(".xm-root").nth(at) for at in (0, 1))
    expect(first.locator(".xm-row:visible")).to_have_count(10)
    second.locator(".xm-row:visible").nth(0).focus()
    press(page, "ArrowDown", "?")
    expect(second.locator(".xm-keys")).to_be_focused()
    expect(first.locator(".xm-keys")).to_have_count(0)
    press(page, "Escape")
    expect(page.page.locator(".xm-keys")).to_have_count(0)
    expect(second.locator(".xm-row:visible").nth(1)).to_be_focused()
    press(page, "ArrowUp", "Delete")
    expect(first.locator(".xm-confirm")).to_have_count(1)
    expect(second.locator(".xm-row:visible").nth(0).locator(".xm-cancel")).to_be_focused()
    expect(first.locator("xm-keyboard-1")).to_have_count(1)
    assert first.locator(".xm-row[tabindex='0']").count() == 1


@pytest.mark.parametrize("missing", ["in the kernel", "in the page"])
def test_the_page_works_where_the_module_cannot_load(opened, tmp_path, chromium, missing):
    if missing == "in the kernel":
        page = opened(ABSENT, module=False)
    else:
        page = opened(module=False, without=["**/extensions/anywidget/**"])
    expect(page.page.locator("xm-keyboard-1")).to_have_count(0)
    row(page, 0).locator(".xm-delete").click()
    row(page, 0).locator(".xm-confirm").click()
    expect(row(page, 0).get_by_role("status")).to_contain_text("Deleted 12 files")
    page.button("Next").click()
    expect(row(page, 0)).to_contain_text("spry-model-10")
    assert hint(page) == "none"
    shown = page.page.locator(".xm-root").inner_text()
    assert "rror" not in shown, "what the front end says of a widget that it cannot make is hidden"
    assert deleted(tmp_path) == [f"{0:032x}"]


def test_after_a_restart_of_the_kernel_the_keys_work_again(opened):
    page = opened()
    page.page.get_by_role("menuitem", name="Run", exact=True).click()
    page.page.locator('.lm-Menu-item[data-command="runmenu:restart-and-run-all"]').click()
    page.page.locator(".jp-Dialog .jp-mod-warn").click()
    expect(page.page.locator(".jp-Dialog")).to_have_count(0)
    page.page.locator('.jp-InputPrompt:text("[*]")').first.wait_for()
    page.await_cells()
    expect(page.page.locator(".xm-rows[role=list]")).to_have_count(1)
    expect(page.page.locator(".xm-totals")).to_contain_text("43 runs")
    wait_armed(page)
    row(page, 0).focus()
    press(page, "ArrowDown", "Enter")
    expect(page.page.locator(".xm-details")).to_contain_text("manager.delete_model(")


def test_keys_work_where_the_notebook_shows_only_the_cells_in_sight(opened, tmp_path):
    settings = tmp_path / "lab-state/lab-settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "full"}')
    page = opened(show=SHOW, more=["1 + 1"] * 60)
    scroll = "one => { one.scrollTop = %s }"
    outer = page.page.locator(".jp-WindowedPanel-outer")
    outer.evaluate(scroll % "one.scrollHeight")
    expect(page.page.locator(".xm-root")).not_to_be_in_viewport()
    outer.evaluate(scroll % "0")
    expect(page.page.locator(".xm-root")).to_be_in_viewport()
    row(page, 0).focus()
    press(page, "ArrowDown")
    expect(row(page, 1)).to_be_focused()
    expect(page.page.locator("xm-keyboard-1")).to_have_count(1)


def test_a_view_that_goes_takes_its_listeners_along(opened):
    page = opened()
    left = page.page.evaluate(
        """() => {
            const module = document.querySelector('xm-keyboard-1');
            const root = module.closest('.xm-root');
            const heard = [];
            const remove = root.removeEventListener.bind(root);
            root.removeEventListener = (...args) => { heard.push(args[0]); remove(...args); };
            const disconnect = module.observer.disconnect.bind(module.observer);
            module.observer.disconnect = () => { heard.push('observer'); disconnect(); };
            const parent = module.parentElement;
            module.remove();
            const key = new KeyboardEvent('keydown', {key: '?', bubbles: true});
            root.querySelector('.xm-row').dispatchEvent(key);
            const panels = root.querySelectorAll('.xm-keys').length;
            const stops = root.querySelectorAll('.xm-row[tabindex]').length;
            const after = {heard: heard.sort(), panels, stops};
            parent.append(module);
            return after;
        }"""
    )
    assert left == {
        "heard": ["focusin", "focusout", "keydown", "observer"],
        "panels": 0,
        "stops": 0,
    }
    row(page, 0).focus()
    press(page, "ArrowDown")  # and one that comes back has them again
    expect(row(page, 1)).to_be_focused()


def test_every_control_has_a_name_of_its_own(opened):
    page = opened()
    page.page.get_by_role("button", name="Delete the model of forest, 150 trees").wait_for()
    page.page.get_by_role("button", name="Details of forest, 150 trees").wait_for()
    page.page.get_by_role("checkbox", name="Select forest, 150 trees").wait_for()
    page.page.get_by_role("listitem", name="forest, 150 trees; Experiment trees; ").wait_for()
    named = page.page.evaluate(
        """() => [...document.querySelectorAll(
            '.xm-root button, .xm-root input, .xm-root select, .xm-root a')]
            .filter(one => one.checkVisibility({visibilityProperty: true}))
            .map(one => one.ariaLabel || one.textContent.trim())"""
    )
    assert len(named) > 50
    assert [name for name in named if not name or named.count(name) > 1] == []
    press(page, "Escape")
    row(page, 0).locator(".xm-delete").click()
    page.page.get_by_role("button", name="Cancel the deletion of forest, 150 trees").wait_for()


def test_the_keys_are_shown_and_in_a_read_only_browser_only_those_that_work(opened):
    page = opened(show=SHOW.replace("read_only=False", "read_only=True"))
    row(page, 3).focus()
    press(page, "?")
    assert "? shows the keys" in hint(page)
    expect(page.page.locator(".xm-keys")).to_contain_text("open or close the details")
    expect(page.page.locator(".xm-keys")).not_to_contain_text("Delete")
    press(page, "?")
    expect(page.page.locator(".xm-keys")).to_have_count(0)
    expect(row(page, 3)).to_be_focused()
    press(page, "Delete", "Space", "Enter")
    expect(page.page.locator(".xm-details")).to_contain_text("same from a script")
