"""Where in a scenario's text a complaint belongs: tomllib and pydantic keep no positions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import ValidationError

__all__ = ["first_fault", "key_on_line", "line_of"]


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Key path and reason of the first fault, each in one line."""
    fault = error.errors(include_url=False, include_input=True)[0]
    # The tag of a union, which pydantic puts into the path and no file holds.
    kinds = {"constant", "ramp", "spike", "poisson", "burst", "replay", "users"}
    path = [str(part) for number, part in enumerate(fault["loc"]) if not (number == 1 and part in kinds)]
    reason = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        return f"{path[0]}.kind", f"is {context['tag']!r}; known: {context['expected_tags']}"
    if fault["type"] == "extra_forbidden":
        reason = "no such key"
    elif not isinstance(fault["input"], Mapping | list | tuple):
        reason = f"is {fault['input']!r}; {reason[0].lower()}{reason[1:]}"
    # A rule about several parts names its place itself.
    if not path and (named := re.match(r"(symbols|faults\.\d+|brokers\.\d+\.name|journey\.\d+\.operation): ", reason)):
        return named[1], " ".join(reason[named.end() :].split())
    return ".".join(path), " ".join(reason.split())


def line_of(text: str, key: str) -> int:
    """The line on which `key` (such as `faults.1.kind`) stands; of its nearest table when it is absent; else 1."""
    lines = _lines_by_key(text)
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return 1


def _lines_by_key(text: str) -> dict[str, int]:
    """Where each key of a TOML text stands: tomllib keeps no positions. Keys inside inline tables get no line."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\"-]+)\s*\]", line):
            table = header[2].replace('"', "")
            head, dot, tail = table.partition(".")
            if dot and head in counts:  # [[brokers.budgets]] belongs to the latest [[brokers]]
                table = f"{head}.{counts[head]}.{tail}"
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}.{counts[table]}"
            lines.setdefault(table, number)
            lines.setdefault(table.partition(".")[0], number)
        elif entry := re.match(r"\s*([\w\"-]+)\s*=", line):
            name = entry[1].replace('"', "")
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def key_on_line(text: str, line: int) -> str:
    """`key: ` for a line that sets one, else nothing."""
    lines = text.splitlines()
    match = re.match(r"\s*([\w.-]+)\s*=", lines[line - 1]) if 0 < line <= len(lines) else None
    return f"{match[1]}: " if match else ""
