"""Where a request goes, and what can never happen."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.balancer import BalancerSettings, Candidate, IntelligentLoadBalancer, RoutingRules
from core.clock import DAY, MILLISECOND, MINUTE, SECOND, VirtualClock
from core.errors import NoBrokerAvailable
from core.models import BreakerState, Category, HealthStatus, Operation

READ, ORDER = Operation.GET_ORDERS, Operation.PLACE_ORDER


class Desk:
    """A balancer on a virtual clock, and short words for what happens."""

    def __init__(self, *names: str, settings: BalancerSettings | None = None) -> None:
        self.clock = VirtualClock()
        self.balancer = IntelligentLoadBalancer(names, clock=self.clock, rng=random.Random(7), settings=settings)

    def after(self, by_ns: int) -> None:
        self.clock._now_ns += by_ns  # nothing sleeps here

    def answer(
        self, name: str, took_ms: int = 50, *, times: int = 1, outcome: str = "ok", operation: str = READ
    ) -> None:
        for _ in range(times):
            self.balancer.started(name, operation)
            self.after(took_ms * MILLISECOND)
            self.balancer.finished(name, operation, took_ms * MILLISECOND, outcome)

    def fail(self, name: str, times: int = 5, operation: str = READ, outcome: str = "error") -> None:
        self.answer(name, 5, times=times, outcome=outcome, operation=operation)

    def pick(self, *candidates: Candidate, operation: str = READ, **asked: object) -> str:
        return self.balancer.choose(operation, candidates, **asked).chosen  # type: ignore[arg-type]


def test_the_faster_broker_wins() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 200, times=10)
    desk.answer("b", 50, times=10)
    assert desk.pick(Candidate("a"), Candidate("b")) == "b"


def test_a_broker_that_has_a_permit_goes_before_a_faster_one_that_has_none() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 50, times=10)
    desk.answer("b", 400, times=10)
    assert desk.pick(Candidate("a", wait_ns=1), Candidate("b")) == "b"


def test_when_all_are_full_the_one_that_is_done_soonest_wins() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 50, times=10)
    desk.answer("b", 200, times=10)
    full = ((0, 10, SECOND),)
    waits = Candidate("a", wait_ns=SECOND // 2, rooms=full), Candidate("b", wait_ns=SECOND // 10, rooms=full)
    assert desk.pick(*waits) == "b"
    queued = Candidate("a", wait_ns=SECOND // 10, queued=20, rooms=full), Candidate("b", wait_ns=SECOND, rooms=full)
    assert desk.pick(*queued) == "b"  # twenty before it, at ten a second
    assert "no permit anywhere" in desk.balancer.decisions(1)[0].reason


def test_a_broker_twelve_times_slower_is_left_after_a_handful_of_answers() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    desk.answer("b", 50, times=20)
    desk.answer("a", 480, times=1)
    assert desk.pick(Candidate("a"), Candidate("b")) == "b"


def test_silence_is_seen_before_any_timeout_comes_back() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    desk.answer("b", 100, times=20)
    desk.balancer.started("a", READ)
    assert desk.pick(Candidate("a", in_flight=1), Candidate("b")) == "a"
    desk.after(150 * MILLISECOND)
    assert desk.pick(Candidate("a", in_flight=1), Candidate("b")) == "b"


@pytest.mark.parametrize(
    ("operation", "wait_s", "chosen"), [(READ, 1.0, "b"), (READ, 10.0, "a"), (ORDER, 8.0, "b"), (ORDER, 30.0, "a")]
)
def test_rather_than_ask_a_silent_broker_one_waits_for_another_as_long_as_a_lost_request_is_worth(
    operation: str, wait_s: float, chosen: str
) -> None:
    desk = Desk("a", "b")
    for what in (READ, ORDER):
        desk.answer("a", 40, times=20, operation=what)
        desk.answer("b", 40, times=20, operation=what)
    desk.balancer.started("a", READ)
    waits = Candidate("b", wait_ns=round(wait_s * SECOND))
    assert desk.pick(Candidate("a", in_flight=1), waits, operation=operation) == "a"
    desk.after(150 * MILLISECOND)
    choice = desk.balancer.choose(operation, [Candidate("a", in_flight=1), waits])
    assert choice.chosen == chosen
    assert choice.candidates[0].failure_s > 1.0
    assert choice.candidates[0].barred.startswith("silent") is (chosen == "b")
    assert desk.pick(Candidate("a", in_flight=1), operation=operation) == "a", "alone it is still asked"


def test_a_broker_that_answers_later_requests_is_not_silent() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    desk.answer("b", 100, times=20)
    desk.balancer.started("a", READ)  # this one is lost
    desk.after(200 * MILLISECOND)
    desk.answer("a", 40)
    assert desk.pick(Candidate("a", in_flight=1), Candidate("b")) == "a"


@pytest.mark.parametrize(("heard", "chosen"), [(True, "a"), (False, "b")])
def test_the_time_that_we_take_to_read_a_long_answer_is_not_held_against_the_broker(heard: bool, chosen: str) -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    desk.answer("b", 100, times=20)
    desk.balancer.started("a", READ)
    desk.after(40 * MILLISECOND)
    heard_ns = desk.clock.now_ns() if heard else None
    if heard:
        desk.balancer.heard("a", READ, 40 * MILLISECOND)
    desk.after(3 * SECOND)
    assert desk.pick(Candidate("a", in_flight=1), Candidate("b")) == chosen, "while it is read"
    took_ns = 40 * MILLISECOND if heard else 3 * SECOND + 40 * MILLISECOND
    desk.balancer.finished("a", READ, took_ns, "ok", heard_ns=heard_ns)
    assert desk.pick(Candidate("a"), Candidate("b")) == chosen, "and after it"


def test_a_broker_that_failed_is_checked_until_it_is_trusted_again() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    desk.answer("b", 60, times=20)
    desk.fail("a", 4, outcome="unknown")  # one more would have opened its breaker
    began_ns = desk.clock.now_ns()
    while desk.pick(Candidate("a"), Candidate("b")) != "a":
        for name in desk.balancer.probes_due():
            desk.answer(name, 40, operation=Operation.HEALTH_CHECK)
        desk.after(SECOND // 4)
        assert desk.clock.now_ns() - began_ns < 10 * SECOND
    while desk.clock.now_ns() - began_ns < 30 * SECOND and desk.balancer.probes_due() != ():
        for name in desk.balancer.probes_due():
            desk.answer(name, 40, operation=Operation.HEALTH_CHECK)
        desk.after(SECOND)
    assert desk.balancer.probes_due() == (), "a check costs a permit: no more than are needed"


class Market:
    """Two brokers asked ten times a second, orders among reads, with the health checks that are due."""

    def __init__(self) -> None:
        self.desk = Desk("a", "b")
        self.took_ms = {("a", READ): 40, ("a", ORDER): 60, ("b", READ): 80, ("b", ORDER): 120}
        self.went: list[tuple[str, str]] = []
        self.checks = 0

    def run(self, seconds: int, *operations: str) -> list[tuple[str, str]]:
        """What was asked of whom meanwhile."""
        self.went.clear()
        desk = self.desk
        end_ns = desk.clock.now_ns() + seconds * SECOND
        turn = 0
        while desk.clock.now_ns() < end_ns:
            for name in desk.balancer.probes_due():
                self.checks += 1
                desk.answer(name, self.took_ms[name, READ] // 2, operation=Operation.HEALTH_CHECK)
            operation = (operations or (READ, READ, ORDER))[turn % (len(operations) or 3)]
            name = desk.pick(Candidate("a"), Candidate("b"), operation=operation)
            self.went.append((name, operation))
            desk.answer(name, self.took_ms[name, operation], operation=operation)
            turn += 1
            desk.after(100 * MILLISECOND)
        return self.went


@pytest.mark.parametrize("slow_for_s", [5, 20, 300])
@pytest.mark.parametrize("from_the_start", [False, True])
def test_a_broker_that_was_slow_is_asked_again_soon_after_it_is_quick(slow_for_s: int, from_the_start: bool) -> None:
    market = Market()
    quick = dict(market.took_ms)
    if not from_the_start:
        market.run(30)
    market.took_ms |= {("a", READ): 1200, ("a", ORDER): 1300}
    market.run(10)
    market.checks = 0
    went = market.run(slow_for_s)
    assert sum(name == "a" for name, _ in went) <= (10 if from_the_start else 2), "users are not sent to look"
    assert market.checks <= 1 + slow_for_s // 15, "a check costs a permit"
    market.took_ms = quick
    market.run(50)
    went = market.run(120)
    assert sum(name == "b" for name, _ in went) <= 4


def test_one_late_order_does_not_keep_orders_away_for_ever() -> None:
    market = Market()
    market.run(30)
    market.desk.answer("a", 3000, operation=ORDER)
    went = market.run(10)
    assert ("a", ORDER) not in went
    assert ("b", READ) not in went
    assert market.run(20).count(("a", ORDER)) > 20
    assert ("b", ORDER) not in market.run(60)


def test_orders_that_stay_late_are_tried_ever_more_rarely() -> None:
    market = Market()
    market.run(30)
    market.took_ms["a", ORDER] = 3000
    went = market.run(3600)
    assert 5 <= went.count(("a", ORDER)) <= 15
    assert market.run(30 * 60).count(("a", ORDER)) <= 4


def test_a_broker_that_answers_far_slower_than_usual_is_told_so() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 60, times=20)
    assert desk.balancer.health("a") == (HealthStatus.HEALTHY, "")
    desk.answer("a", 1200, times=4)
    assert desk.balancer.health("a") == (HealthStatus.DEGRADED, "0.9 s an answer, usually 60 ms")


def test_near_ties_go_to_the_most_headroom_and_so_spread() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 50, times=10)
    desk.answer("b", 51, times=10)
    used = {"a": 0, "b": 0}
    for _ in range(30):
        candidates = [Candidate(name, rooms=((100 - used[name], 100, MINUTE),)) for name in used]
        used[desk.pick(*candidates)] += 1
    assert used == {"a": 15, "b": 15}


def test_cold_brokers_get_a_fair_first_share() -> None:
    desk = Desk("a", "b", "c")
    counts = dict.fromkeys("abc", 0)
    for _ in range(300):
        counts[desk.pick(*(Candidate(name) for name in "abc"))] += 1
    assert min(counts.values()) > 60


def test_a_broker_of_which_nothing_is_known_is_tried_beside_a_known_one() -> None:
    desk = Desk("known", "cold")
    desk.answer("known", 50, times=20)
    picks = [desk.pick(Candidate("known", in_flight=1), Candidate("cold")) for _ in range(3)]
    assert "cold" in picks
    assert desk.pick(Candidate("known"), Candidate("cold", in_flight=3)) == "known"  # but not by a herd


def test_the_last_permits_of_a_window_are_kept_for_those_who_have_no_other() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    desk.answer("b", 60, times=20)
    full = (5, 200, MINUTE)
    assert desk.pick(Candidate("a", rooms=(full,)), Candidate("b", rooms=((150, 200, MINUTE),))) == "b"
    assert desk.pick(Candidate("a", rooms=(full,))) == "a"


def test_a_budget_of_the_day_is_spared_while_the_others_could_not_carry_the_demand() -> None:
    desk = Desk("day", "minute")
    for _ in range(300):
        desk.answer("day", 30)
        desk.answer("minute", 90)  # together 17 requests a second
    day = Candidate("day", rooms=((700, 1000, DAY),))
    minute = Candidate("minute", rooms=((200, 300, MINUTE),))
    roomy = Candidate("minute", rooms=((20_000, 30_000, MINUTE),))
    assert desk.pick(day, minute) == "minute"
    desk.after(SECOND)
    assert desk.pick(day, roomy) == "day"  # its loss would cost nothing


@pytest.mark.parametrize("orders", [False, True])
def test_five_failures_open_the_breaker_of_that_class_only(orders: bool) -> None:
    desk = Desk("a", "b")
    desk.fail("a", operation=ORDER if orders else READ)
    broken, sound = (ORDER, READ) if orders else (READ, ORDER)
    decision = desk.balancer.choose(broken, [Candidate("a"), Candidate("b")])
    assert decision.chosen == "b"
    assert next(terms.barred for terms in decision.candidates if terms.name == "a") == "breaker open"
    assert not any(terms.barred for terms in desk.balancer.choose(sound, [Candidate("a")]).candidates)


@pytest.mark.parametrize("outcome", ["limited", "refused"])
def test_a_refusal_is_no_failure_of_health(outcome: str) -> None:
    desk = Desk("a")
    desk.answer("a", times=50, outcome=outcome)
    assert desk.balancer.breaker("a").state is BreakerState.CLOSED
    assert desk.balancer.health("a")[0] in {HealthStatus.HEALTHY, HealthStatus.UNKNOWN}


@pytest.mark.parametrize(("took_ms", "failed", "learned"), [(20, False, False), (80, False, True), (500, True, False)])
def test_an_abandoned_request_tells_what_it_can(took_ms: int, failed: bool, learned: bool) -> None:
    desk = Desk("a")
    desk.answer("a", 50, times=40)
    desk.answer("a", took_ms, outcome="abandoned")
    assert (desk.balancer.insights()["failure_rates"]["a"] > 0) is failed, "unanswered for too long, it looks lost"
    assert (desk.balancer.latency("a").count > 40) is learned, "it would have taken at least so long"


def test_a_refused_token_is_a_state_of_its_own_until_something_works_or_it_is_reset() -> None:
    desk = Desk("a", "b")
    for heal in (lambda: desk.answer("a", operation="authenticate"), lambda: desk.balancer.reset("a")):
        desk.answer("a", outcome="auth")
        assert desk.balancer.health("a")[0] is HealthStatus.AUTH_FAILED
        assert desk.balancer.breaker("a").state is BreakerState.CLOSED
        assert desk.pick(Candidate("a"), Candidate("b")) == "b"
        assert desk.pick(Candidate("a")) == ""
        heal()
        assert desk.pick(Candidate("a")) == "a"


def test_three_unanswered_requests_open_both_breakers_long_before_their_timeout() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=20)
    for _ in range(3):
        desk.balancer.started("a", READ)
    desk.after(400 * MILLISECOND)
    assert desk.pick(Candidate("a", in_flight=3), Candidate("b")) == "b"
    assert desk.balancer.breaker("a", Category.READS).state is BreakerState.OPEN
    assert desk.balancer.breaker("a", Category.ORDERS).state is BreakerState.OPEN
    assert "unanswered" in desk.balancer.health("a")[1]


def test_probes_are_reads_and_never_orders() -> None:
    desk = Desk("a", "b")
    desk.fail("a", operation=READ)
    desk.fail("a", operation=ORDER)
    for _ in range(100):
        desk.after(SECOND)
        assert desk.pick(Candidate("a"), Candidate("b"), operation=ORDER) == "b"
    assert desk.pick(Candidate("a"), operation=ORDER) == ""
    assert desk.balancer.probes_due() == ("a",)


def test_a_broker_left_after_one_failure_is_checked_once_a_second_until_it_works_or_is_open() -> None:
    for heals in (True, False):
        desk = Desk("a", "b")
        desk.answer("a", 40, times=5)
        assert desk.balancer.probes_due() == ()
        desk.fail("a", 1)
        checked = 0
        for _ in range(40):
            desk.after(SECOND // 4)
            if desk.balancer.breaker("a").state is not BreakerState.CLOSED or (heals and checked == 2):
                break
            for name in desk.balancer.probes_due():
                checked += 1
                outcome = "ok" if heals and checked == 2 else "error"
                desk.answer(name, 5, outcome=outcome, operation=Operation.HEALTH_CHECK)
        assert checked == (2 if heals else 4)
        assert (desk.balancer.breaker("a").state is BreakerState.CLOSED) is heals
        assert desk.clock.now_ns() < 6 * SECOND
        assert not heals or desk.balancer.probes_due() == ()


def test_a_silent_broker_without_traffic_is_checked_until_three_are_unanswered() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 40, times=5)
    desk.balancer.started("a", READ)
    for _ in range(20):
        desk.after(SECOND // 4)
        for name in desk.balancer.probes_due():
            desk.balancer.started(name, Operation.HEALTH_CHECK)
        if desk.balancer.breaker("a").state is not BreakerState.CLOSED:
            break
    assert desk.clock.now_ns() < 4 * SECOND
    assert "3 unanswered" in desk.balancer.health("a")[1]


def test_a_health_check_that_succeeds_twice_brings_a_broker_back_for_orders_too() -> None:
    desk = Desk("a", "b")
    desk.fail("a", operation=READ)
    desk.fail("a", operation=ORDER)
    desk.after(10 * SECOND)
    for _ in range(2):
        assert desk.balancer.probes_due() == ("a",)
        desk.balancer.started("a", Operation.HEALTH_CHECK)
        assert desk.balancer.probes_due() == ()
        desk.after(30 * MILLISECOND)
        desk.balancer.finished("a", Operation.HEALTH_CHECK, 30 * MILLISECOND, "ok")
    assert desk.pick(Candidate("a"), operation=ORDER) == "a"
    assert desk.pick(Candidate("a"), operation=READ) == "a"


def test_a_read_becomes_the_probe_when_nobody_sends_one() -> None:
    desk = Desk("a", "b")
    desk.fail("a")
    desk.after(10 * SECOND)
    assert desk.pick(Candidate("a"), Candidate("b")) == "a"
    assert desk.balancer.decisions(1)[0].reason.startswith("probe")
    desk.balancer.started("a", READ)
    assert desk.pick(Candidate("a", in_flight=1), Candidate("b")) == "b"


def test_the_last_broker_is_kept_for_reads_and_the_decision_says_so() -> None:
    desk = Desk("a", "b")
    desk.fail("a")
    desk.fail("b")
    decision = desk.balancer.choose(READ, [Candidate("a"), Candidate("b")])
    assert decision.chosen in {"a", "b"}
    assert decision.reason.startswith("last resort")


def test_no_order_goes_to_a_broker_whose_breaker_is_open_even_when_it_is_the_last() -> None:
    desk = Desk("a")
    desk.fail("a", operation=ORDER)
    decision = desk.balancer.choose(ORDER, [Candidate("a")])
    assert decision.chosen == ""
    assert decision.reason == "a breaker open"


def test_traffic_is_back_within_ten_seconds_of_a_recovery() -> None:
    desk = Desk("a", "b")
    desk.fail("a", 20)
    for _ in range(60):  # it stays down for a minute; each probe fails
        desk.after(SECOND)
        for name in desk.balancer.probes_due():
            desk.answer(name, 5, outcome="not_sent", operation=Operation.HEALTH_CHECK)
    back_ns = desk.clock.now_ns()
    while desk.balancer.breaker("a", Category.READS).state is not BreakerState.CLOSED:
        desk.after(SECOND // 4)
        for name in desk.balancer.probes_due():
            desk.answer(name, 5, operation=Operation.HEALTH_CHECK)
    assert desk.clock.now_ns() - back_ns < 10 * SECOND


def test_far_slower_answers_than_elsewhere_open_a_breaker_but_not_when_all_are_slow() -> None:
    desk = Desk("a", "b", "c")
    for name in ("b", "c"):
        desk.answer(name, 50, times=20)
    desk.answer("a", 600, times=15)
    assert desk.balancer.breaker("a").state is BreakerState.OPEN
    desk = Desk("a", "b", "c")
    for _ in range(20):
        for name in ("a", "b", "c"):
            desk.answer(name, 600)
    assert {desk.balancer.breaker(name).state for name in "abc"} == {BreakerState.CLOSED}


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        (RoutingRules(), "fast"),
        (RoutingRules(pin="slow"), "slow"),
        (RoutingRules(pin="nobody"), ""),
        (RoutingRules(prefer=("slow",)), "slow"),
        (RoutingRules(prefer=("nobody", "slow")), "slow"),
        (RoutingRules(exclude=frozenset({"fast"})), "slow"),
        (RoutingRules(exclude=frozenset({"fast", "slow"})), ""),
        (RoutingRules(weights={"fast": 0.1}), "slow"),
        (RoutingRules(weights={"fast": 0}), "slow"),
        (RoutingRules(weights={"slow": 100}), "slow"),
    ],
)
def test_rules_go_before_figures(rules: RoutingRules, chosen: str) -> None:
    desk = Desk("fast", "slow")
    desk.answer("fast", 50, times=10)
    desk.answer("slow", 200, times=10)
    assert desk.pick(Candidate("fast"), Candidate("slow"), rules=rules) == chosen


def test_a_preferred_broker_without_a_permit_gives_way() -> None:
    desk = Desk("a", "b")
    assert desk.pick(Candidate("a", wait_ns=SECOND), Candidate("b"), rules=RoutingRules(prefer=("a",))) == "b"


def test_after_a_failure_the_chain_decides() -> None:
    desk = Desk("a", "b", "c")
    desk.answer("b", 50, times=10)
    desk.answer("c", 500, times=10)
    rules = RoutingRules(chain=("a", "c", "b"))
    candidates = [Candidate(name) for name in "abc"]
    assert desk.pick(*candidates, rules=rules, exclude={"a"}) == "c"
    assert desk.pick(*candidates, rules=rules, exclude={"a", "c"}) == "b"


@pytest.mark.parametrize(
    "make", [lambda: RoutingRules(pin="a", exclude=frozenset({"a"})), lambda: RoutingRules(weights={"a": -1.0})]
)
def test_rules_that_contradict_themselves_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="a"):
        make()  # type: ignore[operator]


def test_a_broker_that_would_answer_too_late_gives_way_to_one_that_would_not() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 900, times=10)
    desk.answer("b", 50, times=10)
    late, waits = Candidate("a"), Candidate("b", wait_ns=200 * MILLISECOND)
    assert desk.pick(late, waits) == "a"
    assert desk.pick(late, waits, deadline_ns=500 * MILLISECOND) == "b"
    assert desk.pick(late, waits, deadline_ns=100 * MILLISECOND) == "a"  # too late everywhere: as ever


def test_every_decision_keeps_every_term_and_its_outcome_in_a_bounded_ring() -> None:
    desk = Desk("a", "b", settings=BalancerSettings(decisions=4))
    choices = [desk.balancer.choose(READ, [Candidate("a"), Candidate("b", barred="drained")]) for _ in range(6)]
    serials = [choice.serial for choice in choices]
    choices[-1].outcome = "ok"
    choices[0].outcome = "ok"  # long gone
    kept = desk.balancer.decisions(10)
    assert [decision.serial for decision in kept] == serials[:1:-1]
    assert [decision.outcome for decision in kept] == ["ok", "in flight", "in flight", "in flight"]
    assert [terms.name for terms in kept[0].candidates] == ["a", "b"]
    assert kept[0].candidates[1].barred == "drained"
    assert kept[0].candidates[1].total_s == float("inf")
    assert len(desk.balancer.decisions(2)) == 2


def test_what_advice_is_told_of_a_decision_is_what_the_whole_of_it_says() -> None:
    desk = Desk("a", "b")
    desk.answer("b", 50, times=10)
    drained = Candidate("a", barred="drained")
    for b in (Candidate("b", barred="drained"), Candidate("b"), Candidate("b", wait_ns=200 * MILLISECOND)):
        desk.balancer.choose(READ, [drained, b])
    late, soon, denied = desk.balancer.decisions(3)
    terms = late.candidates[1]
    assert desk.balancer.decided(3) == [
        (late.serial, late.at_ns, READ, terms.wait_s + terms.queue_s, True, True),
        (soon.serial, soon.at_ns, READ, 0.0, True, False),
        (denied.serial, denied.at_ns, READ, 0.0, False, False),
    ]
    assert len(desk.balancer.decided(2)) == 2


async def test_without_a_limiter_it_selects_among_its_own() -> None:
    balancer = IntelligentLoadBalancer({"fyers": object(), "upstox": object()})
    for _ in range(20):
        name = await balancer.select_best_api("place_order")
        balancer.update_performance_metrics(name, "place_order", 0.02 if name == "fyers" else 0.5, success=True)
    assert await balancer.select_best_api("place_order") == "fyers"
    insights = balancer.insights()
    assert insights["total_routings"] == sum(insights["api_distribution"].values()) == 21


async def test_nobody_left_is_one_line_that_says_why() -> None:
    with pytest.raises(NoBrokerAvailable, match="no broker for place_order: no broker is configured"):
        await IntelligentLoadBalancer().select_best_api("place_order")
    balancer = IntelligentLoadBalancer(["a"])
    balancer.finished("a", ORDER, 1, "auth")
    with pytest.raises(NoBrokerAvailable, match="a log-in refused"):
        await balancer.select_best_api("place_order")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_response_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="response_time"):
        IntelligentLoadBalancer(["a"]).update_performance_metrics("a", READ, seconds, success=True)


def test_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="outcome is 'great'"):
        IntelligentLoadBalancer(["a"]).finished("a", READ, 1, "great")


def test_a_broker_that_stays_keeps_what_is_known_of_it() -> None:
    desk = Desk("a", "b")
    desk.answer("a", 50, times=5)
    desk.balancer.set_apis(["a", "c"])
    assert desk.balancer.latency("a").count == 5
    assert set(desk.balancer.traffic_shares()) == {"a", "c"}


def test_traffic_shares_follow_what_was_sent_and_capacity_shares_what_could_be() -> None:
    desk = Desk("a", "b")
    assert desk.balancer.traffic_shares() == {"a": 0.0, "b": 0.0}
    desk.answer("a", 1, times=30)
    desk.answer("b", 1, times=10)
    assert desk.balancer.traffic_shares()["a"] == pytest.approx(0.75, abs=0.01)
    free = {"a": [(10, 10, SECOND), (300, 300, MINUTE)], "b": [(0, 100, MINUTE)]}
    assert desk.balancer.capacity_shares(free) == pytest.approx({"a": 0.75, "b": 0.25})
    assert desk.balancer.capacity_shares({"a": []}) == {"a": 0.0}


names = st.sampled_from(["a", "b", "c", "d"])
rooms = st.builds(
    lambda permits, length_ns, gone: (max(0, permits - gone), permits, length_ns),
    st.integers(1, 300),
    st.sampled_from([SECOND, MINUTE, DAY]),
    st.integers(0, 300),
)
candidates = st.builds(
    Candidate,
    names,
    wait_ns=st.sampled_from([0, 1, SECOND, MINUTE]),
    queued=st.integers(0, 50),
    in_flight=st.integers(0, 50),
    rooms=st.lists(rooms, max_size=3).map(tuple),
    limited=st.booleans(),
    barred=st.sampled_from(["", "", "drained", "blocked for the day", "log-in refused"]),
    weight=st.sampled_from([0.0, 0.5, 1.0]),
)
happenings = st.lists(
    st.tuples(
        names,
        st.sampled_from([READ, ORDER]),
        st.sampled_from(["ok", "refused", "limited", "auth", "not_sent", "unknown", "error", "start"]),
        st.integers(0, 3000),
    ),
    max_size=60,
)


@example(  # both are silent: the one that has a permit now is asked
    story=[("b", READ, "start", 0), ("c", READ, "start", 0), ("a", READ, "ok", 2000)],
    asked=[Candidate("b", weight=0.5), Candidate("c", wait_ns=1, weight=0.5)],
    operation=READ,
    exclude=set(),
    deadline_ns=None,
)
@example(  # one is silent and has no permit, the other's orders are limited and its reads are not
    story=[("c", READ, "start", 0), ("a", READ, "ok", 2000)],
    asked=[Candidate("b", limited=True), Candidate("c", wait_ns=1)],
    operation=READ,
    exclude=set(),
    deadline_ns=None,
)
@given(
    story=happenings,
    asked=st.lists(candidates, max_size=4, unique_by=lambda candidate: candidate.name),
    operation=st.sampled_from([READ, ORDER]),
    exclude=st.sets(names),
    deadline_ns=st.none() | st.integers(-SECOND, MINUTE),
)
def test_the_laws_of_the_choice(
    story: list[tuple[str, str, str, int]],
    asked: list[Candidate],
    operation: Operation,
    exclude: set[str],
    deadline_ns: int | None,
) -> None:
    desk = Desk("a", "b", "c", "d")
    for name, what, outcome, took_ms in story:
        if outcome == "start":
            desk.balancer.started(name, what)
        else:
            desk.answer(name, took_ms, outcome=outcome, operation=what)
    category = Category.ORDERS if operation is ORDER else Category.READS
    usable = {
        one.name: one
        for one in asked
        if not (one.barred or one.weight == 0)
        and one.name not in exclude
        and desk.balancer.health(one.name)[0] is not HealthStatus.AUTH_FAILED
    }
    closed = {name for name in usable if desk.balancer.breaker(name, category).state is BreakerState.CLOSED}
    decision = desk.balancer.choose(operation, asked, exclude=exclude, deadline_ns=deadline_ns)

    assert {terms.name for terms in decision.candidates} == {one.name for one in asked}
    assert all(terms.total_s >= 0 for terms in decision.candidates)
    chosen = decision.chosen
    if not chosen:
        assert not closed
        assert operation is ORDER or not usable
        return
    assert chosen in usable
    terms = {terms.name: terms for terms in decision.candidates}
    assert not terms[chosen].barred
    probe = decision.reason.startswith("probe")
    assert chosen in closed or probe or decision.reason.startswith("last resort")
    assert operation is READ or chosen in closed
    if closed and not probe:
        free = [name for name in closed if usable[name].wait_ns == 0 and not terms[name].barred]
        assert usable[chosen].wait_ns == 0 or not free
    shares = desk.balancer.traffic_shares()
    assert sum(shares.values()) == pytest.approx(1.0) or not any(shares.values())
    capacity = desk.balancer.capacity_shares({one.name: one.rooms for one in asked})
    assert sum(capacity.values()) == pytest.approx(1.0) or not any(capacity.values())


@given(happenings)
def test_the_figures_hold_after_any_story(story: list[tuple[str, str, str, int]]) -> None:
    desk = Desk("a", "b", "c", "d")
    for name, operation, outcome, took_ms in story:
        if outcome == "start":
            desk.balancer.started(name, operation)
        else:
            desk.answer(name, took_ms, outcome=outcome, operation=operation)
    insights = desk.balancer.insights()
    assert sum(insights["traffic_shares"].values()) == pytest.approx(1.0 if story else 0.0)
    assert all(0 <= rate <= 1 for rate in insights["failure_rates"].values())
    assert insights["average_latency_ms"] is None or insights["average_latency_ms"] >= 0
    for name in "abcd":
        status, reason = desk.balancer.health(name)
        assert (status is HealthStatus.HEALTHY) is (reason == "")
