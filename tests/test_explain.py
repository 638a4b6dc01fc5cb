"""`headroom config`: what is in force, and what set it; secrets never."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.brokers import published_limits
from core.config import load_settings, simulated_settings
from core.explain import Option, explain

ROOT = Path(__file__).parents[1]
TEXT = """
seed = 4
theme = "headroom-light"
quote_max_age_ms = 100
[keys]
"app.freeze" = "f9"
[guards]
quantity_max = 100
[routing.routing_rules.get_market_data]
prefer = ["upstox"]
[brokers.fyers]
client_id = "AB-100"
api_secret = "hunter2"
[brokers.fyers.rate_limits]
requests_per_second = 8
[brokers.mine]
provider = "upstox"
"""


def written(tmp_path: Path, text: str = TEXT) -> Path:
    path = tmp_path / "headroom.toml"
    path.write_text(text)
    return path


def test_every_option_is_told_with_its_source(tmp_path: Path) -> None:
    path = written(tmp_path)
    environ = {
        "HEADROOM_FYERS_ACCESS_TOKEN": "hunter3",
        "HEADROOM_UPSTOX_API_KEY": "hunter4",
        "XDG_STATE_HOME": "/somewhere",
        "NO_COLOR": "1",
    }
    settings = load_settings(path, published_limits, environ).model_copy(update={"seed": 9})
    found = explain(settings, path=path, flags={"seed": 9, "store": None}, environ=environ)
    told = {option.name: (option.value, option.source) for option in found}
    file = f"file {path}"
    assert told["seed"] == ("9", "flag --seed")
    assert told["theme"] == ("headroom-light", file)
    assert told["layout"] == ("-", "default")
    assert told["quote_max_age_ms"] == ("100", file)
    assert told["store"][1] == "environment XDG_STATE_HOME"
    assert told["keys.app.freeze"] == ("f9", file)
    assert told["guards.quantity_max"] == ("100", file)
    assert told["guards.price_band"] == ("0.2", "default")
    assert told["routing.routing_rules.get_market_data.prefer"] == ("upstox", file)
    assert told["brokers.fyers.client_id"] == ("AB-100", file)
    assert told["brokers.fyers.api_key"] == ("unset", "default")
    assert told["brokers.fyers.api_secret"] == ("set", file)
    assert told["brokers.fyers.access_token"] == ("set", "environment HEADROOM_FYERS_ACCESS_TOKEN")
    assert told["brokers.fyers.limits.all"] == ("8/s", file)
    assert told["brokers.mine.provider"] == ("upstox", file)
    assert told["brokers.mine.limits.orders"][1] == "default: as the broker publishes"
    assert told["colour"] == ("off", "environment NO_COLOR")
    assert Option("-", "set, but there is no such account", "environment HEADROOM_UPSTOX_API_KEY") in found
    assert "hunter" not in repr(found)


def test_without_a_file_all_is_a_default_or_a_flag(tmp_path: Path) -> None:
    settings = simulated_settings(published_limits, store=tmp_path / "x.db")
    found = explain(settings, path=None, flags={"store": tmp_path / "x.db"}, environ={})
    assert {option.source for option in found if option.name != "store"} == {
        "default",
        "default: as the broker publishes",
    }
    assert Option("store", str(tmp_path / "x.db"), "flag --store") in found


def config(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", "config", *arguments], cwd=ROOT, env={**os.environ, **environ},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_prints_a_table_or_json_and_no_secret(tmp_path: Path) -> None:
    path = str(written(tmp_path))
    told = config("--config", path, "--explain", HEADROOM_FYERS_API_KEY="hunter5")
    assert told.returncode == 0
    assert "environment HEADROOM_FYERS_API_KEY" in told.stdout
    assert "hunter" not in told.stdout + told.stderr
    assert "default" not in config("--config", path).stdout
    rows = json.loads(config("--config", path, "--explain", "--json", "--seed", "3").stdout)
    assert {"option": "seed", "value": "3", "source": "flag --seed"} in rows


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('"app.frieze" = "f9"', "keys: there is no command 'app.frieze'; did you mean app.freeze?"),
        ('"app.freeze" = "q"', "keys: 'q' would mean both app.freeze and app.quit"),
        ('"app.freeze" = ""', "keys: app.freeze has no key"),
    ],
)
def test_keys_that_cannot_work_are_refused_in_one_line(tmp_path: Path, keys: str, says: str) -> None:
    path = written(tmp_path, f"[keys]\n{keys}\n[brokers.fyers]\n")
    told = config("--config", str(path))
    assert told.returncode == 2
    assert says in told.stderr
    assert told.stderr.count("\n") == 1
