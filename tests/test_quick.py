from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

import pytest

from core.models import Order, OrderMoved, OrderStatus, Trade, maker, quick
from core.store import Step

VALUES: tuple[Any, ...] = (
    Order(symbol="NSE:SBIN-EQ", quantity=10, client_order_id="a"),
    OrderMoved(at_ns=1, order_id="a", before=OrderStatus.NEW, after=OrderStatus.DENIED),
    Trade(order_id="a", symbol="NSE:SBIN-EQ", quantity=10, price=Decimal("652.50")),
    Step("a", OrderStatus.NEW, OrderStatus.DENIED),
)
each = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@each
def test_a_value_refuses_every_change(value: Any) -> None:
    name = fields(value)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, 1)
    with pytest.raises(FrozenInstanceError):
        delattr(value, name)
    with pytest.raises((AttributeError, TypeError)):
        value.colour = "red"


@each
def test_a_value_is_the_dataclass_it_is_written_as(value: Any) -> None:
    kind = type(value)
    assert list(inspect.signature(kind).parameters) == [one.name for one in fields(kind)]
    assert replace(value) == value == copy.deepcopy(value)
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own
    assert len({value, replace(value)}) == 1
    assert not hasattr(value, "__dict__")
    assert repr(value).startswith(f"{kind.__name__}({fields(kind)[0].name}=")


@each
def test_its_maker_makes_what_the_class_makes(value: Any) -> None:
    kind = type(value)
    given = {one.name: getattr(value, one.name) for one in fields(kind)}
    needed = {one.name: given[one.name] for one in fields(kind) if one.default is MISSING}
    assert maker(kind)(**given) == kind(**given) == value
    assert maker(kind)(**needed) == kind(**needed)
    assert type(maker(kind)(**given)) is kind
    assert inspect.signature(maker(kind)).parameters.keys() == inspect.signature(kind).parameters.keys()
    with pytest.raises(TypeError, match=kind.__name__):
        maker(kind)(**given, colour="red")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), {}), (("NSE:SBIN-EQ", 10), {}), ((), {"symbol": "NSE:SBIN-EQ", "quantity": 10, "colour": "red"})],
    ids=["too few", "by place", "unknown"],
)
def test_what_the_fields_do_not_take_is_refused(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Order"):
        Order(*arguments, **named)


def test_a_value_checks_itself_once_it_is_whole() -> None:
    for make in (Order, maker(Order)):
        with pytest.raises(ValueError, match="quantity is 0"):
            make(symbol="NSE:SBIN-EQ", quantity=0)


def test_a_field_that_is_not_simply_given_is_left_to_dataclass() -> None:
    @dataclass(frozen=True, slots=True)
    class Many:
        names: list[str] = field(default_factory=list)

    with pytest.raises(TypeError, match="Many"):
        quick(Many)
