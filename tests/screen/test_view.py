"""What the screen says, without a screen."""

from __future__ import annotations

import csv
import doctest
import io
import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, MILLISECOND, MINUTE, SECOND
from core.models import BreakerState, HealthStatus, Quote, RouterSnapshot
from tests.screen import samples
from tui import braille, keys
from tui.view import text
from tui.view.advice import suggestion_rows
from tui.view.broker import facts_lines, latency_lines
from tui.view.brokers import BrokerGrid, broker_blocks, broker_lines, health_text, window_level
from tui.view.charts import pulse_lines
from tui.view.export import Sheet, sheet_of, to_csv, to_json, windows_sheet
from tui.view.frame import Frame, banner_lines, header_lines, runs_out_first, status_lines, verdict_lines
from tui.view.orders import ORDER_COLUMNS, order_lines
from tui.view.routing import DECISION_COLUMNS, decision_lines
from tui.view.stress import course_lines, run_lines, scenario_lines, threshold_lines
from tui.view.table import Sort, arrange, parse_filter, row_line, shown_columns
from tui.view.tabs import Tab, Tabs, tab_at, tabs_lines
from tui.view.text import Line, Role, bar, clean, column, duration, fit, plain, width_of, worst


def words(lines: list[Line]) -> str:
    return "\n".join(plain(line) for line in lines)


@pytest.mark.parametrize("module", [text, braille, keys])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_view_imports_no_textual() -> None:
    code = (
        "import sys, pkgutil, importlib, tui.view\n"
        "for found in pkgutil.iter_modules(tui.view.__path__): importlib.import_module('tui.view.' + found.name)\n"
        "sys.exit('textual' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Text


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tapart", "two lines apart"),
        ("\x1b[31mred\x1b]0;title\x07", "·[31mred·]0;title·"),
        ("left\u202eright", "left·right"),
        ("[bold red]not markup[/]", "[bold red]not markup[/]"),
        ("x" * 500, "x" * 399 + "…"),
    ],
)
def test_foreign_text_keeps_its_words_and_loses_what_a_terminal_obeys(foreign: str, shown: str) -> None:
    assert clean(foreign) == shown


@given(st.text(), st.integers(0, 60))
def test_a_column_is_exactly_as_wide_as_asked(content: str, width: int) -> None:
    assert width_of([text.Span(column(clean(content), width))]) == width


@given(st.lists(st.text(max_size=12), max_size=6), st.integers(1, 60))
def test_a_fitted_line_is_exactly_as_wide_as_asked(parts: list[str], width: int) -> None:
    assert width_of(fit(text.line(*map(clean, parts)), width)) == width


@given(st.integers(0, 40 * DAY))
def test_a_duration_takes_at_most_seven_cells(ns: int) -> None:
    assert len(duration(ns)) <= 7


@given(st.integers(1, 100_000), st.data(), st.integers(1, 80))
def test_a_bar_shows_all_there_is_and_never_looks_full_while_something_is_free(
    permits: int, data: st.DataObject, width: int
) -> None:
    used = data.draw(st.integers(0, permits))
    in_flight = data.draw(st.integers(0, permits - used))
    free = permits - used - in_flight
    spans = bar(used, in_flight, permits, width, Role.OK)
    cells = {role: sum(len(span.text) for span in spans if span.role is role) for role in Role}
    assert width_of(spans) == width
    assert (cells[Role.FREE] > 0) == (free > 0)
    if width >= 3:
        assert (cells[Role.USED] > 0) == (used > 0)
        assert (cells[Role.FLIGHT] > 0) == (in_flight > 0)


@given(st.lists(st.floats(0, 1e9), max_size=300), st.integers(1, 60), st.integers(1, 12))
def test_a_chart_fills_its_cells_and_shows_whatever_is_above_zero(values: list[float], width: int, height: int) -> None:
    rows = braille.area(values, width, height, max(values, default=0))
    assert [len(row) for row in rows] == [width] * height
    shown = values[-2 * width :]
    lowest = [0 if cell == " " else ord(cell) - 0x2800 for cell in rows[-1]]
    padded = [0.0] * (2 * width - len(shown)) + shown
    for x, dots in enumerate(lowest):
        assert bool(dots & 0x40) == (padded[2 * x] > 0)
        assert bool(dots & 0x80) == (padded[2 * x + 1] > 0)


# Brokers


