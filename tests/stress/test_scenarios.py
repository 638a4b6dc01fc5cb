"""A scenario is data; a wrong one is refused in one line that says where."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from core.clock import MINUTE, SECOND
from core.errors import ConfigError
from core.models import Rate
from core.stress.arrivals import ClosedUsers, Constant
from core.stress.library import BUILT_IN, load_scenario, parse_scenario, scenario_text
from core.stress.scenarios import parse_rate

GOOD = """\
name = "mine"
timeout_s = 5

[arrivals]
kind = "constant"
rate = 10
duration_s = 2

[[journey]]
operation = "place_order"

[[journey]]
operation = "get_positions"
weight = 2

[[brokers]]
name = "alpha"
response_ms = 5
[[brokers.budgets]]
rates = ["10/s"]

[[brokers]]
name = "beta"
[[brokers.budgets]]
rates = ["5/s", "100/min"]
categories = ["orders"]

[[faults]]
kind = "down"
broker = "alpha"
at_s = 1
until_s = 2

[thresholds]
failures = 0
"""


def test_every_built_in_scenario_loads_and_says_what_it_does() -> None:
    assert list(BUILT_IN) == [
        "users", "orders", "burst", "soak", "failover", "chaos", "market-data", "store", "limits", "gauntlet",
    ]  # fmt: skip
    for name, built_in in BUILT_IN.items():
        scenario = load_scenario(name)
        assert scenario.name == name == built_in.name
        assert built_in.description == scenario.description
        assert scenario.description
        assert len(scenario.description) <= 80


def test_the_suite_plays_every_other_built_in() -> None:
    assert [part.scenario for part in load_scenario("gauntlet").parts] == [
        name for name in BUILT_IN if name != "gauntlet"
    ]


def test_the_text_of_a_built_in_is_a_file_to_start_from(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(scenario_text("chaos"))
    assert load_scenario(str(path)) == load_scenario("chaos")


def test_a_good_file_is_read_whole() -> None:
    scenario = parse_scenario(GOOD, "mine.toml")
    assert scenario.arrivals == Constant(rate=10, duration_s=2)
    assert [step.weight for step in scenario.journey] == [1, 2]
    alpha, beta = (broker.config() for broker in scenario.brokers)
    assert alpha.simulated
    assert not alpha.base_url
    assert alpha.limits[0].rates == (Rate(10, SECOND),)
    assert beta.limits[0].categories == {"orders"}


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ("rate = 10", "rate = 0", 6, "arrivals.rate"),
        ("rate = 10", "rate = nan", 6, "arrivals.rate"),
        ("rate = 10", 'rate = "fast"', 6, "arrivals.rate"),
        ("rate = 10\n", "", 4, "arrivals.rate"),
        ('kind = "constant"', 'kind = "sometimes"', 5, "arrivals.kind"),
        ('kind = "constant"\n', "", 4, "arrivals"),
        ('"place_order"', '"fly"', 10, "journey.0.operation"),
        ("weight = 2", "weight = -1", 14, "journey.1.weight"),
        ("timeout_s = 5", "timeout_s = 0", 2, "timeout_s"),
        ("timeout_s = 5", "patience = 5", 2, "patience"),
        ("response_ms = 5", "response_ms = -5", 18, "brokers.0.response_ms"),
        ('["5/s", "100/min"]', '["5/s", "much"]', 25, "brokers.1.budgets.0.rates"),
        ('["orders"]', '["others"]', 26, "brokers.1.budgets.0.categories.0"),
        ('name = "beta"', 'name = "BETA"', 23, "brokers.1.name"),
        ('kind = "down"', 'kind = "tired"', 29, "faults.0.kind"),
        ('broker = "alpha"', 'broker = "gamma"', 28, "faults.0"),
        ("until_s = 2", "until_s = 0.5", 28, "faults.0"),
        ('kind = "down"', 'kind = "slow_disk"', 28, "faults.0"),
        ('broker = "alpha"\n', "", 28, "faults.0"),
        ("timeout_s = 5", 'wire = "smoke"', 2, "wire"),
        ("failures = 0", "failures = -1", 35, "thresholds.failures"),
        ("failures = 0", "p98_ms = 3", 35, "thresholds.p98_ms"),
        ("rate = 10", "rate = ", 6, "rate"),
        ("[arrivals]", "[arrivals", 4, ""),
        ('name = "beta"', 'name = "alpha"', 23, "brokers.1.name"),
        ('"get_positions"', '"store_trade"', 13, "journey.1.operation"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_key(old: str, new: str, line: int, key: str) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(ConfigError) as caught:
        parse_scenario(GOOD.replace(old, new, 1), "mine.toml")
    message = str(caught.value)
    assert message.startswith(f"mine.toml:{line}: {key}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ('scenario = "nosuch"', "no scenario 'nosuch'"),
        ('scenario = "gauntlet"', "'gauntlet' is a suite itself"),
        ('scenario = "suite.toml"', "'suite.toml' is a suite itself"),  # itself
        ('scenario = "absent.toml"', "absent.toml: No such file"),
        ('scenario = "orders"\nusers = 3', "--users does not fit"),
        ('scenario = "orders"\nrate = 1e9', "arrivals.rate"),
    ],
)
def test_a_part_that_cannot_be_played_is_refused_with_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("suite.toml").write_text(f'name = "suite"\n[[parts]]\nscenario = "burst"\n[[parts]]\n{part}\n')
    with pytest.raises(ConfigError) as caught:
        load_scenario("suite.toml")
    assert str(caught.value).startswith("suite.toml:5: parts.1.scenario: ")
    assert reason in str(caught.value)


TICKS = """
name = "x"
arrivals = {kind = "burst", count = 1}
journey = [{operation = "publish_ticks"}]
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name = "x"', "give [arrivals]"),
        (GOOD.replace('"get_positions"', '"store_trade"'), "mixes router, store"),
        (GOOD.partition("[[brokers]]")[0], "needs [[brokers]]"),
        (GOOD.replace('name = "beta"', 'name = "alpha"'), "two brokers of one name"),
        ('symbols = ["NSE:NIFTY50-INDEX"]\n' + GOOD, "does not trade 'NSE:NIFTY50-INDEX'"),
        (
            'name = "x"\n[[parts]]\nscenario = "users"\n[arrivals]\nkind = "burst"\ncount = 1\n',
            "of parts has no arrivals",
        ),
        (
            TICKS + '[[faults]]\nkind = "slow_disk"\nat_s = 0\nuntil_s = 1\n',
            "ticks touch no disk",
        ),
        ("", "name"),
    ],
)
def test_a_scenario_that_makes_no_sense_as_a_whole_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text, "mine.toml")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nonsense", "no scenario 'nonsense'; built in are: users, orders"),
        ("/nowhere/at/all.toml", "No such file"),
        ("/", "Is a directory"),
    ],
)
def test_a_scenario_that_is_not_there_is_refused_with_what_there_is(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_scenario(name)
    assert reason in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        load_scenario(str(path))


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", Rate(10, SECOND)), ("2000/30min", Rate(2000, 30 * MINUTE)), (" 5 / 250ms ", Rate(5, SECOND // 4))],
)
def test_a_rate_is_read_as_a_trader_writes_it(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "10/", "/s", "0/s", "-1/s", "1.5/s", "10/fortnight", "10/0s", "10/s/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|Rate"):
        parse_rate(text)


