"""The scenarios that judge the balancer: written after its prices were set, and never used to set them.

How they are kept apart: work on the balancer looks at `TUNED` alone; these are played when that work is done. One that
shows a fault and so leads to a change moves to `TUNED`, with a word on what it showed, and a new one is written here
before the change is judged.
"""

from __future__ import annotations

from core.clock import MINUTE, SECOND
from core.models import Category, Operation
from tests.bench.routing.scenarios import apart, everything, poisson
from tests.bench.routing.world import BrokerSpec, Scenario, Spell

_HALF_HOUR = 30 * MINUTE


def _brownouts(turn: int, of: int) -> tuple[Spell, ...]:
    """Ten seconds of slowness in turn, and errors a little later."""
    spells = []
    for start in range(turn * 10, 90, of * 10):
        spells += [Spell(start, start + 10, "slow", 6.0), Spell(start + 3, start + 8, "failing", 0.1)]
    return tuple(spells)


UNSEEN = (
    Scenario(
        "limits lower than believed",
        (
            BrokerSpec("a", everything((20, SECOND), (600, MINUTE)), 40.0, truth=0.7),
            BrokerSpec("b", everything((20, SECOND), (600, MINUTE)), 50.0, truth=0.7),
            BrokerSpec("c", everything((20, SECOND), (600, MINUTE)), 60.0),
        ),
        poisson(18, 90),
        seed=101,
    ),
    Scenario(
        "reads silent here, orders failing there",
        (
            BrokerSpec(
                "a",
                everything((20, SECOND), (800, MINUTE)),
                40.0,
                spells=(Spell(15, 45, "hole", only=Category.READS),),
            ),
            BrokerSpec(
                "b",
                everything((20, SECOND), (800, MINUTE)),
                50.0,
                spells=(Spell(25, 60, "failing", 0.8, only=Category.ORDERS),),
            ),
            BrokerSpec("c", apart(((10, SECOND), (400, MINUTE)), ((20, SECOND), (800, MINUTE))), 70.0),
        ),
        poisson(20, 80),
        seed=103,
    ),
    Scenario(
        "six brokers, brownouts in turn",
        tuple(
            BrokerSpec(f"b{turn}", everything((8, SECOND), (320, MINUTE)), 40.0 + 5 * turn, spells=_brownouts(turn, 6))
            for turn in range(6)
        ),
        poisson(24, 90, deadline_s=2.0),
        seed=104,
    ),
    Scenario(
        "ramp into overload and back",
        (
            BrokerSpec("a", everything((10, SECOND), (500, MINUTE)), 45.0),
            BrokerSpec("b", everything((12, SECOND), (480, MINUTE)), 55.0),
            BrokerSpec("c", everything((5, SECOND), (240, MINUTE)), 35.0),
        ),
        poisson(30, 100, deadline_s=(1.0, 4.0), busy=lambda at_s: 0.3 + 1.2 * (1 - abs(at_s - 50) / 50)),
        seed=105,
    ),
    Scenario(
        "half-hour budgets, heavy tails",
        (
            BrokerSpec("a", everything((25, SECOND), (500, MINUTE), (900, _HALF_HOUR)), 35.0, sigma=0.9),
            BrokerSpec(
                "b", apart(((10, SECOND), (500, _HALF_HOUR)), ((50, SECOND), (1500, _HALF_HOUR))), 50.0, sigma=0.9
            ),
            BrokerSpec("c", everything((10, SECOND), (250, MINUTE)), 90.0, sigma=0.5),
        ),
        poisson(
            16, 150, mix={Operation.GET_MARKET_DATA: 0.6, Operation.GET_PORTFOLIO: 0.2, Operation.PLACE_ORDER: 0.2}
        ),
        seed=106,
    ),
    Scenario(
        "two dead at once, the third too small",
        (
            BrokerSpec("a", everything((15, SECOND), (600, MINUTE)), 40.0, spells=(Spell(20, 40, "down"),)),
            BrokerSpec("b", everything((15, SECOND), (600, MINUTE)), 50.0, spells=(Spell(22, 36, "hole"),)),
            BrokerSpec("c", everything((8, SECOND), (400, MINUTE)), 60.0),
        ),
        poisson(14, 70, deadline_s=(1.5, 5.0)),
        seed=108,
    ),
    Scenario(
        "creeping slowness and a few errors",
        (
            BrokerSpec(
                "a",
                everything((20, SECOND), (900, MINUTE)),
                40.0,
                spells=tuple(Spell(15 + 10 * step, 25 + 10 * step, "slow", 1.6**step) for step in range(1, 6)),
            ),
            BrokerSpec("b", everything((20, SECOND), (900, MINUTE)), 60.0, spells=(Spell(10, 70, "failing", 0.05),)),
            BrokerSpec("c", everything((6, SECOND), (300, MINUTE)), 45.0),
        ),
        poisson(20, 90),
        seed=109,
    ),
    Scenario(
        "five of a kind, two of them silent for a while",
        tuple(
            BrokerSpec(
                f"b{turn}",
                everything((6, SECOND), (240, MINUTE)),
                70.0 - 6 * turn,
                sigma=0.4 + 0.05 * turn,
                spells=(Spell(18 + 25 * turn, 30 + 25 * turn, "hole"),) if turn in (1, 2) else (),
            )
            for turn in range(5)
        ),
        poisson(14, 95, deadline_s=(1.5, 4.0), mix={Operation.PLACE_ORDER: 0.4, Operation.GET_POSITIONS: 0.6}),
        seed=111,
    ),
)
