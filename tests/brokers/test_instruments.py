"""One name for one instrument, joined from the brokers' own files."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import brokers
from core.brokers import Instrument, InstrumentTable, published_limits
from core.brokers.reply import clean_text, money
from core.brokers.simulator.listings import LISTINGS
from core.clock import DAY, MINUTE, SECOND
from core.errors import ConfigError
from core.models import APIProvider, Category

SAMPLE = InstrumentTable.sample()
FYERS_ROW = (
    "10100000003045,STATE BANK OF INDIA,0,1,0.05,INE062A01020,0915-1530|1815-1915:,2026-11-20,,"
    "NSE:SBIN-EQ,10,10,3045,SBIN,3045,-1.0,XX,10100000003045,None,0,0.0\n"
)
UPSTOX_ROW = {
    "segment": "NSE_EQ", "isin": "INE062A01020", "instrument_key": "NSE_EQ|INE062A01020", "exchange_token": "3045",
    "tick_size": 5.0, "lot_size": 1, "trading_symbol": "SBIN",
}  # fmt: skip


def upstox_file(*rows: dict[str, object]) -> bytes:
    return json.dumps(rows).encode()


# --- the files


def test_the_sample_has_every_symbol_of_the_embedded_exchange_under_the_same_names():
    for listing in LISTINGS:
        instrument = SAMPLE.find(listing.symbol)
        assert instrument is not None
        assert instrument.upstox_key == listing.upstox_key
        assert instrument.lot == (listing.lot if listing.tradable else 0)
        assert instrument.tick == Decimal(listing.tick_paise) / 100
        assert SAMPLE.by_upstox_key(listing.upstox_key) == instrument
    assert len(SAMPLE) == len(LISTINGS)


def test_files_are_read_gzipped_or_not(tmp_path: Path):
    plain, zipped = tmp_path / "NSE_CM.csv", tmp_path / "NSE.json.gz"
    plain.write_text(FYERS_ROW)
    zipped.write_bytes(gzip.compress(upstox_file(UPSTOX_ROW)))
    table = InstrumentTable.load(fyers=[plain], upstox=[zipped])
    assert table.symbols == ("NSE:SBIN-EQ",)
    assert table.find("NSE:SBIN-EQ") == Instrument(
        symbol="NSE:SBIN-EQ", tick=Decimal("0.05"), lot=1, upstox_key="NSE_EQ|INE062A01020", isin="INE062A01020"
    )


@pytest.mark.parametrize(
    ("fyers", "upstox", "key"),
    [
        (FYERS_ROW, UPSTOX_ROW, "NSE_EQ|INE062A01020"),
        (FYERS_ROW, {**UPSTOX_ROW, "isin": "INE000000000"}, ""),  # the token was given to another company
        (FYERS_ROW, {**UPSTOX_ROW, "segment": "BSE_EQ"}, ""),
        (FYERS_ROW, {**UPSTOX_ROW, "exchange_token": "3046"}, ""),
        (FYERS_ROW, {**UPSTOX_ROW, "isin": None}, "NSE_EQ|INE062A01020"),
        (FYERS_ROW.replace("INE062A01020", ""), UPSTOX_ROW, "NSE_EQ|INE062A01020"),
        (FYERS_ROW.replace(",10,10,3045,", ",12,10,3045,"), UPSTOX_ROW, ""),
    ],
)
def test_rows_are_joined_by_segment_and_token_and_never_across_companies(
    fyers: str, upstox: dict[str, object], key: str
):
    table = InstrumentTable.of(fyers=[fyers.encode()], upstox=[upstox_file(upstox)])
    found = table.find("NSE:SBIN-EQ")
    assert found is not None
    assert found.upstox_key == key


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (FYERS_ROW + "1,2,3\n", "row 2"),
        (FYERS_ROW.replace(",0.05,", ",a tick,"), "row 1"),
        (FYERS_ROW.replace(",0.05,", ",NaN,"), "row 1"),
        (FYERS_ROW.replace(",0.05,", ",0,"), "row 1"),
        (FYERS_ROW.replace(",0,1,0.05,", ",0,-1,0.05,"), "row 1"),
        ("<html>not found</html>", "not a symbol master"),
    ],
)
def test_a_file_that_is_no_symbol_master_names_the_row(content: str, words: str):
    with pytest.raises(ConfigError, match=words):
        InstrumentTable.of(fyers=[content.encode()])


@pytest.mark.parametrize("content", [b"", b"{}x", b"[1]", b'{"a":1}', b'[{"segment":"x","exchange_token":"1"}]'])
def test_a_file_that_is_no_upstox_list_says_so(content: bytes):
    with pytest.raises(ConfigError, match="Upstox instrument file"):
        InstrumentTable.of(fyers=[], upstox=[content])


def test_a_missing_or_broken_file_says_what_to_do(tmp_path: Path):
    with pytest.raises(ConfigError, match="download it"):
        InstrumentTable.load(fyers=[tmp_path / "none.csv"])
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(upstox_file(UPSTOX_ROW) * 100)[:-20])
    with pytest.raises(ConfigError, match="not a whole gzip file"):
        InstrumentTable.load(fyers=[], upstox=[cut])


def test_an_unknown_name_gets_the_nearest_ones():
    assert "did you mean NSE:RELIANCE-EQ" in SAMPLE.unknown("NSE:RELIANC-EQ")
    assert SAMPLE.unknown("?") == f"no instrument '?' among the {len(SAMPLE)} that are loaded"


# --- tick and lot


@pytest.mark.parametrize(
    ("symbol", "quantity", "price", "trigger", "fault"),
    [
        ("NSE:SBIN-EQ", 1, "652.55", None, ""),
        ("NSE:SBIN-EQ", 1, "652.550", None, ""),
        ("NSE:SBIN-EQ", 1, "652.56", None, "price 652.56 is no multiple of the tick size 0.05 of NSE:SBIN-EQ"),
        ("NSE:SBIN-EQ", 1, None, "0.01", "trigger_price 0.01 is no multiple"),
        ("NSE:SBIN26DECFUT", 750, None, None, ""),
        ("NSE:SBIN26DECFUT", 1500, "825", "820", ""),
        ("NSE:SBIN26DECFUT", 751, None, None, "quantity 751 is no multiple of the lot size 750"),
        ("NSE:NIFTY50-INDEX", 1, None, None, "is an index"),
    ],
)
def test_tick_and_lot(symbol: str, quantity: int, price: str | None, trigger: str | None, fault: str):
    instrument = SAMPLE.find(symbol)
    assert instrument is not None
    found = instrument.fault(
        quantity=quantity,
        price=None if price is None else Decimal(price),
        trigger_price=None if trigger is None else Decimal(trigger),
    )
    assert found.startswith(fault) if fault.startswith(("price", "quantity")) else fault in found
    assert bool(found) is bool(fault)


@given(ticks=st.integers(1, 10**9))
def test_every_multiple_of_the_tick_fits_and_no_other_paisa_does(ticks: int):
    instrument = Instrument(symbol="X", tick=Decimal("0.05"), lot=1)
    assert instrument.fault(price=ticks * Decimal("0.05")) == ""
    assert instrument.fault(price=ticks * Decimal("0.05") + Decimal("0.01")) != ""


# --- money


@pytest.mark.parametrize(
    ("wire", "amount"), [("652.55", "652.55"), (5, "5"), (None, "0"), ("", "0"), (Decimal("-1.5"), "-1.5")]
)
def test_money(wire: object, amount: str):
    assert money(wire) == Decimal(amount)


@pytest.mark.parametrize("wire", ["x", True, 1.5, Decimal("1e999999999"), "1e30", "NaN", Decimal("Infinity"), [], {}])
def test_what_is_no_money_is_a_value_error(wire: object):
    with pytest.raises(ValueError, match="no price"):
        money(wire)


@given(st.text(), st.lists(st.text(min_size=4), max_size=3))
def test_a_brokers_words_come_out_as_one_printable_line_without_our_secrets(words: str, secrets: list[str]):
    clean = clean_text(words + "".join(secrets), secrets)
    assert len(clean) <= 200
    assert clean.isprintable()
    assert "\n" not in clean


# --- limits


def test_published_limits_are_those_of_the_sheets():
    def shape(provider: str, **options: bool) -> dict[str, tuple[frozenset[str], str]]:
        budgets = published_limits(provider, **options)
        return {budget.name: (budget.categories, " ".join(map(str, budget.rates))) for budget in budgets}

    orders, reads, both = frozenset({Category.ORDERS}), frozenset({Category.READS}), frozenset(Category)
    assert shape("fyers") == {"all": (both, "10/s 200/min 100000/day"), "orders": (orders, "10/s")}
    assert shape("upstox") == {
        "orders": (orders, "10/s 500/min 2000/30min"),
        "reads": (reads, "50/s 500/min 2000/30min"),
    }
    assert shape("upstox", registered_algo=True)["orders"] == (orders, "50/s 500/min 2000/30min")
    assert shape("fyers", registered_algo=True) == shape("fyers")
    assert shape("zerodha")["orders"] == (orders, "10/s 200/min 3000/day")
    assert shape("dhan")["orders"] == (orders, "10/s 250/min 1000/h 7000/day")


@pytest.mark.parametrize("provider", APIProvider)
def test_every_provider_has_limits_and_none_allows_more_than_ten_orders_a_second(provider: APIProvider):
    budgets = published_limits(provider)
    seconds = [
        rate.permits
        for budget in budgets
        if Category.ORDERS in budget.categories
        for rate in budget.rates
        if rate.window_ns == SECOND
    ]
    assert seconds
    assert max(seconds) <= 10
    assert all(
        rate.window_ns in {SECOND, MINUTE, 15 * MINUTE, 30 * MINUTE, 60 * MINUTE, DAY}
        for b in budgets
        for rate in b.rates
    )


def test_an_unknown_provider_is_a_value_error():
    with pytest.raises(ValueError, match="robinhood"):
        published_limits("robinhood")


# --- the front door


def test_the_front_door_opens_every_name_it_announces_and_no_other():
    for name in brokers.__all__:
        assert getattr(brokers, name) is not None
    with pytest.raises(AttributeError, match="Nobody"):
        _ = brokers.Nobody


def test_importing_the_package_and_both_adapters_does_not_load_the_http_client():
    script = (
        "import sys\n"
        "from core.brokers import FyersAPI, UpstoxAPI, published_limits\n"
        "assert 'aiohttp' not in sys.modules, 'aiohttp was loaded'"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