@pytest.mark.parametrize(
    ("window", "level"),
    [
        (samples.window("all", 10, SECOND, 3), Role.OK),
        (samples.window("all", 10, SECOND, 8), Role.WARN),
        (samples.window("all", 10, SECOND, 10, next_free_in_ns=200 * MILLISECOND), Role.WARN),
        (samples.window("all", 500, MINUTE, 500, next_free_in_ns=21 * SECOND), Role.CRIT),
        (samples.window("all", 500, MINUTE, 100, out_in_ns=10 * SECOND), Role.CRIT),
        (samples.window("all", 500, MINUTE, 100, out_in_ns=59 * SECOND), Role.WARN),
        (samples.window("all", 500, MINUTE, 100, out_in_ns=61 * SECOND), Role.OK),
        (samples.window("all", 10, SECOND, 3, out_in_ns=SECOND), Role.OK),  # it refills before anyone can act
    ],
)
def test_a_window_is_as_loud_as_it_is_near_its_end(window: object, level: Role) -> None:
    assert window_level(window) is level


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({}, Role.OK, "healthy"),
        ({"health": HealthStatus.DEGRADED}, Role.WARN, "degraded"),
        ({"health": HealthStatus.BLOCKED_FOR_DAY}, Role.CRIT, "blocked for day"),
        ({"health": HealthStatus.LIMITED, "limited_for_ns": 21 * SECOND}, Role.WARN, "limited, 21 s left"),
        ({"breaker": BreakerState.OPEN, "breaker_retry_in_ns": 12 * SECOND}, Role.CRIT, "breaker open, tries in 12 s"),
        ({"breaker": BreakerState.HALF_OPEN}, Role.WARN, "breaker half open, probing"),
        ({"drained": True, "health": HealthStatus.DRAINED}, Role.WARN, "drained by you"),
        ({"token_expires_in_ns": 14 * MINUTE}, Role.WARN, "token expires in 14 min"),
        ({"token_expires_in_ns": 16 * MINUTE}, Role.OK, "healthy"),
    ],
)
def test_a_brokers_state_is_said_with_its_countdown(changes: dict[str, object], level: Role, said: str) -> None:
    assert health_text(samples.fyers(**changes)) == (level, said)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240, 300])
@pytest.mark.parametrize("height", [1, 2, 5, 9, 15, 30, 60, None])
@pytest.mark.parametrize("number", [1, 2, 5, 12])
def test_the_grid_fits_whatever_room_it_gets(width: int, height: int | None, number: int) -> None:
    grid = BrokerGrid(samples.many(number).brokers, "broker00")
    lines = broker_lines(grid, width, height)
    assert height is None or len(lines) <= height
    assert all(width_of(line) <= width for line in lines)


@pytest.mark.parametrize("height", [3, 8, 14, 25])
@pytest.mark.parametrize("selected", range(12))
def test_the_chosen_broker_is_always_in_sight(height: int, selected: int) -> None:
    name = f"broker{selected:02}"
    assert name in words(broker_lines(BrokerGrid(samples.many().brokers, name), 100, height))


def test_where_room_is_short_the_loudest_windows_stay() -> None:
    broker = samples.warning().brokers[1]
    shown = words(broker_lines(BrokerGrid((broker,), broker.name), 100, 5))
    assert "reads   500/min" in shown
    assert "orders  10/s" in shown
    assert "orders  500/min" not in shown


def test_a_click_finds_its_broker_in_either_column() -> None:
    blocks = broker_blocks(BrokerGrid(samples.many().brokers), 160, 31)
    assert [block.name for block in blocks] == [f"broker{number:02}" for number in range(12)]
    assert {block.x for block in blocks} == {0, 81}


def test_no_broker_says_so() -> None:
    assert "no broker configured" in words(broker_lines(BrokerGrid(()), 80, 10))


# The verdict


def verdict(snapshot: RouterSnapshot) -> str:
    return words(verdict_lines(Frame(snapshot=snapshot), 160))


def test_the_verdict_names_what_runs_out_first_and_when() -> None:
    assert "RUNS OUT  ▲ upstox reads 500/min in 38 s" in verdict(samples.warning())
    assert "RUNS OUT  ✖ upstox orders 500/min is full: the next permit in 21 s" in verdict(samples.critical())
    assert "RUNS OUT    nothing at the present rate" in verdict(samples.empty())


