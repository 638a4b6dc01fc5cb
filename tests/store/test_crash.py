"""What was acknowledged survives kill -9 and, as far as a test can see it, a power cut: the disk was told first."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.models import OrderStatus
from core.store import TradeStore

TRADER = """
import asyncio, os, sys
from decimal import Decimal
from core.models import Order, OrderStatus, Trade
from core.store import Intent, Step, TradeStore

async def order(store, name):
    one = Order(symbol="S", quantity=1, client_order_id=name)
    await store.journal.claim(one)
    await store.journal.append(Intent(one, tag=name, provider="fyers"))
    os.write(1, f"sent {name}\\n".encode())
    await store.journal.append(Step(name, OrderStatus.SUBMITTING, OrderStatus.ACCEPTED, broker_order_id=name))
    os.write(1, f"accepted {name}\\n".encode())

async def row(store, name):
    await store.store_trade(Trade(order_id=name, symbol="S", quantity=1, price=Decimal(1)))
    os.write(1, f"stored {name}\\n".encode())
    await store.update_trade_status(name, "COMPLETE")
    os.write(1, f"complete {name}\\n".encode())

async def worker(store, name):
    number = 0
    while True:
        number += 1
        await (order if number % 2 else row)(store, f"{sys.argv[2]}-{name}-{number}")

async def main():
    async with TradeStore(sys.argv[1]) as store:
        async with asyncio.TaskGroup() as tasks:
            for name in range(10):
                tasks.create_task(worker(store, name))
asyncio.run(main())
"""


def trade_until_killed(path: Path, run: int, after_s: float) -> list[str]:
    """Everything that the child was told is durable before it was killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", TRADER, str(path), str(run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(after_s)  # a real moment of a real process: no clock of ours runs there
    child.send_signal(signal.SIGKILL)
    rest, said = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, said
    return [line for line in (first + rest).split("\n")[:-1] if line]


async def test_a_kill_in_mid_write_loses_nothing_that_was_told(path: Path) -> None:
    moments = random.Random(5)
    told: list[str] = []
    for run in range(3):
        told += await asyncio.to_thread(trade_until_killed, path, run, moments.uniform(0, 0.15))
        async with TradeStore(path) as store:
            assert (await store.journal.verify()).problems == ()
            assert await store.integrity_check() == ()
            rows = {row.order_id: row.status for row in await store.get_recent_trades(limit=1_000_000)}
            for line in told:
                what, name = line.split()
                if what == "sent":
                    assert rows[name] in {OrderStatus.SUBMITTING, OrderStatus.ACCEPTED}
                elif what == "accepted":
                    assert rows[name] == OrderStatus.ACCEPTED
                elif what == "stored":
                    assert rows[name] in {"NEW", "COMPLETE"}
                else:
                    assert rows[name] == "COMPLETE"
    assert len(told) > 100


WRITER = """
import asyncio, os, sys
from decimal import Decimal
from core.models import Order, Trade
from core.store import Halted, Intent, TradeStore
async def main():
    async with TradeStore(sys.argv[1]) as store:
        await store._writer.alone(f"PRAGMA synchronous = {sys.argv[2]}")
        os.write(1, b"begin\\n")
        for number in range(25):
            order = Order(symbol="S", quantity=1, client_order_id=str(number))
            await store.journal.claim(order)
            os.write(1, b"told\\n")
            await store.journal.append(Intent(order, tag=str(number), provider="fyers"))
            os.write(1, b"told\\n")
            await store.store_trade(Trade(order_id=f"t{number}", symbol="S", quantity=1, price=Decimal(1)))
            os.write(1, b"told\\n")
            await store.update_trade_status(f"t{number}", "X")
            os.write(1, b"told\\n")
        os.write(1, f"counted {store.disk_syncs}\\n".encode())
asyncio.run(main())
"""
CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>pwrite64|fdatasync|fsync|write)\((?P<rest>.*)$")
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")


def told_before_durable(trace: list[str]) -> tuple[int, int, int]:
    """Acknowledgements in a trace, those that came while the log was not yet on the disk, and syncs of the log."""
    told = early = synced = 0
    unsynced = False
    written_since_told = False
    started: dict[str, str] = {}
    watching = False
    for line in trace:
        if (call := CALL.match(line)) is not None:
            text = call["rest"]
            if "<unfinished" in text:
                started[call["pid"]] = text
                # A write counts from its beginning, a sync only from its end.
                if call["name"] != "pwrite64":
                    continue
        elif (call := RESUMED.match(line)) is not None:
            text = started.pop(call["pid"], "") + call["rest"]
        else:
            continue
        if call["name"] == "pwrite64" and "-wal>" in text:
            unsynced = written_since_told = True
        elif call["name"] in {"fdatasync", "fsync"} and "-wal>" in text and text.rstrip().endswith("= 0"):
            unsynced = False
            synced += watching
        elif call["name"] == "write":
            watching = "counted" not in text and (watching or "begin" in text)
            if watching and "told" in text:
                told += 1
                early += unsynced or not written_since_told
                written_since_told = False
    return told, early, synced


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_nothing_is_told_before_its_fdatasync(path: Path, synchronous: str) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = path.with_name("trace")
    watched = [strace, "-f", "-y", "-s", "16", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", str(trace)]
    done = subprocess.run(
        [*watched, sys.executable, "-c", WRITER, str(path), synchronous],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this machine does not permit ptrace")
    assert done.returncode == 0, done.stderr
    told, early, synced = told_before_durable(trace.read_text(encoding="utf-8").splitlines())
    assert told == 100
    # NORMAL is the counter-proof: a store that acknowledged too early would be seen.
    assert early == (0 if synchronous == "FULL" else told)
    if synchronous == "FULL":
        # One more than commits: SQLite also waits for the head of a new log.
        assert done.stdout.splitlines()[-1] == f"counted {synced - 1}"
