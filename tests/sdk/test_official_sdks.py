"""The brokers' own SDKs, unmodified, against `headroom simulate`: each step gets the documented answer.

`make test-sdk` builds .venv-sdk with their current releases and names its interpreter in HEADROOM_SDK_PYTHON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SDK_PYTHON = os.environ["HEADROOM_SDK_PYTHON"]


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    command = [sys.executable, "-m", "tui", "simulate", "--port", "0", "--upstox-token", "up", "--fyers-token", "fy",
               "--fyers-client-id", "APP00001-100"]  # fmt: skip
    with subprocess.Popen(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, url = process.stdout.readline().split()
        assert word == "ready"
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def told(story: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [SDK_PYTHON, HERE / story, *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def upstox(simulator: str) -> dict[str, Any]:
    return told("upstox_story.py", simulator, "up")


@pytest.fixture(scope="module")
def fyers(simulator: str) -> dict[str, Any]:
    return told("fyers_story.py", simulator, "APP00001-100", "fy", "demo-fyers-secret")


UPSTOX_READS = ["profile", "funds v2", "funds v3", "positions", "holdings", "ltp v2", "ltp v3", "full quote", "ohlc",
                "market status", "kill switch", "trades", "order book"]  # fmt: skip


@pytest.mark.parametrize("step", UPSTOX_READS)
def test_the_upstox_sdk_reads(upstox: dict[str, Any], step: str) -> None:
    assert upstox[step]["http"] == 200
    assert upstox[step]["body"]["status"] == "success"
    assert upstox[step]["body"]["data"] is not None


def test_the_upstox_sdk_builds_its_models_with_no_field_missing(upstox: dict[str, Any]) -> None:
    """A field that the SDK knows and that did not come is None; these may be empty in earnest."""
    may_be_none = {"guid", "parent_order_id", "status_message", "status_message_raw", "prev_ohlc"}
    for step, rows in (
        ("holdings", upstox["holdings"]["body"]["data"][:1]),
        ("order book", upstox["order book"]["body"]["data"][:1]),
        ("trades", upstox["trades"]["body"]["data"][:1]),
        ("funds v2", [upstox["funds v2"]["body"]["data"]["equity"]]),
        ("quote", list(upstox["full quote"]["body"]["data"].values())),
        ("ltp", list(upstox["ltp v3"]["body"]["data"].values())),
    ):
        assert rows, step
        for row in rows:
            assert {name for name, value in row.items() if value is None} <= may_be_none, step


def test_the_upstox_sdk_lives_through_an_order(upstox: dict[str, Any]) -> None:
    (order_id,) = upstox["place"]["body"]["data"]["order_ids"]
    assert upstox["place"]["body"]["metadata"]["latency"] >= 0
    assert upstox["details"]["body"]["data"]["status"] == "open"
    assert upstox["modify"]["body"]["data"]["order_id"] == order_id
    (row,) = upstox["order book"]["body"]["data"]
    assert (row["price"], row["quantity"], row["tag"]) == (801.0, 3, "sdkstory1")
    assert upstox["cancel"]["body"]["data"]["order_id"] == order_id
    history = upstox["history by tag"]["body"]["data"]
    assert {(stage["order_id"], stage["tag"]) for stage in history} == {(order_id, "sdkstory1")}
    assert history[-1]["status"] == "cancelled"
    assert upstox["multi place"]["body"]["summary"]["success"] == 1
    assert upstox["cancel all"]["body"]["summary"]["success"] == 1


@pytest.mark.parametrize(
    ("step", "http", "code"),
    [
        ("wrong token", 401, "UDAPI100050"),
        ("after logout", 401, "UDAPI100050"),
        ("unknown order", 400, "UDAPI100010"),
        ("cancel again", 400, "UDAPI100040"),
        ("bad quantity", 400, "UDAPI1052"),
    ],
)
def test_the_upstox_sdk_gets_the_documented_error(upstox: dict[str, Any], step: str, http: int, code: str) -> None:
    assert (upstox[step]["http"], upstox[step]["body"]["errors"][0]["error_code"]) == (http, code)


def test_a_burst_of_the_upstox_sdk_is_cut_at_ten_a_second_without_advice(upstox: dict[str, Any]) -> None:
    assert upstox["burst"]["http"] == [200] * 10 + [429] * 4
    last = upstox["burst"]["last"]
    assert last["body"]["errors"][0]["error_code"] == "UDAPI10005"
    assert "retry-after" not in last["headers"]


FYERS_READS = {
    "profile": "data", "funds": "fund_limit", "positions": "netPositions", "holdings": "holdings", "quotes": "d",
    "depth": "d", "market status": "marketStatus", "history": "candles", "order book": "orderBook",
    "trades": "tradeBook", "profile with the new token": "data",
}  # fmt: skip


@pytest.mark.parametrize(("step", "key"), FYERS_READS.items())
def test_the_fyers_sdk_reads(fyers: dict[str, Any], step: str, key: str) -> None:
    assert (fyers[step]["s"], fyers[step]["code"]) == ("ok", 200)
    assert key in fyers[step]


def test_the_fyers_sdk_lives_through_an_order(fyers: dict[str, Any]) -> None:
    order_id = fyers["place"]["id"]
    assert [fyers[step]["code"] for step in ("place", "modify", "cancel", "place market")] == [1101, 1102, 1103, 1101]
    (row,) = fyers["order by id"]["orderBook"]
    assert (row["id"], row["limitPrice"], row["qty"], row["status"]) == (order_id, 801.0, 4, 6)
    (row,) = fyers["history by tag"]["orderBook"]
    assert (row["id"], row["orderTag"], row["status"]) == (order_id, "1:sdkstory1", 1)
    assert sum(row["tradedQty"] for row in fyers["trades"]["tradeBook"]) == 10
    assert [line["body"]["code"] for line in fyers["basket"]["data"]] == [1101, -50]
    assert [row["n"] for row in fyers["quotes"]["d"]] == ["NSE:SBIN-EQ", "NSE:M&M-EQ"]
    assert fyers["log in"]["access_token"]


@pytest.mark.parametrize(("step", "code"), [("wrong token", -16), ("wrong token, data", -15), ("unknown order", -51)])
def test_the_fyers_sdk_gets_the_documented_error(fyers: dict[str, Any], step: str, code: int) -> None:
    assert (fyers[step]["s"], fyers[step]["code"]) == ("error", code)


def test_a_burst_of_the_fyers_sdk_is_cut_at_ten_a_second(fyers: dict[str, Any]) -> None:
    assert [answer["code"] for answer in fyers["burst"]] == [200] * 10 + [-429] * 4
