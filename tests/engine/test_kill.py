"""kill -9 at any moment, over real sockets and a real file: nothing doubled, nothing lost, nothing told but kept.

HEADROOM_KILLS=100 kills as often; without it, a few times.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from core.brokers.simulator.faults import Fault, FaultKind, Latency
from core.brokers.simulator.server import Simulator, serve
from core.brokers.simulator.settings import SimulatorSettings
from core.clock import SECOND
from core.models import BrokerOrder, Budget, OrderStatus, Rate

KILLS = int(os.environ.get("HEADROOM_KILLS", "2"))
ROOMY = (Budget("all", (Rate(1000, SECOND),)),)
FAULTS = tuple(
    Fault(kind=kind, rate=rate)
    for kind, rate in (
        (FaultKind.RESET_AFTER_ACCEPT, 0.04),
        (FaultKind.RESET_BEFORE_READ, 0.03),
        (FaultKind.ERROR_AFTER_ACCEPT, 0.03),
        (FaultKind.BAD_JSON, 0.02),
        (FaultKind.HANG, 0.01),
    )
)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal(name="simulator") as portal:
        yield portal


@pytest.fixture
def simulator(portal: BlockingPortal) -> Iterator[Simulator]:
    settings = SimulatorSettings(
        separate_ports=True,
        latency=Latency(floor_ms=2, median_ms=8),
        upstox_limits=ROOMY,
        fyers_limits=ROOMY,
        faults=FAULTS,
    )
    with portal.wrap_async_context_manager(serve(settings)) as simulator:
        yield simulator


class Books:
    """The brokers' books against the file, by code that shares nothing with the engine."""

    def __init__(self, portal: BlockingPortal, simulator: Simulator, path: Path) -> None:
        self._portal = portal
        self._simulator = simulator
        self._path = path

    def accepted(self) -> list[BrokerOrder]:
        books = self._portal.call(self._simulator.books)
        return [row for rows in books.values() for row in rows if row.status is not OrderStatus.REJECTED]

    def faults(self, told: list[tuple[str, str]]) -> list[str]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as db:
            known = {row[0]: row for row in db.execute("SELECT order_id, status, broker_order_id, tag FROM trades")}
            sent = dict(
                db.execute("SELECT json_extract(body, '$.tag'), order_id FROM journal WHERE kind = 'Intent'").fetchall()
            )
            kept = set(
                db.execute("SELECT order_id, json_extract(body, '$.after') FROM journal WHERE kind = 'Step'").fetchall()
            )
        db.close()
        rows = self.accepted()
        doubled = [order for order, count in Counter(sent.get(row.tag) for row in rows).items() if count > 1]
        unknown = [
            row.tag
            for row in rows
            if row.tag not in sent
            or known[sent[row.tag]][1:] != (known[sent[row.tag]][1], row.broker_order_id, row.tag)
        ]
        denied = [
            row.tag for row in rows if row.tag in sent and known[sent[row.tag]][1] in {"DENIED", "REJECTED", "NEW"}
        ]
        unkept = [one for one in told if one not in kept]
        found = {
            "live twice": doubled,
            "accepted and not known": unknown,
            "denied but live": denied,
            "told, not kept": unkept,
        }
        return [f"{what}: {which[:5]}" for what, which in found.items() if which]


class Child:
    def __init__(self, path: Path, run: int, simulator: Simulator) -> None:
        urls = simulator.base_urls
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.kill_child", path, str(run), urls["upstox"], urls["fyers"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: list[tuple[str, str]] = []

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.strip() == word, f"the child said {line!r}"

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        rest, _ = self.process.communicate()
        for line in rest.splitlines(keepends=True):
            words = line.split()
            if line.endswith("\n") and words[0] == "told" and words[2] != "SUBMITTING":
                self.told.append((words[1], words[2]))


@pytest.mark.timeout(30 + 20 * KILLS)
def test_a_process_killed_at_any_moment_doubles_nothing_and_loses_nothing(
    tmp_path: Path, portal: BlockingPortal, simulator: Simulator
) -> None:
    rng = Random(f"kill {KILLS}")
    path = tmp_path / "store.db"
    books = Books(portal, simulator, path)
    told: list[tuple[str, str]] = []
    kills_while_starting = 0
    for run in range(KILLS):
        child = Child(path, run, simulator)
        try:
            if run % 4 == 3:
                time.sleep(rng.uniform(0.3, 2.0))  # in the middle of a start
                kills_while_starting += 1
            else:
                child.wait_for("recovered")
                assert books.faults(told) == [], f"after {run} kills"
                child.say("trade")
                time.sleep(rng.uniform(0.05, 0.8))
        finally:
            child.kill()
        told += child.told
    last = Child(path, KILLS, simulator)
    try:
        last.wait_for("recovered")
        assert books.faults(told) == [], f"after {KILLS} kills"
        last.say("settle")
        last.wait_for("settled")
        assert last.process.wait(timeout=20) == 0
        assert books.faults(told) == []
    finally:
        last.kill()
    live = books.accepted()
    print(f"\n{KILLS} kills, {kills_while_starting} of them in a start: {len(live)} orders accepted, {len(told)} told")
    assert len(live) > 5 * (KILLS - kills_while_starting)
    assert all(row.status in {OrderStatus.FILLED, OrderStatus.CANCELLED} for row in live)
