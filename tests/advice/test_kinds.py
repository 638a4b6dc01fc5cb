"""Each kind of suggestion: what brings it up, what does not, and what it tells."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.advice import KINDS, Levers
from core.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from core.models import (
    BreakerState,
    Budget,
    CostSnapshot,
    Counters,
    HealthStatus,
    IncidentRow,
    LatencySnapshot,
    Operation,
    Rate,
    Severity,
)
from tests.advice.desk import EVERY_LEVER, Configuration, Desk, window

Story = Callable[[Desk], object]


@dataclass(frozen=True)
class Case:
    """`cause` brings the kind up at the second broker `b` (or nowhere); `calm` is almost the same and does not."""

    kind: str
    cause: Story
    calm: Story
    severity: Severity
    levers: Levers | None = None
    acts: bool = True


def failing(errors: int, of: int) -> Story:
    def story(desk: Desk) -> None:
        for _ in range(10):
            desk.second(0, a={"requests": of}, b={"requests": of, "errors": errors})

    return story


def state(**changes: object) -> Story:
    def story(desk: Desk) -> None:
        desk.set("b", **changes)
        desk.seconds(10, per_s=1)

    return story


def both(**changes: object) -> Story:
    def story(desk: Desk) -> None:
        for name in ("a", "b"):
            desk.set(name, **changes)
        desk.seconds(10, per_s=1)

    return story


def flapping(times: int) -> Story:
    def story(desk: Desk) -> None:
        desk.second(1)
        for _ in range(times):
            desk.set("b", breaker=BreakerState.OPEN, health=HealthStatus.UNHEALTHY)
            desk.seconds(4, per_s=1)
            desk.set("b", breaker=BreakerState.CLOSED, health=HealthStatus.HEALTHY)
            desk.seconds(6, per_s=1)

    return story


def slower(to_ms: int) -> Story:
    def story(desk: Desk) -> None:
        desk.seconds(60, per_s=2)
        desk.set("b", latency=LatencySnapshot(count=600, ewma_ns=to_ms * MILLISECOND, p99_ns=to_ms * MILLISECOND))
        desk.seconds(6, per_s=2)

    return story


def spiking(to_per_s: int) -> Story:
    def story(desk: Desk) -> None:
        desk.seconds(120, per_s=1)
        desk.seconds(12, per_s=to_per_s)

    return story


def decisions(operation: str, per_s: int, *, wait_s: float = 0.0, orders: int = 0) -> Story:
    def story(desk: Desk) -> None:
        for _ in range(30):
            for _ in range(per_s):
                desk.decide(operation, wait_s=wait_s)
            for _ in range(orders):
                desk.decide(Operation.PLACE_ORDER)
            desk.second(0, a={"requests": per_s + orders})

    return story


def squeezed(free: int) -> Story:
    def story(desk: Desk) -> None:
        desk.set("b", windows=(window(10, SECOND), window(200, MINUTE, free)))
        for turn in range(30):
            desk.decide(Operation.GET_ORDERS)
            desk.decide(Operation.GET_ORDERS)
            if turn % 5 == 0:
                desk.decide(Operation.PLACE_ORDER)
            desk.second()

    return story


def bursts(full: bool) -> Story:
    def story(desk: Desk) -> None:
        for turn in range(30):
            busy = turn % 3 == 0
            desk.set("b", windows=(window(10, SECOND, 0 if busy and full else 8), window(200, MINUTE, 150)))
            desk.second(0, b={"requests": 10 if busy else 0})

    return story


def unused(tight: bool) -> Story:
    def story(desk: Desk) -> None:
        desk.set("a", windows=(window(200, MINUTE, 20 if tight else 150),))
        desk.seconds(150, a={"requests": 3})

    return story


def inefficient(value: float) -> Story:
    def story(desk: Desk) -> None:
        desk.rest["efficiency"] = value
        desk.seconds(35, per_s=1)

    return story


def told_by(**rest: object) -> Story:
    def story(desk: Desk) -> None:
        desk.rest.update(rest)
        desk.seconds(10, per_s=1)

    return story


def carrying(share: float) -> Story:
    def story(desk: Desk) -> None:
        desk.set("a", traffic_share=1 - share)
        desk.set("b", traffic_share=share)
        desk.seconds(10, b={"requests": 3})

    return story


def refused(times: int) -> Story:
    """The first look cannot tell a refusal of now from one of before."""

    def story(desk: Desk) -> None:
        desk.seconds(times, 1, b={"refusals": 1})
        desk.seconds(5, 1)

    return story


def drained(tight: bool) -> Story:
    def story(desk: Desk) -> None:
        desk.set("a", windows=(window(200, MINUTE, 10 if tight else 150),))
        desk.set("b", drained=True, health=HealthStatus.DRAINED)
        desk.seconds(10, a={"requests": 3})

    return story


skew = IncidentRow(at_ns=0, age_ns=SECOND, kind="clock_skew", provider="b", message="2.5 s ahead")
old_skew = replace(skew, age_ns=HOUR)
capped = Levers(commands=EVERY_LEVER, caps={"b": 0.5})
published = Levers(commands=EVERY_LEVER, published={"b": (Budget("all", (Rate(400, MINUTE),)),)})
runs_out = (window(10, SECOND), window(200, MINUTE, 40, runs_out_s=14, chance=0.9))
will_not = (window(10, SECOND), window(200, MINUTE, 40, runs_out_s=14, chance=0.3))
tail = LatencySnapshot(count=500, ewma_ns=60 * MILLISECOND, p50_ns=50 * MILLISECOND, p99_ns=900 * MILLISECOND)
no_tail = replace(tail, p99_ns=150 * MILLISECOND)
nearly_full = (window(10, SECOND), window(200, MINUTE, 20))

QUOTES = Operation.GET_MARKET_DATA
CASES = [
    Case("unknown_orders", told_by(unknown_orders=2, open_orders=5), told_by(), Severity.CRITICAL, acts=False),
    Case("log_in_again", state(health=HealthStatus.AUTH_FAILED), state(), Severity.CRITICAL, acts=False),
    Case("blocked_for_day", state(health=HealthStatus.BLOCKED_FOR_DAY), state(), Severity.CRITICAL, acts=False),
    Case(
        "no_redundancy",
        state(health=HealthStatus.UNHEALTHY),
        state(health=HealthStatus.DEGRADED),
        Severity.CRITICAL,
        acts=False,
    ),
    Case(
        "broker_down",
        state(health=HealthStatus.UNHEALTHY, breaker=BreakerState.OPEN, reason="5 failures in a row"),
        state(health=HealthStatus.DEGRADED, reason="1 of 9 failed"),
        Severity.WARNING,
    ),
    Case("drain_degrading", failing(1, 4), failing(1, 10), Severity.WARNING),
    Case("drain_degrading", failing(3, 5), failing(0, 5), Severity.CRITICAL),
    Case(
        "token_expires",
        state(token_expires_in_ns=HOUR // 2),
        state(token_expires_in_ns=2 * HOUR),
        Severity.WARNING,
        acts=False,
    ),
    Case(
        "token_expires",
        state(token_expires_in_ns=MINUTE),
        state(token_expires_in_ns=None),
        Severity.CRITICAL,
        acts=False,
    ),
    Case("window_exhausting", state(windows=runs_out), state(windows=will_not), Severity.WARNING),
    Case(
        "day_budget",
        state(windows=(window(1000, DAY, 600, runs_out_s=7200),)),
        state(windows=(window(1000, DAY, 600),)),
        Severity.WARNING,
    ),
    Case(
        "limit_above_broker",
        lambda desk: [desk.second(1, b={"refusals": 1}) for _ in range(10)],
        state(),
        Severity.WARNING,
    ),
    Case("breaker_flapping", flapping(3), flapping(2), Severity.WARNING),
    Case("latency_step", slower(200), slower(110), Severity.WARNING),
    Case("orders_squeezed", squeezed(20), squeezed(120), Severity.WARNING),
    Case("usage_spike", spiking(5), spiking(2), Severity.WARNING, acts=False),
    Case(
        "queue_dominates",
        decisions(Operation.GET_ORDERS, 2, wait_s=0.4),
        decisions(Operation.GET_ORDERS, 2, wait_s=0.01),
        Severity.WARNING,
        acts=False,
    ),
    Case(
        "clock_skew",
        told_by(incidents=(skew,)),
        told_by(incidents=(replace(skew, age_ns=HOUR),)),
        Severity.WARNING,
        acts=False,
    ),
    Case(
        "loop_lag",
        told_by(cost=CostSnapshot(loop_lag_ns=80 * MILLISECOND)),
        told_by(cost=CostSnapshot(loop_lag_ns=5 * MILLISECOND)),
        Severity.WARNING,
        acts=False,
    ),
    Case("resume_drained", drained(tight=True), drained(tight=False), Severity.INFO),
    Case("limit_below_published", state(windows=nearly_full), state(), Severity.INFO, levers=capped),
    Case("limit_below_published", state(windows=nearly_full), state(), Severity.INFO, levers=published, acts=False),
    Case("one_carries_all", carrying(0.95), carrying(0.6), Severity.INFO),
    Case("headroom_unused", unused(tight=True), unused(tight=False), Severity.INFO),
    Case("efficiency_low", inefficient(0.5), inefficient(0.95), Severity.INFO, acts=False),
    Case("cache_reads", decisions(Operation.GET_PORTFOLIO, 1), decisions(Operation.PLACE_ORDER, 1), Severity.INFO),
    Case(
        "batch_quotes", decisions(Operation.GET_MARKET_DATA, 4), decisions(Operation.GET_MARKET_DATA, 1), Severity.INFO
    ),
    *(
        Case(
            "batch_quotes",
            decisions(Operation.GET_MARKET_DATA, 4),
            decisions(Operation.GET_MARKET_DATA, 1),
            Severity.INFO,
            levers=Levers(commands=EVERY_LEVER, caches={"get_market_data": held_s}),
            acts=held_s < 1,
        )
        for held_s in (0.25, 1.0)
    ),
    Case("stagger_users", bursts(full=True), bursts(full=False), Severity.INFO, acts=False),
    Case("enable_hedging", both(latency=tail), both(latency=no_tail), Severity.INFO),
    Case(
        "events_dropped",
        told_by(counters=Counters(requests=9, events_dropped=3)),
        told_by(counters=Counters(requests=9)),
        Severity.INFO,
        acts=False,
    ),
]
named = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.severity.value}")


def play(case: Case, story: Story) -> Desk:
    desk = Desk("a", "b", levers=case.levers)
    story(desk)
    return desk


@named
def test_its_cause_brings_it_up(case: Case) -> None:
    told = play(case, case.cause).told(case.kind)
    assert told is not None
    assert told.severity is case.severity
    assert bool(told.action) is case.acts


@named
def test_almost_the_same_does_not(case: Case) -> None:
    assert play(case, case.calm).told(case.kind) is None


@named
def test_it_gives_numbers_and_says_since_when(case: Case) -> None:
    desk = play(case, case.cause)
    told = desk.told(case.kind)
    assert told is not None
    numbers = re.compile(r"\d")
    if case.kind != "no_redundancy":
        assert numbers.search(told.evidence)
    if case.kind not in {"clock_skew", "events_dropped", "unknown_orders"}:
        assert numbers.search(told.effect)
    assert 0 < told.since_ns <= desk.at_s * SECOND
    assert "\n" not in told.title + told.evidence + told.effect


@named
def test_applied_and_undone_it_leaves_the_configuration_as_it_was(case: Case) -> None:
    desk = play(case, case.cause)
    told = desk.told(case.kind)
    assert told is not None
    command = desk.advisor.command_for(told.id)
    assert (command is not None) is case.acts
    if command is None:
        assert desk.advisor.undo_for(told.id) is None
        return
    configuration = Configuration(desk.levers)
    if case.kind == "resume_drained":
        configuration.drained.add("b")
    before = configuration.as_told()
    configuration.carry_out(command)
    assert configuration.as_told() != before
    desk.advisor.mark_applied(told.id)
    configuration.carry_out(desk.advisor.undo_for(told.id))
    assert configuration.as_told() == before


@named
def test_a_router_that_cannot_do_it_gets_the_advice_without_the_key(case: Case) -> None:
    levers = replace(case.levers or Levers(), commands=frozenset())
    desk = Desk("a", "b", levers=levers)
    case.cause(desk)
    told = desk.told(case.kind)
    assert told is not None
    assert told.action == ""
    assert desk.advisor.command_for(told.id) is None


def test_every_kind_has_a_case_and_tells_its_trigger() -> None:
    assert {case.kind for case in CASES} == set(KINDS)
    assert len(KINDS) >= 15
    assert all(kind.__doc__ for kind in KINDS.values())


def test_the_last_broker_is_never_offered_for_draining() -> None:
    desk = Desk("b")
    desk.seconds(10, b={"requests": 5, "errors": 4})
    told = desk.told("drain_degrading")
    assert told is not None
    assert told.action == ""
    assert "no other broker" in told.effect


def test_a_cap_that_stands_at_its_least_is_not_lowered_further() -> None:
    desk = Desk("a", "b", levers=Levers(commands=EVERY_LEVER, caps={"b": 0.1}))
    desk.seconds(10, per_s=1, b={"refusals": 1})
    told = desk.told("limit_above_broker")
    assert told is not None
    assert told.action == ""
    assert desk.advisor.command_for(told.id) is None


def test_the_documentation_tells_every_trigger_as_the_code_does() -> None:
    told = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", told, flags=re.MULTILINE))
    assert rows == {name: " ".join((kind.__doc__ or "").split()) for name, kind in KINDS.items()}
