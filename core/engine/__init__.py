"""One order, from start to end: guards, journal, placement, reconciliation, kill switch."""

from __future__ import annotations

from .engine import TradingEngine
from .guards import Guards, GuardSettings, MarketHours, OnDuplicate
from .settings import EngineSettings
from .tags import TagMaker

__all__ = ["EngineSettings", "GuardSettings", "Guards", "MarketHours", "OnDuplicate", "TagMaker", "TradingEngine"]
