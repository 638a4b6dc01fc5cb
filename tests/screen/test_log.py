"""The program's own log: bounded, without secrets, and a screen of its own."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path

import pytest

from core.errors import EngineHalted
from tests.screen import samples
from tests.screen.conftest import Look
from tests.screen.hands import Bench, press
from tui.app_log import KEPT, AppLog
from tui.keys import SCREENS

LOG = str([name for name, _ in SCREENS].index("log") + 1)


def said(log: AppLog, level: int, text: str, created: float = 1_767_585_600.0, name: str = "tui.app") -> None:
    record = logging.LogRecord(name, level, "", 0, text, None, None)
    record.created = created
    log.handle(record)


def filled(secrets: tuple[str, ...] = ()) -> AppLog:
    log = AppLog(secrets)
    said(log, logging.INFO, "the engine is ready", name="tui.live")
    said(log, logging.WARNING, "incident: upstox 429: [bold]Too Many Request Sent[/]", created=1_767_585_660.5)
    said(log, logging.INFO, "asked for DrainProvider(provider='fyers')", created=1_767_585_700.0)
    said(
        log, logging.ERROR, "HaltTrading failed\nTraceback\n  line 1\nOSError: the disk melted", created=1_767_585_720.0
    )
    return log


def test_it_keeps_the_newest_two_thousand_newest_first() -> None:
    log = AppLog()
    for number in range(KEPT + 500):
        said(log, logging.INFO, f"number {number}")
    assert len(log.newest_first) == KEPT
    assert log.newest_first[0].text == f"number {KEPT + 499}"
    assert log.newest_first[-1].text == "number 500"
    assert log.newest_first is log.newest_first  # nothing new: nothing is built again


def test_no_secret_shows_in_a_message_or_a_traceback() -> None:
    log = AppLog(("hunter2", "hunter22", ""))
    log.hide(["geheim"])
    error = OSError("login with hunter22 and geheim was refused")
    log.handle(logging.LogRecord("core.x", logging.ERROR, "", 0, "token %s", ("hunter2",), (OSError, error, None)))
    [entry] = log.newest_first
    assert entry.text == "token •••"
    assert entry.rest.endswith("login with ••• and ••• was refused")


def test_ours_are_heard_from_info_on_others_from_warning_on_and_only_inside() -> None:
    log = AppLog()
    ours, theirs = logging.getLogger("core.somewhere"), logging.getLogger("aiohttp.somewhere")
    with log.listening():
        ours.info("heard")
        ours.debug("too quiet")
        theirs.info("not ours")
        theirs.warning("heard as well")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("an old way of doing it", DeprecationWarning, stacklevel=1)
    ours.error("too late")
    assert [entry.source for entry in log.newest_first] == ["py.warnings", "aiohttp.somewhere", "core.somewhere"]


def test_a_line_that_cannot_be_told_stops_nobody() -> None:
    log = AppLog()
    log.handle(logging.LogRecord("tui", logging.INFO, "", 0, "%d", ("x",), None))
    assert "a line that cannot be told" in log.newest_first[0].text


def test_threads_may_write_while_the_screen_reads() -> None:
    log = AppLog()
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            said(log, logging.INFO, "again")

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        serials = [entry.serial for entry in log.newest_first]
        assert serials == sorted(serials, reverse=True)
    ended.set()
    for thread in threads:
        thread.join()


async def test_what_is_asked_answered_refused_and_happens_is_in_it(tmp_path: Path) -> None:
    log = AppLog()
    bench = Bench(samples.normal(), log=log, exports=tmp_path)
    with log.listening():
        async with bench.app.run_test(size=(140, 40)) as pilot:
            bench.port.now = samples.warning()
            bench.app.tick()
            bench.port.refusal = EngineHalted("halted: nothing leaves")
            await press(pilot, "d", LOG)
            await pilot.app.workers.wait_for_complete()
            bench.app.tick()
            await pilot.pause()
            for text in (
                "asked for DrainProvider(provider='fyers')",
                "▲ warning",
                "halted: nothing leaves",
                "incident: upstox 429",
            ):
                assert text in bench.text()
            await press(pilot, "slash", *"level=warning", "enter")
            assert {row.level for row in bench.app.screen.table.rows} == {"warning"}
            await press(pilot, "escape", "o", "O", "y", "enter")
            assert "said by" in bench.text()
            await press(pilot, "escape", "e")
            await pilot.app.workers.wait_for_complete()
            [path] = tmp_path.glob("*-log.csv")
            assert "tui.app,halted: nothing leaves" in path.read_text("utf-8")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_log_screen(look: Look, size: tuple[int, int]) -> None:
    bench = Bench(samples.normal(), log=filled())
    async with bench.app.run_test(size=size) as pilot:
        await press(pilot, LOG)
        await look(bench.app, "entries")
        await press(pilot, "enter")
        await look(bench.app, "opened")
        bench.app.log_kept = AppLog()
        bench.app.tick()
        await look(bench.app, "empty")
