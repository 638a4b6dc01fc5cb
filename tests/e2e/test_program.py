"""`headroom` as an operator meets it: started, looked at, typed into, left, killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Terminal

pytestmark = pytest.mark.timeout(120)


def test_it_opens_on_the_overview_and_q_leaves_the_terminal_as_it_was(
    terminal: Terminal, headroom: tuple[str, ...]
) -> None:
    terminal.start(*headroom)
    for word in ("SIMULATED", "RUNS OUT", "IN DOUBT", "DO NEXT", "fyers", "upstox", "10/s", "latest orders"):
        terminal.wait_for(word)
    assert terminal.fact("alternate_on") == "1"
    terminal.press("q")
    assert terminal.wait_for_exit() == 0
    assert terminal.fact("alternate_on") == "0"
    assert terminal.fact("mouse_any_flag") == "0"


def test_every_screen_and_the_help_are_one_key_away(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom, size=(160, 50))
    terminal.wait_for("RUNS OUT")
    for key, word in (
        ("2", "limits of"),
        ("3", "decisions"),
        ("4", "status"),
        ("5", "scenarios"),
        ("6", "suggestions"),
    ):
        terminal.press(key)
        terminal.wait_for(word)
    terminal.press("?")
    terminal.wait_for("help: advice")
    terminal.press("Escape")
    terminal.press("C-c")
    assert terminal.wait_for_exit() == 0


def test_a_click_on_a_tab_and_every_size(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom)
    lines = terminal.wait_for("RUNS OUT").splitlines()
    terminal.click(lines[1].index("Stress"), 1)
    terminal.wait_for("scenarios")
    for size in ((60, 15), (200, 60), (80, 24)):
        terminal.resize(*size)
        terminal.press("1")
        terminal.wait_for("RUNS OUT")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_a_drained_broker_says_so_and_is_taken_back(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom)
    terminal.wait_for("traffic / fair")  # the first picture comes before the engine
    terminal.press("d")
    terminal.wait_for("drained by you")
    terminal.press("d")
    terminal.wait_for(lambda: "drained by you" not in terminal.screen())
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_the_kill_switch_halts_and_a_name_lifts_it(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom)
    terminal.wait_for("traffic / fair")  # the first picture comes before the engine
    terminal.press("K")
    terminal.wait_for("HALTED")
    terminal.press("K")
    terminal.wait_for("Lift the kill switch?")
    terminal.type("asha")
    terminal.press("Enter")
    terminal.wait_for(lambda: "HALTED" not in terminal.screen())
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_in_order(
    terminal: Terminal, headroom: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    terminal.start(*headroom)
    terminal.wait_for("RUNS OUT")
    os.kill(terminal.pid, number)
    assert terminal.wait_for_exit() == code
    assert terminal.fact("alternate_on") == "0"
    assert terminal.fact("mouse_any_flag") == "0"


def test_a_stop_gives_the_terminal_back_and_going_on_takes_it_again(
    terminal: Terminal, headroom: tuple[str, ...]
) -> None:
    terminal.start(*headroom)
    for _ in range(5):  # the first time in the midst of its start
        terminal.wait_for("RUNS OUT")
        os.kill(terminal.pid, signal.SIGTSTP)
        terminal.wait_for(lambda: terminal.fact("alternate_on") == "0")
        os.kill(terminal.pid, signal.SIGCONT)
    terminal.wait_for("RUNS OUT")
    terminal.press("4")
    terminal.wait_for("status")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_an_order_written_by_hand_is_placed_and_its_story_told(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom, "--quiet-market")
    terminal.wait_for("10/s")  # the engine is there
    terminal.press("4", "n")
    terminal.wait_for("new order")
    terminal.type("NSE:SBIN-EQ")
    terminal.press("Tab")
    terminal.type("7")
    terminal.press("Tab")
    terminal.type("m")  # at the market
    terminal.wait_for("BUY 7 NSE:SBIN-EQ MARKET")
    terminal.press("Enter")
    terminal.wait_for("y does it")
    terminal.press("y")
    terminal.wait_for("SIM    filled")  # the order's row: "filled" alone is the name of a column
    terminal.press("s")
    terminal.wait_for("about to leave")
    terminal.press("Escape")
    terminal.wait_for(lambda: "about to leave" not in terminal.screen())  # else Escape and q are one key, Alt+q
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_a_broker_that_is_made_to_fail_raises_an_alert_that_one_key_acknowledges(
    terminal: Terminal, headroom: tuple[str, ...]
) -> None:
    terminal.start(*headroom)
    terminal.wait_for("10/s")  # the engine is there
    terminal.press("X")
    terminal.wait_for("faults of simulated brokers")
    terminal.press("Tab")
    terminal.press("d")  # to `down`, the only one that begins so
    terminal.wait_for("takes no connection")
    terminal.press("Enter")
    terminal.wait_for("in 100 % of its requests")
    terminal.press("Escape")
    terminal.wait_for("A acknowledges")
    terminal.press("A")
    terminal.wait_for("acknowledged")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_quitting_at_once_leaves_nothing_behind(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom)
    terminal.wait_for(lambda: terminal.fact("alternate_on") == "1")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0
    assert "Traceback" not in terminal.screen()


def test_bad_usage_is_one_line_and_2(terminal: Terminal) -> None:
    terminal.start(sys.executable, "-m", "tui", "--frobnicate")
    assert terminal.wait_for_exit() == 2
    assert "Traceback" not in terminal.screen()


def test_a_session_is_recorded_on_the_screen_and_played_from_its_file(
    terminal: Terminal, headroom: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "day.hrec"
    terminal.start(*headroom, "record", str(path), "--seconds", "4")
    assert terminal.wait_for_exit() == 0
    assert "pictures in " in terminal.screen()
    terminal.stop()
    again = Terminal(tmp_path)
    try:
        (tmp_path / "exit-code").unlink()
        again.start(*headroom, "replay", str(path))
        again.wait_for("RECORDING")
        again.wait_for("before the end, standing still")
        again.press("7")
        again.wait_for("the recording")
        again.press(".", "P")
        again.wait_for("playing at 2x")
        again.wait_for("0 s before the end, standing still")
        again.press("K")
        again.wait_for("there is no broker behind it")
        again.press("q")
        assert again.wait_for_exit() == 0
    finally:
        again.stop()


def test_the_last_minutes_are_one_key_away_and_n_comes_back(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom)
    terminal.wait_for("traffic / fair")
    terminal.press("Left", "Left")
    terminal.wait_for("ago, standing still")
    terminal.press("N")
    terminal.wait_for(lambda: "standing still" not in terminal.screen())
    terminal.press("8")
    terminal.wait_for("said by")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


@pytest.mark.parametrize("wrong", ["config", "store"])
def test_a_start_that_fails_leaves_one_line_on_a_clean_terminal(
    terminal: Terminal, headroom: tuple[str, ...], tmp_path: Path, wrong: str
) -> None:
    (tmp_path / "wrong.toml").write_text("[brokers.robinhood]\n")
    option = ("--config", str(tmp_path / "wrong.toml")) if wrong == "config" else ("--store", str(tmp_path))
    terminal.start(*headroom, *option)
    assert terminal.wait_for_exit() == 2
    assert terminal.fact("alternate_on") == "0"
    assert "headroom: " in terminal.screen()
    assert "Traceback" not in terminal.screen()