def test_a_longer_window_that_runs_out_comes_before_a_second_that_is_full() -> None:
    broker = samples.fyers(
        windows=(
            samples.window("all", 10, SECOND, 10, next_free_in_ns=SECOND // 10),
            samples.window("all", 200, MINUTE, 150, out_in_ns=40 * SECOND),
        )
    )
    found = runs_out_first((broker,))
    assert found is not None
    assert str(found[1].rate) == "200/min"


def test_the_verdict_names_the_order_in_doubt() -> None:
    assert "IN DOUBT    no order" in verdict(samples.normal())
    assert "IN DOUBT  ✖ 2 orders: SELL 31 BSE:TCS-EQ at upstox, for 4.0 s" in verdict(samples.critical())


def test_the_verdict_says_the_loudest_advice_first_and_nothing_that_was_applied() -> None:
    said = verdict(samples.critical()).splitlines()
    assert said[2].startswith(" DO NEXT   ✖ slow down")
    assert len(said) == 5
    applied = tuple(replace(entry, applied=True) for entry in samples.ADVICE)
    assert "nothing: no advice" in verdict(replace(samples.warning(), suggestions=applied))
    assert [entry.applied for entry in suggestion_rows((*applied, samples.ADVICE[0]))] == [False, True, True, True]


# Header, banners, status


def test_the_header_says_whether_the_money_is_real() -> None:
    assert "SIMULATED" in words(header_lines(Frame(snapshot=samples.normal()), 60))
    assert "LIVE · REAL MONEY" in words(header_lines(Frame(snapshot=samples.live()), 60))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (Frame(snapshot=samples.critical()), "HALTED: kill switch by operator"),
        (Frame(snapshot=samples.failed()), "ENGINE FAILED: StoreFull"),
        (Frame(snapshot=samples.normal(), frozen=True), "Frozen at 09:30:00"),
        (Frame(snapshot=samples.normal(), age_ns=3 * SECOND), "No news from the engine for 3.0 s"),
    ],
)
def test_what_must_not_be_overlooked_takes_a_line_of_its_own(frame: Frame, said: str) -> None:
    lines = banner_lines(frame, 120)
    assert said in words(lines)
    assert all(width_of(line) == 120 for line in lines)


def test_an_ordinary_day_has_no_banner() -> None:
    assert banner_lines(Frame(snapshot=samples.normal(), age_ns=SECOND), 120) == []


def test_the_status_line_says_the_last_answer_before_the_newest_incident() -> None:
    frame = Frame(snapshot=samples.warning())
    assert "upstox 429 x3: Too Many Request Sent" in words(status_lines(frame, 120))
    assert "done" in words(status_lines(replace(frame, answer="done"), 120))


# Tables


def test_orders_are_found_by_words_by_what_they_lack_and_by_field() -> None:
    rows = samples.orders(60)
    for typed, passes in {
        "sbin": lambda row: "SBIN" in row.symbol,
        "!sbin": lambda row: "SBIN" not in row.symbol,
        "status=rej": lambda row: row.status == "REJECTED",
        "broker!=fyers": lambda row: row.provider != "fyers",
        "nse: status=filled side=buy": lambda row: (
            "NSE:" in row.symbol and row.status == "FILLED" and row.side == "BUY"
        ),
        '"margin exceeds"': lambda row: "margin exceeds" in row.message,
        '"margin exc': lambda row: "margin" in row.message,  # a quote not yet closed
        "colour=red": lambda _row: False,  # no such field: an ordinary word
        "": lambda _row: True,
    }.items():
        kept = arrange(rows, ORDER_COLUMNS, Sort(), parse_filter(typed, ORDER_COLUMNS))
        assert list(kept) == [row for row in rows if passes(row)], typed


@pytest.mark.parametrize("entry", ORDER_COLUMNS, ids=lambda entry: entry.key)
def test_every_column_sorts_both_ways_and_leaves_equals_in_order(entry: object) -> None:
    rows = samples.orders(60)
    up = arrange(rows, ORDER_COLUMNS, Sort(entry.key), parse_filter("", ORDER_COLUMNS))
    down = arrange(rows, ORDER_COLUMNS, Sort(entry.key, descending=True), parse_filter("", ORDER_COLUMNS))
    values = [entry.raw(row) for row in up]
    assert values == sorted(values)
    assert [entry.raw(row) for row in down] == values[::-1]
    places = {id(row): place for place, row in enumerate(rows)}
    for above, below in pairwise(up):
        assert entry.raw(above) != entry.raw(below) or places[id(above)] < places[id(below)]


@pytest.mark.parametrize("columns", [ORDER_COLUMNS, DECISION_COLUMNS])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 200, 400])
def test_columns_fit_and_the_needed_ones_stay(columns: object, width: int) -> None:
    shown = shown_columns(columns, width)
    needed = {entry.key for entry in columns if not entry.need}
    assert needed <= {entry.key for entry, _ in shown}
    assert sum(cells + 1 for _, cells in shown) <= width or {entry.key for entry, _ in shown} == needed


def test_a_row_in_doubt_is_critical_from_end_to_end() -> None:
    doubtful = samples.order(3, "UNKNOWN")
    roles = {span.role for span in row_line(shown_columns(ORDER_COLUMNS, 100), doubtful)}
    assert roles <= {Role.CRIT, Role.BUY, Role.SELL}
    assert "never sent again" in words(order_lines(doubtful, 100))


