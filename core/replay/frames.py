"""Snapshots as small frames and back, without loss.

The first frame of a chunk is a whole snapshot, every other one only what differs from the frame before it. A dataclass
becomes the list of its fields in order (`field_names` has the names, which a file holds once), a Decimal its digits as
text. A tuple of rows becomes a list of runs that stay as they were, `{"from": 3, "rows": 40}`, and of the rows that are
new; a row is known again by its first field. A tuple of numbers becomes `{"drop": 1, "add": [7]}` where it only moved
on. An age is kept as what is left of it once the row's own time is taken away: growing older changes nothing.

The lines of a chunk run through one deflate stream that is flushed after each: a frame can be read once it is written,
whatever happens to the next.
"""

from __future__ import annotations

import json
import types
import zlib
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol, Union, get_args, get_origin, get_type_hints

from ..clock import SECOND
from ..errors import ConfigError
from ..models import RouterSnapshot

__all__ = ["CHUNK_NS", "Fields", "Frame", "FrameDecoder", "FrameEncoder", "field_names"]

CHUNK_NS: Final = 10 * SECOND
_LINE_BYTES_MAX: Final = 64 * 1024 * 1024
_AGE: Final = "age_ns"
_LEVEL: Final = 3  # of deflate: 6 saves a twelfth of the bytes and costs half as much again

Fields = dict[str, list[str]]


class Frame(NamedTuple):
    """One snapshot's place in a chunk. `opens` marks the first one, which can be read without any other."""

    opens: bool
    at_ns: int
    data: bytes | memoryview


class _Kind(Protocol):
    """How values of one type are packed and unpacked; `old` is the value in the frame before, or None."""

    def pack(self, value: Any, old: Any) -> Any: ...

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any: ...


class _Plain:
    """What JSON has itself."""

    def __init__(self, *accepted: type) -> None:
        self._accepted = accepted

    def pack(self, value: Any, old: Any) -> Any:  # noqa: ARG002
        return value

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:  # noqa: ARG002
        if type(packed) not in self._accepted:
            message = f"{str(packed)[:40]!r} is no {self._accepted[0].__name__}"
            raise ValueError(message)
        return packed


class _Named:
    """An enum, by its value."""

    def __init__(self, enum: type[Enum]) -> None:
        self._enum = enum

    def pack(self, value: Any, old: Any) -> Any:  # noqa: ARG002
        return value.value

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:  # noqa: ARG002
        return self._enum(packed)


class _Exact:
    """A Decimal, digit by digit."""

    def pack(self, value: Any, old: Any) -> Any:  # noqa: ARG002
        return str(value)

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:  # noqa: ARG002
        return Decimal(packed)


class _Maybe:
    """None, or a value."""

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind

    def pack(self, value: Any, old: Any) -> Any:
        return None if value is None else self._kind.pack(value, old)

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:
        return None if packed is None else self._kind.unpack(packed, old, names)


class _Fixed:
    """A tuple of so many parts."""

    def __init__(self, kinds: Sequence[_Kind]) -> None:
        self._kinds = kinds

    def pack(self, value: Any, old: Any) -> Any:  # noqa: ARG002
        return [kind.pack(part, None) for kind, part in zip(self._kinds, value, strict=True)]

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:  # noqa: ARG002
        return tuple(kind.unpack(part, None, names) for kind, part in zip(self._kinds, packed, strict=True))


class _Series:
    """A tuple of anything but rows: as what was dropped in front and added behind, where that tells all."""

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind

    def pack(self, value: Any, old: Any) -> Any:
        for drop in (0, 1) if old else ():
            kept = len(old) - drop
            if len(value) >= kept > 0 and value[:kept] == old[drop:]:
                return {"drop": drop, "add": [self._kind.pack(part, None) for part in value[kept:]]}
        return [self._kind.pack(part, None) for part in value]

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:
        kept: tuple[Any, ...] = ()
        if isinstance(packed, dict):
            kept, packed = old[packed["drop"] :], packed["add"]
        return (*kept, *(self._kind.unpack(part, None, names) for part in packed))


