"""One name for one instrument: `NSE:SBIN-EQ` here and at Fyers, `NSE_EQ|INE062A01020` at Upstox; its tick and its lot.

Read from the brokers' own instrument files, which anyone may download each morning:
- Fyers symbol master, one CSV without a header for each exchange segment (public.fyers.in/sym_details/NSE_CM.csv,
  NSE_FO.csv, ...; columns as in the API v3 documentation, Symbol Master, seen September 2026);
- Upstox instruments, gzipped JSON for each exchange (assets.upstox.com/market-quote/instruments/exchange/NSE.json.gz;
  developer documentation, Instruments; `tick_size` is in paise: Reliance reads 10.0 and moves by 0.10).

The two are joined by segment and exchange token, which is what both take over from the exchange; where both give an
ISIN it must agree as well. The shipped sample has rows of that form for the symbols of the embedded exchange, with its
ticks: for real orders load the files of the day.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

from ..errors import ConfigError
from ..models import OrderType
from .jsontext import load_json

__all__ = ["Instrument", "InstrumentTable"]

# Fyers' exchange and segment codes (API v3 documentation, Appendix) as Upstox's segments.
_SEGMENT_OF: Final[Mapping[tuple[str, str], str]] = {
    ("10", "10"): "NSE_EQ",
    ("10", "11"): "NSE_FO",
    ("10", "12"): "NCD_FO",
    ("10", "20"): "NSE_COM",
    ("11", "20"): "MCX_FO",
    ("12", "10"): "BSE_EQ",
    ("12", "11"): "BSE_FO",
    ("12", "12"): "BCD_FO",
}
_TAKE_PRICE: Final = frozenset({OrderType.LIMIT, OrderType.SL})
_TAKE_TRIGGER: Final = frozenset({OrderType.SL, OrderType.SL_M})
_NONE: Final = Decimal(0)
_LOT, _TICK, _ISIN, _TICKER, _EXCHANGE, _CODE, _TOKEN = 3, 4, 5, 9, 10, 11, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What can be traded. `tick` in rupees, `lot` in units; a lot of 0 can be quoted but not traded (an index).

    `symbol` is Fyers' ticker and ours; `upstox_key` is empty where Upstox does not have it.
    """

    symbol: str
    tick: Decimal
    lot: int
    upstox_key: str = ""
    isin: str = ""

    def fault(
        self,
        *,
        quantity: int | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> str:
        """Why the exchange would refuse such an order, in one line; empty when tick and lot agree."""
        if not self.lot:
            return f"{self.symbol} is an index and cannot be traded"
        if quantity is not None and quantity % self.lot:
            return f"quantity {quantity} is no multiple of the lot size {self.lot} of {self.symbol}"
        for name, value in (("price", price), ("trigger_price", trigger_price)):
            if value is not None and value % self.tick:
                return f"{name} {value} is no multiple of the tick size {self.tick} of {self.symbol}"
        return ""


class InstrumentTable:
    """Instruments by our name and by Upstox's."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._by_upstox_key = {one.upstox_key: one for one in self._by_symbol.values() if one.upstox_key}

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._by_symbol

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every name, in the order of the files."""
        return tuple(self._by_symbol)

    def find(self, symbol: str) -> Instrument | None:
        """The instrument of that name."""
        return self._by_symbol.get(symbol)

    def by_upstox_key(self, key: str) -> Instrument | None:
        """The instrument that Upstox calls `key`."""
        return self._by_upstox_key.get(key)

    def unknown(self, symbol: str) -> str:
        """What to tell someone who asked for a name that is not here, with the nearest ones."""
        near = get_close_matches(symbol, self._by_symbol, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return f"no instrument {symbol!r} among the {len(self)} that are loaded{hint}"

    @classmethod
    def sample(cls) -> Self:
        """The shipped rows: the symbols of the embedded exchange."""
        folder = files(__package__) / "data"
        return cls.of(
            fyers=[(folder / "fyers_NSE_sample.csv").read_bytes()],
            upstox=[(folder / "upstox_NSE_sample.json").read_bytes()],
        )

    @classmethod
    def load(cls, *, fyers: Iterable[Path], upstox: Iterable[Path] = ()) -> Self:
        """Read the brokers' files, gzipped or not. Blocks for seconds on the whole of them: call it in a thread.

        Raises ConfigError, naming the file and the row, for a file that cannot be read.
        """
        return cls.of(fyers=[_bytes_of(path) for path in fyers], upstox=[_bytes_of(path) for path in upstox])

    @classmethod
    def of(cls, *, fyers: Iterable[bytes], upstox: Iterable[bytes] = ()) -> Self:
        """The same from the files' contents."""
        keys: dict[tuple[str, str], tuple[str, str]] = {}
        for content in upstox:
            keys.update(_upstox_keys(_unzipped(content)))
        return cls(instrument for content in fyers for instrument in _fyers_rows(_unzipped(content), keys))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"instrument file {path}: {error.strerror or error}; download it or correct the path"
        raise ConfigError(message) from None


def _unzipped(content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError) as error:
        message = f"instrument file: not a whole gzip file ({error}); download it again"
        raise ConfigError(message) from None


def _fyers_rows(content: bytes, upstox_keys: Mapping[tuple[str, str], tuple[str, str]]) -> Iterable[Instrument]:
    for number, row in enumerate(csv.reader(content.decode("utf-8", "replace").splitlines()), start=1):
        if not row:
            continue
        try:
            segment = _SEGMENT_OF.get((row[_EXCHANGE], row[_CODE]), "")
            if row[_TICKER].endswith("-INDEX"):
                segment = segment.replace("_EQ", "_INDEX")
            tick, lot, isin = Decimal(row[_TICK]), int(row[_LOT]), row[_ISIN]
            if segment.endswith("_INDEX"):
                lot = 0
            if lot < 0 or not tick.is_finite() or (lot and tick <= 0):
                raise ValueError(f"lot {lot}, tick {tick}")  # noqa: TRY301
            key, key_isin = upstox_keys.get((segment, row[_TOKEN]), ("", ""))
        except (IndexError, ValueError, ArithmeticError) as error:
            message = f"Fyers instrument file, row {number}: {type(error).__name__} {error}; it is not a symbol master"
            raise ConfigError(message) from None
        if isin and key_isin and isin != key_isin:
            key = ""
        yield Instrument(symbol=row[_TICKER], tick=tick, lot=lot, upstox_key=key, isin=isin)


def _upstox_keys(content: bytes) -> dict[tuple[str, str], tuple[str, str]]:
    """Segment and exchange token to instrument key and ISIN."""
    try:
        rows: list[dict[str, Any]] = load_json(content)
        return {
            (row["segment"], row["exchange_token"]): (row["instrument_key"], row.get("isin") or "")
            for row in rows
            if row.get("exchange_token")
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"Upstox instrument file: {type(error).__name__} {error}; it is not an instruments JSON"
        raise ConfigError(message) from None


def priced(order_type: OrderType, price: Decimal | None, trigger_price: Decimal | None) -> tuple[Decimal, Decimal]:
    """Price and trigger as both wires want them: 0 where the type takes none."""
    return (
        price if price is not None and order_type in _TAKE_PRICE else _NONE,
        trigger_price if trigger_price is not None and order_type in _TAKE_TRIGGER else _NONE,
    )
