"""The table of the README: what the broker saw, what it refused, how much of the limit was used.

pytest tests/bench/limiter/test_referee_table.py --benchmark-enable -s
"""

from __future__ import annotations

import random
from collections.abc import Callable

from core.clock import MINUTE, SECOND
from core.limiter import EnhancedRateLimiter
from core.models import Budget, Rate
from tests.limiter.referee import HandClock, Network, Referee, SendStampedLog, Verdict, calm, in_order, jitter, play

TEN = [(10, SECOND)]
MINUTE_BINDS = [(10, SECOND), (200, MINUTE)]
Row = tuple[str, list[tuple[int, int]], Callable[[], Network], bool, bool, float]
ROWS: list[Row] = [  # name, limits, network, refused ones count too, stamps, the least goodput
    ("10/s, jitter", TEN, jitter, False, False, 0.94),
    ("10/s, jitter, refused ones count", TEN, jitter, True, False, 0.94),
    ("10/s, in order", TEN, in_order, False, False, 0.94),
    ("10/s, calm", TEN, calm, False, False, 0.94),
    ("10/s and 200/min, jitter", MINUTE_BINDS, jitter, False, False, 0.998),
    ("10/s, calm, broker's stamps", TEN, calm, False, True, 0.96),
    ("10/s, jitter, broker's stamps", TEN, jitter, False, True, 0.94),
]


def run(row: Row, requests: int) -> Verdict:
    _, rates, network, counts_refused, stamped, _ = row
    clock = HandClock()
    budget = Budget("all", tuple(Rate(*rate) for rate in rates))
    limiter = EnhancedRateLimiter(budgets=[budget], clock=clock, server_stamps=stamped)
    referee = Referee(rates, counts_refused=counts_refused)
    return play(limiter, clock, referee, network(), requests=requests, rng=random.Random(1), stamped=stamped)


def test_the_referee_s_table(full: bool) -> None:
    most, others = (200_000, 50_000) if full else (1500, 1500)
    print("\n| limit and network | requests | refused | of the limit used |\n|---|---|---|---|")
    for row in ROWS:
        requests = most if row is ROWS[0] else others
        name, rates, _, _, stamped, least = row
        verdict = run(row, requests)
        used = verdict.goodput(*rates[-1])
        print(f"| {name} | {verdict.accepted + verdict.refused} | {verdict.refused} | {used:.1%} |")
        assert verdict.refused == 0 or stamped
        assert used >= least - (0 if full else 0.01)
    for counts_refused in (False, True):
        clock = HandClock()
        log = SendStampedLog(10, SECOND, clock)
        referee = Referee(TEN, counts_refused=counts_refused)
        verdict = play(log, clock, referee, jitter(), requests=others // 5, rng=random.Random(1))
        sent = verdict.accepted + verdict.refused
        name = "a log of send times, jitter" + (", refused ones count" if counts_refused else "")
        print(f"| {name} | {sent} | {verdict.refused} ({1000 * verdict.refused / sent:.0f} per 1000) | |")
        assert verdict.refused
