"""What a decision costs in CPU."""

from __future__ import annotations

from typing import Any

import pytest

from core.balancer import Candidate, EfficiencyMeter, IntelligentLoadBalancer
from core.clock import DAY, MILLISECOND, MINUTE, SECOND
from core.models import Category, Operation, Rate, WindowHeadroom


def window(permits: int, window_ns: int, free: int) -> WindowHeadroom:
    return WindowHeadroom(
        budget="all",
        rate=Rate(permits, window_ns),
        used=permits - free,
        in_flight=0,
        free=free,
        next_free_in_ns=0,
        all_free_in_ns=0,
        soft=free < 0.2 * permits,
    )


def warm(count: int) -> tuple[IntelligentLoadBalancer, list[Candidate]]:
    """A balancer that knows its brokers, and candidates whose windows are about half full."""
    names = [f"b{number}" for number in range(count)]
    balancer = IntelligentLoadBalancer(names)
    for number, name in enumerate(names):
        for _ in range(20):
            balancer.started(name, Operation.GET_ORDERS)
            balancer.finished(name, Operation.GET_ORDERS, (50 + number) * MILLISECOND, "ok")
    candidates = [
        Candidate(
            name,
            in_flight=number % 3,
            windows=(window(10, SECOND, 5 + number % 5), window(200, MINUTE, 100), window(100_000, DAY, 90_000)),
        )
        for number, name in enumerate(names)
    ]
    return balancer, candidates


@pytest.mark.parametrize("brokers", [4, 20])
def test_a_decision(benchmark: Any, brokers: int) -> None:
    balancer, candidates = warm(brokers)
    decision = benchmark(balancer.choose, Operation.GET_ORDERS, candidates)
    assert decision.chosen


def test_a_request_from_start_to_finish(benchmark: Any) -> None:
    balancer, _ = warm(4)

    def request() -> None:
        balancer.started("b1", Operation.GET_ORDERS)
        balancer.finished("b1", Operation.GET_ORDERS, 50 * MILLISECOND, "ok")

    benchmark(request)
    assert balancer.latency("b1").count > 20


def test_a_hundred_selections_and_updates(benchmark: Any) -> None:
    """The floor of the document that headroom started from: 100 select and update under 10 ms."""
    balancer = IntelligentLoadBalancer({"fyers": None, "upstox": None})

    def hundred() -> None:
        for _ in range(100):
            selection = balancer.select_best_api("place_order")
            with pytest.raises(StopIteration) as ended:
                selection.send(None)
            balancer.update_performance_metrics(ended.value.value, "place_order", 0.05, success=True)

    benchmark(hundred)
    assert balancer.insights()["total_routings"] >= 100


def test_the_insights_of_twelve_brokers(benchmark: Any) -> None:
    balancer, _ = warm(12)
    insights = benchmark(balancer.insights)
    assert len(insights["health"]) == 12


def test_a_slice_of_efficiency_for_twelve_brokers(benchmark: Any) -> None:
    meter = EfficiencyMeter()
    windows = {
        f"b{number}": {
            category: (window(10, SECOND, 5), window(200, MINUTE, 100), window(100_000, DAY, 90_000))
            for category in Category
        }
        for number in range(12)
    }
    now_ns = 0
    meter.tick(0, windows)

    def tick() -> None:
        nonlocal now_ns
        now_ns += SECOND
        meter.asked(Category.READS)
        meter.routed(Category.READS, "b1")
        meter.tick(now_ns, windows)

    benchmark(tick)
    assert meter.value == 1.0
