"""File and environment in, checked values out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.brokers import published_limits
from core.clock import SECOND
from core.config import load_settings, simulated_settings
from core.errors import ConfigError
from core.models import APIConfig, APIProvider, Budget, Rate
from tui.commands.init import TEMPLATE


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "headroom.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_limits_of_its_own_an_account_keeps_the_published_ones(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[brokers.fyers]\n[brokers.second]\nprovider = 'upstox'\n")
    settings = load_settings(path, published_limits, {})
    assert settings.brokers["fyers"].limits == published_limits(APIProvider.FYERS)
    assert settings.brokers["second"].limits == published_limits(APIProvider.UPSTOX)
    assert not settings.simulated


def test_an_algo_that_is_registered_at_the_exchange_raises_the_orders_of_a_second(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[brokers.upstox]\nalgo_name = 'mine'\n[brokers.fyers]\nalgo_name = 'mine'\n")
    settings = load_settings(path, published_limits, {})
    orders = settings.brokers["upstox"].limits[0]
    assert [str(rate) for rate in orders.rates] == ["50/s", "500/min", "2000/30min"]
    assert settings.brokers["fyers"].limits == published_limits(APIProvider.FYERS)


def test_limits_may_be_named_or_free(tmp_path: Path) -> None:
    text = """
        [brokers.fyers]
        rates = [{permits = 3, window_ms = 250}]
        [brokers.fyers.rate_limits]
        requests_per_second = 8
    """
    (budget,) = load_settings(settings_file(tmp_path, text), published_limits, {}).brokers["fyers"].limits
    assert budget.rates == (Rate(3, SECOND // 4), Rate(8, SECOND))


def test_the_file_of_shared_counts_may_lie_at_home(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[brokers.fyers]\nshared_counts = '~/fyers.ring'\n[brokers.upstox]\n")
    brokers = load_settings(path, published_limits, {}).brokers
    assert brokers["fyers"].shared_counts == Path.home() / "fyers.ring"
    assert brokers["upstox"].shared_counts is None


def test_a_secret_in_the_environment_wins_and_never_shows(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[brokers.fyers]\naccess_token = 'from the file'\n")
    settings = load_settings(path, published_limits, {"HEADROOM_FYERS_ACCESS_TOKEN": "from the environment"})
    account = settings.brokers["fyers"]
    assert account.access_token.get_secret_value() == "from the environment"
    for shown in (repr(settings), str(account), repr(account.public()), account.model_dump_json()):
        assert "from the" not in shown


def test_the_template_is_a_valid_file(tmp_path: Path) -> None:
    assert set(load_settings(settings_file(tmp_path, TEMPLATE), published_limits, {}).brokers) == {"fyers", "upstox"}
    everything = re.sub(r"^# (?=\[|\w+ = )", "", TEMPLATE, flags=re.MULTILINE)
    settings = load_settings(settings_file(tmp_path, everything), published_limits, {})
    assert settings.guards["quantity_max"] == 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[brokers.fyers\n", "not valid TOML"),
        ("seed = 1\n", "no [brokers.NAME] table"),
        ("brokers = 3\n", "no [brokers.NAME] table"),
        ("[brokers]\nfyers = 3\n", "brokers.fyers is not a table"),
        ("[brokers.robinhood]\n", "brokers.robinhood.provider is 'robinhood'; known: fyers"),
        ("[brokers.fyers]\ncolour = 'red'\n", "brokers.fyers.colour"),
        ("[brokers.fyers.rate_limits]\nrequests_per_second = 0\n", "requests_per_second is 0"),
        ("[brokers.fyers.rate_limits]\nrequests_per_second = true\n", "requests_per_second is True"),
        ("[brokers.fyers.rate_limits]\nrequests_per_second = 1.5\n", "requests_per_second is 1.5"),
        ("[brokers.fyers.rate_limits]\nrequests_per_fortnight = 5\n", "no window 'requests_per_fortnight'"),
        ("[brokers.fyers]\nrates = [{permits = 5}]\n", "brokers.fyers.rates"),
        ("[brokers.fyers]\ntimeout_ms = 'soon'\n", "brokers.fyers.timeout_ms"),
        (
            "[brokers.fyers]\nsimulated = true\nbase_url = 'https://api-t1.fyers.in'\n",
            "simulated is true, but base_url",
        ),
        ("volume = 11\n[brokers.fyers]\n", "volume"),
    ],
)
def test_a_wrong_file_is_told_in_one_line_with_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = settings_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, published_limits, {})
    message = str(caught.value)
    assert message.startswith(str(path))
    assert says in message
    assert "\n" not in message


def test_a_wrong_secret_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[brokers.fyers]\naccess_token = ['hunter2']\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, published_limits, {})
    assert "hunter2" not in str(caught.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_settings(path, published_limits, {})
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(tmp_path / "latin.toml", published_limits, {})


def test_the_default_is_two_simulated_brokers() -> None:
    settings = simulated_settings(published_limits)
    assert settings.simulated
    assert {config.provider for config in settings.brokers.values()} == {APIProvider.FYERS, APIProvider.UPSTOX}


@pytest.mark.parametrize("permits", [0, -1, 2.0, 1.5, True, "3", float("nan"), None])
def test_a_rate_takes_whole_numbers_of_at_least_one(permits: object) -> None:
    with pytest.raises(ValueError, match="permits"):
        Rate(permits, SECOND)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="window_ns"):
        Rate(1, permits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "no rate limit"),
        ({"rate_limits": [1]}, "table"),
        ({"rate_limits": {"requests_per_second": 1}, "budgets": (Budget("a", (Rate(1, SECOND),)),)}, "not both"),
        ({"rate_limits": {"requests_per_second": 1}, "rates": (Rate(2, SECOND),)}, "two rates of one window"),
    ],
)
def test_an_account_without_a_clear_limit_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        APIConfig(provider=APIProvider.FYERS, **arguments)  # type: ignore[arg-type]
