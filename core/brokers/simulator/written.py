"""Order books as text: the row of an ended order is written once, and a long book in slices, with others between.

Written anew at one go, the book of the latest 2000 orders holds up all that arrive meanwhile for 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ...clock import Clock
from ...slices import Slices
from .accounts import SimOrder
from .wire import Call, json_text

__all__ = ["rows_text"]

_ROWS_AT_ONCE: Final = 50  # about a millisecond
_KEPT_PER_ROW: Final = 20  # rows that are kept take as long as one that is written


async def rows_text(
    orders: Iterable[SimOrder],
    call: Call,
    clock: Clock,
    lasting: Callable[[SimOrder, Call], Mapping[str, Any]],
    passing: Callable[[int, SimOrder], str] | None = None,
) -> str:
    """The rows as a JSON list. `lasting`: the part of a row that stays once its order has ended; `passing`: what else
    stands in it, as JSON members, by its number from 1 on.
    """
    texts = []
    slices, weight = Slices(clock), 0
    for number, order in enumerate(orders, 1):
        kept = order.text
        if kept is not None and kept[0] == order.updated_ns and not call.skew_ns:
            text = kept[1]
            weight += 1
        else:
            text = json_text(lasting(order, call))
            if not order.is_open and not call.skew_ns:
                order.text = (order.updated_ns, text)
            weight += _KEPT_PER_ROW
        if weight >= _ROWS_AT_ONCE * _KEPT_PER_ROW:
            await slices.pause()
            weight = 0
        texts.append(text if passing is None else f"{text[:-1]},{passing(number, order)}}}")
    return f"[{','.join(texts)}]"
