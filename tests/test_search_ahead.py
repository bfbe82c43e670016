"""What a search looks into is made before somebody searches, and away from the browser's loop."""

from __future__ import annotations

import threading
import time
from unittest.mock import Mock

import pytest
from scripted_manager import ScriptedManager, run_table

from expmgr.widgets.session import content as content_module
from expmgr.widgets.session.content import Content
from expmgr.widgets.session.query import Query, haystack, matching
from expmgr.widgets.session.session import Session

MANY = content_module._MOST_TOLD_ANEW + 500


def taken(count=MANY):
    content = Content("accuracy")
    content.take(run_table(count), None, time.monotonic(), complete=True)
    return content


def found(content, words):
    return list(content.ids[matching(content.frame, Query(search=words), content.haystack)])


@pytest.fixture
def session():
    opened = Session(ScriptedManager(run_table(MANY)), measure=False)
    opened.view = Mock()
    yield opened
    opened.close()


def test_the_first_search_of_many_runs_finds_its_text_made_in_the_pool(session, monkeypatch):
    made_by = []

    def noted(frame):
        made_by.append(threading.current_thread().name)
        return haystack(frame)

    monkeypatch.setattr(content_module, "haystack", noted)
    session.loop.post(session.loading.start)
    assert session.loop.wait(20)
    assert [name.rpartition("_")[0] for name in made_by] == ["expmgr-browser-work"]

    name = session.lines.frame["run_name"].iat[MANY - 1]
    session.loop.call(lambda: session.ask(search=name))
    assert session.loop.wait(20)
    assert MANY - 1 in session.lines.positions
    assert len(made_by) == 1, "the search made none"


def test_what_changed_while_the_text_was_made_is_found_as_it_is_now():
    content = taken()
    made_of = content.unsearched()
    texts = made_of.texts()
    changed = content.ids[3]
    content.change(changed, {"run_name": "renamed meanwhile"})
    content.keep_texts(made_of, texts)
    assert content._texts is texts
    assert found(content, "renamed meanwhile") == [changed]


def test_text_of_tables_that_others_have_replaced_is_dropped():
    content = taken()
    made_of = content.unsearched()
    texts = made_of.texts()
    content.take(run_table(MANY + 1), None, time.monotonic(), complete=True)
    content.keep_texts(made_of, texts)
    assert content._texts is None


def test_the_text_of_few_runs_is_made_when_somebody_searches():
    assert taken(50).unsearched() is None
