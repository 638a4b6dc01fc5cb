"""The first picture does not wait for the engine; one that cannot start takes the screen with it, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from core.errors import ConfigError, HeadroomError
from core.models import DrainProvider, RouterSnapshot
from tests.screen import samples
from tests.screen.conftest import Look
from tests.screen.hands import Bench, press, until
from tui.port import RouterPort
from tui.starting import EngineNotThere, StartingPort


class Engine:
    """What a StartingPort opens, with a hand on when it is there."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.may_start = threading.Event()
        self.ended = False
        self.port = samples.SamplePort(samples.normal())
        self._fault = fault

    @contextmanager
    def open(self) -> Iterator[RouterPort]:
        assert self.may_start.wait(10)
        if self._fault is not None:
            raise self._fault
        try:
            yield self.port
        finally:
            self.ended = True


def starting(engine: Engine) -> StartingPort:
    return StartingPort(engine.open, simulated=True, epoch_ns=samples.EPOCH_NS)


def eventually(port: StartingPort) -> RouterSnapshot:
    """What it shows once the engine has shown something, or failed."""
    for _ in range(1000):
        snapshot = port.snapshot()
        if snapshot.sequence >= 0:
            return snapshot
        threading.Event().wait(0.01)
    pytest.fail("nothing was shown for ten seconds")


async def test_until_the_engine_is_there_it_says_so_and_sends_nothing() -> None:
    engine = Engine()
    port = starting(engine)
    assert port.snapshot().brokers == ()
    port.start()
    with pytest.raises(EngineNotThere, match="still starting: nothing was sent"):
        await port.send(DrainProvider("fyers"))
    engine.may_start.set()
    assert eventually(port) == samples.normal()
    await port.send(DrainProvider("fyers"))
    assert engine.port.sent == [DrainProvider("fyers")]
    port.close()
    assert engine.ended


def test_leaving_while_it_starts_ends_it_in_order_and_before_it_starts_at_once() -> None:
    starting(Engine()).close()
    engine = Engine()
    port = starting(engine)
    port.start()
    threading.Timer(0.05, engine.may_start.set).start()
    port.close()
    assert engine.ended


def test_a_start_that_fails_is_raised_once_where_it_is_seen_first() -> None:
    engine = Engine(ConfigError("headroom.toml: no [brokers.NAME] table"))
    engine.may_start.set()
    port = starting(engine)
    port.start()
    with pytest.raises(ConfigError, match="no \\[brokers"):
        eventually(port)
    port.close()
    unseen = starting(engine)
    unseen.start()
    with pytest.raises(ConfigError, match="no \\[brokers"):
        unseen.close()


def test_what_headroom_did_not_raise_on_purpose_comes_out_of_close_with_its_own_trace() -> None:
    engine = Engine(ZeroDivisionError("a mistake of ours"))
    engine.may_start.set()
    port = starting(engine)
    port.start()
    with pytest.raises(EngineNotThere):
        eventually(port)
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        port.close()


async def test_the_app_leaves_with_2_when_there_will_never_be_anything_to_show() -> None:
    bench = Bench(samples.normal())

    def fail() -> RouterSnapshot:
        raise ConfigError("store: another headroom holds it")

    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.port.snapshot = fail
        bench.app.tick()
        await pilot.pause()
    assert bench.app.return_code == 2
    assert isinstance(bench.app.fault, HeadroomError)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_first_picture(look: Look, size: tuple[int, int]) -> None:
    engine = Engine()
    bench = Bench(starting(engine).snapshot())
    async with bench.app.run_test(size=size) as pilot:
        await look(bench.app, "connecting")
        await press(pilot, "left")
        assert "no picture yet" in bench.text()
        bench.port.now = replace(samples.normal(), sequence=1)
        bench.app.tick()
        await until(pilot, lambda: "Starting the engine" not in bench.text() and " fyers " in bench.text())
