"""JSON of the wire: exact numbers, and long answers that are read in slices as they would be at one go."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.brokers import jsontext
from core.brokers.jsontext import KnownRows, dump_json, load_json, read_json
from core.clock import SystemClock, VirtualClock

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_back_to_the_last_digit(value: object):
    again = load_json(dump_json(value))
    assert again == value
    assert b"E" not in dump_json(value) if isinstance(value, Decimal) else True


@given(NUMBERS)
def test_a_decimal_is_written_in_its_own_digits(number: Decimal):
    assert dump_json({"p": number}) == b'{"p":%s}' % format(number, "f").encode()


@pytest.mark.parametrize(
    "value", [1.5, {"a": 1.5}, Decimal("NaN"), Decimal("Infinity"), b"bytes", object(), {"a": {1}}]
)
def test_what_has_no_exact_text_is_not_written(value: object):
    with pytest.raises(TypeError):
        dump_json(value)


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b"", b"{", b"[" * 200_000, b"\xff", b"1e9999999999999999999"])
def test_what_is_no_json_is_a_value_error(text: bytes):
    with pytest.raises(ValueError, match=r".+"):
        load_json(text)


# --- long answers


def read(text: bytes, known: KnownRows[Any] | None = None) -> Any:
    """Without a loop: that it lets others go first costs a step."""
    reading = read_json(text, VirtualClock(), known)
    try:
        while True:
            assert reading.send(None) is None
    except StopIteration as done:
        return done.value


def at_one_go(text: bytes) -> Any:
    try:
        return load_json(text)
    except ValueError:
        return None


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsontext, "_SLICE", 8)


PLAIN = st.none() | st.integers(-9, 9) | st.text(max_size=4) | st.sampled_from([Decimal("1.05"), Decimal("-0.3")])
ROWS = st.lists(
    PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(st.text(max_size=2), PLAIN, max_size=2), max_size=3
)
OBJECTS = st.dictionaries(st.text(max_size=2), PLAIN | ROWS, max_size=3)


@pytest.mark.usefixtures("short_slices")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OBJECTS, st.sampled_from([None, 1, "\t"]))
def test_what_is_read_in_slices_is_what_is_read_at_one_go(value: dict[str, Any], indent: Any):
    for text in (dump_json(value), json.dumps(json.loads(dump_json(value)), indent=indent).encode()):
        assert read(text) == load_json(text)


@pytest.mark.usefixtures("short_slices")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OBJECTS, st.data())
def test_a_spoiled_answer_is_spoiled_in_slices_too(value: dict[str, Any], data: st.DataObject):
    text = dump_json({"s": "ok", "rows": [value, value]})
    place = data.draw(st.integers(0, len(text)))
    spoiled = text[:place] + data.draw(st.sampled_from([b"", b",", b"}", b"]", b"[", b'"', b":", b" ", b"NaN"]))
    spoiled += text[place + data.draw(st.integers(0, 2)) :]
    assert read(spoiled) == at_one_go(spoiled)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize(
    "text",
    [
        b'{"a": [1, 2], "a": [3]}', b" {} ", b"{}" + b" " * 20, b'{"rows": [  ]          }', b"{1: 2}            ",
        b'{"rows": [1, 2,]}       ', b'{"rows": [1 2]}          ', b'{"rows": [1], }         ', b"{" + b" " * 20,
        b'{"rows": [1]} trailing', b'{"deep": ' + b"[" * 200_000, b'{"rows": [1e9999999999999999999]}',
        b'{"rows": ["\xff", 1, 2]}', b"[1, 2, 3, 4, 5, 6]", b'"just a long text"',
    ],
)  # fmt: skip
def test_odd_answers_are_read_alike(text: bytes):
    assert read(text) == at_one_go(text)


async def test_others_go_on_while_a_long_book_is_read():
    text = dump_json(
        {"s": "ok", "orderBook": [{"id": str(number), "price": Decimal("1.05")} for number in range(9000)]}
    )
    reading = asyncio.ensure_future(read_json(text, SystemClock()))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert reading.result() == load_json(text)
    assert turns >= len(text) // (2 << 16)


# --- a book that is read again


class Made:
    """What is made of a row; one that bears no id is of no use."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row
        self.id = row["id"]


BOOK_ROWS = st.lists(
    st.builds(lambda number, filled: {"id": number, "filled": filled}, st.integers(0, 6), st.integers(0, 2))
    | st.sampled_from([{}, {"filled": 1}, 7, "row", [], None]),
    max_size=6,
)


@pytest.mark.usefixtures("short_slices")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(BOOK_ROWS, st.sampled_from([b"", b"}", b"]", b","]), st.sampled_from([None, 1])), max_size=5))
def test_a_book_that_is_read_again_says_what_its_text_says(answers: list[tuple[list[Any], bytes, Any]]):
    known = KnownRows("rows", Made)
    for rows, spoiled, indent in answers:
        text = json.dumps({"s": "ok", "rows": rows, "other": rows}, indent=indent).encode() + spoiled
        told, expected = read(text, known), at_one_go(text)
        if told is not None:
            told["rows"] = [row.row if isinstance(row, Made) else row for row in told["rows"]]
        assert told == expected


def test_a_row_that_has_not_changed_is_not_read_again(monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []

    def make(row: dict[str, Any]) -> Made:
        made.append(row["id"])
        return Made(row)

    def answer(*rows: tuple[int, str]) -> list[Made]:
        made.clear()
        book = [{"id": number, "status": status} for number, status in rows]
        found: list[Made] = read(dump_json({"s": "ok", "rows": book}), known)["rows"]
        assert [row.row for row in found] == book
        return found

    monkeypatch.setattr(jsontext, "_SLICE", 8)
    known = KnownRows("rows", make)
    first = answer((1, "open"), (2, "done"), (3, "done"))
    assert made == [1, 2, 3]
    again = answer((1, "open"), (2, "done"), (3, "done"))
    assert made == []
    assert all(one is other for one, other in zip(first, again, strict=True))
    changed = answer((1, "done"), (2, "done"), (3, "done"), (4, "open"))
    assert made == [1, 4]
    assert changed[1] is first[1]
    answer((4, "open"), (3, "done"), (2, "done"), (1, "done"))
    assert made == [], "wherever they stand"
    answer((5, "open"), (4, "open"), (3, "done"))
    assert made == [5]
    answer((2, "done"))
    assert made == [2], "what was in no book between is forgotten"
    answer()
