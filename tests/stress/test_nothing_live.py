"""No flag, file, variable or command makes the lab load anything but embedded brokers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from core.brokers import FyersAPI
from core.brokers.mock import MockTradingAPI
from core.clock import SECOND
from core.config import Settings
from core.errors import ConfigError
from core.models import APIConfig, APIProvider, Budget, Rate
from core.router import open_router
from core.stress.child import ChildStress
from core.stress.library import load_scenario, parse_scenario
from core.stress.targets import refuse_anything_live
from tui.__main__ import main

SCENARIO = """\
name = "x"
[arrivals]
kind = "burst"
count = 1
[[journey]]
operation = "place_order"
[[brokers]]
name = "fyers"
provider = "fyers"
{extra}
[[brokers.budgets]]
rates = ["1/s"]
"""
BUDGET = Budget("all", (Rate(10, SECOND),))


@pytest.mark.parametrize(
    "extra",
    [
        'base_url = "https://api-t1.fyers.in"',
        'access_token = "secret"',
        'api_key = "secret"',
        'client_id = "XY0001"',
        "simulated = false",
        "simulated = true",
        'config = "live.toml"',
    ],
)
def test_a_scenario_has_no_key_for_an_account_or_an_address(extra: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.toml:10: brokers\.0\.\w+: no such key") as caught:
        parse_scenario(SCENARIO.format(extra=extra), "x.toml")
    assert "secret" not in str(caught.value)


def test_what_a_scenario_describes_is_simulated_and_has_no_address() -> None:
    for name in ("users", "orders", "chaos"):
        for spec in load_scenario(name).brokers:
            config = spec.config()
            assert config.simulated
            assert not config.base_url
            assert not config.access_token.get_secret_value()


def account(**more: object) -> APIConfig:
    return APIConfig.model_validate({"provider": APIProvider.FYERS, "budgets": (BUDGET,), "client_id": "XY0001-100",
                                     "api_key": "k", "access_token": "t", **more})  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"simulated": True, "base_url": "http://127.0.0.1:9"}])
async def test_a_router_with_any_other_adapter_is_refused_whatever_its_flags_say(
    more: dict[str, object], tmp_path: Path
) -> None:
    embedded = APIConfig(provider=APIProvider.MOCK, budgets=(BUDGET,), simulated=True)
    settings = Settings(brokers={"embedded": embedded, "other": account(**more)}, store=tmp_path / "x.db")
    async with open_router(settings) as router:
        with pytest.raises(ConfigError, match="other is FyersAPI, not an embedded broker"):
            refuse_anything_live(router)


async def test_behind_sockets_only_the_simulator_that_the_router_started_is_loaded(tmp_path: Path) -> None:
    configs = {
        name: APIConfig(provider=APIProvider(name), budgets=(BUDGET,), simulated=True) for name in ("fyers", "upstox")
    }
    settings = Settings(brokers=configs, store=tmp_path / "x.db", embedded="process")
    async with open_router(settings) as router:
        refuse_anything_live(router)
        ours = router.manager.apis["fyers"]
        other = FyersAPI("fyers", account(simulated=True, base_url="http://127.0.0.1:9"), clock=router.clock)
        router.manager.apis = {**router.manager.apis, "fyers": other}
        with pytest.raises(ConfigError, match="fyers is FyersAPI, not an embedded broker"):
            refuse_anything_live(router)
        # The right object, turned to another address.
        ours._config = ours.config.model_copy(update={"base_url": "https://api-t1.fyers.in"})  # type: ignore[attr-defined]
        router.manager.apis = {**router.manager.apis, "fyers": ours}
        with pytest.raises(ConfigError, match="fyers is FyersAPI, not an embedded broker"):
            refuse_anything_live(router)


async def test_an_adapter_that_only_looks_embedded_is_refused(tmp_path: Path) -> None:
    class LooksEmbedded(MockTradingAPI):
        """Could send its orders anywhere."""

    embedded = APIConfig(provider=APIProvider.MOCK, budgets=(BUDGET,), simulated=True)
    async with open_router(Settings(brokers={"a": embedded}, store=tmp_path / "x.db")) as router:
        refuse_anything_live(router)
        router.manager.apis = {"a": LooksEmbedded("a", embedded)}
        with pytest.raises(ConfigError, match="LooksEmbedded"):
            refuse_anything_live(router)


def test_no_flag_file_or_variable_leads_to_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run beside a live configuration, with its secrets in the environment, opens no socket."""
    live = tmp_path / "headroom.toml"
    live.write_text('[brokers.fyers]\nclient_id = "XY0001-100"\nbase_url = "http://127.0.0.1:9"\n')
    for name in ("FYERS", "UPSTOX", "ALPHA", "BETA"):
        monkeypatch.setenv(f"HEADROOM_{name}_ACCESS_TOKEN", "secret-token")
        monkeypatch.setenv(f"HEADROOM_{name}_API_KEY", "secret-key")
    monkeypatch.setenv("HEADROOM_CONFIG", str(live))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    connections: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: connections.append(address))
    monkeypatch.setattr(socket.socket, "connect_ex", lambda _self, address: connections.append(address))

    for flags in ([], ["--config", str(live)]):
        code = main(
            [
                *flags,
                "stress",
                "orders",
                "--virtual",
                "--duration",
                "1",
                "--rate",
                "10",
                "--json",
                str(tmp_path / "r.json"),
            ]
        )
        assert code == 0
    assert connections == []
    assert "secret" not in (tmp_path / "r.json").read_text() + capsys.readouterr().out


@pytest.mark.parametrize(
    "flag", ["--config=x.toml", "--live", "--account=fyers", "--base-url=http://x", "--broker=fyers"]
)
def test_the_command_has_no_flag_for_it(flag: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["stress", "orders", flag])
    assert caught.value.code == 2


@pytest.mark.parametrize("key", ["config", "base_url", "live", "store", "--config", "rate --config"])
async def test_a_command_from_the_screen_has_no_word_for_it(key: str) -> None:
    child = ChildStress()
    with pytest.raises(ConfigError, match="is no flag of a stress run"):
        await child.start("orders", {key: "x"})
    assert not child.running
