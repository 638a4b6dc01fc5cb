"""The scenarios that the balancer's prices were set on. The ones that judge it stand in `unseen.py`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from core.clock import DAY, MINUTE, SECOND
from core.models import Category, Operation, Rate
from tests.bench.routing.world import Arrival, BrokerSpec, Scenario, Spell

ORDERS, READS = frozenset({Category.ORDERS}), frozenset({Category.READS})
BOTH = frozenset(Category)


def everything(*rates: tuple[int, int]) -> tuple[tuple[str, frozenset[Category], tuple[Rate, ...]], ...]:
    """One budget that counts every request."""
    return (("all", BOTH, tuple(Rate(permits, window_ns) for permits, window_ns in rates)),)


def apart(
    orders: tuple[tuple[int, int], ...], reads: tuple[tuple[int, int], ...]
) -> tuple[tuple[str, frozenset[Category], tuple[Rate, ...]], ...]:
    """One budget of orders, one of reads."""
    return (
        ("orders", ORDERS, tuple(Rate(*rate) for rate in orders)),
        ("reads", READS, tuple(Rate(*rate) for rate in reads)),
    )


def poisson(
    per_s: float,
    length_s: float,
    *,
    deadline_s: float | tuple[float, ...] = 3.0,
    mix: Mapping[Operation, float] | None = None,
    busy: Callable[[float], float] = lambda _: 1.0,
) -> Callable[[random.Random], list[Arrival]]:
    """Random arrivals at `per_s` times `busy(at)`; operations by `mix`, mostly order-book reads."""
    mix = mix or {Operation.GET_ORDERS: 0.7, Operation.PLACE_ORDER: 0.3}
    deadlines = deadline_s if isinstance(deadline_s, tuple) else (deadline_s,)

    def make(rng: random.Random) -> list[Arrival]:
        at_s, made = 0.0, []
        peak = max(busy(step * length_s / 1000) for step in range(1001))
        while True:
            at_s += rng.expovariate(per_s * peak)
            if at_s >= length_s:
                return made
            if rng.random() * peak <= busy(at_s):
                operation = rng.choices(list(mix), list(mix.values()))[0]
                made.append(Arrival(round(at_s * SECOND), operation, round(rng.choice(deadlines) * SECOND)))

    return make


def three(*spells: tuple[Spell, ...], limit: int = 20) -> tuple[BrokerSpec, ...]:
    """Three brokers of one size; `spells` for each."""
    return tuple(
        BrokerSpec(name, everything((limit, SECOND), (limit * 40, MINUTE)), median_ms, spells=spell)
        for name, median_ms, spell in zip(
            ("a", "b", "c"), (40.0, 50.0, 60.0), spells + ((),) * (3 - len(spells)), strict=True
        )
    )


def bursts(count: int, every_s: float, length_s: float, deadline_s: float) -> Callable[[random.Random], list[Arrival]]:
    """`count` requests at once, every so often."""

    def make(rng: random.Random) -> list[Arrival]:
        made = []
        at_s = 1.0
        while at_s < length_s:
            for number in range(count):
                operation = Operation.PLACE_ORDER if number % 4 == 0 else Operation.GET_ORDERS
                at_ns = round((at_s + rng.random() * 0.05) * SECOND)
                made.append(Arrival(at_ns, operation, round(deadline_s * SECOND)))
            at_s += every_s
        return sorted(made, key=lambda arrival: arrival.at_ns)

    return make


FLAPS = tuple(Spell(start, start + 4, "down") for start in range(5, 85, 10))

TUNED = (
    Scenario(
        "unequal limits",
        (
            BrokerSpec("big", everything((30, SECOND), (1200, MINUTE)), 60.0),
            BrokerSpec("middle", everything((10, SECOND), (400, MINUTE)), 50.0),
            BrokerSpec("small", everything((5, SECOND), (120, MINUTE)), 30.0),
        ),
        poisson(24, 90),
        seed=1,
    ),
    Scenario("latency step", three((Spell(30, 60, "slow", 12.0),)), poisson(25, 90), seed=2),
    Scenario("30% failures", three((Spell(20, 70, "failing", 0.3),)), poisson(25, 90), seed=3),
    Scenario("outage and recovery", three((Spell(30, 50, "down"),)), poisson(22, 90), seed=4),
    Scenario("two down in turn", three((Spell(15, 35, "down"),), (Spell(45, 65, "down"),)), poisson(18, 90), seed=5),
    Scenario("black hole", three((Spell(30, 60, "hole"),)), poisson(22, 90), seed=6),
    Scenario("flapping", three(FLAPS), poisson(20, 90), seed=7),
    Scenario("bursts", three(), bursts(70, 4.0, 80.0, 2.0), seed=8),
    Scenario("overload, mixed deadlines", three(limit=10), poisson(33, 70, deadline_s=(0.5, 2.0, 6.0)), seed=9),
    Scenario(
        "day budget",
        (
            BrokerSpec("quick", everything((20, SECOND), (700, DAY)), 30.0),
            BrokerSpec("even", everything((20, SECOND), (300, MINUTE)), 60.0),
            BrokerSpec("slow", everything((10, SECOND), (300, MINUTE)), 80.0),
        ),
        poisson(14, 150),
        seed=10,
    ),
    Scenario(
        "three kinds",
        (
            BrokerSpec("joint", everything((10, SECOND), (400, MINUTE)), 45.0),
            BrokerSpec("apart", apart(((10, SECOND), (300, MINUTE)), ((30, SECOND), (600, MINUTE))), 60.0),
            BrokerSpec("reader", apart(((2, SECOND), (60, MINUTE)), ((25, SECOND), (900, MINUTE))), 35.0),
        ),
        poisson(
            28,
            80,
            mix={Operation.GET_MARKET_DATA: 0.5, Operation.GET_POSITIONS: 0.25, Operation.PLACE_ORDER: 0.25},
        ),
        seed=11,
    ),
    Scenario("cold start", three((), (Spell(0, 12, "hole"),), ()), poisson(30, 30, deadline_s=2.0), seed=12),
    # Written as an unseen one; it showed a fault (both breakers open too long), and so belongs to the tuned since.
    Scenario(
        "silent for a moment, again and again",
        (
            BrokerSpec(
                "a",
                everything((20, SECOND), (800, MINUTE)),
                40.0,
                spells=tuple(Spell(start, start + 1.5, "hole") for start in range(4, 76, 8)),
            ),
            BrokerSpec(
                "b",
                everything((20, SECOND), (800, MINUTE)),
                50.0,
                spells=tuple(Spell(start, start + 1.5, "hole") for start in range(8, 76, 8)),
            ),
            BrokerSpec("c", everything((8, SECOND), (400, MINUTE)), 60.0),
        ),
        poisson(20, 80),
        seed=13,
    ),
    # Unseen until it showed that a latency which grows with the load was taken for silence too soon.
    Scenario(
        "few workers at the fastest",
        (
            BrokerSpec("fast", everything((50, SECOND), (3000, MINUTE)), 30.0, workers=1),
            BrokerSpec("wide", everything((20, SECOND), (900, MINUTE)), 70.0, sigma=0.6),
            BrokerSpec("other", everything((20, SECOND), (900, MINUTE)), 80.0, sigma=0.6),
        ),
        poisson(40, 60, deadline_s=2.0),
        seed=102,
    ),
    # Unseen until it showed that two in flight were thought to slow each other down before anything spoke for it.
    Scenario(
        "a rush of orders, then quotes",
        (
            BrokerSpec("a", apart(((10, SECOND), (250, MINUTE)), ((20, SECOND), (500, MINUTE))), 35.0),
            BrokerSpec("b", everything((15, SECOND), (450, MINUTE)), 55.0, sigma=0.5, workers=3),
            BrokerSpec(
                "c",
                everything((10, SECOND), (200, MINUTE)),
                45.0,
                spells=(Spell(40, 55, "failing", 0.4, only=Category.ORDERS), Spell(62, 70, "hole")),
            ),
        ),
        poisson(
            18,
            90,
            deadline_s=(2.0, 5.0),
            mix={Operation.PLACE_ORDER: 0.5, Operation.GET_MARKET_DATA: 0.5},
            busy=lambda at_s: 1.6 if at_s < 15 else 0.7,
        ),
        seed=110,
    ),
)
TINY = Scenario("tiny", three((Spell(2, 4, "down"),)), poisson(15, 6), seed=0)
