"""`headroom simulate` as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from core.brokers.simulator.faults import FaultKind, read_fault_file
from core.brokers.simulator.server import Simulator
from core.brokers.simulator.settings import SimulatorSettings
from core.clock import SystemClock
from core.errors import ConfigError
from tui.__main__ import main

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tui", "simulate", *arguments]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_names_its_tokens_and_stops_at_a_signal(number: signal.Signals) -> None:
    arguments = ["--port", "0", "--upstox-token", "mine", "--separate-ports"]
    with subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        word, url = run.stdout.readline().split()
        assert word == "ready"
        others = [run.stdout.readline().rstrip("\n") for _ in range(5)]
        assert others[0].startswith("upstox http://127.0.0.1:")
        assert others[1].startswith("fyers http://127.0.0.1:")
        assert others[2:] == ["upstox token mine", "fyers client id DEMO0001-100", "fyers token demo-fyers-token"]
        for base in (url, others[0].split()[1]):
            request = urllib.request.Request(f"{base}/v2/user/profile", headers={"Authorization": "Bearer mine"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - our own server
                assert json.load(reply)["status"] == "success"
        run.send_signal(number)
        assert run.wait(10) == 128 + number
        assert run.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65536"], "'65536' is no port; give 0 to 65535"),
        (["--port", "-1"], "no port"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--faults", "/no/such/file"], "No such file"),
        (["--upstox-token", "two words"], "--upstox-token: give printable ASCII without blanks"),
        (["--host", "256.0.0.1"], "cannot listen on 256.0.0.1"),
        (["--host", ""], "the address is empty"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["simulate", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    output = capsys.readouterr()
    assert (code, output.out) == (2, "")
    assert says in output.err
    assert output.err.count("\n") == 1


BAD_FILES = [
    ("[[fault]\n", "Expected ']]'"),
    ("[weather]\n", "unknown key 'weather'; known: fault, latency"),
    ("[latency]\nmean_ms = 3\n", "latency: unknown key 'mean_ms'; known: floor_ms, median_ms, sigma"),
    ("[latency]\nmedian_ms = 1\nfloor_ms = 2\n", "median_ms is 1, below floor_ms of 2"),
    ("[[fault]]\nrate = 0.5\n", "fault 1 has no kind"),
    ('[[fault]]\nkind = "slwo"\n', "fault 1: unknown kind 'slwo'; known: down, slow"),
    ('[[fault]]\nkind = "slow"\n[[fault]]\nkind = "slow"\nrat = 1\n', "fault 2: unknown key 'rat'"),
    ('[[fault]]\nkind = "slow"\nrate = 1.5\n', "rate is 1.5; give a number from 0 to 1"),
    ('[[fault]]\nkind = "slow"\nrate = 0.5\ncount = 2\n', "either a rate above 0 or a count"),
    ('[[fault]]\nkind = "slow"\nrate = "often"\n', "fault 1: rate is often; give a number from 0 to 1"),
    ('[[fault]]\nkind = "slow"\nrate = nan\n', "fault 1: rate is nan; give a number from 0 to 1"),
    ('[[fault]]\nkind = "slow"\ncount = 1.5\n', "fault 1: slow: count is 1.5; give a whole number"),
    ('[[fault]]\nkind = "slow"\nfrom_s = -1\n', "fault 1: from_s is -1; give a number from 0 to"),
    ('[[fault]]\nkind = "slow"\nuntil_s = nan\n', "fault 1: until_s is nan; give a number"),
    ('[[fault]]\nkind = "slow"\ndelay_ms = -5\n', "fault 1: delay_ms is -5; give a number from 0 to"),
    ('[[fault]]\nkind = "slow"\ndelay_ms = inf\n', "fault 1: delay_ms is inf; give a number"),
    ("[latency]\nmedian_ms = 5\nsigma = 900\n", "latency.sigma is 900; give a number from 0 to 3"),
    ('[[fault]]\nkind = "slow"\noperations = "place_order"\n', "give a list of names"),
    ('[[fault]]\nkind = "slow"\noperations = ["plaice_order"]\n', "fault 1: unknown operation 'plaice_order'"),
    ('[[fault]]\nkind = "slow"\nbroker = "zerodha"\n', "known: upstox, fyers"),
    ('[[fault]]\nkind = "slow"\nfrom_s = 5\nuntil_s = 5\n', "it would end before it begins"),
    ('[[fault]]\nkind = "down"\nrate = 0.5\n', "give down no rate, count or operations"),
]


@pytest.mark.parametrize(("text", "says"), BAD_FILES, ids=[says for _, says in BAD_FILES])
async def test_a_bad_fault_file_is_a_config_error_of_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Simulator(SimulatorSettings(), SystemClock()).set_plan(read_fault_file(file))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_help_names_every_kind_of_fault_and_its_example_is_a_good_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    text = capsys.readouterr().out
    kinds = text[text.index("Kinds, by") :]
    assert {kind.value for kind in FaultKind} <= set(kinds.replace(",", " ").split())
    example = text[text.index("[latency]") : text.index("Kinds, by")]
    file = tmp_path / "faults.toml"
    file.write_text(example)
    plan = read_fault_file(file)
    assert (plan.latency.median_ms, plan.faults[0].operations) == (20, {"place_order"})