class _Record:
    """A dataclass as the list of its fields."""

    def __init__(self, type_: type[Any]) -> None:
        hints = get_type_hints(type_)
        self.type = type_
        self.own: tuple[Field[Any], ...] = fields(type_)
        self.names = [entry.name for entry in self.own]
        self.kinds = [_kind_of(hints[name]) for name in self.names]
        self._values = attrgetter(*self.names)
        self._packed = [
            (place, kind, attrgetter(name))
            for place, (name, kind) in enumerate(zip(self.names, self.kinds, strict=True))
            if not isinstance(kind, _Plain)
        ]
        self._kind_by_name = dict(zip(self.names, self.kinds, strict=True))

    def pack(self, value: Any, old: Any) -> list[Any]:
        packed = list(self._values(value))
        for place, kind, of in self._packed:
            packed[place] = kind.pack(packed[place], None if old is None else of(old))
        return packed

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:
        given: dict[str, Any] = {}
        for name, part in zip(names[self.type.__name__], packed, strict=True):
            kind = self._kind_by_name.get(name)
            if kind is not None:  # a field that this version does not know is passed over
                given[name] = kind.unpack(part, None if old is None else getattr(old, name), names)
        return self.made(given)

    def made(self, given: dict[str, Any]) -> Any:
        for entry in self.own:
            if entry.name not in given and entry.default is MISSING and entry.default_factory is MISSING:
                message = f"{self.type.__name__} has no {entry.name}"
                raise ValueError(message)
        return self.type(**given)


class _Rows:
    """A tuple of dataclasses: the runs that stay, and the rows that are new or changed."""

    def __init__(self, record: _Record) -> None:
        self._record = record
        self._key = attrgetter(record.names[0])
        # Times of a row itself by which its age can be told again, best first.
        stamps = [name for name in ("epoch_ns", "at_ns") if name in record.names]
        self._stamp = attrgetter(stamps[0]) if _AGE in record.names and stamps else None
        self._same: Callable[[Any], Any] | None = None
        if self._stamp is not None:
            self._age_place = record.names.index(_AGE)
            self._same = attrgetter(*(name for name in record.names if name != _AGE))

    def pack(self, value: Any, old: Any) -> Any:
        runs = self._runs(value, old or ())
        if self._stamp is None or not value:
            return runs
        stamps = [row.age_ns + self._stamp(row) for row in value]
        now = stamps[0]
        return {"now": now, "odd": [[n, at - now] for n, at in enumerate(stamps) if at != now], "rows": runs}

    def _runs(self, value: Any, old: Any) -> list[Any]:
        record, key, alike = self._record, self._key, self._alike
        place_of = _first_places(old, key)
        runs: list[Any] = []
        expected, end = 0, len(old)
        run: dict[str, int] | None = None
        for row in value:
            place = expected
            if place >= end or not alike(old[place], row):
                place = place_of.get(key(row), -1)
                if place < 0 or not alike(old[place], row):
                    runs.append(self._packed(record.pack(row, old[place] if place >= 0 else None)))
                    run, expected = None, place + 1 if place >= 0 else expected
                    continue
            if run is None or expected != place:
                run = {"from": place, "rows": 0}
                runs.append(run)
            run["rows"] += 1
            expected = place + 1
        return runs

    def _alike(self, one: Any, other: Any) -> bool:
        """Whether two rows differ in nothing but their age."""
        if one is other:
            return True
        return bool(one == other if self._same is None else self._same(one) == self._same(other))

    def _packed(self, row: list[Any]) -> list[Any]:
        if self._stamp is not None:
            row[self._age_place] = 0
        return row

    def unpack(self, packed: Any, old: Any, names: Fields) -> Any:
        old = old or ()
        aged = isinstance(packed, dict)
        place_of = _first_places(old, self._key)
        # Where the first field of a row stands in this file, to know the row before by.
        key_place = names[self._record.type.__name__].index(self._record.names[0])
        rows: list[Any] = []
        for run in packed["rows"] if aged else packed:
            if isinstance(run, dict):
                kept = old[run["from"] : run["from"] + run["rows"]]
                if len(kept) != run["rows"]:
                    message = f"{self._record.type.__name__}: rows that were never there"
                    raise ValueError(message)
                rows.extend(kept)
            else:
                place = place_of.get(run[key_place], -1)
                rows.append(self._record.unpack(run, old[place] if place >= 0 else None, names))
        return tuple(self._aged(rows, packed["now"], dict(packed["odd"])) if aged else rows)

    def _aged(self, rows: list[Any], now: int, odd: dict[int, int]) -> list[Any]:
        assert self._stamp is not None  # noqa: S101 - only such rows are packed with ages
        names = self._record.names
        aged = []
        for place, row in enumerate(rows):
            values = {name: getattr(row, name) for name in names}
            values[_AGE] = now + odd.get(place, 0) - self._stamp(row)
            aged.append(self._record.type(**values))
        return aged


