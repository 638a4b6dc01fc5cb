"""What the limits alone allow: the yardstick for a router that should waste none of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..clock import SECOND
from ..models import CATEGORY_OF, Budget, Category, Operation
from .arrivals import ClosedUsers, Poisson
from .scenarios import Scenario

__all__ = ["capacity_of", "capacity_per_s", "demand_of", "earliest_ns", "limits_alone_ns"]


def earliest_ns(budget: Budget, count: int) -> list[int]:
    """When each of `count` requests may go at the earliest under one budget, from time 0, in nanoseconds.

    Each goes as early as every window allows: with `permits` in any half-open window, request n may go once request
    n - permits is a whole window old. To go earlier never helps a later one, so the greedy schedule is the best one.
    """
    times = [0] * count
    step = min((rate.permits for rate in budget.rates), default=count)
    # As many at once as the fewest permits: of those, none waits for another.
    for start in range(step, count, step):
        stop = min(start + step, count)
        for rate in budget.rates:
            if rate.permits < stop:
                first = max(start, rate.permits)
                window_ns = rate.window_ns
                free_ns = [time + window_ns for time in times[first - rate.permits : stop - rate.permits]]
                times[first:stop] = map(max, times[first:stop], free_ns)
    return times


def limits_alone_ns(
    brokers: Mapping[str, Iterable[Budget]],
    demand: Mapping[Category, int],
    answer_ns: Mapping[str, int] = MappingProxyType({}),
) -> int:
    """The shortest time in which the brokers' budgets together let `demand` pass, the last answers included.

    `answer_ns` is how long an answer takes at each broker; none where it is not named. A router that answers equal
    reads, asked at once, from one request can be faster than that.

    For each broker, the orders and reads it can pass within a time form a polymatroid (bounds on orders, on reads, and
    on both together); a sum of polymatroids is one again, whose bounds are the sums. So the demand fits exactly when
    orders, reads and both together fit the summed bounds; the time is found by bisection.
    """
    orders, reads = demand.get(Category.ORDERS, 0), demand.get(Category.READS, 0)
    brokers_times = [
        (
            answer_ns.get(name, 0),
            [
                (
                    Category.ORDERS in budget.categories,
                    Category.READS in budget.categories,
                    earliest_ns(budget, orders + reads),
                )
                for budget in budgets
            ],
        )
        for name, budgets in brokers.items()
    ]

    def fits(horizon_ns: int) -> bool:
        room = [_room(times, horizon_ns - answer, orders, reads) for answer, times in brokers_times]
        return (
            sum(row[0] for row in room) >= orders
            and sum(row[1] for row in room) >= reads
            and sum(row[2] for row in room) >= orders + reads
        )

    if fits(0):
        return 0
    high_ns = SECOND
    while not fits(high_ns):
        high_ns *= 2
    low_ns = 0
    while high_ns - low_ns > 1:
        middle_ns = (low_ns + high_ns) // 2
        low_ns, high_ns = (low_ns, middle_ns) if fits(middle_ns) else (middle_ns, high_ns)
    return high_ns


def _room(
    budgets: Iterable[tuple[bool, bool, list[int]]], horizon_ns: int, orders: int, reads: int
) -> tuple[int, int, int]:
    """The most orders, the most reads, and the most of both together that one broker passes within the time.

    `budgets`: whether each counts orders, whether it counts reads, and its times.
    """
    most_orders, most_reads, most_both = orders, reads, orders + reads
    for counts_orders, counts_reads, times in budgets:
        room = bisect_right(times, horizon_ns)
        if counts_orders:
            most_orders = min(most_orders, room)
        if counts_reads:
            most_reads = min(most_reads, room)
        if counts_orders and counts_reads:
            most_both = min(most_both, room)
    return most_orders, most_reads, min(most_both, most_orders + most_reads)


def capacity_per_s(budgets: Iterable[Budget], category: Category) -> float:
    """The steady rate that the budgets of one broker allow to a category, if it had the broker to itself."""
    rates = [rate for budget in budgets if category in budget.categories for rate in budget.rates]
    return min((rate.permits * SECOND / rate.window_ns for rate in rates), default=float("inf"))


def _category(operation: str) -> Category:
    names = {"login": Operation.AUTHENTICATE, "logout": Operation.LOGOUT}
    return CATEGORY_OF[names.get(operation) or Operation(operation)]


def demand_of(scenario: Scenario) -> dict[Category, int]:
    """How many requests of each category a scenario makes; empty where chance or time decides that."""
    if scenario.pick == "one" and len({_category(step.operation) for step in scenario.journey}) > 1:
        return {}
    arrivals = scenario.arrivals
    if arrivals is None or isinstance(arrivals, Poisson):
        return {}
    if isinstance(arrivals, ClosedUsers):
        if arrivals.duration_s is not None:
            return {}
        sessions = arrivals.users * arrivals.sessions
    else:
        sessions = arrivals.planned
    steps = scenario.journey if scenario.pick == "each" else scenario.journey[:1]
    demand: dict[Category, int] = {}
    for step in steps:
        category = _category(step.operation)
        demand[category] = demand.get(category, 0) + sessions
    return demand


def capacity_of(scenario: Scenario) -> float | None:
    """What the brokers allow together, by their shortest windows' steady rate, to a journey of one category."""
    categories = {_category(step.operation) for step in scenario.journey}
    if len(categories) != 1:
        return None
    (category,) = categories
    return sum(capacity_per_s(spec.config().limits, category) for spec in scenario.brokers)
