"""JSON with exact numbers: Decimal in, Decimal out, and never a binary float in between."""

from __future__ import annotations

import json
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any

__all__ = ["dump_json", "load_json"]


def dump_json(value: object) -> bytes:
    """`value` as compact ASCII JSON. Decimals are written digit for digit, without an exponent.

    Takes dicts with text keys, lists, tuples, text, whole numbers, Decimals, booleans and None. Raises TypeError for
    anything else, a float above all: 652.55 has no exact float, and the exchange checks ticks digit for digit.
    """
    return _text(value).encode("ascii")


def _text(value: object) -> str:  # noqa: PLR0911 - one return for each kind of value
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            message = f"{value} has no place in JSON"
            raise TypeError(message)
        return format(value, "f")
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(key)}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    message = f"{type(value).__name__} is not written to the wire; money is Decimal"
    raise TypeError(message)


def load_json(body: bytes) -> Any:
    """What `body` says, every fractional number as Decimal. Raises ValueError for anything that is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_refuse)
    except RecursionError:
        message = "nested too deeply to be an answer"
        raise ValueError(message) from None


def _refuse(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)
