"""Every key of the table, pressed where it holds: nothing of its effect before, all of it after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from textual.widgets import Input

from core.models import (
    AcknowledgeAlerts,
    ApplySuggestion,
    CancelAllOrders,
    Command,
    DismissSuggestion,
    DrainProvider,
    HaltTrading,
    PauseScenario,
    RouterSnapshot,
    SetFault,
    SetRateCap,
    SetScenarioRate,
    StartScenario,
    StopScenario,
    UndoSuggestion,
)
from tests.screen import samples
from tests.screen.hands import Bench, press, until
from tests.screen.test_time import live, shown
from tui.keys import EVERYWHERE, KEYS, LAYOUTS, SCREENS, Key
from tui.palette import Palette
from tui.screens.base import RouterScreen
from tui.screens.dialogs import Ask, Confirm
from tui.screens.faults import FaultsScreen
from tui.screens.help import HelpScreen
from tui.screens.scenario_editor import ScenarioEditor
from tui.screens.story import StoryScreen
from tui.screens.stress_report import StressReportScreen
from tui.screens.ticket import TicketScreen
from tui.screens.whatif import WhatIfScreen
from tui.widgets import Painted, Table

Check = Callable[[Bench], bool]


def resting() -> RouterSnapshot:
    """The first order of the blotter rests, advice stands, alerts call."""
    first = samples.order(1, "ACCEPTED", symbol="NSE:SBIN-EQ")
    return replace(samples.warning(), orders=(first, *samples.orders(30)))


def applied() -> RouterSnapshot:
    return replace(samples.warning(), suggestions=(replace(samples.ADVICE[0], applied=True),))


def running() -> RouterSnapshot:
    return replace(samples.normal(), stress=samples.running())


def ended() -> RouterSnapshot:
    return replace(samples.normal(), stress=replace(samples.ended("failed"), report="nowhere.json"))


# How one gets to where a key holds, from the overview.
WAYS: dict[str, tuple[str, ...]] = {
    EVERYWHERE: (),
    **{name: (str(number),) for number, (name, _) in enumerate(SCREENS, 1)},
    "ticket": ("4", "n"),
    "story": ("4", "s"),
    "whatif": ("3", "w"),
    "faults": ("X",),
    "confirm": ("4", "C"),
    "ask": ("c",),
    "help": ("question_mark",),
    "editor": ("5", "t"),
    "report": ("5", "r"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What is pressed between the way and the key, over which snapshot, and what the key brings about."""

    check: Check
    before: tuple[str, ...] = ()
    over: Callable[[], RouterSnapshot] = resting
    watched_s: int = 0


def sent(*commands: Command) -> Check:
    """Exactly these, in any order."""
    return lambda bench: len(bench.sent) == len(commands) and all(command in bench.sent for command in commands)


def sent_kind(kind: type) -> Check:
    return lambda bench: [type(command) for command in bench.sent] == [kind]


def up(kind: type) -> Check:
    return lambda bench: isinstance(bench.app.screen, kind)


def on(screen: str) -> Check:
    return lambda bench: isinstance(bench.app.screen, RouterScreen) and bench.app.current_mode == screen


def says(text: str) -> Check:
    return lambda bench: text in bench.text()


def gone(bench: Bench) -> bool:
    return not bench.app.is_running


def table(bench: Bench) -> Table:
    return bench.app.screen.in_hand


def focus_is(name: str) -> Check:
    return lambda bench: bench.app.screen.focused is not None and bench.app.screen.focused.id == name


def written(ending: str) -> Check:
    return lambda bench: any(path.suffix == ending for path in bench.app.exports.iterdir())


def copied(text: str) -> Check:
    return lambda bench: text in bench.app.clipboard


def sorts(bench: Bench) -> bool:
    return bool(table(bench).sort.key)


def reversed_(bench: Bench) -> bool:
    return table(bench).sort.descending


def plain_again(bench: Bench) -> bool:
    return not table(bench).sort.key and not table(bench).filter_text


def detail(bench: Bench) -> bool:
    return bench.app.screen.query_one("#detail").display


def page(bench: Bench) -> str:
    return bench.app.screen.query_one("#depth", Painted).pane_title


def chosen(name: str) -> Check:
    return lambda bench: bench.app.screen.broker == name


def scenario(place: int) -> Check:
    return lambda bench: bench.app.screen._selected == place


def at(second: int) -> Check:
    return lambda bench: shown(bench) == second


# Two moments a minute apart, so that there is something to tell between them.
MARKED = ("less_than_sign", "left_curly_bracket", "greater_than_sign")


