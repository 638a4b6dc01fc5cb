"""What would be: the brokers' shares and the times until they run out, now and after a change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from core.advice.suppose import HORIZON_NS, Supposition
from core.models import BrokerSnapshot, Command, DrainProvider, ResumeProvider, RouterSnapshot, SetRateCap

from .text import MARK, Line, Role, Span, clean, column, duration, fit, line, percent, rate

__all__ = ["Change", "whatif_lines"]


@dataclass(frozen=True, slots=True)
class Change:
    """What is supposed of each broker, where it differs from what is: drained or not, and its cap in percent."""

    drained: dict[str, bool] = field(default_factory=dict)
    caps: dict[str, int] = field(default_factory=dict)

    def is_drained(self, broker: BrokerSnapshot) -> bool:
        return self.drained.get(broker.name, broker.drained)

    def cap(self, broker: BrokerSnapshot) -> int:
        """In percent of the broker's own limits."""
        return self.caps.get(broker.name, round(broker.cap * 100))

    def turned(self, broker: BrokerSnapshot) -> Self:
        """The same, with this broker drained or taken back."""
        return replace(self, drained={**self.drained, broker.name: not self.is_drained(broker)})

    def capped(self, broker: BrokerSnapshot, by: int) -> Self:
        """The same, with this broker's cap moved by so many points, between 10 and 100 percent."""
        return replace(self, caps={**self.caps, broker.name: max(10, min(100, self.cap(broker) + by))})

    def commands(self, snapshot: RouterSnapshot) -> tuple[tuple[Command, Command], ...]:
        """What makes it so, each with what takes it back."""
        made: list[tuple[Command, Command]] = []
        for broker in snapshot.brokers:
            name = broker.name
            if self.is_drained(broker) and not broker.drained:
                made.append((DrainProvider(name), ResumeProvider(name)))
            if broker.drained and not self.is_drained(broker):
                made.append((ResumeProvider(name), DrainProvider(name)))
            if self.cap(broker) != round(broker.cap * 100):
                made.append((SetRateCap(name, self.cap(broker) / 100), SetRateCap(name, broker.cap)))
        return tuple(made)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """All that the dialogue shows. `undo` says what `u` would take back, empty for nothing."""

    snapshot: RouterSnapshot
    change: Change
    chosen: str
    supposed: Supposition
    undo: int = 0


_COLUMNS = (("share", 14), ("runs out", 17), ("fullest", 16))
_HEAD = 34  # mark, broker and what is supposed of it


def whatif_lines(shown: WhatIf, width: int, height: int | None = None) -> list[Line]:
    """One line a broker, now and then beside each other, and the demand that finds a permit below."""
    now, then = shown.supposed.now, shown.supposed.then
    shown_columns = [entry for n, entry in enumerate(_COLUMNS) if _HEAD + sum(c for _, c in _COLUMNS[: n + 1]) <= width]
    titles = "".join(column(title, cells, right=True) for title, cells in shown_columns)
    lines: list[Line] = [
        line(Span(f" {rate(shown.supposed.demand_per_s)} asked now, over the next {duration(HORIZON_NS)}", Role.DIM)),
        (),
        line(Span(f"   {column('broker', 12)}{column('suppose', 19)}{titles}", Role.DIM)),
    ]
    for broker in shown.snapshot.brokers:
        chosen = broker.name == shown.chosen
        name = broker.name
        cells = (
            _both(percent(now.shares.get(name, 0.0)), percent(then.shares.get(name, 0.0))),
            _both(_out(now.exhausted_in_ns.get(name)), _out(then.exhausted_in_ns.get(name))),
            _both(percent(now.fullest.get(name, 0.0)), percent(then.fullest.get(name, 0.0))),
        )
        worse = then.exhausted_in_ns.get(name) is not None and now.exhausted_in_ns.get(name) is None
        lines.append(
            line(
                Span(" ▸ " if chosen else "   ", Role.KEY),
                Span(column(clean(name), 12), Role.CURSOR if chosen else Role.STRONG),
                Span(column(_supposed(broker, shown.change), 19), _changed(broker, shown.change)),
                *(
                    Span(column(text, size, right=True), Role.WARN if worse and number == 1 else Role.TEXT)
                    for number, (text, (_, size)) in enumerate(zip(cells, shown_columns, strict=False))
                ),
            )
        )
    short = then.served < 0.995
    lines += [
        (),
        line(
            Span(" served  ", Role.DIM),
            Span(
                f"{MARK[Role.WARN if short else Role.OK]} {_both(percent(now.served), percent(then.served))}",
                Role.WARN if short else Role.STRONG,
            ),
            Span(" of what is asked finds a permit", Role.DIM),
        ),
        (),
        line(Span(f" {_effect(shown)}", Role.DIM)),
    ]
    return [fit(entry, width) for entry in lines][:height]


def _both(now: str, then: str) -> str:
    return now if now == then else f"{now} > {then}"


def _out(ns: int | None) -> str:
    return "holds" if ns is None else duration(ns)


def _supposed(broker: BrokerSnapshot, change: Change) -> str:
    state = "drained" if change.is_drained(broker) else f"uses {change.cap(broker)} %"
    return f"{state} (changed)" if _changed(broker, change) is Role.WARN else state


def _changed(broker: BrokerSnapshot, change: Change) -> Role:
    same = change.is_drained(broker) is broker.drained and change.cap(broker) == round(broker.cap * 100)
    return Role.TEXT if same else Role.WARN


def _effect(shown: WhatIf) -> str:
    number = len(shown.change.commands(shown.snapshot))
    if number:
        return f"Enter applies {number} change{'' if number == 1 else 's'}; u takes it back afterwards"
    return "u takes back what was applied last" if shown.undo else "d drains, ← and → move the cap of the chosen broker"
