"""What the simulated exchange trades: a few of India's most traded shares, an index to look at and a future with lots.

ISINs and exchange tokens are the real ones (NSE's own list of securities, and the brokers' instrument files); prices
are round figures near those of late 2025, the future's token is made up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["LISTINGS", "Listing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One instrument. Money is in whole paise; `band_bp` is the daily price band, in 1/10 000 of the last close.

    `low_paise` and `high_paise` are the circuit limits that follow from it, on the tick.
    """

    symbol: str
    name: str
    isin: str
    token: int
    close_paise: int
    tick_paise: int = 5
    lot: int = 1
    band_bp: int = 1_000
    segment: str = "NSE_EQ"
    expiry: str = "000000"
    tradable: bool = True
    low_paise: int = field(init=False)
    high_paise: int = field(init=False)

    def __post_init__(self) -> None:
        low = -(-self.close_paise * (10_000 - self.band_bp) // 10_000 // self.tick_paise) * self.tick_paise
        high = self.close_paise * (10_000 + self.band_bp) // 10_000 // self.tick_paise * self.tick_paise
        object.__setattr__(self, "low_paise", low)
        object.__setattr__(self, "high_paise", high)

    @property
    def trading_symbol(self) -> str:
        """The symbol without its exchange: `SBIN-EQ`."""
        return self.symbol.partition(":")[2]

    @property
    def short_name(self) -> str:
        """The bare name: `SBIN`, also for `M&M-EQ` and for an index."""
        return self.trading_symbol.rpartition("-")[0] or self.trading_symbol

    @property
    def upstox_key(self) -> str:
        """Segment, bar, then ISIN for shares, name for an index, token for derivatives."""
        if self.segment == "NSE_EQ":
            return f"{self.segment}|{self.isin}"
        return f"{self.segment}|{self.name if self.segment == 'NSE_INDEX' else self.token}"

    @property
    def upstox_quote_key(self) -> str:
        """What Upstox answers under, which is not what was asked: segment, colon, trading name."""
        return f"{self.segment}:{self.name if self.segment == 'NSE_INDEX' else self.short_name}"

    @property
    def fy_token(self) -> str:
        """Exchange 10 (NSE), segment 10 (cash) or 11 (derivatives), expiry YYMMDD, exchange token."""
        return f"10{'11' if self.segment == 'NSE_FO' else '10'}{self.expiry}{self.token}"


def _share(name: str, isin: str, token: int, close_paise: int, company: str) -> Listing:
    return Listing(symbol=f"NSE:{name}-EQ", name=company, isin=isin, token=token, close_paise=close_paise)


LISTINGS: Final = (
    _share("SBIN", "INE062A01020", 3045, 82_050, "STATE BANK OF INDIA"),
    _share("RELIANCE", "INE002A01018", 2885, 147_500, "RELIANCE INDUSTRIES LTD"),
    _share("TCS", "INE467B01029", 11536, 310_000, "TATA CONSULTANCY SERV LT"),
    _share("INFY", "INE009A01021", 1594, 152_000, "INFOSYS LIMITED"),
    _share("HDFCBANK", "INE040A01034", 1333, 99_500, "HDFC BANK LTD"),
    _share("ICICIBANK", "INE090A01021", 4963, 137_000, "ICICI BANK LTD."),
    _share("ITC", "INE154A01025", 1660, 40_500, "ITC LTD"),
    _share("LT", "INE018A01030", 11483, 390_000, "LARSEN & TOUBRO LTD."),
    _share("AXISBANK", "INE238A01034", 5900, 123_000, "AXIS BANK LIMITED"),
    _share("BHARTIARTL", "INE397D01024", 10604, 205_000, "BHARTI AIRTEL LIMITED"),
    _share("HINDUNILVR", "INE030A01027", 1394, 245_000, "HINDUSTAN UNILEVER LTD."),
    _share("M&M", "INE101A01026", 2031, 365_000, "MAHINDRA & MAHINDRA LTD"),
    _share("MARUTI", "INE585B01010", 10999, 1_590_000, "MARUTI SUZUKI INDIA LTD."),
    _share("SUNPHARMA", "INE044A01036", 3351, 172_000, "SUN PHARMACEUTICAL IND L"),
    _share("TATASTEEL", "INE081A01020", 3499, 17_500, "TATA STEEL LIMITED"),
    _share("WIPRO", "INE075A01022", 3787, 24_500, "WIPRO LTD"),
    Listing(
        symbol="NSE:NIFTY50-INDEX",
        name="Nifty 50",
        isin="",
        token=26000,
        close_paise=2_590_000,
        segment="NSE_INDEX",
        tradable=False,
    ),
    Listing(
        symbol="NSE:SBIN26DECFUT",
        name="SBIN FUT 29 DEC 26",
        isin="",
        token=53001,
        close_paise=82_500,
        lot=750,
        segment="NSE_FO",
        expiry="261229",
    ),
)
