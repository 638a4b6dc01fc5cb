"""`python -m tests.simulate --seeds 1000`: run seeded worlds and count; exit 1 when a promise was broken.

From 1000 seeds on, it also exits 1 when some kind of fault took effect fewer than 10 000 times: silence proves nothing
about what was hardly tried. Worlds are spread over the cores; each gives the same digits wherever it runs.

One failing seed again, to the digit:  python -m tests.simulate --first 35 --seeds 1 --trace
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from .kinds import FAULTS
from .mutations import MUTATIONS
from .runs import simulate, spread
from .world import Report

MANY: Final = 1000  # seeds from which on every kind must have come up
OF_EVERY_KIND: Final = 10_000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--mutation", default="", choices=["", *MUTATIONS], help="break this on purpose")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    wanted = parser.parse_args(arguments)
    faults: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    failed: list[int] = []
    crashes = orders = live = 0
    began = time.perf_counter()
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    for report in (
        _traced(seeds, wanted.mutation) if wanted.trace else spread(seeds, mutation=wanted.mutation, jobs=wanted.jobs)
    ):
        faults += report.faults
        statuses += report.statuses
        crashes, orders, live = crashes + report.crashes, orders + report.orders, live + report.live
        if report.violations:
            failed.append(report.seed)
            print(f"seed {report.seed}: {len(report.violations)} violations, first: {report.violations[0]}", flush=True)
    print(
        f"{wanted.seeds} seeds in {time.perf_counter() - began:.0f} s: {len(failed)} with violations; "
        f"{orders} orders, {live} accepted by a broker, {crashes} crashes, {sum(faults.values())} faults"
    )
    print("told:    " + ", ".join(f"{status} {count}" for status, count in sorted(statuses.items())))
    print("faults that took effect, the rarest first:")
    for kind in sorted(FAULTS, key=lambda kind: faults[kind]):
        print(f"{faults[kind]:>9}  {kind}")
    rare = [kind for kind in FAULTS if faults[kind] < OF_EVERY_KIND] if wanted.seeds >= MANY else []
    if rare:
        print(f"too few: {', '.join(rare)}: of every kind {OF_EVERY_KIND} are wanted", file=sys.stderr)
    if failed:
        print(f"again:   python -m tests.simulate --first {failed[0]} --seeds 1 --trace", file=sys.stderr)
    return 1 if failed or rare else 0


def _traced(seeds: range, mutation: str) -> Iterator[Report]:
    for seed in seeds:
        report, world = simulate(seed, mutation=mutation)
        print("\n".join(world.lines))
        yield report


if __name__ == "__main__":
    sys.exit(main())
