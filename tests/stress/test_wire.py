"""Values go to JSON and come back as they were."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from core import wire
from core.errors import ConfigError
from core.models import (
    APIProvider,
    BrokerSnapshot,
    CandidateTerms,
    Decision,
    HealthStatus,
    Order,
    OrderOutcome,
    OrderRow,
    OrderStatus,
    PauseScenario,
    Quote,
    Rate,
    ResumeScenario,
    RouterSnapshot,
    SetScenarioRate,
    StartScenario,
    StopScenario,
    StressSnapshot,
    SubmitOrder,
    Threshold,
    WindowHeadroom,
)

ROW = OrderRow(
    order_id="o", symbol="NSE:M&M-EQ", side="BUY", quantity=2, filled_quantity=0, price=Decimal("652.50"),
    status="FILLED", provider="fyers", broker_order_id="7", tag="t", simulated=True, epoch_ns=1 << 62, age_ns=2,
    message='<b>"\u20b9" \n',
)  # fmt: skip
WINDOW = WindowHeadroom(
    budget="orders",
    rate=Rate(10, 1_000_000_000),
    used=3,
    in_flight=2,
    free=5,
    next_free_in_ns=0,
    all_free_in_ns=9,
    soft=False,
)
BROKER = BrokerSnapshot(
    name="fyers", provider=APIProvider.FYERS, simulated=True, health=HealthStatus.LIMITED, windows=(WINDOW,)
)
DECISION = Decision(
    serial=1,
    at_ns=2,
    operation="place_order",
    chosen="",
    reason="none",
    candidates=(CandidateTerms(name="fyers", barred="down"),),
)
THRESHOLD = Threshold(name="a", limit="b", value="c", passed=None)
VALUES = [
    StressSnapshot(state="running", thresholds=(THRESHOLD,), shares=(("x", 0.1),)),
    RouterSnapshot(
        sequence=1,
        at_ns=2,
        epoch_ns=3,
        simulated=True,
        orders=(ROW,),
        efficiency=None,
        latency_history_ns=(1, 2),
        brokers=(BROKER,),
        decisions=(DECISION,),
    ),
    OrderOutcome(order_id="o", status=OrderStatus.UNKNOWN, average_price=Decimal("0.05")),
    Quote(symbol="s", price=Decimal("1E+3")),
    SubmitOrder(Order(symbol="NSE:SBIN-EQ", quantity=1, order_type="LIMIT", price="652.5")),
    StartScenario("users", {"rate": 1.5, "users": 3, "seed": 1}),
    StartScenario("mine", toml='name = "mine"'),
    StopScenario(),
    PauseScenario(),
    ResumeScenario(),
    SetScenarioRate(1.25),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_and_of_its_type(value: object) -> None:
    line = wire.encode(value)
    assert b"\n" not in line
    back = wire.decode(line)
    assert back == value
    assert type(back) is type(value)


def test_an_infinite_figure_survives_in_json_that_others_can_read() -> None:
    line = wire.encode(StressSnapshot(offered_per_s=float("inf")))
    json.loads(line, parse_constant=pytest.fail)  # Infinity without quotes is no JSON
    assert wire.decode(line).offered_per_s == float("inf")


def test_a_reader_forgives_what_it_does_not_know_and_what_has_a_default() -> None:
    line = b'{"kind":"stress","version":1,"extra":1,"value":{"state":"passed","new_field":[1]}}'
    assert wire.decode(line) == StressSnapshot(state="passed")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "not a line of headroom"),
        (b"[]", "not a line of headroom"),
        (b'{"kind":"nonsense","version":1,"value":{}}', "kind is 'nonsense'"),
        (b'{"kind":"stress","version":99,"value":{}}', "newer headroom"),
        (b'{"kind":"stress","version":1}', "value: Field required"),
        (b'{"kind":"stress","version":1,"value":{"started":"many"}}', "value.started"),
        (b'{"kind":"order","version":1,"value":{"symbol":"x","quantity":0}}', "quantity is 0"),
        (b"\xff\xfe", "not a line of headroom"),
    ],
)
def test_anything_else_is_refused_in_one_line_with_its_place(line: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wire.decode(line, source="file:3")
    message = str(caught.value)
    assert message.startswith("file:3: ")
    assert said in message
    assert "\n" not in message


def test_a_value_that_does_not_go_over_the_wire_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="does not go over the wire"):
        wire.encode(object())


def test_plain_values_and_indented_text_say_the_same_as_the_line() -> None:
    value = VALUES[1]
    assert wire.plain(value) == json.loads(wire.encode(value))["value"]
    assert json.loads(wire.to_json(value)) == json.loads(wire.encode(value))
