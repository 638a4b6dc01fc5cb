"""What a snapshot costs on the wire, against plain Python over the same fields."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest

from core import wire
from core.clock import SECOND
from core.models import (
    APIProvider,
    BrokerSnapshot,
    CandidateTerms,
    Decision,
    HealthStatus,
    OrderRow,
    Rate,
    RouterSnapshot,
    WindowHeadroom,
)


@pytest.fixture(scope="module")
def snapshot() -> RouterSnapshot:
    windows = tuple(
        WindowHeadroom(budget="orders", rate=Rate(10 * size, size * SECOND), used=3, in_flight=2, free=5,
                       next_free_in_ns=0, all_free_in_ns=SECOND, soft=False)
        for size in range(1, 7)
    )  # fmt: skip
    brokers = tuple(
        BrokerSnapshot(
            name=name, provider=APIProvider(name), simulated=True, health=HealthStatus.HEALTHY, windows=windows
        )
        for name in ("fyers", "upstox")
    )
    terms = tuple(CandidateTerms(name=name, wait_s=0.1) for name in ("fyers", "upstox"))
    decisions = tuple(
        Decision(serial=n, at_ns=n, operation="place_order", chosen="fyers", reason="0.3 ms cheaper", candidates=terms)
        for n in range(50)
    )
    orders = tuple(
        OrderRow(order_id=f"o{n}", symbol="NSE:SBIN-EQ", side="BUY", quantity=1, filled_quantity=0,
                 price=Decimal("652.50"), status="FILLED", provider="fyers", broker_order_id="1", tag="t",
                 simulated=True, epoch_ns=1, age_ns=2)
        for n in range(100)
    )  # fmt: skip
    return RouterSnapshot(
        sequence=1, at_ns=1, epoch_ns=2, simulated=True, brokers=brokers, decisions=decisions, orders=orders
    )


def by_hand(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: by_hand(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [by_hand(each) for each in value]
    return str(value) if isinstance(value, Decimal) else value


@pytest.mark.benchmark(group="snapshot to JSON")
def test_encoding_a_snapshot(benchmark: Any, snapshot: RouterSnapshot) -> None:
    assert wire.decode(benchmark(wire.encode, snapshot)) == snapshot


@pytest.mark.benchmark(group="snapshot to JSON")
def test_encoding_a_snapshot_by_hand(benchmark: Any, snapshot: RouterSnapshot) -> None:
    text = benchmark(lambda: json.dumps(by_hand(snapshot)))
    assert json.loads(text) == wire.plain(snapshot)


@pytest.mark.benchmark(group="snapshot from JSON")
def test_decoding_a_snapshot(benchmark: Any, snapshot: RouterSnapshot) -> None:
    assert benchmark(wire.decode, wire.encode(snapshot)) == snapshot
