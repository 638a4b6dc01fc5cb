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

from core.models import Order, OrderStatus, Trade
from core.store import Intent, Step, TradeStore
from tui.__main__ import main


def headroom(*arguments: str | Path) -> int:
    """The whole command: an action that the parser knows and nobody runs would show the dashboard."""
    return main(["journal", *map(str, arguments)])


@pytest.fixture
def traded(path: Path) -> Path:
    async def main() -> None:
        async with TradeStore(path) as store:
            one = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type="LIMIT", price="652.55", client_order_id="mine")
            await store.journal.claim(one)
            await store.journal.append(Intent(one, tag="t1", provider="fyers", epoch_ns=1_767_585_600_000_000_001))
            await store.journal.append(
                Step(
                    "mine",
                    OrderStatus.SUBMITTING,
                    OrderStatus.ACCEPTED,
                    broker_order_id="b1",
                    message="all \x1b[2J well",
                ),
                Step(
                    "mine",
                    OrderStatus.ACCEPTED,
                    OrderStatus.PARTIALLY_FILLED,
                    filled_quantity=4,
                    average_price=Decimal("652.5"),
                ),
            )
            await store.store_trade(Trade(order_id="hand", symbol="S", quantity=1, price=Decimal(1)))

    asyncio.run(main())
    return path


def damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


def test_verify_says_sound_and_exits_0(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("verify", "--store", traded) == 0
    assert capsys.readouterr().out == f"{traded}: sound; 4 entries, 1 order\n"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE journal SET body = '{}' WHERE serial = 2", "entry 2 fails its checksum"),
        ("UPDATE trades SET status = 'FILLED' WHERE order_id = 'mine'", "run headroom journal rebuild"),
    ],
)
def test_verify_names_the_fault_and_exits_1(
    traded: Path, capsys: pytest.CaptureFixture[str], statement: str, says: str
) -> None:
    damage(traded, statement)
    assert headroom("verify", "--store", traded) == 1
    said = capsys.readouterr().out
    assert says in said
    assert len(said.splitlines()) == 1


def test_verify_of_a_damaged_file_exits_1(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(b"not a database, " * 400)
    assert headroom("verify", "--store", path) == 1
    assert "restore a backup" in capsys.readouterr().err


def test_rebuild_mends_the_trade_store(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(traded, "UPDATE trades SET status = 'FILLED' WHERE order_id = 'mine'")
    assert headroom("rebuild", "--store", traded) == 0
    assert capsys.readouterr().out == f"{traded}: trade store rebuilt from 4 entries\n"
    assert headroom("verify", "--store", traded) == 0


def test_rebuild_from_a_damaged_journal_exits_2(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(traded, "UPDATE journal SET body = '{}' WHERE serial = 2")
    assert headroom("rebuild", "--store", traded) == 2
    assert "entry 2 fails its checksum" in capsys.readouterr().err


def test_show_tells_the_story_and_moves_no_cursor(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("show", "mine", "--store", traded) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "mine: PARTIALLY_FILLED SIMULATED",
        "  BUY 10 NSE:SBIN-EQ LIMIT at 652.55",
        "  attempt 1 at fyers as b1 (tag t1); 4 of 10 filled at 652.5",
        "",
    ]
    assert [line.split()[3] for line in lines[4:]] == ["Claimed", "Intent", "Step", "Step"]
    assert lines[5].split() == [
        "2",
        "2026-01-05",
        "04:00:00.000000001Z",
        "Intent",
        "tag=t1",
        "provider=fyers",
        "attempt=1",
    ]
    assert "after=ACCEPTED broker_order_id=b1 message=" in lines[6]
    assert lines[7].endswith("after=PARTIALLY_FILLED filled_quantity=4 average_price=652.5")
    assert all(line.isprintable() for line in lines)


def test_show_of_no_order_exits_2_with_one_line(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("show", "no\x1bbody", "--store", traded) == 2
    said = capsys.readouterr().err
    assert said.startswith("headroom journal: ")
    assert "no order no?body" in said
    assert len(said.splitlines()) == 1


def test_export_writes_a_row_for_every_entry(traded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "journal.csv"
    assert headroom("export", "--csv", target, "--store", traded) == 0
    assert capsys.readouterr().out == f"{target}: 4 entries written\n"
    assert len(target.read_text(encoding="utf-8").splitlines()) == 5


def test_export_to_where_nothing_can_be_written_exits_2(
    traded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headroom("export", "--csv", tmp_path / "nowhere" / "journal.csv", "--store", traded) == 2
    assert "journal.csv: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["verify"], ["rebuild"], ["show", "a"], ["export", "--csv", "x.csv"]])
def test_no_store_is_made_where_there_is_none(
    path: Path, capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    assert headroom(*action, "--store", path) == 2
    assert capsys.readouterr().err == f"headroom journal: {path}: no store there; name one with --store PATH\n"
    assert not path.exists()


@pytest.mark.parametrize("arguments", [[], ["polish"], ["show"], ["export"], ["verify", "--quick"]])
def test_bad_usage_exits_2(capsys: pytest.CaptureFixture[str], arguments: list[Any]) -> None:
    with pytest.raises(SystemExit) as left:
        headroom(*arguments)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("headroom")
    assert "--help)" in said
    assert len(said.splitlines()) == 1


def test_the_command_loads_no_screen() -> None:
    program = "import sys, tui.commands.journal; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
