"""`headroom check` against the simulator: a line for each finding, and an exit code that says whether all will work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.brokers import Token, TokenStore
from core.brokers.simulator.faults import Fault, FaultKind, FaultPlan
from core.brokers.simulator.server import Simulator, serve
from core.clock import HOUR, SECOND, SystemClock
from core.config import token_dir
from tui.__main__ import main

SECRET = "S3CRET-9f8e7d"  # noqa: S105 - must not be shown


@dataclass
class Desk:
    """An account at Fyers behind the simulator, its configuration and its token file."""

    simulator: Simulator
    config: Path
    tokens: TokenStore
    capture: pytest.CaptureFixture[str]

    def configure(self, more: str = "", *, base_url: str = "") -> None:
        self.config.write_text(
            f'[brokers.fyers]\nclient_id = "DEMO0001-100"\napi_secret = "{SECRET}"\nsimulated = true\n'
            f'base_url = "{base_url or self.simulator.base_url}"\n{more}'
        )
        self.config.chmod(0o600)

    def log_in(self, token: str = "demo-fyers-token", *, age_h: float = 2.0, left_h: float = 5.0) -> Path:  # noqa: S107
        now_ns = SystemClock().epoch_ns()
        return self.tokens.save(
            "fyers",
            Token(
                access_token=SecretStr(token),
                obtained_epoch_ns=now_ns - round(age_h * HOUR),
                expires_epoch_ns=now_ns + round(left_h * HOUR),
            ),
        )

    async def check(self, *more: str) -> tuple[int, list[str]]:
        """The exit code and the lines; nothing on stderr, no secret, a mark on every line."""
        code = await asyncio.to_thread(main, ["check", "--config", str(self.config), *more])
        output = self.capture.readouterr()
        assert output.err == ""
        assert SECRET not in output.out
        assert "demo-fyers-token" not in output.out
        lines = output.out.splitlines()
        assert all(line[:5] in {"ok   ", "warn ", "FAIL "} for line in lines)
        return code, lines


@pytest.fixture
async def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with serve() as simulator:
        one = Desk(simulator, tmp_path / "headroom.toml", TokenStore(token_dir()), capsys)
        one.configure()
        yield one


async def test_all_is_well(desk: Desk):
    desk.log_in()
    code, lines = await desk.check()
    assert code == 0
    assert lines == [
        f"ok   {desk.config}: 1 account",
        "ok   fyers: orders and reads: 10/s, 200/min, 100000/day (as the broker publishes)",
        "ok   fyers: orders: 10/s (as the broker publishes)",
        "ok   fyers: the token is 2.0 h old and good for 5.0 h more",
        "ok   fyers: the broker takes the token",
        "ok   fyers: this clock and the broker's agree within a second",
    ]


async def test_offline_asks_nobody(desk: Desk):
    desk.log_in("never seen")
    code, lines = await desk.check("--offline")
    assert (code, lines[-1]) == (0, "ok   fyers: the token is 2.0 h old and good for 5.0 h more")
    assert desk.simulator.referee_reports()["fyers"].accepted == 0


async def test_without_a_token_or_with_a_dead_one_the_way_to_a_new_one_is_told(desk: Desk):
    code, lines = await desk.check()
    assert (code, lines[-1]) == (1, "FAIL fyers: no access token; run: headroom login fyers")
    desk.log_in(left_h=-2.0)
    code, lines = await desk.check()
    assert (code, lines[-1]) == (1, "FAIL fyers: the token expired 2.0 h ago; run: headroom login fyers")
    assert desk.simulator.referee_reports()["fyers"].accepted == 0


async def test_a_token_that_the_broker_refuses(desk: Desk):
    desk.log_in("not-the-token")
    code, lines = await desk.check()
    said = "FAIL fyers: the token is not accepted; log in again: -16 'Could not authenticate the user'"
    assert (code, lines[-1]) == (1, said)


async def test_a_token_file_that_others_may_read_or_that_is_damaged_is_a_finding(desk: Desk):
    path = desk.log_in()
    path.chmod(0o640)
    code, lines = await desk.check()
    assert (code, lines[-1]) == (1, f"FAIL fyers: token file {path} can be read by others (mode 0640); chmod 600 it")
    path.write_text("{")
    path.chmod(0o600)
    code, lines = await desk.check()
    assert (code, lines[-1]) == (1, f"FAIL fyers: token file {path} is damaged; log in again")


async def test_a_configuration_that_others_may_read_is_a_warning(desk: Desk):
    desk.log_in()
    desk.config.chmod(0o644)
    code, lines = await desk.check()
    assert (code, lines[1]) == (
        0,
        f"warn {desk.config}: may hold secrets, and others may read it (mode 0644); chmod 600 it",
    )


async def test_limits_of_ones_own_are_told_apart_from_the_published_ones(desk: Desk):
    desk.configure("[brokers.fyers.rate_limits]\nrequests_per_second = 8\n")
    desk.log_in()
    code, lines = await desk.check()
    assert (code, lines[1]) == (0, "ok   fyers: orders and reads: 8/s (from the file)")


@pytest.mark.parametrize("skew_s", [90, -90])
async def test_a_clock_that_differs_from_the_brokers_date_header(desk: Desk, skew_s: int):
    desk.simulator.set_plan(FaultPlan(faults=(Fault(kind=FaultKind.CLOCK_SKEW, rate=1.0, delay_ns=skew_s * SECOND),)))
    desk.log_in()
    code, lines = await desk.check()
    assert code == 0
    assert lines[-1].startswith(f"warn fyers: this clock and the broker's differ by {'-' if skew_s < 0 else ''}")
    assert lines[-1].endswith(" ms; set it by NTP")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (FaultKind.STORM_429, "too many requests, refused: -429 'request limit reached'; slow down"),
        (FaultKind.FIREWALL_429, "too many requests, refused by the firewall in front of it; slow down"),
        (FaultKind.ERROR_BEFORE_ACCEPT, "its server failed (500)"),
        (FaultKind.MAINTENANCE, "its server failed (503): -99 'The service is under maintenance"),
        (FaultKind.BAD_JSON, "an answer that says neither yes nor no"),
        (FaultKind.RESET_BEFORE_READ, "the connection was reset"),
    ],
)
async def test_a_broker_that_does_not_answer_as_it_should(desk: Desk, kind: FaultKind, says: str):
    desk.log_in()
    desk.simulator.set_fault(kind, 1.0)
    code, lines = await desk.check()
    assert code == 1
    assert lines[-1].startswith("FAIL fyers: ")
    assert says in lines[-1]


async def test_a_broker_that_is_not_there_and_an_address_that_is_none(desk: Desk):
    desk.log_in()
    desk.configure(base_url="http://127.0.0.1:1")
    code, lines = await desk.check()
    assert (code, lines[-1][:55]) == (1, "FAIL fyers: the request never left: no connection could")
    desk.configure(base_url="http://127.0.0.1?x")
    code, lines = await desk.check()
    assert (code, lines[-1][:22]) == (1, "FAIL fyers: base_url i")


async def test_every_account_is_looked_at_whatever_is_wrong_with_the_one_before(desk: Desk):
    path = desk.log_in()
    path.chmod(0o644)
    desk.configure(
        f'[brokers.upstox]\nclient_id = "k"\naccess_token = "demo-upstox-token"\nsimulated = true\n'
        f'algo_name = "mine"\nbase_url = "{desk.simulator.base_url}"\n'
    )
    code, lines = await desk.check()
    assert code == 1
    assert f"FAIL fyers: token file {path} can be read by others (mode 0644); chmod 600 it" in lines
    # A registered algo raises the orders of a second; the simulator knows of none and says so.
    assert "ok   upstox: orders: 50/s, 500/min, 2000/30min (as the broker publishes)" in lines
    assert lines[-1].startswith("FAIL upstox: the algo name is not accepted; correct algo_name: UDAPI1156")
