from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import StoreError
from core.models import Order, OrderStatus, Trade
from core.store import Halted, Intent, LimiterSaved, Step, TradeStore
from core.store.schema import APPLICATION_ID, MIGRATIONS, prepare

VERSIONS = Path(__file__).parent / "versions"
NEWEST = len(MIGRATIONS)
# What a later release might do, so that the machinery is tried before it is needed.
LATER = (
    *MIGRATIONS,
    "ALTER TABLE trades ADD COLUMN note TEXT NOT NULL DEFAULT 'old; row';",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT) STRICT; INSERT INTO notes (note) SELECT note FROM trades;",
)


def restore(path: Path, version: int) -> None:
    """A file as headroom of that version left it, with the rows of versions/N.sql."""
    with closing(sqlite3.connect(path)) as db:
        if version:
            db.executescript((VERSIONS / f"{version}.sql").read_text(encoding="utf-8"))
            db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}")


def shape(path: Path) -> tuple[int, int, list[Any]]:
    with closing(sqlite3.connect(path)) as db:
        (version,), (application,) = (
            db.execute("PRAGMA user_version").fetchone(),
            db.execute("PRAGMA application_id").fetchone(),
        )
        names = "SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY 1, 2"
        found = db.execute(names).fetchall()
        columns = [
            (table, *column)
            for kind, table, _ in found
            if kind == "table"
            for column in db.execute(f"PRAGMA table_xinfo({table})").fetchall()
        ]
        return version, application, found + columns


def test_every_version_has_its_sample() -> None:
    assert sorted(int(sample.stem) for sample in VERSIONS.glob("*.sql")) == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("version", range(NEWEST + 1))
async def test_a_file_of_every_version_opens_as_one_of_today(tmp_path: Path, version: int) -> None:
    old, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    restore(old, version)
    async with TradeStore(fresh), TradeStore(old) as store:
        assert shape(old) == shape(fresh)
        assert (await store.journal.verify()).problems == ()
        assert await store.integrity_check() == ()
        if version:
            found = await store.journal.order("sample-1")
            assert found is not None
            assert (found.order.price, found.status) == (Decimal("652.55"), OrderStatus.PARTIALLY_FILLED)
            assert (found.filled_quantity, found.average_price, found.broker_order_id) == (4, Decimal("652.5"), "b1")
            assert store.journal.halted_now() == "sample"
            assert [row.order_id for row in await store.get_trades(symbol="NSE:SBIN-EQ")] == ["sample-2", "sample-1"]
            assert len(await store.journal.story("sample-1")) == (3 if version > 2 else 4)  # once a claim of its own
            await store.journal.append(Step("sample-1", OrderStatus.PARTIALLY_FILLED, OrderStatus.CANCELLED))
            await store.journal.rebuild()
            assert (await store.journal.verify()).problems == ()


@pytest.mark.parametrize("version", range(len(LATER) + 1))
def test_steps_are_taken_one_after_the_other_from_wherever_a_file_stands(path: Path, version: int) -> None:
    restore(path, min(version, NEWEST))
    prepare(path, migrations=LATER[:version] if version else LATER[:1])
    prepare(path, migrations=LATER)
    prepare(path, migrations=LATER)  # once more: nothing left to do
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(LATER),)
        rows = db.execute("SELECT note FROM trades").fetchall()
        assert rows == ([("old; row",)] * 3 if version else [])
        assert db.execute("SELECT note FROM notes").fetchall() == rows


def test_a_step_that_fails_half_way_leaves_the_file_as_it_was(path: Path) -> None:
    restore(path, NEWEST)
    before = shape(path)
    broken = (*MIGRATIONS, "ALTER TABLE trades ADD COLUMN note TEXT; DROP TABLE blocks; DROP TABLE nowhere;")
    with pytest.raises(StoreError, match="no such table: nowhere"):
        prepare(path, migrations=broken)
    assert shape(path) == before
    prepare(path)


def test_an_sqlite_that_is_too_old_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(StoreError, match=r"SQLite 3\.37\.0 or newer is needed"):
        prepare(path)
    assert not path.exists()


def test_processes_that_open_a_new_file_together_make_one_store(path: Path) -> None:
    program = (
        "import asyncio, sys; from core.models import Order; from core.store import TradeStore\n"
        "async def main():\n"
        "    async with TradeStore(sys.argv[1]) as store:\n"
        "        await store.journal.claim(Order(symbol='S', quantity=1, client_order_id=sys.argv[2]))\n"
        "asyncio.run(main())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, said
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM trades").fetchone() == (2,)


async def write_sample(path: Path) -> None:
    """What stands in versions/N.sql; run this file as a program to write the sample of a new version."""
    async with TradeStore(path) as store:
        one = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type="LIMIT", price="652.55", client_order_id="sample-1")
        two = Order(symbol="NSE:SBIN-EQ", quantity=1, client_order_id="sample-2")
        await store.journal.claim(one, Intent(one, tag="t1", provider="fyers"))
        await store.journal.append(
            Step("sample-1", OrderStatus.SUBMITTING, OrderStatus.ACCEPTED, broker_order_id="b1"),
            Step(
                "sample-1",
                OrderStatus.ACCEPTED,
                OrderStatus.PARTIALLY_FILLED,
                filled_quantity=4,
                average_price=Decimal("652.5"),
            ),
            LimiterSaved("fyers", "{}"),
            Halted("sample"),
        )
        await store.journal.claim(two, Step("sample-2", OrderStatus.NEW, OrderStatus.DENIED, message="too large"))
        await store.store_trade(Trade(order_id="sample-3", symbol="NSE:INFY-EQ", quantity=5, price=Decimal("1500.25")))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    asyncio.run(write_sample(target))
    with closing(sqlite3.connect(target)) as made:
        (VERSIONS / f"{NEWEST}.sql").write_text("\n".join(made.iterdump()) + "\n", encoding="utf-8")