def test_flags_change_the_figures_they_name_and_nothing_else() -> None:
    orders, users = load_scenario("orders"), load_scenario("users")
    changed = orders.changed(rate=50, duration_s=3, seed=9)
    assert changed.arrivals == Constant(rate=50, duration_s=3)
    assert changed.seed == 9
    assert changed.brokers == orders.brokers
    assert users.changed(users=3).arrivals == ClosedUsers(users=3)
    assert users.changed() == users


@pytest.mark.parametrize(
    ("name", "flags", "reason"),
    [
        ("users", {"rate": 5.0}, "--rate does not fit its arrivals, which are of kind users"),
        ("orders", {"users": 5}, "--users does not fit"),
        ("store", {"http": True}, "--http does not fit, it asks no broker"),
        ("gauntlet", {"duration_s": 5.0}, "--duration does not fit its arrivals, which are of kind parts"),
        ("orders", {"rate": 1e9}, "arrivals.rate"),
    ],
)
def test_a_flag_that_does_not_fit_is_refused(name: str, flags: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_scenario(name).changed(**flags)  # type: ignore[arg-type]
    assert reason in str(caught.value)


def test_every_key_of_the_built_in_files_is_used_by_the_models() -> None:
    for name in BUILT_IN:
        assert tomllib.loads(scenario_text(name))["name"] == name
