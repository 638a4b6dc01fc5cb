"""What survives a crash: the order journal, and the trades that follow from it."""

from __future__ import annotations

from .base import TradeStoreProtocol
from .blocking import BlockingTradeStore
from .entries import (
    CancelIntended,
    Claimed,
    Entry,
    Halted,
    IncidentSeen,
    Intent,
    JournaledOrder,
    JournalRow,
    Lifted,
    LimiterSaved,
    ModifyIntended,
    Step,
    fingerprint,
)
from .journal import Journal, Verdict
from .notes import load_notes, save_notes
from .sqlite import TradeStore
from .story import steps_of
from .upkeep import StoreSize

__all__ = [
    "BlockingTradeStore",
    "CancelIntended",
    "Claimed",
    "Entry",
    "Halted",
    "IncidentSeen",
    "Intent",
    "Journal",
    "JournalRow",
    "JournaledOrder",
    "Lifted",
    "LimiterSaved",
    "ModifyIntended",
    "Step",
    "StoreSize",
    "TradeStore",
    "TradeStoreProtocol",
    "Verdict",
    "fingerprint",
    "load_notes",
    "save_notes",
    "steps_of",
]
