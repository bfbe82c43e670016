"""The kernel's side of the keyboard module: one silent widget, and names that cost no message."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from scripted_manager import ScriptedManager, run_table

from expmgr.widgets import keyboard
from expmgr.widgets.arming import Slot
from expmgr.widgets.kit import Kit

SCRIPT = Path(keyboard.__file__).with_name("keyboard.js").read_text(encoding="utf-8")


@pytest.fixture
def kit():
    kit = Kit()
    yield kit
    kit.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_the_module_is_the_last_child_and_takes_no_room(browse, read_only):
    browser = browse(ScriptedManager(run_table(5)), read_only=read_only)
    last = browser.widget.children[-1]
    assert last.get_state()["_esm"] == SCRIPT
    assert last.layout.display == "none"
    assert set(last.keys) - set(type(browser.widget)().keys) <= {"_esm", "_anywidget_id", "tooltip"}


def test_without_anywidget_there_is_no_such_child_and_the_rest_is_the_same(browse, monkeypatch):
    whole = browse(ScriptedManager(run_table(5))).widget.children
    monkeypatch.setitem(sys.modules, "anywidget", None)
    browser = browse(ScriptedManager(run_table(5)))
    assert len(browser.widget.children) == len(whole) - 1
    assert [row.run_id for row in browser.rows] == [f"{at:032x}" for at in range(5)]


def test_the_module_is_small_asks_nobody_and_says_nothing():
    code = re.sub(r"//.*", "", SCRIPT)
    assert len(SCRIPT.splitlines()) < 300
    assert not re.search(r"https?:|\bimport\b|\bfetch\b|\beval\b", code)
    assert not re.search(r"\bmodel\b\s*[.(]|\.send\(|save_changes", code), "it sends no message"
    assert not re.search(r"(?<![.\w])document\b", code), "a page may hold it in a shadow root"


def test_a_button_that_says_the_same_again_sends_nothing(kit, monkeypatch):
    slot = Slot(kit, "Delete", lambda: None)
    slot.show("delete", "Delete", about="the model of forest, 150 trees")
    assert slot.button.tooltip == "Delete the model of forest, 150 trees"
    sent = []
    monkeypatch.setattr(slot.button, "send_state", sent.extend)
    slot.show("delete", "Delete", about="the model of forest, 150 trees")
    assert sent == []
    slot.show("delete", "Delete", about="the model of linear")
    assert sent == ["tooltip"]


def test_what_a_run_is_called_stays_text_in_a_buttons_name(browse):
    browser = browse(ScriptedManager(run_table(5)))
    browser.manager.table.loc[0, "run_name"] = "{0.__class__} \u202e\n<b>" + "x" * 500
    browser.refresh()
    assert browser.wait(10)
    name = browser.rows[0].delete_button.tooltip
    assert name.startswith("Delete the model of {0.__class__} ⟨U+202E⟩⏎<b>xxx")
    assert len(name) < 120
