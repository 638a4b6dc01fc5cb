"""`python -m tests.engine.draw_states`: draw the order states anew into docs/order-safety.md, from the table itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.models import ALLOWED_STEPS, FINAL

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "order-safety.md"
BEGIN: Final = "<!-- states: drawn by `python -m tests.engine.draw_states` -->"
END: Final = "<!-- states end -->"


def drawing() -> str:
    """The table of allowed steps as Markdown."""
    lines = ["| an order that is | may become |", "|---|---|"]
    for before, afters in ALLOWED_STEPS.items():
        named = ", ".join(after.value for after in ALLOWED_STEPS if after in afters)
        mark = " (final)" if before in FINAL else ""
        lines.append(f"| {before.value}{mark} | {named or 'nothing else'} |")
    return "\n".join(lines)


def redrawn(document: str) -> str:
    """`document` with the drawing as it is now. Raises ValueError without the two marks."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        message = f"{DOCUMENT.name} lacks the marks between which the states are drawn"
        raise ValueError(message)
    return f"{head}{BEGIN}\n{drawing()}\n{END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(redrawn(DOCUMENT.read_text()))
