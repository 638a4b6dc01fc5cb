"""The promise, checked from the brokers' books over seeded worlds; `make simulate SEEDS=1000` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulate.__main__ import main, simulate
from tests.simulate.mutations import MUTATIONS

SEEDS = range(14)
# Where each mutation was seen first, to look there first; the promise is only that some seed notices.
SEEN_AT = {
    "halt ignored": 14,
    "late fills dropped": 14,
    "reconcile once only": 18,
    "cancelled in flight is not sent": 2,
}
SEEDS_TO_CATCH = 40


def test_no_crash_and_no_fault_doubles_loses_or_misreports_an_order() -> None:
    reports = [simulate(seed)[0] for seed in SEEDS]
    assert [violation for report in reports for violation in report.violations] == []
    faults: Counter[str] = sum((report.faults for report in reports), Counter())
    # It must have been hard: a simulation without trouble proves nothing.
    assert sum(report.crashes for report in reports) > len(SEEDS)
    assert len(faults) >= 15
    assert sum(report.live for report in reports) > 10 * len(SEEDS)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_simulation_notices_an_engine_that_is_wrong(mutation: str) -> None:
    seeds = [SEEN_AT.get(mutation, 0), *range(SEEDS_TO_CATCH)]
    assert any(simulate(seed, mutation=mutation)[0].violations for seed in seeds)


def test_a_seed_repeats_to_the_digit_in_another_process() -> None:
    script = "from tests.simulate.__main__ import simulate; print(simulate(3)[0].digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert digests == {f"{simulate(3)[0].digest}\n"}


def test_the_command_counts_and_fails_when_a_promise_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "3", "--seeds", "1"]) == 0
    assert "1 seeds in" in capsys.readouterr().out
    assert main(["--seeds", "1", "--mutation", "fall back on timeout"]) == 1
    told = capsys.readouterr()
    assert "is live twice" in told.out
    assert "--first 0 --seeds 1 --trace" in told.err
