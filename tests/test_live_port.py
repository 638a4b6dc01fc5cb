"""The router on its own thread: the screen never waits for it, and it always ends in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from core.brokers import published_limits
from core.config import Settings, simulated_settings
from core.errors import ConfigError, HeadroomError
from core.models import DrainProvider, HealthStatus, Order, ResumeProvider, SubmitOrder
from core.store import TradeStore
from tui.app_log import AppLog
from tui.live import LivePort, open_live_port


@contextmanager
def live(tmp_path: Path, *, background: bool = False) -> Iterator[LivePort]:
    settings = simulated_settings(published_limits, seed=1, store=tmp_path / "headroom.db")
    with open_live_port(settings, background=background) as port:
        yield port


def eventually(port: LivePort, true: object, patience_s: float = 10.0) -> None:
    """Poll as a screen does."""
    assert callable(true)
    end = time.monotonic() + patience_s
    while not true(port.snapshot()):
        assert time.monotonic() < end, port.snapshot()
        time.sleep(0.02)


def test_an_order_placed_from_the_screen_shows_in_a_later_snapshot_and_is_on_disk(tmp_path: Path) -> None:
    with live(tmp_path) as port:
        answer = anyio.run(port.send, SubmitOrder(Order(symbol="NSE:SBIN-EQ", quantity=2, client_order_id="mine")))
        assert answer.startswith("mine: ")
        eventually(port, lambda snapshot: snapshot.orders and snapshot.orders[0].order_id == "mine")

    async def stored() -> str:
        async with TradeStore(tmp_path / "headroom.db") as store:
            trade = await store.get_trade_by_order_id("mine")
            assert trade is not None
            return trade.symbol

    assert anyio.run(stored) == "NSE:SBIN-EQ"


def test_commands_take_effect_and_mistakes_answer_in_one_line(tmp_path: Path) -> None:
    with live(tmp_path) as port:
        anyio.run(port.send, DrainProvider("fyers"))
        eventually(port, lambda snapshot: snapshot.brokers[0].health is HealthStatus.DRAINED)
        anyio.run(port.send, ResumeProvider("fyers"))
        eventually(port, lambda snapshot: snapshot.brokers[0].health is not HealthStatus.DRAINED)
        with pytest.raises(HeadroomError, match="no broker is named 'nobody'") as caught:
            anyio.run(port.send, DrainProvider("nobody"))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.7])
def test_quitting_at_any_moment_leaves_no_thread_and_a_sound_file(tmp_path: Path, after_s: float) -> None:
    before = set(threading.enumerate())
    with live(tmp_path, background=True) as port:
        port.snapshot()
        time.sleep(after_s)
    for thread in set(threading.enumerate()) - before:
        thread.join(2)
        assert not thread.is_alive(), thread

    async def verify() -> bool:
        async with TradeStore(tmp_path / "headroom.db") as store:
            return (await store.journal.verify()).ok

    assert anyio.run(verify)


def test_a_start_that_fails_is_told_to_the_caller(tmp_path: Path) -> None:
    settings = simulated_settings(published_limits, store=tmp_path)  # a folder is no file
    with pytest.raises(HeadroomError), open_live_port(settings, background=False):
        pytest.fail("it did not start")
    wrong = Settings.model_validate({**settings.model_dump(), "store": None, "guards": {"colour": 1}})
    with pytest.raises(ConfigError, match=r"guards\.colour"), open_live_port(wrong, background=False):
        pytest.fail("it did not start")


def test_an_engine_that_dies_says_so_and_takes_no_more_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BaseException, match="the disk melted"), live(tmp_path) as port:  # noqa: PT012
        router = port._router
        assert router is not None

        def melt() -> None:
            raise OSError("the disk melted")

        monkeypatch.setattr(router._seconds, "close", melt)
        eventually(port, lambda snapshot: "the disk melted" in snapshot.failure)
        with pytest.raises(HeadroomError, match="the disk melted"):
            anyio.run(port.send, DrainProvider("fyers"))
        raise OSError("the disk melted")


def test_what_the_engine_does_and_dies_of_is_in_the_programs_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AppLog()
    with log.listening(), pytest.raises(BaseException, match="the disk melted"), live(tmp_path) as port:  # noqa: PT012
        router = port._router
        assert router is not None

        def melt() -> None:
            raise OSError("the disk melted")

        monkeypatch.setattr(router._seconds, "close", melt)
        eventually(port, lambda snapshot: "the disk melted" in snapshot.failure)
        raise OSError("the disk melted")
    told = {entry.text: entry for entry in reversed(log.newest_first)}
    assert "the engine is ready" in told
    assert any(text.startswith("the journal is read, 2 accounts are connected: fyers, upstox") for text in told)
    assert "OSError: the disk melted" in told["the engine stopped"].rest


def test_a_screen_that_reads_slowly_delays_no_order(tmp_path: Path) -> None:
    with live(tmp_path) as port:
        for number in range(5):
            sent = time.monotonic()
            anyio.run(port.send, SubmitOrder(Order(symbol="NSE:SBIN-EQ", quantity=1, client_order_id=f"o{number}")))
            assert time.monotonic() - sent < 5
            time.sleep(0.1)  # the screen does not ask for a snapshot meanwhile
        eventually(port, lambda snapshot: snapshot.counters.orders >= 5)
