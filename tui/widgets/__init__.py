"""Widgets that paint themselves line by line and know nothing but what they are shown."""

from __future__ import annotations

from .choice import Choice
from .painted import Painted
from .pane import Pane
from .styles import RolePalette
from .table import Table

__all__ = ["Choice", "Painted", "Pane", "RolePalette", "Table"]
