"""What stands over a screen: a story, a what-if, the faults of simulated brokers; and the alerts on all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.advice.suppose import suppose
from core.clock import SECOND
from core.errors import EngineHalted
from core.models import DrainProvider, ResumeProvider, RouterSnapshot, SetFault, SetRateCap
from tests.screen import answers, samples
from tests.screen.hands import Bench, press, until
from tui.keys import SCREENS
from tui.screens.faults import FaultsScreen
from tui.screens.orders import OrdersScreen
from tui.screens.story import StoryScreen
from tui.view.alerts import ALERT_COLUMNS
from tui.view.depth import PAGES, Depth, depth_lines
from tui.view.faults import FAULTS
from tui.view.frame import Frame, alert_lines
from tui.view.story import story_lines
from tui.view.text import Role, plain, width_of
from tui.view.whatif import Change
from tui.widgets import Table

Look = Callable[[str], str]


def lines_of(lines: list[tuple[object, ...]]) -> str:
    return "\n".join(plain(entry) for entry in lines)


def listened(bench: Bench) -> list[object]:
    """Every question that the screen asks from now on."""
    asked: list[object] = []
    real = bench.port.ask

    async def ask(question: object) -> object:
        asked.append(question)
        return await real(question)

    bench.port.ask = ask
    return asked


# Stories


async def test_a_story_goes_on_while_it_is_open_and_waits_while_the_picture_is_frozen() -> None:
    bench = Bench(samples.critical())
    asked = listened(bench)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "4", "s")
        await until(pilot, lambda: isinstance(bench.app.screen, StoryScreen))
        assert "Nobody knows whether it is live, for 4.0 s." in bench.text()
        before = len(asked)
        for second in (0, 1, 2):
            bench.port.now = replace(samples.critical(), sequence=50 + second, at_ns=second * SECOND + 2**40)
            bench.app.tick()
            await bench.app.workers.wait_for_complete()
        assert len(asked) == before + 2  # a second after the first, and another
        bench.app.action_freeze()
        bench.port.now = replace(bench.port.now, sequence=60, at_ns=9 * SECOND + 2**40)
        bench.app.tick()
        assert len(asked) == before + 2


async def test_an_order_that_the_journal_does_not_have_is_said() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.port.silent = EngineHalted("no order is known here by the id 'ord-000000'")
        await press(pilot, "4", "s")
        await until(pilot, lambda: "no order is known here" in bench.text())
        assert isinstance(bench.app.screen, OrdersScreen)


@pytest.mark.parametrize("width", [56, 80, 130])
def test_a_story_has_every_entry_at_any_width_and_no_line_is_wider(width: int) -> None:
    order = samples.order(3, "UNKNOWN", message="no answer " * 40)
    lines = story_lines(answers.story(order), width)
    told = lines_of(lines)
    for word in ("taken", "about to leave", "incident"):
        assert word in told
    assert all(width_of(entry) == width for entry in lines)


def test_a_doubt_says_who_was_asked_when_next_and_what_proves_absence() -> None:
    told = lines_of(story_lines(answers.story(samples.order(3, "UNKNOWN")), 140))
    assert "answered 900 ms ago, asked again in 1.1 s" in told
    assert "It is never sent again; from 26 s on, its next answer that does not find it proves" in told
    assert "has been silent for 900 ms: no answer to find_orders_by_tag" in told
    assert "Nobody knows" not in lines_of(story_lines(answers.story(samples.order(3, "FILLED")), 140))


# What if


async def test_a_what_if_changes_nothing_until_it_is_applied_and_is_taken_back_whole() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "3", "w", "d", "down", "left", "left")
        assert "drained (changed)" in bench.text()
        assert "uses 80 % (changed)" in bench.text()
        assert bench.sent == []
        await press(pilot, "enter")
        await bench.app.workers.wait_for_complete()
        assert bench.sent == [DrainProvider("fyers"), SetRateCap("upstox", 0.8)]
        await press(pilot, "u")
        await bench.app.workers.wait_for_complete()
        assert bench.sent[2:] == [SetRateCap("upstox", 1.0), ResumeProvider("fyers")]
        await press(pilot, "u")
        assert "nothing was applied from a what-if" in bench.text()
        assert len(bench.sent) == 4


async def test_nothing_supposed_is_nothing_applied() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "3", "w", "d", "d", "left", "right", "enter")
        assert bench.sent == []
        assert "nothing would be changed" in bench.text()


async def test_a_screen_that_may_only_look_may_suppose_but_not_apply() -> None:
    bench = Bench(samples.normal(), read_only=True)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "3", "w", "d")
        assert "drained (changed)" in bench.text()
        await press(pilot, "enter", "u", "escape", "u")
        assert bench.sent == []


def supposed() -> RouterSnapshot:
    return replace(samples.normal(), brokers=(samples.fyers(rate_per_s=3.0), samples.upstox(rate_per_s=6.0)))


def test_a_drained_brokers_share_goes_to_the_other_and_a_smaller_cap_fills_sooner() -> None:
    snapshot = supposed()
    drained = suppose(snapshot, drained=["upstox"])
    assert drained.demand_per_s == pytest.approx(9.0)
    assert (drained.then.shares["upstox"], drained.then.shares["fyers"]) == (0.0, pytest.approx(1.0))
    assert drained.then.served < drained.now.served
    assert drained.then.exhausted_in_ns["fyers"] is not None
    capped = suppose(snapshot, caps={"fyers": 0.5, "upstox": 1.0})
    free = suppose(snapshot)
    assert capped.then.fullest["fyers"] >= free.then.fullest["fyers"]


def test_a_cap_is_taken_relative_to_the_one_in_force() -> None:
    half = samples.fyers(cap=0.5, windows=tuple(
        samples.window("all", permits, window.rate.window_ns, 0)
        for permits, window in zip((5, 100, 50_000), samples.fyers().windows, strict=True)
    ))  # fmt: skip
    whole = samples.fyers(windows=tuple(
        samples.window("all", window.rate.permits, window.rate.window_ns, 0) for window in samples.fyers().windows
    ))  # fmt: skip
    opened = suppose(replace(supposed(), brokers=(replace(half, rate_per_s=9.0),)), caps={"fyers": 1.0})
    as_whole = suppose(replace(supposed(), brokers=(replace(whole, rate_per_s=9.0),)))
    assert opened.then.served == pytest.approx(as_whole.then.served, abs=0.01)


def test_a_change_back_to_what_is_commands_nothing() -> None:
    snapshot = samples.normal()
    broker = snapshot.brokers[0]
    change = Change().turned(broker).turned(broker).capped(broker, -10).capped(broker, 10)
    assert change.commands(snapshot) == ()
    assert Change().capped(broker, -500).cap(broker) == 10
    assert Change().capped(broker, 500).cap(broker) == 100


# Faults


async def test_faults_are_set_listed_and_all_ended() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "X", "tab", "h", "enter")
        await press(pilot, "shift+tab", "u", "tab", "tab", "right", "right", "enter")
        await bench.app.workers.wait_for_complete()
        assert bench.sent == [SetFault("fyers", "hang", 1.0), SetFault("upstox", "hang", 0.1)]
        await until(pilot, lambda: "in 10 % of its requests" in bench.text())
        await press(pilot, "x")
        await bench.app.workers.wait_for_complete()
        assert sorted(bench.sent[2:], key=str) == [SetFault("fyers", "hang", 0.0), SetFault("upstox", "hang", 0.0)]
        await until(pilot, lambda: "no fault was set from here" in bench.text())


async def test_live_accounts_are_never_made_to_fail() -> None:
    bench = Bench(samples.live())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "X")
        assert not isinstance(bench.app.screen, FaultsScreen)
        assert "only simulated brokers can be made to fail" in bench.text()


async def test_a_port_is_closed_wholly_or_not_at_all() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "X", "tab", "d", "tab", "3", "enter")
        assert bench.sent == []
        await press(pilot, "a", "enter")
        await bench.app.workers.wait_for_complete()
        assert bench.sent == [SetFault("fyers", "down", 1.0)]


def test_every_fault_that_is_offered_exists_at_the_simulator() -> None:
    from core.brokers.simulator.faults import FaultKind

    assert FAULTS.keys() <= {kind.value for kind in FaultKind}


# Alerts


@pytest.mark.parametrize("screen", range(1, len(SCREENS) + 1))
async def test_the_alert_line_stands_on_every_screen_until_it_is_acknowledged(screen: int) -> None:
    bench = Bench(samples.critical())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, str(screen))
        await until(pilot, lambda: "3 alerts: ord-000003 is UNKNOWN" in bench.text())
        seen = tuple(replace(alert, acknowledged_epoch_ns=1) for alert in samples.CALLING)
        bench.port.now = replace(samples.critical(), sequence=60, alerts=seen)
        bench.app.tick()
        await until(pilot, lambda: "alerts: ord-000003" not in bench.text())


async def test_nothing_that_calls_is_nothing_to_acknowledge() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "A")
        assert bench.sent == []
        assert "no alert calls" in bench.text()


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_the_alert_line_fits_and_is_none_where_nothing_calls(width: int) -> None:
    [entry] = alert_lines(Frame(snapshot=samples.critical()), width)
    assert width_of(entry) == width
    assert entry[0].role is Role.CRIT
    assert alert_lines(Frame(snapshot=samples.normal()), width) == []
    told = plain(alert_lines(Frame(snapshot=samples.critical(), read_only=True), 200)[0])
    assert "acknowledges" not in told


async def test_the_history_of_alerts_is_a_table_like_any_other() -> None:
    bench = Bench(samples.critical())
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, "6")
        table = bench.app.screen.query_one("#alerts", Table)
        table.focus()
        await press(pilot, "slash", *"state=cleared", "enter")
        assert [row.rule for row in table.rows] == ["breaker_open"]
        assert "30 s" in bench.text()  # how long it stood
        sheet = bench.app.screen.sheet()
        assert (sheet.name, len(sheet.rows)) == ("alerts", 1)
        await press(pilot, "escape")
        assert len(table.rows) == len(samples.CALLING)
        assert {column.key for column in ALERT_COLUMNS} >= {"raised", "cleared", "acknowledged"}


# A broker in depth


@pytest.mark.parametrize("size", [(40, 4), (78, 6), (80, 30), (200, 60)], ids=str)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_depth_fits_whatever_room_it_has(page: str, size: tuple[int, int]) -> None:
    width, height = size
    detail = answers.detail("upstox", samples.warning())
    lines = depth_lines(Depth(page, detail), width, height)
    assert 0 < len(lines) <= height
    assert all(width_of(entry) == width for entry in lines)
    empty = replace(detail, windows=(), histogram=(), operations=(), breaker=(), refusals=(), limits=(), published=())
    assert depth_lines(Depth(page, empty), width, height)


def test_each_page_tells_what_it_is_for() -> None:
    detail = answers.detail("upstox", samples.warning())
    told = {page: lines_of(depth_lines(Depth(page, detail), 160, 40)) for page in PAGES}
    assert "orders 2000/30min" in told["over time"]
    assert "956 answers" in told["answers"]
    assert "get market data" in told["operations"]
    assert "closed > open" in told["breaker"]
    assert "HTTP 429; retry-after: 1" in told["refusals"]
    assert "published: developer documentation" in told["limits"]
    assert "until 14:30:00 IST" in told["limits"]


async def test_a_broker_that_cannot_be_asked_says_so_and_keeps_its_figures() -> None:
    bench = Bench(samples.normal())
    bench.port.silent = EngineHalted("a recording holds no depth")
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, "2")
        await until(pilot, lambda: "a recording holds no depth" in bench.text())
        assert "limits of fyers" in bench.text()


async def test_the_depth_is_asked_for_once_a_second_and_at_once_for_another_broker() -> None:
    bench = Bench(samples.normal())
    asked = listened(bench)
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, "2")
        for number in range(1, 21):
            bench.port.now = replace(
                samples.normal(), sequence=number, at_ns=samples.normal().at_ns + number * SECOND // 10
            )
            bench.app.tick()
            await bench.app.workers.wait_for_complete()
        assert len(asked) == 3
        await press(pilot, "tab", "down")
        await bench.app.workers.wait_for_complete()
        assert asked[-1].name == "upstox"
        assert len(asked) == 4


# Tables


@pytest.mark.parametrize(
    ("screen", "table_id", "word", "left"),
    [("1", "latest", "rejected", 4), ("2", "incidents", "foreign", 1), ("6", "suggestions", "cache", 1),
     ("6", "incidents", "429", 1)],
)  # fmt: skip
async def test_every_table_is_filtered_sorted_copied_and_exported_alike(
    screen: str, table_id: str, word: str, left: int
) -> None:
    bench = Bench(samples.warning())
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, screen)
        table = bench.app.screen.query_one(f"#{table_id}", Table)
        table.focus()
        every = len(table.rows)
        await press(pilot, "slash", *word, "enter")
        assert len(table.rows) == left
        assert bench.app.screen.focused is table
        assert len(bench.app.screen.sheet().rows) == left
        await press(pilot, "y")
        assert word in bench.app.clipboard.lower()
        await press(pilot, "escape")
        assert len(table.rows) == every
        await press(pilot, "slash", "!", *word, "enter")
        assert len(table.rows) == every - left


async def test_a_pane_without_a_table_is_copied_as_it_is_painted() -> None:
    bench = Bench(samples.warning())
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, "2", "f2", "y")
        assert "reads   2000/30min" in bench.app.clipboard or "100000/day" in bench.app.clipboard
