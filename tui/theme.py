"""Two themes that colour-blind eyes can read, and the file names of what is exported.

Sky, yellow and vermillion keep the widest distance under simulated protan, deutan and tritan sight (OKLab 0.21 at the
smallest, where the usual green, yellow and red keep 0.04). On a light ground no triple does, so that marks and bold
text carry the meaning in both.
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

__all__ = ["DARK", "LIGHT", "THEMES"]

DARK: Final = Theme(
    name="headroom-dark",
    primary="#56B4E9",
    secondary="#8AA0B4",
    accent="#C8A2E8",
    success="#56B4E9",
    warning="#F0E442",
    error="#F0703A",
    foreground="#DCE3EA",
    background="#10141A",
    surface="#10141A",
    panel="#1C232D",
    dark=True,
    variables={
        "footer-background": "#1C232D",
        "footer-key-foreground": "#56B4E9",
        "border": "#3A4656",
        "block-cursor-background": "#2A4A63",
        "block-cursor-foreground": "#FFFFFF",
        "block-cursor-text-style": "bold",
    },
)
LIGHT: Final = Theme(
    name="headroom-light",
    primary="#005F8F",
    secondary="#51606E",
    accent="#6B3FA0",
    success="#005F8F",
    warning="#8A5A00",
    error="#B3261E",
    foreground="#1A2129",
    background="#FBFBF8",
    surface="#FBFBF8",
    panel="#E9ECEC",
    dark=False,
    variables={
        "footer-background": "#E9ECEC",
        "footer-key-foreground": "#005F8F",
        "border": "#A9B4BF",
        "block-cursor-background": "#CFE3F1",
        "block-cursor-foreground": "#10141A",
        "block-cursor-text-style": "bold",
    },
)
THEMES: Final = (DARK, LIGHT)
