"""The promise, checked from the brokers' books over seeded worlds; `make simulate SEEDS=1000` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulate import __main__ as command
from tests.simulate.__main__ import main
from tests.simulate.kinds import FAULTS
from tests.simulate.mutations import MUTATIONS
from tests.simulate.runs import simulate

SEEDS = range(8)
SEEDS_TO_CATCH = 8  # the first is mostly enough; the promise is that some seed notices


def test_no_crash_and_no_fault_doubles_loses_or_misreports_an_order() -> None:
    reports = [simulate(seed)[0] for seed in SEEDS]
    assert [violation for report in reports for violation in report.violations] == []
    faults: Counter[str] = sum((report.faults for report in reports), Counter())
    # It must have been hard: a simulation without trouble proves nothing.
    assert set(faults) == set(FAULTS)
    assert sum(report.crashes for report in reports) > 40 * len(SEEDS)
    assert sum(report.live for report in reports) > 50 * len(SEEDS)


def test_the_command_fails_where_a_kind_of_fault_has_hardly_come_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MANY", 2)
    assert main(["--seeds", "1"]) == 0
    assert main(["--seeds", "2", "--jobs", "2"]) == 1
    told = capsys.readouterr()
    assert "too few: down, slow, " in told.err
    assert all(f"  {kind}\n" in told.out for kind in FAULTS)
    monkeypatch.setattr(command, "OF_EVERY_KIND", 0)
    assert main(["--seeds", "2", "--jobs", "2"]) == 0


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_simulation_notices_an_engine_that_is_wrong(mutation: str) -> None:
    assert any(simulate(seed, mutation=mutation)[0].violations for seed in range(SEEDS_TO_CATCH))


def test_a_seed_repeats_to_the_digit_in_another_process() -> None:
    script = "from tests.simulate.runs import simulate; print(simulate(3)[0].digest)"
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
