"""`headroom` as an operator meets it: started, looked at, typed into, left, killed."""

from __future__ import annotations

import os
import signal
import sys

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
    terminal.wait_for("RUNS OUT")
    terminal.press("d")
    terminal.wait_for("drained by you")
    terminal.press("d")
    terminal.wait_for(lambda: "drained by you" not in terminal.screen())
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_the_kill_switch_halts_and_a_name_lifts_it(terminal: Terminal, headroom: tuple[str, ...]) -> None:
    terminal.start(*headroom)
    terminal.wait_for("RUNS OUT")
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
