"""JSON with exact numbers: Decimal in, Decimal out, and never a binary float in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final

__all__ = ["dump_json", "load_json"]


def dump_json(value: object) -> bytes:
    """`value` as compact ASCII JSON. Decimals are written digit for digit, without an exponent.

    Takes dicts with text keys, lists, tuples, text, whole numbers, Decimals, booleans and None. Raises TypeError for
    anything else, a float above all: 652.55 has no exact float, and the exchange checks ticks digit for digit.
    """
    return _text(value).encode("ascii")


def _text(value: object) -> str:
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    for kind, write in _WRITERS.items():  # a subclass: an enumeration of texts or numbers
        if isinstance(value, kind):
            return write(value)
    message = f"{type(value).__name__} is not written to the wire; money is Decimal"
    raise TypeError(message)


def _digits(value: Decimal) -> str:
    if not value.is_finite():
        message = f"{value} has no place in JSON"
        raise TypeError(message)
    text = str(value)
    return format(value, "f") if "E" in text else text


def _object(value: Mapping[str, object]) -> str:
    parts = []
    for key, item in value.items():
        write = _WRITERS.get(type(item), _text)  # a call saved for each field of an order
        parts.append(f"{_quoted(key)}:{write(item)}")
    return "{" + ",".join(parts) + "}"


def _array(value: list[object]) -> str:
    return "[" + ",".join([_text(item) for item in value]) + "]"


# Written out by hand since json.dumps has no way to take a number's digits as they are. bool stands before int, which
# it is a subclass of.
_WRITERS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: _quoted,
    bool: {True: "true", False: "false"}.__getitem__,
    int: int.__repr__,
    Decimal: _digits,
    type(None): lambda _: "null",
    dict: _object,
    list: _array,
    tuple: _array,
}


def _refuse(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


# json.loads builds a decoder at each call when it is told how to parse numbers.
_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)


def load_json(body: bytes) -> Any:
    """What `body` says, every fractional number as Decimal. Raises ValueError for anything that is not JSON."""
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except RecursionError:
        message = "nested too deeply to be an answer"
        raise ValueError(message) from None
