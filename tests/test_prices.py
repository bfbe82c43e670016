"""What storage costs: a bill by hand, early deletion, and both beside real blobs in real tiers."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expmgr import StoragePrices
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.errors import InvalidInputError
from expmgr.prices import Bill, TierUse, format_money, merged
from expmgr.storage.listing import Blob, use_of
from expmgr.storage.location import Location

PRICES = StoragePrices(hot=0.02, cool=0.01, cold=0.004, archive=0.001)
DAY = 86_400
GB = 10**9
TIERS = ("", "Hot", "Cool", "Cold", "Archive")


def test_a_bill_by_hand():
    """500 GB hot; 300 GB cool for 21 days, so 9 of 30 are owed; 1,000 GB archived for 45 days, so
    135 of 180 are; 200 GB cold for longer than 90."""
    use = {
        "Hot": TierUse.of(500 * GB, "Hot", 3 * DAY),
        "Cool": TierUse.of(300 * GB, "Cool", 21 * DAY),
        "Archive": TierUse.of(1000 * GB, "Archive", 45 * DAY),
        "Cold": TierUse.of(200 * GB, "Cold", 400 * DAY),
    }
    bill = PRICES.bill(use)
    assert bill.monthly == pytest.approx(500 * 0.02 + 300 * 0.01 + 1000 * 0.001 + 200 * 0.004)
    assert bill.early == pytest.approx(9 / 30 * 300 * 0.01 + 135 / 30 * 1000 * 0.001)
    assert bill.words == "14.80 USD a month; deleting it early costs 5.40 USD once"


def test_blobs_without_a_tier_are_priced_as_hot_and_a_tier_without_a_price_is_not_guessed():
    assert PRICES.bill({"": TierUse(GB)}) == PRICES.bill({"Hot": TierUse(GB)})
    assert PRICES.bill({"P30": TierUse(GB)}).monthly == 0.02
    unknown = StoragePrices(hot=0.02).bill({"Cool": TierUse(GB), "Hot": TierUse(GB)})
    assert math.isnan(unknown.monthly)
    assert unknown.words == "? USD (a tier has no price) a month"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hot": -1}, "hot must be a price per GB and month, not -1"),
        ({"hot": None}, "hot must be a price"),
        ({"hot": True}, "hot must be a price"),
        ({"hot": math.nan}, "hot must be a price"),
        ({"hot": 1, "cool": "0.01"}, "cool must be a price per GB and month, not '0.01'"),
        ({"hot": 1, "currency": " "}, "currency must be a word"),
        ({"hot": 1, "bytes_per_gb": 1024}, "bytes_per_gb must be"),
    ],
)
def test_a_price_that_is_none_is_refused(wrong, words):
    with pytest.raises(InvalidInputError, match=words):
        StoragePrices(**wrong)


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0.0, "0.00 EUR"), (0.0049, "0.0049 EUR"), (0.01, "0.01 EUR"), (1234.5, "1,234.50 EUR")],
)
def test_money_reads_as_money(amount, words):
    assert format_money(amount, "EUR") == words


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TIERS),
            st.integers(0, 10**13),
            st.floats(-(10**6), 10**8),
        ),
        max_size=20,
    )
)
def test_a_bill_is_the_sum_of_its_blobs_and_no_fee_is_below_zero_or_above_its_term(blobs):
    now = datetime(2026, 11, 29, tzinfo=timezone.utc)
    cooler = ("Cool", "Cold", "Archive")
    listed = [
        Blob(
            "x",
            size,
            "e",
            now,
            False,
            tier,
            now - timedelta(seconds=age) if tier in cooler else None,
        )
        for tier, size, age in blobs
    ]
    whole = PRICES.bill(merged({blob.tier: use_of(blob, now)} for blob in listed))
    parts = [PRICES.bill({blob.tier: use_of(blob, now)}) for blob in listed]
    assert whole.monthly == pytest.approx(sum(bill.monthly for bill in parts))
    assert whole.early == pytest.approx(sum(bill.early for bill in parts))
    for blob, bill in zip(listed, parts, strict=True):
        least = {"Cool": 1, "Cold": 3, "Archive": 6}.get(blob.tier, 0)
        assert 0 <= bill.early <= bill.monthly * least * (1 + 1e-9)


def test_a_plan_says_what_it_saves_and_what_going_early_costs():
    location = Location("a", "c", "1/models/m-1/artifacts", "logged_model", "m-1")
    tiers = {"Cool": TierUse.of(300 * GB, "Cool", 21 * DAY)}
    going = RunPlan(
        "r1",
        model="stored",
        locations=(PlannedLocation(location, 1, 300 * GB, {"x": "e"}, tiers=tiers),),
    )
    plan = DeletionPlan((going,), prices=PRICES)
    assert plan.bill == Bill(pytest.approx(3.0), pytest.approx(0.9))
    said = "saves 3.00 USD a month; deleting it early costs 0.90 USD once"
    assert said in repr(plan)
    assert said in plan._repr_html_()
    assert list(plan.to_frame()[["monthly", "early"]].iloc[0]) == pytest.approx([3.0, 0.9])
    assert DeletionPlan((going,)).bill is None
    assert "saves" not in repr(DeletionPlan((going,)))


def test_usage_plan_and_report_agree_on_what_is_paid(lab, azurite, container):
    """Real blobs in real tiers: the container's bill is the sum of its blobs."""
    from azure.storage.blob import BlobServiceClient

    lab.best()
    runs = [lab.with_model(0.1 * at) for at in range(1, 4)]
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        client = service.get_container_client(container)
        for run_id, tier in zip(runs, ("Cool", "Archive", "Hot"), strict=True):
            (model_id,) = [
                output.model_id for output in lab.client.get_run(run_id).outputs.model_outputs
            ]
            for name in lab.blob_names():
                if f"/{model_id}/" in name:
                    client.get_blob_client(name).set_standard_blob_tier(tier)
        held = [(str(blob.blob_tier), blob.size) for blob in client.list_blobs()]
    each = {"Hot": 0.02, "Cool": 0.01, "Archive": 0.001}
    manager = lab.manager(storage_prices=PRICES)
    usage = manager.storage_usage()
    paid = sum(size * each[tier] / GB for tier, size in held)
    assert usage["monthly"].sum() + usage["other_monthly"].sum() == pytest.approx(paid)
    assert usage["early"].sum() > 0
    plan = manager.plan_deletion(runs)
    by_run = usage.set_index("run_id")
    assert plan.bill.monthly == pytest.approx(by_run.loc[runs, "monthly"].sum())
    assert plan.bill.early == pytest.approx(by_run.loc[runs, "early"].sum(), rel=1e-3)
    report = manager.delete_models(plan, progress=False)
    assert report.counts == {"deleted": 3}
    assert report.saved.monthly == pytest.approx(plan.bill.monthly)
    assert "saves" in report.summary
    assert manager.storage_usage().set_index("run_id").loc[runs, "monthly"].sum() == 0
    plain = lab.manager()
    assert "monthly" not in plain.storage_usage()
    assert plain.delete_models(runs, progress=False).saved is None
