"""The states of an order: the table, and its drawing in the docs."""

from __future__ import annotations

import pytest

from core.clock import VirtualClock
from core.errors import IllegalStep
from core.models import ALLOWED_STEPS, FINAL, OPEN, OrderStatus, check_step
from core.store import IncidentSeen
from tests.engine.bench import Opener, limit, story
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


@story
async def test_an_illegal_step_raises_changes_nothing_and_is_journaled_as_an_incident(
    clock: VirtualClock, opened: Opener
) -> None:
    async with opened(watching=False) as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        (live,) = bench.engine._book.open()
        with pytest.raises(IllegalStep, match="ACCEPTED cannot become NEW"):
            await bench.engine._recorder.move(live, {S.ACCEPTED}, S.NEW)
        assert (await bench.engine.order("one")).status is S.ACCEPTED
        last = (await bench.store.journal.story("one"))[-1].entry
        assert isinstance(last, IncidentSeen)
        assert (last.kind, last.order_id) == ("illegal_step", "one")
        assert [incident.kind for incident in bench.incidents()] == ["illegal_step"]


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
