"""`python -m tests.simulate --seeds 1000`: run seeded worlds and count; exit 1 when a promise was broken.

One failing seed again, to the digit:  python -m tests.simulate --first 35 --seeds 1 --trace
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .mutations import FSYNC_OFF, MUTATIONS
from .world import Report, World


def simulate(seed: int, *, mutation: str = "") -> tuple[Report, World]:
    """One world, lived to its end."""
    world = World(seed, fsync=mutation != FSYNC_OFF)
    if mutation:
        with MUTATIONS[mutation]():
            return world.run(), world
    return world.run(), world


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--mutation", default="", choices=["", *MUTATIONS], help="break this on purpose")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    wanted = parser.parse_args(arguments)
    faults: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    failed: list[Report] = []
    crashes = orders = live = 0
    began = time.perf_counter()
    for seed in range(wanted.first, wanted.first + wanted.seeds):
        report, world = simulate(seed, mutation=wanted.mutation)
        faults += report.faults
        statuses += report.statuses
        crashes, orders, live = crashes + report.crashes, orders + report.orders, live + report.live
        if wanted.trace:
            print("\n".join(world.lines))
        if report.violations:
            failed.append(report)
            print(f"seed {seed}: {len(report.violations)} violations, first: {report.violations[0]}")
    print(
        f"{wanted.seeds} seeds in {time.perf_counter() - began:.0f} s: {len(failed)} with violations; "
        f"{orders} orders, {live} accepted by a broker, {crashes} crashes, {sum(faults.values())} faults"
    )
    print("faults:  " + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())))
    print("told:    " + ", ".join(f"{status} {count}" for status, count in sorted(statuses.items())))
    if failed:
        print(f"again:   python -m tests.simulate --first {failed[0].seed} --seeds 1 --trace", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
