"""Time on the screen: into the last ten minutes and back, a recorded file, marks, what changed between them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import SECOND
from core.models import DrainProvider, HaltTrading, RouterSnapshot
from core.replay import FrameEncoder, RecordingWriter, ReplayRouter, open_recording
from tests.screen import samples
from tests.screen.conftest import Look
from tests.screen.hands import Bench, press, until
from tui.app import HeadroomApp
from tui.keys import SCREENS
from tui.screens.dialogs import Ask
from tui.screens.replay import ReplayScreen
from tui.view.timeline import BAR_LINE

REPLAY = str([name for name, _ in SCREENS].index("replay") + 1)


def second(number: int) -> RouterSnapshot:
    """The state of things at a second: every one counts one request and one used permit more."""
    base = samples.normal()
    fyers, upstox = base.brokers
    window = replace(fyers.windows[1], used=number % 100, free=199 - number % 100)
    return replace(
        base,
        sequence=100 + number,
        at_ns=base.at_ns + number * SECOND,
        epoch_ns=base.epoch_ns + number * SECOND,
        brokers=(replace(fyers, requests=1000 + number, windows=(fyers.windows[0], window)), upstox),
        counters=replace(base.counters, requests=5000 + number),
    )


def live(seconds: int = 120, **options: object) -> Bench:
    """A bench whose app has watched for so many seconds; its stopwatch goes with them."""
    bench = Bench(second(0), **options)

    def watch(first: int, last: int) -> None:
        for number in range(first, last + 1):
            bench.now_ns = number * SECOND
            bench.port.now = second(number)
            bench.app.tick()

    bench.watch = watch
    bench.seconds = seconds
    return bench


def shown(bench: Bench) -> int:
    """The second that the screen is at."""
    assert bench.app.shown_snapshot is not None
    return bench.app.shown_snapshot.sequence - 100


STEPS: tuple[tuple[list[str], int], ...] = (
    (["left"], 119),
    (["left", "left", "right"], 119),
    (["right"], 120),
    (["left_square_bracket"], 110),
    (["left_square_bracket", "left_square_bracket", "right_square_bracket"], 110),
    (["left_curly_bracket"], 60),
    (["left_curly_bracket", "left_curly_bracket", "left_curly_bracket"], 0),
    (["left_curly_bracket", "right_curly_bracket"], 120),
    (["J", *"90s", "enter"], 30),
    (["J", *"+5s", "enter"], 5),
    (["J", *"start", "enter"], 0),
    (["J", *"09:30:42", "enter"], 42),
    (["J", *"start", "escape"], 120),
    (["J", *"1h", "enter", "escape"], 120),
    (["left_curly_bracket", "N"], 120),
)


@pytest.mark.parametrize(("keys", "at"), STEPS, ids=[" ".join(keys) for keys, _ in STEPS])
async def test_keys_move_through_the_last_minutes(keys: list[str], at: int) -> None:
    bench = live()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 120)
        await press(pilot, *keys)
        assert shown(bench) == at
        assert bench.app.timeline.newest.sequence == 220


async def test_while_the_past_is_shown_the_ring_goes_on_and_n_comes_back_to_now() -> None:
    bench = live()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 60)
        await press(pilot, "left_square_bracket")
        await until(pilot, lambda: "PAST" in bench.text() and "10 s ago, standing still" in bench.text())
        bench.watch(61, 80)
        assert shown(bench) == 50
        await until(pilot, lambda: "30 s ago" in bench.text())
        assert "No news" not in bench.text()
        await press(pilot, "N")
        assert shown(bench) == 80
        await until(pilot, lambda: "PAST" not in bench.text())


async def test_it_plays_faster_slower_stands_and_stays_at_now_once_it_is_there() -> None:
    bench = live()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 100)
        await press(pilot, "left_curly_bracket", "P")
        bench.watch(101, 105)
        assert shown(bench) == 45
        await press(pilot, "full_stop", "full_stop")
        bench.watch(106, 107)
        assert shown(bench) == 55
        await until(pilot, lambda: "playing at 5x" in bench.text())
        await press(pilot, "comma", "space")
        bench.watch(108, 110)
        assert shown(bench) == 55
        await press(pilot, "space")
        bench.watch(111, 140)
        assert shown(bench) == 115
        bench.watch(141, 180)
        assert shown(bench) == 180
        assert not bench.app.timeline.past


async def test_a_frozen_picture_is_where_the_way_back_begins() -> None:
    bench = live()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 30)
        await press(pilot, "space")
        bench.watch(31, 60)
        assert shown(bench) == 30
        await press(pilot, "left")
        assert shown(bench) == 29
        await press(pilot, "right", "right")
        assert shown(bench) == 31


async def test_in_the_past_nothing_is_sent_but_the_kill_switch_always_works() -> None:
    bench = live()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 10)
        await press(pilot, "left", "d", "4", "C", "y")
        await pilot.app.workers.wait_for_complete()
        assert bench.sent == []
        assert "this is the past: nothing was sent; N goes back to now" in bench.text()
        await press(pilot, "K")
        await pilot.app.workers.wait_for_complete()
        assert bench.sent == [HaltTrading("kill switch")]
        await press(pilot, "N", "1", "d")
        await pilot.app.workers.wait_for_complete()
        assert bench.sent[1:] == [DrainProvider("fyers")]


async def test_sorting_filtering_and_export_work_on_the_past(tmp_path: Path) -> None:
    bench = live(exports=tmp_path)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 60)
        await press(pilot, "left_curly_bracket", "e", "4", "slash", *"status=filled", "enter", "o", "e")
        await pilot.app.workers.wait_for_complete()
        windows, orders = sorted(tmp_path.iterdir())
        assert "20260105-040000Z" in windows.name
        assert [row["used"] for row in csv.DictReader(windows.read_text("utf-8").splitlines())][1] == "0"
        assert {row["status"] for row in csv.DictReader(orders.read_text("utf-8").splitlines())} == {"FILLED"}


async def test_two_marks_are_compared_and_one_is_compared_with_what_is_shown(tmp_path: Path) -> None:
    bench = live(exports=tmp_path)
    async with bench.app.run_test(size=(140, 40)) as pilot:
        bench.watch(1, 60)
        await press(pilot, REPLAY)
        assert "< marks a moment" in bench.text()
        await press(pilot, "less_than_sign")
        bench.watch(61, 90)
        await pilot.pause()
        assert "+30" in row_of(bench, "counter")
        await press(pilot, "J", *"+10s", "enter", "greater_than_sign")
        await until(pilot, lambda: "-50" not in bench.text() and "+50" in row_of(bench, "counter"))
        assert "5,010" in row_of(bench, "counter")
        assert "all 200/min used" in row_of(bench, "window")
        table = bench.app.screen.table
        everything = len(table.rows)
        await press(pilot, "slash", *"place=window", "enter", "enter")
        assert {row.place for row in table.rows} == {"window"}
        await press(pilot, "escape", "o", "O", "y")
        assert len(table.rows) == everything
        await press(pilot, "E")
        await pilot.app.workers.wait_for_complete()
        [path] = tmp_path.glob("*-changes.json")
        assert {(row["place"], row["change"]) for row in json.loads(path.read_text("utf-8"))} >= {("counter", 50)}
        assert table.sort.descending


def row_of(bench: Bench, place: str) -> str:
    return next(line for line in bench.text().splitlines() if line.lstrip("▸ ").startswith(place))


async def test_a_click_on_the_bar_goes_to_that_moment() -> None:
    bench = live()
    async with bench.app.run_test(size=(122, 40)) as pilot:
        bench.watch(1, 119)
        await press(pilot, REPLAY)
        bar = bench.app.screen.query_one("#timeline")
        await pilot.click(bar, offset=(1 + 30, 1 + BAR_LINE))
        await pilot.pause()
        assert shown(bench) == 30
        await pilot.click(bar, offset=(4, 1))
        assert shown(bench) == 30


async def test_r_records_to_a_file_and_w_keeps_what_was(tmp_path: Path) -> None:
    bench = live(exports=tmp_path)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.watch(1, 25)
        await press(pilot, "R")
        bench.watch(26, 40)
        await until(pilot, lambda: "● REC" in bench.text())
        await press(pilot, "R", "W")
        await pilot.app.workers.wait_for_complete()
        await until(pilot, lambda: "● REC" not in bench.text())
    recorded, kept = (open_recording(path) for path in sorted(tmp_path.iterdir()))
    assert [recorded.track.at(frame.at_ns) for frame in recorded.track.frames()] == [second(n) for n in range(26, 41)]
    assert [kept.track.at(frame.at_ns) for frame in kept.track.frames()] == [second(n) for n in range(41)]


async def test_a_recording_that_cannot_be_made_or_goes_wrong_is_said_and_the_screen_goes_on(tmp_path: Path) -> None:
    bench = live(exports=Path("nowhere"))
    async with bench.app.run_test(size=(160, 40)) as pilot:
        bench.watch(1, 5)
        await press(pilot, "R")
        assert "cannot be made: No such file" in bench.text()
        await press(pilot, "W")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert "cannot be made: No such file" in bench.text()
        bench.app.exports = Path()
        await press(pilot, "R")
        os.dup2(os.open("/dev/full", os.O_WRONLY), bench.app.timeline._writer._descriptor)
        bench.watch(6, 7)
        await pilot.pause()
        assert "the recording ended:" in bench.text()
        assert "No space left" in bench.text()
        assert bench.app.timeline.recording is None


async def test_leaving_ends_a_recording_that_runs(tmp_path: Path) -> None:
    bench = live(exports=tmp_path)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "R")
        bench.watch(1, 5)
        await press(pilot, "q")
    bench.app.timeline.close()
    [path] = tmp_path.iterdir()
    assert len(open_recording(path).track) == 5


def recorded(tmp_path: Path, seconds: int = 120) -> ReplayRouter:
    encoder = FrameEncoder()
    with RecordingWriter(tmp_path / "day.hrec", simulated=True) as writer:
        writer.write(*(encoder.encode(second(number)) for number in range(seconds + 1)))
    return ReplayRouter(open_recording(tmp_path / "day.hrec").track, now_ns=lambda: 0, simulated=True)


async def test_a_recorded_file_is_shown_on_the_same_screens_and_nothing_can_be_sent(tmp_path: Path) -> None:
    app = HeadroomApp(recorded(tmp_path), hz=0, recording="day.hrec", stopwatch=lambda: 0)
    bench = Bench(samples.normal())
    bench.app = app
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "RECORDING" in bench.text() and "2 min before the end" in bench.text())
        for number in range(1, len(SCREENS) + 1):
            await press(pilot, str(number))
            assert app.is_running
        await press(pilot, "1", "right_curly_bracket")
        assert shown(bench) == 60
        for key in ("d", "K"):
            await press(pilot, key)
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()
            assert "this is a recording, there is no broker behind it" in bench.text()
        await press(pilot, "R")
        assert "this is a recording already" in bench.text()
        await press(pilot, "N")
        assert shown(bench) == 120
        await press(pilot, "J", "x", "enter")
        assert isinstance(app.screen, Ask)
        assert "wanted: a moment inside that" in bench.text()


async def test_before_the_first_picture_there_is_no_past() -> None:
    bench = Bench(replace(samples.empty(), sequence=-1))
    async with bench.app.run_test(size=(120, 40)) as pilot:
        for key, said in (("left", "no picture yet"), ("P", "no picture yet"), ("J", "nothing is kept yet")):
            await press(pilot, key)
            assert said in bench.text()
        await press(pilot, "R")
        assert bench.app.timeline.recording is None


def prepared(tmp_path: Path, state: str) -> tuple[HeadroomApp, Callable[[], None], list[str]]:
    bench = live(exports=tmp_path)
    if state == "file":
        app = HeadroomApp(recorded(tmp_path), hz=0, recording="day.hrec", stopwatch=lambda: 0)
        return (
            app,
            lambda: None,
            [REPLAY, "less_than_sign", "right_curly_bracket", "greater_than_sign", "right_square_bracket"],
        )
    keys = {
        "live": [REPLAY],
        "past": [
            REPLAY,
            "left_curly_bracket",
            "less_than_sign",
            "right_square_bracket",
            "right_square_bracket",
            "greater_than_sign",
            "right",
        ],
        "playing": [REPLAY, "left_curly_bracket", "P", "full_stop", "full_stop"],
    }[state]
    return bench.app, lambda: bench.watch(1, 120), keys


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["live", "past", "playing", "file"])
async def test_the_replay_screen(look: Look, tmp_path: Path, state: str, size: tuple[int, int]) -> None:
    app, watch, keys = prepared(tmp_path, state)
    async with app.run_test(size=size) as pilot:
        watch()
        await press(pilot, *keys)
        assert isinstance(app.screen, ReplayScreen)
        await look(app, state)
