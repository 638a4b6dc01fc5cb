"""docs/stress.md names every key a scenario may have and every field a report does have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from core.stress.arrivals import Arrivals
from core.stress.report import Report, RunReport
from core.stress.scenarios import BrokerSpec, BudgetSpec, FaultSpec, Part, Scenario, Step, ThresholdSpec

TEXT = (Path(__file__).parents[2] / "docs" / "stress.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`]*)`", TEXT))))
KINDS = get_args(get_args(Arrivals)[0])


@pytest.mark.parametrize(
    "model", [Scenario, Step, BrokerSpec, BudgetSpec, FaultSpec, ThresholdSpec, Part, *KINDS, Report, RunReport]
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    assert set(model.model_fields) - WORDS == set()


def test_every_kind_of_arrival_fault_and_step_is_documented() -> None:
    kinds = {kind.model_fields["kind"].default for kind in KINDS}
    kinds |= set(get_args(FaultSpec.model_fields["kind"].annotation))
    kinds |= set(get_args(Step.model_fields["operation"].annotation))
    assert len(kinds) > 30
    assert kinds - WORDS == set()
