"""Pins on runs and on models, through the manager."""

from __future__ import annotations

import pytest

from expmgr.errors import InvalidInputError, NotFoundError


def test_a_pin_keeps_a_run_until_it_is_taken_back(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    manager.pin(run_id, "for the audit")
    result = manager.delete_model(run_id)
    assert result.outcome == "protected"
    assert [reason.kind for reason in result.reasons] == ["pinned"]
    assert lab.tags(run_id)["expmgr.keep"] == "for the audit"
    assert manager.unpin(run_id)
    assert not manager.unpin(run_id)
    assert manager.delete_model(run_id)


def test_a_pin_on_one_model_leaves_its_sibling_free(lab):
    lab.best()
    run_id = lab.run(0.1)
    kept, free = lab.logged_model(run_id), lab.logged_model(run_id)
    manager = lab.manager()
    manager.pin(kept, "the one that is served")
    assert manager.delete_model(run_id).outcome == "protected"
    assert manager.delete_model(kept).outcome == "protected"
    assert manager.delete_model(free)
    assert manager.unpin(kept)
    assert manager.delete_model(kept)


@pytest.mark.parametrize("reason", ["", "  ", "false", "No", "0", None, "x" * 6000])
def test_a_pin_needs_words(lab, reason):
    run_id = lab.run(0.1)
    with pytest.raises(InvalidInputError, match="reason"):
        lab.manager().pin(run_id, reason)
    assert "expmgr.keep" not in lab.tags(run_id)


@pytest.mark.parametrize("unknown", ["f" * 32, "m-" + "f" * 32])
def test_what_is_not_there_cannot_be_pinned(lab, unknown):
    manager = lab.manager()
    with pytest.raises(NotFoundError, match=unknown):
        manager.pin(unknown, "why not")
    with pytest.raises(NotFoundError, match=unknown):
        manager.unpin(unknown)