def _first_places(rows: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, int]:
    places: dict[Any, int] = {}
    for place, row in enumerate(rows):
        places.setdefault(key(row), place)
    return places


@cache
def _kind_of(hint: Any) -> _Kind:  # noqa: PLR0911 - a table, one row per shape of type
    plain = {int: _Plain(int), float: _Plain(float, int), str: _Plain(str), bool: _Plain(bool)}
    if hint in plain:
        return plain[hint]
    if hint is Decimal:
        return _Exact()
    if get_origin(hint) in {types.UnionType, Union}:
        [inner] = [part for part in get_args(hint) if part is not type(None)]
        return _Maybe(_kind_of(inner))
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if len(parts) == 2 and parts[1] is Ellipsis:
            kind = _kind_of(parts[0])
            return _Rows(kind) if isinstance(kind, _Record) else _Series(kind)
        return _Fixed([_kind_of(part) for part in parts])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Named(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return _Record(hint)
    message = f"a snapshot holds {hint}, which a frame cannot"
    raise TypeError(message)


@cache
def _snapshot() -> _Record:
    kind = _kind_of(RouterSnapshot)
    assert isinstance(kind, _Record)  # noqa: S101
    return kind


def field_names() -> Fields:
    """The names of the fields of every record that a frame may hold, in the order in which it holds them."""
    found: Fields = {}
    waiting: list[Any] = [_snapshot()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, _Record) and kind.type.__name__ not in found:
            found[kind.type.__name__] = list(kind.names)
            waiting += kind.kinds
        else:
            waiting += [part for part in vars(kind).values() if hasattr(part, "pack")]
            waiting += [part for parts in vars(kind).values() if isinstance(parts, list) for part in parts]
    return found


class FrameEncoder:
    """Snapshots in, frames out; a new chunk every ten seconds, and whenever time runs backwards."""

    def __init__(self) -> None:
        self._last: RouterSnapshot | None = None
        self._opened_ns = 0
        self._stream = zlib.compressobj(_LEVEL, wbits=-15)

    def cut(self) -> None:
        """Let the next frame open a chunk."""
        self._last = None

    def encode(self, snapshot: RouterSnapshot) -> Frame:
        """The next frame."""
        last = self._last
        opens = last is None or not 0 <= snapshot.at_ns - self._opened_ns < CHUNK_NS or snapshot.at_ns < last.at_ns
        if opens:
            last = None
            self._opened_ns = snapshot.at_ns
            self._stream = zlib.compressobj(_LEVEL, wbits=-15)
        record = _snapshot()
        line: dict[str, Any] = {}
        for name, kind in zip(record.names, record.kinds, strict=True):
            now = getattr(snapshot, name)
            before = None if last is None else getattr(last, name)
            if last is None or (now is not before and now != before):
                line[name] = kind.pack(now, before)
        text = json.dumps(line, separators=(",", ":")).encode()  # a lone surrogate must get through
        self._last = snapshot
        return Frame(opens, snapshot.at_ns, self._stream.compress(text + b"\n") + self._stream.flush(zlib.Z_SYNC_FLUSH))


class FrameDecoder:
    """The frames of one chunk in, in their order; snapshots out."""

    def __init__(self, names: Fields) -> None:
        self._names = names
        self._stream = zlib.decompressobj(wbits=-15)
        self._last: RouterSnapshot | None = None

    def decode(self, frame: Frame) -> RouterSnapshot:
        """The snapshot of the next frame. Raises ConfigError for what no encoder wrote."""
        record = _snapshot()
        try:
            line = json.loads(self._stream.decompress(frame.data, _LINE_BYTES_MAX))
            given = {} if self._last is None else {name: getattr(self._last, name) for name in record.names}
            for name, kind in zip(record.names, record.kinds, strict=True):
                if name in line:
                    given[name] = kind.unpack(line[name], given.get(name), self._names)
            self._last = record.made(given)
        except (zlib.error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            message = f"a frame that cannot be read: {type(error).__name__}: {str(error)[:200]}"
            raise ConfigError(message) from None
        return self._last
