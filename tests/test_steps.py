"""The progress of planning many: in order, and complete only at the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from expmgr.cleanup.steps import Steps


@given(st.integers(1, 30), st.lists(st.integers(1, 12), max_size=10))
def test_it_never_goes_back_and_is_complete_when_all_is_looked_at_and_not_before(total, readings):
    told = []
    steps = Steps(total, lambda done, of: told.append((done, of)))
    for count in readings:
        steps.read(count)
    assert all(done < total for done, _ in told), "nothing is looked at yet"
    for _ in range(total - 1):
        steps.looked_at()
    assert all(done < total for done, _ in told)
    steps.looked_at()
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_reading_many_is_two_thirds_of_the_way():
    told = []
    steps = Steps(300, lambda done, _: told.append(done))
    for _ in range(6):
        steps.read(100)
    assert told == [33, 66, 100, 133, 166, 200]
