"""The states of an order: the table, and its drawing in the docs."""

from __future__ import annotations

import pytest

from core.errors import IllegalStep
from core.models import ALLOWED_STEPS, FINAL, OPEN, OrderStatus, check_step
from tests.engine.draw_states import DOCUMENT, redrawn

S = OrderStatus


def test_the_docs_draw_the_table_that_is_in_force() -> None:
    text = DOCUMENT.read_text()
    assert text == redrawn(text), "python -m tests.engine.draw_states draws it anew"


@pytest.mark.parametrize("before", S)
@pytest.mark.parametrize("after", S)
def test_a_step_outside_the_table_raises(before: S, after: S) -> None:
    if before is after or after in ALLOWED_STEPS[before]:
        check_step(before, after)
    else:
        with pytest.raises(IllegalStep, match=f"{before.value} cannot become {after.value}"):
            check_step(before, after)


def test_every_state_is_open_or_final_and_every_open_one_can_end() -> None:
    assert frozenset(S) == OPEN | FINAL
    assert not OPEN & FINAL
    for state in OPEN:
        reached, edge = {state}, {state}
        while edge:
            edge = {after for before in edge for after in ALLOWED_STEPS[before]} - reached
            reached |= edge
        assert reached & FINAL


def test_nothing_goes_back_to_new_once_a_broker_may_have_it_except_on_proof_that_it_has_not() -> None:
    assert {before for before in S if S.NEW in ALLOWED_STEPS[before]} == {S.SUBMITTING, S.UNKNOWN}
