"""Forecasts and suggestions: figures from snapshots and recorded demand, no side effects."""

from __future__ import annotations

from .advisor import KINDS, Advisor
from .alerts import Alerts, AlertSettings
from .analytics import predictive_analytics
from .context import AdviceSettings, Finding, Levers
from .forecast import Forecaster, ForecastScorer
from .whatif import Projection, what_if

__all__ = [
    "KINDS",
    "AdviceSettings",
    "Advisor",
    "AlertSettings",
    "Alerts",
    "Finding",
    "ForecastScorer",
    "Forecaster",
    "Levers",
    "Projection",
    "predictive_analytics",
    "what_if",
]
