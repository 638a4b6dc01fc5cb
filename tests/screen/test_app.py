"""What the operator's hands do: every key, every command, every way out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random

import pytest
from textual.events import Paste
from textual.widgets import Input

from core.clock import SECOND
from core.errors import ConfigError, EngineHalted
from core.models import (
    ApplySuggestion,
    Budget,
    CancelAllOrders,
    CancelOrder,
    Command,
    DismissSuggestion,
    DrainProvider,
    HaltTrading,
    ModifyOrder,
    PauseScenario,
    Rate,
    ResumeProvider,
    ResumeScenario,
    ResumeTrading,
    RouterSnapshot,
    SetFault,
    SetRateCap,
    SetScenarioRate,
    StartScenario,
    StopScenario,
    SubmitOrder,
    UndoSuggestion,
)
from tests.screen import samples
from tests.screen.hands import Bench, press, until
from tui.app import HeadroomApp
from tui.keys import EVERYWHERE, KEYS, SCREENS, check_keymap, keys_of
from tui.palette import KeyCommands
from tui.screens.base import RouterScreen
from tui.screens.dialogs import Ask, Confirm
from tui.screens.help import HelpScreen
from tui.view.depth import PAGES
from tui.view.frame import header_lines
from tui.view.text import plain
from tui.widgets import Painted, Table

# Every key of the table


def stressed(**changes: object) -> RouterSnapshot:
    return replace(samples.normal(), stress=replace(samples.running(), **changes))


COMMANDS_OF_KEYS: tuple[tuple[str, list[str], Callable[[], RouterSnapshot], list[Command]], ...] = (
    ("drains the chosen broker", ["down", "d"], samples.normal, [DrainProvider("upstox")]),
    (
        "takes a drained broker back",
        ["d"],
        lambda: replace(samples.normal(), brokers=(samples.fyers(drained=True), samples.upstox())),
        [ResumeProvider("fyers")],
    ),
    ("caps a rate", ["c", "4", "0", "enter"], samples.normal, [SetRateCap("fyers", 0.4)]),
    ("caps nothing at escape", ["c", "4", "0", "escape"], samples.normal, []),
    ("caps nothing at 0", ["c", "0", "enter"], samples.normal, []),
    ("halts at once when simulated", ["K"], samples.normal, [HaltTrading("kill switch")]),
    ("halts nothing LIVE without the word", ["K", "enter"], samples.live, []),
    ("halts nothing LIVE at another word", ["K", *"halt", "enter"], samples.live, []),
    ("halts LIVE at the word", ["K", *"HALT", "enter"], samples.live, [HaltTrading("kill switch")]),
    ("lifts a halt by name", ["K", *"asha", "enter"], samples.critical, [ResumeTrading("asha")]),
    ("lifts no halt without a name", ["K", "enter"], samples.critical, []),
    ("cancels one order", ["4", "down", "c", "y"], samples.normal, [CancelOrder("ord-000001")]),
    ("leaves one order at no", ["4", "c", "n"], samples.normal, []),
    ("cancels all", ["4", "C", "y"], samples.normal, [CancelAllOrders()]),
    ("leaves all at escape", ["4", "C", "escape"], samples.normal, []),
    ("cancels no LIVE orders at y", ["4", "C", "y", "enter"], samples.live, []),
    (
        "cancels LIVE orders at the words",
        ["4", "C", *"CANCEL", "space", *"ALL", "enter"],
        samples.live,
        [CancelAllOrders()],
    ),
    ("starts the first scenario", ["5", "s"], samples.normal, [StartScenario("users", {})]),
    ("starts the chosen scenario", ["5", "down", "down", "enter"], samples.normal, [StartScenario("burst", {})]),
    (
        "starts with sizes",
        ["5", "i", *"250", "tab", *"12.5", "enter", "enter"],
        samples.normal,
        [StartScenario("users", {"users": 250, "rate": 12.5})],
    ),
    ("starts nothing of size 0", ["5", "i", "0", "enter", "s"], samples.normal, []),
    ("stops a run", ["5", "x"], samples.normal, [StopScenario()]),
    ("pauses a run", ["5", "p"], stressed, [PauseScenario()]),
    ("goes on with a paused run", ["5", "p"], lambda: stressed(paused=True), [ResumeScenario()]),
    ("plays a run faster", ["5", "plus"], lambda: stressed(rate_factor=2.0), [SetScenarioRate(2.5)]),
    ("plays a run slower", ["5", "minus"], stressed, [SetScenarioRate(0.8)]),
    ("starts over HTTP", ["5", "w", "s"], samples.normal, [StartScenario("users", {"http": True})]),
    ("starts in virtual time", ["5", "w", "w", "s"], samples.normal, [StartScenario("users", {"virtual": True})]),
    ("starts in real time again", ["5", "w", "w", "w", "s"], samples.normal, [StartScenario("users", {})]),
    ("applies advice", ["6", "a"], samples.warning, [ApplySuggestion("spread-reads")]),
    ("applies nothing that only a person can do", ["6", "down", "down", "a"], samples.warning, []),
    ("dismisses advice", ["6", "x"], samples.warning, [DismissSuggestion("spread-reads")]),
    ("undoes nothing that was not applied", ["6", "u"], samples.warning, []),
    (
        "undoes applied advice",
        ["6", "u"],
        lambda: replace(samples.warning(), suggestions=(replace(samples.ADVICE[0], applied=True),)),
        [UndoSuggestion("spread-reads")],
    ),
)


@pytest.mark.parametrize(
    ("keys", "snapshot", "sent"), [row[1:] for row in COMMANDS_OF_KEYS], ids=[row[0] for row in COMMANDS_OF_KEYS]
)
async def test_keys_become_commands(
    keys: list[str], snapshot: Callable[[], RouterSnapshot], sent: list[Command]
) -> None:
    bench = Bench(snapshot())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, *keys)
        await pilot.app.workers.wait_for_complete()
        assert bench.sent == sent


@pytest.mark.parametrize(
    ("keys", "snapshot"),
    [(row[1], row[2]) for row in COMMANDS_OF_KEYS if row[3]],
    ids=[row[0] for row in COMMANDS_OF_KEYS if row[3]],
)
async def test_a_screen_that_may_only_look_sends_nothing(
    keys: list[str], snapshot: Callable[[], RouterSnapshot]
) -> None:
    bench = Bench(snapshot(), read_only=True)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, *[key for key in keys if key != "C"], "escape")
        await pilot.app.workers.wait_for_complete()
        assert bench.sent == []


def test_no_two_commands_of_one_place_share_a_key() -> None:
    for where in {key.where for key in KEYS} - {EVERYWHERE}:
        held = [key for key in KEYS if key.where == where]
        if where in dict(SCREENS):
            held += [key for key in KEYS if key.where == EVERYWHERE]
        pressed = [part for key in held for part in key.keys.split(",")]
        assert len(pressed) == len(set(pressed)), where


def test_every_id_of_the_table_is_there_once() -> None:
    assert len({key.id for key in KEYS}) == len(KEYS)


# Remapping


async def test_a_remapped_key_works_and_help_footer_and_tabs_say_it() -> None:
    bench = Bench(samples.normal(), keymap={"app.freeze": "f9", "app.orders": "f8"})
    async with bench.app.run_test(size=(120, 50)) as pilot:
        await press(pilot, "space")
        assert "Frozen at" not in bench.text()
        await press(pilot, "f9")
        await until(pilot, lambda: "Frozen at" in bench.text())  # a banner moves everything below it
        assert " F8 Orders" in bench.text()
        await press(pilot, "question_mark")
        assert "F9" in bench.text()


@pytest.mark.parametrize(
    ("keymap", "said"),
    [({"app.frieze": "f5"}, "no command 'app.frieze'"), ({"app.freeze": "q"}, "'q' would mean both")],
)
def test_a_keymap_that_cannot_work_is_refused_by_name(keymap: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_keymap(keymap)


def test_a_theme_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match="headroom-light"):
        Bench(samples.normal(), theme="mauve")


# Answers


async def test_an_answer_stands_in_the_status_line() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "d")
        assert "done: DrainProvider" in bench.text()


@pytest.mark.parametrize("error", [EngineHalted("the kill switch is on; lift it by name"), RuntimeError("loop closed")])
async def test_a_command_that_fails_is_said_and_the_screen_stays(error: Exception) -> None:
    bench = Bench(samples.normal())
    bench.port.refusal = error
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "d")
        assert str(error) in bench.text()
        assert bench.app.is_running


# Time


async def test_a_frozen_picture_waits_sorts_and_filters_and_then_goes_on() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "4", "space")
        bench.port.now = samples.critical()
        bench.app.tick()
        await press(pilot, "slash", *"rejected", "enter")
        assert "Frozen at" in bench.text()
        assert "IN DOUBT" not in bench.text()
        assert {row.status for row in bench.app.screen.query_one(Table).rows} == {"REJECTED"}
        await press(pilot, "space")
        assert "IN DOUBT" in bench.text()


async def test_figures_that_grow_old_say_so() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        bench.now_ns = 3 * SECOND
        bench.app.tick()
        # A banner moves everything below it.
        await until(pilot, lambda: "No news from the engine for 3.0 s" in bench.text())


async def test_a_terminal_that_is_not_looked_at_is_painted_once_a_second() -> None:
    port = samples.SamplePort(samples.normal())
    app = HeadroomApp(port, hz=10)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.interval_s == pytest.approx(0.1)
        app.on_app_blur()
        assert app.interval_s == pytest.approx(1.0)
        app.on_app_focus()
        assert app.interval_s == pytest.approx(0.1)


async def test_the_app_paints_by_itself_at_its_rate() -> None:
    port = samples.SamplePort(samples.normal())
    app = HeadroomApp(port, hz=50)
    async with app.run_test(size=(80, 24)) as pilot:
        port.now = samples.critical()
        for _ in range(100):
            await pilot.pause(0.02)
            if app.screen.frame is not None and app.screen.frame.snapshot is port.now:
                break
        assert app.screen.frame.snapshot is port.now


async def test_an_equal_picture_repaints_nothing() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        asked: list[str] = []
        for widget in bench.app.screen.query(Painted):
            widget.refresh = lambda *_regions, _id=widget.id, **_options: asked.append(_id)
        bench.app.tick()
        assert asked == []
        bench.port.now = samples.warning()
        bench.app.tick()
        assert {"verdict", "grid"} <= set(asked)


# The table


async def test_the_cursor_stays_on_its_order_while_new_ones_come() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "4", "down", "down")
        table = bench.app.screen.query_one(Table)
        chosen = table.cursor_row.order_id
        fresh = tuple(samples.order(900 + number, "NEW") for number in range(5))
        bench.port.now = replace(bench.port.now, sequence=50, orders=fresh + bench.port.now.orders)
        bench.app.tick()
        await pilot.pause()
        assert table.cursor_row.order_id == chosen
        await press(pilot, "home")
        bench.port.now = replace(
            bench.port.now, sequence=51, orders=(samples.order(990, "NEW"), *bench.port.now.orders)
        )
        bench.app.tick()
        assert table.cursor_row.order_id == "ord-000990"  # on the first row it follows the newest


async def test_a_click_on_a_title_sorts_and_a_second_one_turns_it_round() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(160, 40)) as pilot:
        await press(pilot, "4")
        table = bench.app.screen.query_one(Table)
        x = bench.text().splitlines()[table.content_region.y].index("symbol")
        await pilot.click(table, offset=(x, 1))
        symbols = [row.symbol for row in table.rows]
        assert symbols == sorted(symbols)
        await pilot.click(table, offset=(x, 1))
        assert [row.symbol for row in table.rows] == symbols[::-1]
        await press(pilot, "escape")
        assert table.rows == bench.port.now.orders


async def test_the_end_of_five_thousand_rows_is_one_key_away() -> None:
    bench = Bench(replace(samples.normal(), orders=samples.orders(5000)))
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "4", "end")
        table = bench.app.screen.query_one(Table)
        assert table.cursor_row.order_id == "ord-004999"
        assert table.scroll_offset.y == 5000 - (table.size.height - 1)
        await press(pilot, "pageup", "slash", *"id=ord-000003", "enter")
        assert table.cursor_row.order_id == "ord-000003"
        assert "BSE:TCS-EQ" in bench.text()


async def test_no_row_that_passes_says_so() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "4", "slash", *"zzz", "enter")
        assert "no row passes the filter" in bench.text()
        await press(pilot, "enter", "c", "y", "o")
        assert bench.sent == []


# The mouse


async def test_clicks_choose_tabs_and_brokers_and_scenarios() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        lines = bench.text().splitlines()
        y = next(y for y, line in enumerate(lines) if " upstox " in line and "healthy" in line)
        await pilot.click(offset=(6, y))
        await press(pilot, "d")
        assert bench.sent == [DrainProvider("upstox")]
        await pilot.click(offset=(lines[1].index("Stress"), 1))
        await pilot.pause()
        assert bench.app.current_mode == "stress"
        y = next(y for y, line in enumerate(bench.text().splitlines()) if "   burst" in line)
        await pilot.click(offset=(6, y))
        await press(pilot, "s")
        assert bench.sent[1:] == [StartScenario("burst", {})]


# Help, palette, themes, panes


async def test_help_has_every_key_of_its_screen() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 100)) as pilot:
        for number, (name, _) in enumerate(SCREENS, 1):
            await press(pilot, str(number), "question_mark")
            assert isinstance(bench.app.screen, HelpScreen)
            taken = {pressed for key in keys_of(name) for pressed in key.keys.split(",")}
            for key in KEYS:
                # Elsewhere these keys do what they always do; here the screen has something better for them.
                hidden = key.where == EVERYWHERE and set(key.keys.split(",")) <= taken
                assert key.where not in {name, EVERYWHERE} or hidden is not (key.help in bench.text()), key
            await press(pilot, "escape")
            assert isinstance(bench.app.screen, RouterScreen)


async def test_the_palette_finds_and_does_every_command_of_the_screen() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        provider = KeyCommands(bench.app.screen)
        found = {hit.text or hit.display async for hit in provider.discover()}
        wanted = {key for key in KEYS if key.where in {EVERYWHERE, "overview"}} - {
            key for key in KEYS if key.id in {"app.palette", "app.quit_now"}
        }
        assert len(found) == len(wanted)
        await press(pilot, "colon", *"drain")
        await pilot.pause(0.3)
        await press(pilot, "enter")
        await pilot.pause(0.3)
        assert bench.sent == [DrainProvider("fyers")]


async def test_the_theme_changes_and_comes_back() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "T")
        assert bench.app.theme == "headroom-light"
        await press(pilot, "T")
        assert bench.app.theme == "headroom-dark"


@pytest.mark.parametrize("theme", ["textual-dark", "nord", "ansi-dark", "ansi-light"])
async def test_textuals_own_themes_and_sixteen_colours_do_as_well(theme: str) -> None:
    bench = Bench(samples.critical(), theme=theme)
    async with bench.app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "✖ orders  500/min" in bench.text()


async def test_without_colour_the_marks_still_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    bench = Bench(samples.critical())
    async with bench.app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        colours = {
            segment.style.color.get_truecolor()
            for strip in bench.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.color is not None
        }
        assert "✖ orders  500/min" in bench.text()
        assert colours


async def test_a_pane_takes_the_whole_screen_and_gives_it_back() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "tab", "tab", "m")
        assert bench.app.screen.maximized is not None
        assert "NSE:SBIN-EQ" in bench.text()
        await press(pilot, "m")
        assert bench.app.screen.maximized is None


async def test_the_bell_rings_at_a_new_alert_and_only_then() -> None:
    rung: list[int] = []
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.app.bell = lambda: rung.append(1)
        seen = replace(samples.CALLING[1], acknowledged_epoch_ns=1)
        again = replace(samples.ALERTS[0], raised_epoch_ns=samples.EPOCH_NS)
        for sequence, alerts, rings in (
            (10, (), 0),
            (11, samples.ALERTS, 1),  # one of them calls
            (12, samples.ALERTS, 1),
            (13, (seen, *samples.ALERTS), 1),  # somebody has seen it already
            (14, (again,), 2),
        ):
            bench.port.now = replace(samples.normal(), sequence=sequence, alerts=alerts)
            bench.app.tick()
            assert len(rung) == rings
        await press(pilot, "b")
        bench.port.now = replace(samples.normal(), sequence=15, alerts=samples.CALLING)
        bench.app.tick()
        assert len(rung) == 2


async def test_a_bell_that_is_off_stays_silent_until_it_is_switched_on() -> None:
    rung: list[int] = []
    bench = Bench(samples.normal(), bell=False)
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.app.bell = lambda: rung.append(1)
        bench.port.now = replace(samples.normal(), sequence=10, alerts=samples.ALERTS)
        bench.app.tick()
        await press(pilot, "b")
        bench.port.now = replace(samples.normal(), sequence=11, alerts=samples.CALLING)
        bench.app.tick()
        assert rung == [1]


# Exports


# What changed and the log have something to export only in their own tests.
@pytest.mark.parametrize("screen", [n for n, (name, _) in enumerate(SCREENS, 1) if name not in {"replay", "log"}])
async def test_every_screen_exports_its_table_both_ways_and_its_picture(tmp_path: Path, screen: int) -> None:
    bench = Bench(replace(samples.warning(), stress=samples.running()), exports=tmp_path)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, str(screen), "e", "E", "S")
        await pilot.app.workers.wait_for_complete()
        [as_csv, as_json, as_svg] = sorted(tmp_path.iterdir(), key=lambda path: path.suffix)
        rows = json.loads(as_json.read_text("utf-8"))
        assert rows
        assert len(list(csv.DictReader(as_csv.read_text("utf-8").splitlines()))) == len(rows)
        assert "<svg" in as_svg.read_text("utf-8")
        assert "20260105-040000Z" in as_csv.name


async def test_an_export_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    bench = Bench(samples.warning(), exports=tmp_path / "nowhere")
    async with bench.app.run_test(size=(160, 40)) as pilot:
        await press(pilot, "e")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert "not written: No such file" in bench.text()


# Ways out


@pytest.mark.parametrize("before", [[], ["4"], ["4", "C"], ["question_mark"], ["5"], ["space"]])
async def test_q_leaves_wherever_nothing_is_being_typed(before: list[str]) -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(80, 24)) as pilot:
        await press(pilot, *before, "q")
        assert not bench.app.is_running
        assert bench.app.return_code == 0


@pytest.mark.parametrize("before", [[], ["4", "slash"], ["c"], ["K"], ["colon"], ["question_mark"], ["5", "i"]])
async def test_ctrl_c_leaves_from_anywhere(before: list[str]) -> None:
    bench = Bench(samples.live())
    async with bench.app.run_test(size=(80, 24)) as pilot:
        await press(pilot, *before, "ctrl+c")
        assert not bench.app.is_running
        assert bench.sent == []


# Robustness


NASTY = "[bold red]x[/] [@click=app.quit]y[/] \x1b[2J\x1b]0;z\x07 \u202e 漢字 [/]]"


async def test_broker_text_is_never_markup_and_never_reaches_the_terminal_as_an_order() -> None:
    critical = samples.critical()
    snapshot = replace(
        critical,
        halted=NASTY,
        failure=NASTY,
        brokers=tuple(replace(broker, name=f"{broker.name}{NASTY}", reason=NASTY) for broker in critical.brokers),
        orders=tuple(
            replace(row, symbol=NASTY, side=NASTY, provider=NASTY, message=NASTY, order_id=f"{n}{NASTY}", tag=NASTY)
            for n, row in enumerate(critical.orders)
        ),
        suggestions=tuple(
            replace(entry, title=NASTY, evidence=NASTY, effect=NASTY, provider=NASTY) for entry in critical.suggestions
        ),
        incidents=tuple(
            replace(entry, kind=NASTY, provider=NASTY, message=NASTY, evidence=NASTY) for entry in critical.incidents
        ),
        alerts=tuple(replace(entry, message=NASTY, provider=NASTY) for entry in critical.alerts),
        decisions=tuple(replace(entry, reason=NASTY, chosen=NASTY, operation=NASTY) for entry in critical.decisions),
        stress=replace(samples.ended("failed"), scenario=NASTY, message=NASTY, failure_classes=((NASTY, 1),)),
    )
    bench = Bench(snapshot)
    bench.port.refusal = EngineHalted(NASTY)
    async with bench.app.run_test(size=(200, 60)) as pilot:
        for keys in (["d"], ["2"], ["3", "enter"], ["4", "enter"], ["4", "c"], ["n", "5"], ["6"], ["1", "c"]):
            await press(pilot, *keys)
            shown = bench.text()
            assert "\x1b" not in shown
            assert "\u202e" not in shown
            assert "\x07" not in shown
        assert "[bold red]x[/]" in shown
        assert "[@click=app.quit]y[/]" in shown


def nasty(value: object) -> object:
    """The same answer with every text in it replaced, but the ids that lead to it."""
    if isinstance(value, tuple):
        return tuple(nasty(entry) for entry in value)
    if not is_dataclass(value) or isinstance(value, Rate | Budget):
        return value
    changes: dict[str, object] = {}
    for entry in fields(value):
        held = getattr(value, entry.name)
        if type(held) is str and entry.name not in {"name", "order_id", "kind", "client_order_id"}:
            changes[entry.name] = NASTY[:64]
        elif isinstance(held, tuple) or is_dataclass(held):
            changes[entry.name] = nasty(held)
    return replace(value, **changes)


async def test_answers_of_the_engine_are_never_markup_either() -> None:
    bench = Bench(samples.critical())
    real = bench.port.ask

    async def ask(question: object) -> object:
        return nasty(await real(question))

    bench.port.ask = ask
    shown: list[str] = []
    async with bench.app.run_test(size=(160, 50)) as pilot:
        for keys in (
            ["4", "s"], ["escape", "n", *"abc", "tab", "1"], ["escape", "2"], *[["v"]] * len(PAGES), ["3", "w"],
        ):  # fmt: skip
            await press(pilot, *keys)
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()
            shown.append(bench.text())
            assert not {"\x1b", "\x07", "\u202e"} & set(shown[-1])
    assert sum("[bold red]x[/]" in text for text in shown) >= 5


@pytest.mark.parametrize("state", ["critical", "empty"])
async def test_every_size_is_a_picture(state: str) -> None:
    bench = Bench(samples.STATES[state]())
    async with bench.app.run_test(size=(80, 24)) as pilot:
        for size in ((60, 15), (20, 5), (1, 1), (300, 100)):
            await pilot.resize_terminal(*size)
            for number in range(1, len(SCREENS) + 1):
                await press(pilot, str(number))
        assert bench.app.is_running


@pytest.mark.parametrize("keys", [["4", "slash"], ["4", "n"], ["c"], ["5", "i"], ["1"]])
async def test_a_pasted_megabyte_is_taken_in_stride(keys: list[str]) -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(80, 24)) as pilot:
        await press(pilot, *keys)
        bench.app.post_message(Paste("order [red] 1\n" * 80_000))
        await pilot.pause()
        assert all(len(entry.value) <= 200 for entry in bench.app.screen.query(Input))
        assert bench.app.is_running
        assert bench.sent == []


MONKEY_KEYS = (
    *"abcdefghijklmnoprstuvwxyzACEKGMOSTVXJ0123456789/?:.,!=+-",
    *("up", "down", "left", "right", "pageup", "pagedown", "home", "end", "enter", "escape", "tab", "shift+tab"),
    *("space", "backspace", "delete", "f1", "ctrl+p", "ctrl+a", "ctrl+u"),
)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_monkey_at_the_keys_breaks_nothing_and_places_no_live_order(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    states = [samples.live(), replace(samples.critical(), simulated=False), replace(samples.empty(), simulated=False)]
    pressed = 0
    while pressed < 500:  # it finds the way out now and then, through the palette: it may come back in
        bench = Bench(samples.live(), exports=tmp_path)
        async with bench.app.run_test(size=(100, 30)) as pilot:
            while pressed < 500 and bench.app.is_running:
                await pilot.press(rng.choice(MONKEY_KEYS))
                pressed += 1
                if not bench.app.is_running:
                    break
                if pressed % 20 == 0:
                    bench.port.now = replace(rng.choice(states), sequence=pressed + 100)
                    bench.app.tick()
                if pressed % 100 == 50:
                    await pilot.resize_terminal(rng.randint(60, 200), rng.randint(15, 60))
        assert bench.app._exception is None
        # Only typed words do these when LIVE, and nothing at all makes a LIVE broker fail.
        irreversible = (CancelAllOrders, HaltTrading, SubmitOrder, ModifyOrder, SetFault)
        assert not [command for command in bench.sent if isinstance(command, irreversible)]


async def test_a_port_that_shows_nothing_but_the_failure_shows_the_way_out() -> None:
    bench = Bench(replace(samples.empty(), brokers=(), failure="StoreLocked: another headroom holds it"))
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "ENGINE FAILED: StoreLocked" in bench.text()
        assert "q quits" in bench.text()
        for number in range(1, len(SCREENS) + 1):
            await press(pilot, str(number), "c", "escape", "d", "y")
        assert bench.sent == []


async def test_dialogues_take_no_key_of_the_screen_below() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "4", "C")
        assert isinstance(bench.app.screen, Confirm)
        await press(pilot, "1", "K", "d")
        assert isinstance(bench.app.screen, Confirm)
        await press(pilot, "n", "1", "c")
        assert isinstance(bench.app.screen, Ask)
        assert bench.sent == []


async def test_the_engine_goes_on_being_shown_behind_a_dialogue() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "c")
        bench.port.now = samples.critical()
        bench.app.tick()
        await pilot.pause()
        below = bench.app.screen_stack[0]
        assert "IN DOUBT" in plain(header_lines(below.frame, 120)[0])


def test_a_field_may_be_mounted_before_the_first_screen_stands() -> None:
    # As Textual does on Python 3.12 and later, where tasks begin eagerly; Input clears the selection when it is made.
    app = HeadroomApp(samples.SamplePort(samples.normal()), hz=0)
    assert app.screen_stack == []
    app.clear_selection()
