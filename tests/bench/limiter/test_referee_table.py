"""The table of the README: what the broker saw, what it refused, how much of the limit was used.

pytest tests/bench/limiter/test_referee_table.py --benchmark-enable -s
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from typing import Any

import pytest

from core.clock import MINUTE, SECOND
from core.limiter import EnhancedRateLimiter
from core.models import Budget, Rate
from tests.bench.limiter.peers import TRUTH, Peer
from tests.limiter.referee import HandClock, Network, Referee, SendStampedLog, Verdict, calm, in_order, jitter, play

TEN = [(10, SECOND)]
MINUTE_BINDS = [(10, SECOND), (200, MINUTE)]
Row = tuple[str, list[tuple[int, int]], Callable[[], Network], bool, bool, float]
ROWS: list[Row] = [  # name, limits, network, refused ones count too, stamps, the least goodput
    ("10/s, jitter", TEN, jitter, False, False, 0.94),
    ("10/s, jitter, refused ones count", TEN, jitter, True, False, 0.94),
    ("10/s, in order, refused ones count", TEN, in_order, True, False, 0.94),
    ("10/s, calm, refused ones count", TEN, calm, True, False, 0.94),
    ("10/s and 200/min, jitter", MINUTE_BINDS, jitter, False, False, 0.999),
    ("10/s and 200/min, in order, refused ones count", MINUTE_BINDS, in_order, True, False, 0.999),
    ("10/s and 200/min, calm, refused ones count", MINUTE_BINDS, calm, True, False, 0.999),
    ("10/s, calm, broker's stamps", TEN, calm, False, True, 0.96),
    ("10/s, jitter, broker's stamps", TEN, jitter, False, True, 0.94),
]
STAMPED_REFUSED_MOST = 5  # of 100 000: what core/limiter/stamps.py calls near-safe


def run(row: Row, requests: int) -> Verdict:
    _, rates, network, counts_refused, stamped, _ = row
    clock = HandClock()
    budget = Budget("all", tuple(Rate(*rate) for rate in rates))
    limiter = EnhancedRateLimiter(budgets=[budget], clock=clock, server_stamps=stamped)
    referee = Referee(rates, counts_refused=counts_refused)
    return play(limiter, clock, referee, network(), requests=requests, rng=random.Random(1), stamped=stamped)


@pytest.mark.timeout(600)  # 650 000 requests take 20 s of CPU, and a busy machine has little to give
def test_the_referee_s_table(full: bool) -> None:
    most, others = (200_000, 50_000) if full else (1500, 1500)
    print("\n| limit and network | requests | refused | of the limit used | from the second window on |")
    print("|---|---|---|---|---|")
    sent = stamped_refused = 0
    for row in ROWS:
        requests = most if row is ROWS[0] else 100_000 if full and row[4] else others
        name, rates, _, _, stamped, least = row
        verdict = run(row, requests)
        used, later = verdict.goodput(*rates[-1]), verdict.sustained(*rates[-1])
        print(f"| {name} | {requests} | {verdict.refused} | {used:.1%} | {later:.2%} |")
        assert len(verdict.accepted_ns) + verdict.refused == requests
        if stamped:
            stamped_refused = max(stamped_refused, verdict.refused)
        else:
            sent += requests
            assert verdict.refused == 0
        assert used >= least - (0 if full else 0.01)
        assert later >= least - (0.0005 if full else 0.01)  # at 200/min the round trip alone is 0.09 % of the window
    assert stamped_refused <= STAMPED_REFUSED_MOST
    assert sent >= 200_000 or not full


@pytest.mark.timeout(600)
def test_the_referee_on_what_others_do(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = 2000 if full else 300
    print("\n| at 10/s, jitter | refused of 1000 | when refused ones count too |\n|---|---|---|")
    others: dict[str, Callable[[HandClock], Any]] = {
        "a log of send times": lambda clock: SendStampedLog(10, SECOND, clock),
    }
    if importlib.util.find_spec("aiolimiter") is not None:  # with requirements/bench.txt come all of them
        for name, make in TRUTH.items():
            others[name] = lambda clock, make=make: Peer(make(clock, monkeypatch))
    for name, other in others.items():
        refused = []
        for counts_refused in (False, True):
            clock = HandClock()
            referee = Referee(TEN, counts_refused=counts_refused)
            verdict = play(other(clock), clock, referee, jitter(), requests=requests, rng=random.Random(1))
            assert len(verdict.accepted_ns) + verdict.refused == requests
            refused.append(1000 * verdict.refused / requests)
        print(f"| {name} | {refused[0]:.0f} | {refused[1]:.0f} |")
        assert min(refused) > 0, "the referee must see what a grant that is stamped at sending does"
