"""The referee, which shares nothing with the limiter, sees no request above the limit."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from core.clock import MINUTE, SECOND
from core.limiter import EnhancedRateLimiter
from core.models import Budget, Rate
from tests.limiter.referee import HandClock, Network, Referee, SendStampedLog, calm, in_order, jitter, play

TEN = [(10, SECOND)]
MINUTE_BINDS = [(10, SECOND), (200, MINUTE)]


def lossy() -> Network:
    return jitter(lost=0.02)


def limiter_of(rates: list[tuple[int, int]], clock: HandClock, *, stamps: bool = False) -> EnhancedRateLimiter:
    budget = Budget("all", tuple(Rate(*rate) for rate in rates))
    return EnhancedRateLimiter(budgets=[budget], clock=clock, server_stamps=stamps)


@pytest.mark.parametrize("counts_refused", [False, True])
@pytest.mark.parametrize("network", [jitter, in_order, calm, lossy], ids=lambda network: network.__name__)
@pytest.mark.parametrize(("rates", "least"), [(TEN, 0.94), (MINUTE_BINDS, 0.99)], ids=["10/s", "200/min"])
def test_no_request_arrives_above_a_limit_and_the_limit_is_used(
    rates: list[tuple[int, int]], least: float, network: Callable[[], Network], counts_refused: bool
) -> None:
    clock = HandClock()
    referee = Referee(rates, counts_refused=counts_refused)
    verdict = play(limiter_of(rates, clock), clock, referee, network(), requests=2500, rng=random.Random(7))
    assert verdict.refused == 0
    if network is not lossy:  # a lost answer holds its place for 300 ms: what it costs is the network's fault
        assert verdict.goodput(*rates[-1]) >= least


@pytest.mark.parametrize("drift_ppm", [-190, -100, 100, 190])
def test_a_broker_whose_clock_is_slow_or_fast_sees_no_request_above_its_limit(drift_ppm: int) -> None:
    rates = [(40, 10 * SECOND), (100, MINUTE)]
    clock = HandClock()
    referee = Referee(rates, drift_ppm=drift_ppm)
    verdict = play(limiter_of(rates, clock), clock, referee, calm(), requests=3000, rng=random.Random(3))
    assert verdict.refused == 0


def test_the_referee_sees_what_a_log_of_send_times_does_wrong() -> None:
    clock = HandClock()
    log = SendStampedLog(10, SECOND, clock)
    verdict = play(log, clock, Referee(TEN), jitter(), requests=2000, rng=random.Random(7))
    assert verdict.refused > 100


def test_a_broker_s_own_stamps_raise_the_goodput_and_are_safe_where_the_least_delay_was_learned() -> None:
    verdicts = []
    for stamps in (False, True):
        clock = HandClock()
        limiter = limiter_of(TEN, clock, stamps=stamps)
        rng = random.Random(11)
        verdicts.append(play(limiter, clock, Referee(TEN), calm(), requests=4000, rng=rng, stamped=stamps))
    assert [verdict.refused for verdict in verdicts] == [0, 0]
    assert verdicts[1].goodput(10, SECOND) > verdicts[0].goodput(10, SECOND) + 0.01