def test_a_decision_shows_every_candidates_terms_cheapest_first() -> None:
    decision = samples.decisions(1)[0]
    lines = [plain(line).strip() for line in decision_lines(decision, 100)]
    names = [line.lstrip("▸").split()[0] for line in lines[4:] if line and "█" not in line]
    assert names == ["fyers", "upstox", "zerodha"]
    assert "barred: breaker open for 12 s" in lines[-1]


# Export


def test_an_export_keeps_every_digit_and_runs_no_formula() -> None:
    rows = (samples.order(1, "REJECTED", message='=cmd|"/c calc"!A1', price=Decimal("612.8500")),)
    sheet = sheet_of("orders", ORDER_COLUMNS, rows)
    [read] = list(csv.DictReader(io.StringIO(to_csv(sheet))))
    assert read["message"] == '\'=cmd|"/c calc"!A1'
    assert read["price"] == "612.8500"
    [kept] = json.loads(to_json(sheet))
    assert kept["message"] == '=cmd|"/c calc"!A1'
    assert kept["price"] == "612.8500"


def test_an_export_of_the_overview_has_a_row_for_each_window() -> None:
    sheet = windows_sheet(samples.normal().brokers)
    assert len(sheet.rows) == 9
    assert all(len(row) == len(sheet.titles) for row in sheet.rows)


def test_an_unknown_kind_of_value_is_no_silent_text() -> None:
    with pytest.raises(TypeError, match="object does not belong"):
        to_json(Sheet("x", ("a",), ((object(),),)))


# The rest


@pytest.mark.parametrize("width", [60, 80, 120, 300])
@pytest.mark.parametrize("height", [1, 2, 4, 9, 20])
@pytest.mark.parametrize("state", samples.STATES)
def test_charts_and_facts_fit_whatever_room_they_get(state: str, width: int, height: int) -> None:
    snapshot = samples.STATES[state]()
    broker = snapshot.brokers[0]
    for lines in (
        pulse_lines(snapshot, width, height),
        facts_lines(broker, width, height),
        latency_lines(broker, width, height),
        course_lines(samples.ended("failed"), width, height),
    ):
        assert len(lines) <= height
        assert all(width_of(line) <= width for line in lines)


def test_the_balance_shows_its_trend() -> None:
    rising = replace(samples.normal(), efficiency_history=tuple(0.5 + n / 200 for n in range(61)), efficiency=0.8)
    assert "balance 80 %  ↑ +30 points in 60 s" in words(pulse_lines(rising, 120, 9))


def test_a_stress_run_says_what_it_wants_and_what_it_gets() -> None:
    said = words(threshold_lines(samples.running(), 80))
    assert "✓ pass  failures" in said
    assert "✖ FAIL  p99 latency" in said
    assert "○ open  limits passed" in said
    assert "612 of 1,000 done, 61 %" in words(run_lines(samples.running(), 100))
    assert "no run yet" in words(run_lines(samples.normal().stress, 100))


@pytest.mark.parametrize("selected", range(5))
@pytest.mark.parametrize("height", [1, 2, 3, 5, 9])
def test_the_picked_scenario_is_in_sight(selected: int, height: int) -> None:
    assert samples.SCENARIOS[selected][0] in words(scenario_lines(samples.SCENARIOS, selected, 80, height))


def test_every_cell_of_a_tab_leads_to_its_screen() -> None:
    tabs = Tabs((Tab("1", "overview", "Overview"), Tab("4", "orders", "Orders")), "overview", samples.critical())
    shown = plain(tabs_lines(tabs, 80)[0])
    assert "✖ 2 in doubt" in shown
    assert tab_at(tabs, shown.index("Overview"), 80) == "overview"
    assert tab_at(tabs, shown.index("in doubt"), 80) == "orders"
    assert tab_at(tabs, 79, 80) == ""


def test_the_loudest_of_nothing_is_quiet() -> None:
    assert worst(()) is Role.OK


def test_the_latest_prices_stand_under_the_verdict_where_there_is_room() -> None:
    prices = {"NSE:TCS-EQ": "3100.5000", "NSE:SBIN-EQ": "820.95"}
    quotes = tuple(Quote(symbol=symbol, price=Decimal(price)) for symbol, price in prices.items())
    frame = Frame(snapshot=replace(samples.normal(), quotes=quotes))
    said = list(map(plain, verdict_lines(frame, 100)))
    assert said[-1].split() == ["QUOTES", "SBIN-EQ", "820.95", "TCS-EQ", "3,100.50"]
    assert not any("QUOTES" in line for line in map(plain, verdict_lines(frame, 100, 3)))