def tables(where: str, *, before: tuple[str, ...] = (), watched_s: int = 0) -> dict[str, Row]:
    """What every screen with tables can do with the one in hand."""
    return {
        f"{where}.filter": Row(focus_is("filter"), before, watched_s=watched_s),
        f"{where}.sort": Row(sorts, before, watched_s=watched_s),
        f"{where}.reverse": Row(reversed_, (*before, "o"), watched_s=watched_s),
        f"{where}.copy": Row(copied(" "), before, watched_s=watched_s),
    }


ROWS: dict[str, Row] = {
    **{f"app.{name}": Row(on(name), () if name != "overview" else ("2",)) for name, _ in SCREENS},
    "app.kill": Row(sent(HaltTrading("kill switch"))),
    "app.freeze": Row(says("Frozen at")),
    "app.help": Row(up(HelpScreen)),
    "app.quit": Row(gone),
    "app.quit_now": Row(gone),
    "app.suspend": Row(says("the engine would stop with it"), over=samples.live),
    "app.play": Row(says("playing at 1x"), ("left_curly_bracket",), watched_s=120),
    "app.step_back": Row(at(119), watched_s=120),
    "app.step": Row(at(119), ("left", "left"), watched_s=120),
    "app.back": Row(at(110), watched_s=120),
    "app.on": Row(at(110), ("left_square_bracket", "left_square_bracket"), watched_s=120),
    "app.back_minute": Row(at(60), watched_s=120),
    "app.on_minute": Row(at(60), ("left_curly_bracket", "left_curly_bracket"), watched_s=120),
    "app.faster": Row(says("playing at 2x"), ("left_curly_bracket", "P"), watched_s=120),
    "app.slower": Row(says("playing at 1x"), ("left_curly_bracket", "P", "full_stop"), watched_s=120),
    "app.go_to": Row(up(Ask), watched_s=120),
    "app.now": Row(at(120), ("left",), watched_s=120),
    "app.mark_a": Row(says("A is 09:")),
    "app.mark_b": Row(says("B is 09:")),
    "app.record": Row(lambda bench: bench.app.timeline.recording is not None),
    "app.keep": Row(written(".hrec"), watched_s=5),
    "app.palette": Row(up(Palette)),
    "app.maximise": Row(lambda bench: bench.app.screen.maximized is not None),
    "app.layout": Row(lambda bench: bench.app.layout_name == LAYOUTS[1]),
    **{
        f"app.pane_{number}": Row(focus_is(name), ("2",) if name != "incidents" else ("2", "tab"))
        for number, name in enumerate(("windows", "facts", "latency", "depth", "depth-next", "incidents"), 1)
    },
    "app.next_pane": Row(focus_is("pulse")),
    "app.previous_pane": Row(focus_is("grid"), ("tab",)),
    "app.theme": Row(lambda bench: bench.app.theme == "headroom-light"),
    "app.csv": Row(written(".csv")),
    "app.json": Row(written(".json")),
    "app.svg": Row(written(".svg")),
    "app.bell": Row(says("the bell is off")),
    "app.acknowledge": Row(sent(AcknowledgeAlerts())),
    "app.faults": Row(up(FaultsScreen)),
    "overview.previous": Row(chosen("fyers"), ("down",)),
    "overview.next": Row(chosen("upstox")),
    "overview.open": Row(on("broker")),
    "overview.drain": Row(sent(DrainProvider("fyers"))),
    "overview.cap": Row(up(Ask)),
    "overview.clear": Row(plain_again, ("o",)),
    **tables("overview"),
    "broker.previous": Row(chosen("fyers"), ("tab", "down")),
    "broker.next": Row(chosen("upstox"), ("tab",)),
    "broker.drain": Row(sent(DrainProvider("fyers"))),
    "broker.cap": Row(up(Ask)),
    "broker.page": Row(lambda bench: page(bench) == "answers"),
    "broker.page_back": Row(lambda bench: page(bench) == "limits"),
    "broker.back": Row(on("overview")),
    **tables("broker"),
    "routing.why": Row(detail),
    "routing.what_if": Row(up(WhatIfScreen)),
    "routing.undo": Row(lambda bench: bench.sent[-1:] == [SetRateCap("fyers", 1.0)], ("w", "left", "enter")),
    "routing.clear": Row(plain_again, ("o",)),
    **tables("routing"),
    "orders.detail": Row(detail),
    "orders.story": Row(up(StoryScreen)),
    "orders.ticket": Row(up(TicketScreen)),
    "orders.modify": Row(up(TicketScreen)),
    "orders.cancel": Row(up(Confirm)),
    "orders.cancel_all": Row(up(Confirm)),
    "orders.clear": Row(plain_again, ("o",)),
    **tables("orders"),
    "stress.previous": Row(scenario(len(samples.SCENARIOS) - 1)),
    "stress.next": Row(scenario(1)),
    "stress.start": Row(sent_kind(StartScenario)),
    "stress.stop": Row(sent(StopScenario())),
    "stress.sizes": Row(lambda bench: isinstance(bench.app.screen.focused, Input)),
    "stress.pause": Row(sent(PauseScenario()), over=running),
    "stress.faster": Row(sent(SetScenarioRate(1.25)), over=running),
    "stress.slower": Row(sent(SetScenarioRate(0.8)), over=running),
    "stress.way": Row(lambda bench: bench.app.screen._way == 1),
    "stress.edit": Row(up(ScenarioEditor)),
    "stress.report": Row(up(StressReportScreen), over=ended),
    "advice.apply": Row(sent(ApplySuggestion("spread-reads"))),
    "advice.undo": Row(sent(UndoSuggestion("spread-reads")), over=applied),
    "advice.dismiss": Row(sent(DismissSuggestion("spread-reads"))),
    "advice.clear": Row(plain_again, ("o",)),
    **tables("advice"),
    "replay.detail": Row(detail, MARKED, watched_s=120),
    "replay.clear": Row(plain_again, (*MARKED, "o"), watched_s=120),
    **tables("replay", before=MARKED, watched_s=120),
    "log.detail": Row(detail, ("b",)),
    "log.clear": Row(plain_again, ("b", "o")),
    **tables("log", before=("b",)),
    "ticket.review": Row(up(Confirm), (*"NSE:SBIN-EQ", "tab", "5", "tab", "tab", *"820.5")),
    "ticket.next_field": Row(focus_is("quantity")),
    "ticket.previous_field": Row(focus_is("side")),
    "ticket.leave": Row(on("orders")),
    "story.copy": Row(copied("the journal")),
    "story.back": Row(on("orders")),
    "story.quit": Row(gone),
    "whatif.previous": Row(lambda bench: bench.app.screen._chosen == "fyers", ("down",)),
    "whatif.next": Row(lambda bench: bench.app.screen._chosen == "upstox"),
    "whatif.drain": Row(says("drained (changed)")),
    "whatif.less": Row(says("uses 90 % (changed)")),
    "whatif.more": Row(says("uses 90 % (changed)"), ("left", "left")),
    "whatif.reset": Row(lambda bench: "(changed)" not in bench.text(), ("left",)),
    "whatif.apply": Row(sent(SetRateCap("fyers", 0.9), DrainProvider("upstox")), ("left", "down", "d")),
    "whatif.undo": Row(lambda bench: bench.sent[-1:] == [SetRateCap("fyers", 1.0)], ("left", "enter", "w")),
    "whatif.back": Row(on("routing")),
    "whatif.quit": Row(gone),
    "faults.set": Row(sent(SetFault("fyers", "slow", 1.0))),
    "faults.next_field": Row(focus_is("fault")),
    "faults.previous_field": Row(focus_is("broker"), ("tab",)),
    "faults.end_all": Row(lambda bench: bench.sent[1:] == [SetFault("fyers", "slow", 0.0)], ("enter",)),
    "faults.back": Row(on("overview")),
    "faults.quit": Row(gone),
    "confirm.yes": Row(sent(CancelAllOrders())),
    "confirm.no": Row(lambda bench: on("orders")(bench) and bench.sent == []),
    "confirm.quit": Row(gone),
    "ask.leave": Row(on("overview")),
    "editor.keep": Row(on("stress")),
    "editor.leave": Row(on("stress")),
    "report.compare": Row(lambda bench: bench.app.screen._earlier == 0, over=ended),
    "report.back": Row(on("stress"), over=ended),
    "report.quit": Row(gone, over=ended),
    "help.back": Row(on("overview")),
    "help.quit": Row(gone),
}


def test_every_binding_of_the_table_is_pressed_here() -> None:
    assert {key.id for key in KEYS} == ROWS.keys()
    assert {key.where for key in KEYS} == WAYS.keys()


@pytest.mark.parametrize(("key_id", "pressed"), [(key.id, one.strip()) for key in KEYS for one in key.keys.split(",")])
async def test_a_key_does_what_its_table_says(key_id: str, pressed: str, tmp_path: Path) -> None:
    key = next(key for key in KEYS if key.id == key_id)
    row = ROWS[key_id]
    bench = live(exports=tmp_path) if row.watched_s else Bench(row.over(), exports=tmp_path)
    with bench.app.log_kept.listening():
        await _press_and_look(bench, key, row, pressed)


async def _press_and_look(bench: Bench, key: Key, row: Row, pressed: str) -> None:
    async with bench.app.run_test(size=(120, 40)) as pilot:
        if row.watched_s:
            bench.watch(1, row.watched_s)
        for step in (*WAYS[key.where], *row.before):
            await press(pilot, step)
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()
        assert not row.check(bench)
        await pilot.press(pressed)
        await until(pilot, lambda: row.check(bench))
