"""Advice neither flickers nor nags, and keeps its way back."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.advice import AdviceSettings, Advisor
from core.clock import HOUR, MINUTE, SECOND
from core.models import Decided, DrainProvider, HealthStatus, Operation, ResumeProvider, Severity
from tests.advice.desk import Desk, window

RUNS_OUT = (window(200, MINUTE, 40, runs_out_s=14, chance=0.9),)
HALF_HOUR = HOUR // 2


def test_nothing_is_advised_where_nothing_is_wrong() -> None:
    desk = Desk("a", "b")
    assert desk.seconds(300, per_s=1) == ()


def test_a_warning_must_stand_before_it_is_shown_and_a_critical_one_must_not() -> None:
    desk = Desk("a", "b")
    desk.set("b", windows=RUNS_OUT)
    shown = [desk.second(1) != () for _ in range(5)]
    assert shown == [False, False, False, True, True]
    desk = Desk("a", "b")
    desk.set("b", health=HealthStatus.AUTH_FAILED)
    assert {one.kind for one in desk.second()} == {"log_in_again", "no_redundancy"}


def test_a_cause_that_comes_and_goes_is_never_shown_or_stays_shown() -> None:
    desk = Desk("a", "b")
    seen = []
    for turn in range(40):
        desk.set("b", windows=RUNS_OUT if turn % 3 == 0 else (window(),))
        seen.append(bool(desk.second(1)))
    assert not any(seen)
    desk.set("b", windows=RUNS_OUT)
    desk.seconds(4, per_s=1)
    for turn in range(40):
        desk.set("b", windows=RUNS_OUT if turn % 3 == 0 else (window(),))
        assert desk.second(1)


def test_it_stays_for_ten_seconds_after_its_cause_has_gone() -> None:
    desk = Desk("a", "b")
    desk.set("b", windows=RUNS_OUT)
    desk.seconds(5, per_s=1)
    desk.set("b", windows=(window(),))
    shown = [desk.second(1) != () for _ in range(12)]
    assert shown == [True] * 10 + [False] * 2


def test_once_shown_a_little_less_is_enough_to_stay() -> None:
    def with_chance(desk: Desk, chance: float) -> bool:
        desk.set("b", windows=(window(200, MINUTE, 40, runs_out_s=14, chance=chance),))
        return bool(desk.seconds(15, per_s=1))

    desk = Desk("a", "b")
    assert not with_chance(desk, 0.45)
    assert with_chance(desk, 0.55)
    assert with_chance(desk, 0.45)
    assert not with_chance(desk, 0.35)


def test_dismissed_it_is_silent_until_its_cause_has_gone_and_come_back() -> None:
    desk = Desk("a", "b")
    desk.set("b", windows=RUNS_OUT)
    (told,) = desk.seconds(5, per_s=1)
    desk.advisor.dismiss(told.id)
    assert desk.advisor.suggestions == ()
    assert desk.seconds(60, per_s=1) == ()
    desk.set("b", windows=(window(),))
    desk.seconds(12, per_s=1)
    desk.set("b", windows=RUNS_OUT)
    assert [one.id for one in desk.seconds(5, per_s=1)] == [told.id]


def test_dismissed_it_speaks_again_when_it_becomes_worse() -> None:
    desk = Desk("a", "b")
    desk.set("b", token_expires_in_ns=HALF_HOUR)
    (told,) = desk.seconds(5)
    desk.advisor.dismiss(told.id)
    desk.set("b", token_expires_in_ns=MINUTE)
    (again,) = desk.seconds(1)
    assert (again.id, again.severity) == (told.id, Severity.CRITICAL)


def test_an_applied_one_stays_with_its_undo_until_it_is_taken_back() -> None:
    desk = Desk("a", "b")
    desk.seconds(5, b={"requests": 4, "errors": 4})
    told = desk.told("drain_degrading")
    assert told is not None
    assert desk.advisor.undo_for(told.id) is None
    assert desk.advisor.command_for(told.id) == DrainProvider("b")
    desk.advisor.mark_applied(told.id)
    desk.set("b", drained=True, health=HealthStatus.DRAINED)
    desk.seconds(60, a={"requests": 2})
    told = desk.told("drain_degrading")
    assert told is not None
    assert told.applied
    assert desk.advisor.command_for(told.id) is None
    assert desk.advisor.undo_for(told.id) == ResumeProvider("b")
    desk.advisor.mark_undone(told.id)
    assert desk.told("drain_degrading") is None
    assert desk.advisor.undo_for(told.id) is None


def test_unknown_ids_change_nothing() -> None:
    advisor = Advisor()
    assert advisor.command_for("nothing") is None
    assert advisor.undo_for("nothing") is None
    for act in (advisor.dismiss, advisor.mark_applied, advisor.mark_undone):
        act("nothing")
    assert advisor.suggestions == ()


def test_asked_again_within_half_a_second_it_answers_the_same() -> None:
    desk = Desk("a", "b")
    desk.set("b", windows=RUNS_OUT)
    told = desk.seconds(5, per_s=1)
    soon = replace(desk.snapshot(), at_ns=desk.at_s * SECOND + SECOND // 4, brokers=())
    assert desk.advisor.observe(soon) is told


def test_the_most_urgent_stands_first_and_the_list_is_bounded() -> None:
    desk = Desk(*(f"b{number:02}" for number in range(20)), settings=AdviceSettings(shown_most=8))
    for number in range(20):
        desk.set(f"b{number:02}", token_expires_in_ns=MINUTE if number > 10 else HALF_HOUR)
    told = desk.seconds(5)
    assert len(told) == 8
    assert {one.severity for one in told} == {Severity.CRITICAL}
    assert told == tuple(sorted(told, key=lambda one: one.provider))


def test_a_snapshot_from_before_begins_a_new_history() -> None:
    desk = Desk("a", "b")
    desk.set("b", windows=RUNS_OUT)
    assert desk.seconds(10, per_s=1)
    desk.at_s = 0
    assert desk.second(1) == ()


def test_history_does_not_grow_without_bound() -> None:
    desk = Desk("a")
    desk.seconds(2200, per_s=1)
    assert len(desk.advisor._history.brokers["a"].samples) <= 1800


@settings(max_examples=60)  # each one is a minute of snapshots
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(HealthStatus),
            st.integers(0, 30),
            st.integers(0, 10),
            st.integers(0, 200),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_whatever_the_snapshots_say_each_id_is_told_once_and_what_acts_can_be_undone(
    story: list[tuple[str, HealthStatus, int, int, int, bool]],
) -> None:
    desk = Desk("a", "b", "c")
    for name, health, requests, errors, free, drained in story:
        desk.set(name, health=health, drained=drained, windows=(window(200, MINUTE, free, runs_out_s=9, chance=0.9),))
        told = desk.seconds(2, per_s=1, **{name: {"requests": requests, "errors": errors}})
        assert len({one.id for one in told}) == len(told)
        for one in told:
            command = desk.advisor.command_for(one.id)
            assert (command is not None) is bool(one.action)
            if command is not None:
                desk.advisor.mark_applied(one.id)
                assert desk.advisor.undo_for(one.id) is not None
                desk.advisor.mark_undone(one.id)


def test_decisions_told_apart_from_the_snapshot_are_judged_as_if_it_bore_them() -> None:
    borne, apart = Desk("a", "b"), Desk("a", "b")
    for _ in range(30):
        for desk in (borne, apart):
            desk.at_s += 1
            desk.grow("a", requests=20)
            desk.decisions.clear()
            for _ in range(20):
                desk.decide(Operation.PLACE_ORDER, wait_s=0.2)
        whole = apart.snapshot()
        decided = [Decided(one.serial, one.at_ns, one.operation, 0.2, True, True) for one in whole.decisions]
        told = apart.advisor.observe(replace(whole, decisions=()), decided)
        assert told == borne.advisor.observe(borne.snapshot())
    assert "queue_dominates" in [suggestion.kind for suggestion in told]
