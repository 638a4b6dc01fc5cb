"""What goes into a frame comes out of it, equal in every field."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import MILLISECOND, SECOND
from core.errors import ConfigError
from core.models import RouterSnapshot
from core.replay import Ring
from core.replay.frames import CHUNK_NS, Frame, FrameDecoder, FrameEncoder, field_names
from tests.replay.drawn import drawn, walk
from tests.screen import samples


def decoded(frames: list[Frame]) -> list[RouterSnapshot]:
    shown: list[RouterSnapshot] = []
    decoder = FrameDecoder(field_names())
    for frame in frames:
        if frame.opens:
            decoder = FrameDecoder(field_names())
        shown.append(decoder.decode(frame))
    return shown


@given(st.integers(0, 2**64), st.integers(2, 8))
def test_recorded_and_replayed_snapshots_are_equal(seed: int, length: int) -> None:
    path = walk(Random(seed), length)
    encoder = FrameEncoder()
    assert decoded([encoder.encode(snapshot) for snapshot in path]) == path


@given(st.integers(0, 2**64))
def test_snapshots_that_have_nothing_in_common_do_as_well(seed: int) -> None:
    rng = Random(seed)
    path = [drawn(RouterSnapshot, rng) for _ in range(2)]
    encoder = FrameEncoder()
    shown = decoded([encoder.encode(snapshot) for snapshot in path])
    assert shown == path
    for was, now in zip(path, shown, strict=True):
        for entry in fields(RouterSnapshot):
            assert repr(getattr(was, entry.name)) == repr(getattr(now, entry.name))  # 1 and 1.0 and True are equal


def test_a_chunk_ends_after_ten_seconds_and_where_time_runs_back() -> None:
    encoder = FrameEncoder()
    times = [0, SECOND, CHUNK_NS - 1, CHUNK_NS, CHUNK_NS + 1, 5, 6]
    opens = [encoder.encode(replace(samples.normal(), at_ns=at_ns)).opens for at_ns in times]
    assert opens == [True, False, False, True, False, True, False]


def test_growing_older_alone_costs_next_to_nothing() -> None:
    encoder = FrameEncoder()
    first = replace(samples.normal(), at_ns=0)
    encoder.encode(first)
    later = replace(
        first,
        at_ns=100 * MILLISECOND,
        epoch_ns=first.epoch_ns + 100 * MILLISECOND,
        orders=tuple(replace(order, age_ns=order.age_ns + 100 * MILLISECOND) for order in first.orders),
    )
    assert len(encoder.encode(later).data) < 120


def test_a_field_that_the_reader_does_not_know_is_passed_over_and_one_that_is_missing_takes_its_default() -> None:
    snapshot = replace(samples.normal(), at_ns=0)
    text = zlib.decompressobj(wbits=-15).decompress(FrameEncoder().encode(snapshot).data)
    line = json.loads(text)
    names = field_names()
    line["mood"] = "fine"
    for row in line["quotes"]:
        row.append("new")
    names["Quote"] = [*names["Quote"], "colour"]
    without = names["Counters"].index("waited")
    names["Counters"] = names["Counters"][:without] + names["Counters"][without + 1 :]
    del line["counters"][without]
    stream = zlib.compressobj(wbits=-15)
    data = stream.compress(json.dumps(line).encode()) + stream.flush(zlib.Z_SYNC_FLUSH)
    shown = FrameDecoder(names).decode(Frame(opens=True, at_ns=0, data=data))
    assert shown == replace(snapshot, counters=replace(snapshot.counters, waited=0))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"3",
        b"[]",
        b"{}",
        b'{"sequence":"one"}',
        b'{"sequence":1,"at_ns":0,"epoch_ns":0,"simulated":true,"brokers":[{"from":0,"rows":9}]}',
        b'{"sequence":1,"at_ns":0,"epoch_ns":0,"simulated":true,"brokers":[[[],1]]}',
        b'{"sequence":1,"at_ns":0,"epoch_ns":0,"simulated":true,"brokers":[],"latency_history_ns":{"drop":0,"add":[]}}',
        b"\xff\xfe",
    ],
)
def test_what_no_encoder_wrote_is_one_error_and_one_line(text: bytes) -> None:
    stream = zlib.compressobj(wbits=-15)
    data = stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        FrameDecoder(field_names()).decode(Frame(opens=True, at_ns=0, data=data))
    assert "\n" not in str(caught.value)


def test_a_ring_holds_ten_minutes_and_no_more() -> None:
    ring = Ring()
    base = samples.normal()
    for number in range(12 * 60 * 10):
        ring.take(replace(base, sequence=number, at_ns=number * 100 * MILLISECOND))
    assert 600 * SECOND <= ring.last_ns - ring.first_ns <= 600 * SECOND + CHUNK_NS
    assert ring.at(ring.last_ns - 180 * SECOND).sequence == number - 1800
    assert ring.at(0).at_ns == ring.first_ns


def test_a_ring_never_takes_more_memory_than_it_may() -> None:
    ring = Ring(bytes_max=200_000)
    rng = Random(3)
    for number, snapshot in enumerate(walk(rng, 400)):
        ring.take(replace(snapshot, at_ns=number * SECOND))
    assert ring.size_bytes <= 200_000
    assert 0 < len(ring) < 400


def test_stepping_goes_from_frame_to_frame_over_the_edges_of_chunks() -> None:
    ring = Ring()
    times = [number * 1500 * MILLISECOND for number in range(40)]
    for at_ns in times:
        ring.take(replace(samples.normal(), at_ns=at_ns))
    for place, at_ns in enumerate(times):
        for by in (-100, -9, -1, 0, 1, 8, 100):
            assert ring.step(at_ns + 3, by) == times[max(0, min(len(times) - 1, place + by))]


def test_an_empty_ring_says_so_and_a_clock_that_begins_anew_begins_a_new_line() -> None:
    ring = Ring()
    with pytest.raises(ConfigError, match="no picture yet"):
        ring.at(0)
    ring.take(replace(samples.normal(), at_ns=90 * SECOND))
    ring.take(replace(samples.normal(), at_ns=3 * SECOND))
    assert (len(ring), ring.first_ns, ring.last_ns) == (1, 3 * SECOND, 3 * SECOND)
