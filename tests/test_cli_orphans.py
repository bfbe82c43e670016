"""``expmgr orphans``, and money on the command line."""

from __future__ import annotations

import uuid

from test_cli import ask, lab, say

__all__ = ["ask", "lab", "say"]


def test_orphans_are_shown_and_go_with_a_word_only(lab, say, ask, put_blob):
    code, document = ask("orphans")
    assert (code, document["orphans"], document["bytes"]) == (0, [], 0)
    run_id, kept = lab.run(0.1), lab.run(0.2, tags={"expmgr.keep": "yes"})
    for one in (run_id, kept):
        lab.artifacts(one, {"weights.bin": b"w" * 100})
        lab.client.delete_run(one)
    unknown = f"old/{uuid.uuid4().hex}/artifacts/"
    put_blob(f"{unknown}weights.bin")
    before = lab.blob_names()

    code, out, _ = say("orphans")
    assert code == 0
    assert "1 folder, 100 B would go. Nothing was deleted" in out
    assert "--prefix only" in out
    code, document = ask("orphans")
    assert {row["kind"] for row in document["orphans"]} == {"trash", "unknown"}
    assert (document["dry_run"], document["bytes"]) == (True, 100)
    code, out, _ = say("orphans", "--prefix", unknown)
    assert "1 folder, 1 B would go" in out
    assert lab.blob_names() == before

    code, document = ask("orphans", "--yes")
    assert code == 3, "one is protected and stayed"
    assert document["counts"] == {"deleted": 1, "protected": 1}
    assert f"{unknown}weights.bin" in lab.blob_names()
    code, document = ask("orphans", "--yes", "--prefix", unknown.removesuffix("/"))
    assert (code, document["counts"]) == (0, {"deleted": 1})
    assert not [name for name in lab.blob_names() if name.startswith(unknown)]


def test_a_prefix_with_an_owner_is_bad_input(lab, say, ask):
    run_id = lab.with_model(0.1)
    before = lab.blob_names()
    path = next(name for name in before if run_id in name).rpartition("/")[0]
    code, _, said = say("orphans", "--yes", "--prefix", path)
    assert code == 2
    assert path in said
    assert lab.blob_names() == before


def test_prices_are_the_environment_s_and_a_plan_says_what_it_saves(lab, say, monkeypatch):
    lab.best()
    run_id = lab.with_model(0.1)
    monkeypatch.setenv("EXPMGR_PRICES", "hot=1000000, cool=5,currency=EUR")
    code, out, _ = say("plan", run_id)
    assert code == 0
    assert "EUR" in out
    for wrong, said in (
        ("hot", "no price"),
        ("hot=dear", "no number"),
        ("cool=1", "hot is missing"),
        ("hot=-1", "EXPMGR_PRICES"),
        ("hot=1,hot=2", "no price"),
        ("hot=1,currency=", "currency"),
    ):
        monkeypatch.setenv("EXPMGR_PRICES", wrong)
        code, _, error = say("plan", run_id)
        assert code == 2
        assert said in error
        assert "hot=0.018" in error
