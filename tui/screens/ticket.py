"""The order ticket: an order written by hand, or a resting one changed. Judged as it is typed, sent once confirmed."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Footer, Input, Label, Static

from core.clock import SECOND
from core.errors import HeadroomError
from core.models import Order, OrderPreview

from ..keys import bindings
from ..view.frame import Frame
from ..view.text import clean
from ..view.ticket import AUTO, FIELDS, Draft, asked, command_of, faults_of, headline, preview_lines
from ..widgets import Choice, Painted
from .dialogs import Ask, Confirm, typed
from .overlay import Overlay

__all__ = ["TicketScreen"]

_FIXED = frozenset({"side", "symbol", "product", "validity", "provider"})


class TicketScreen(Overlay):
    """A form of text and choices; `terms` are those of the order to change, None for a new one."""

    BINDINGS: ClassVar = bindings("ticket")
    AUTO_FOCUS = ""

    def __init__(self, draft: Draft, *, terms: Order | None = None, live: bool, brokers: tuple[str, ...]) -> None:
        super().__init__()
        self._draft = draft
        self._terms = terms
        self._live = live
        self._brokers = brokers
        self._preview: OrderPreview | None = None
        self._looked_ns: int | None = None
        self._is_reviewing = False

    def compose(self) -> ComposeResult:
        with Vertical(id="ticket") as form:
            form.border_title = Content(f"change {clean(self._draft.changes)}" if self._terms else "new order")
            form.border_subtitle = Content(f"Enter reviews it · {'LIVE · REAL MONEY' if self._live else 'simulated'}")
            form.set_class(self._live, "-live")
            for name, label, choices in FIELDS:
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield self._entry(name, choices)
                    yield Static(id=f"{name}-fault", classes="fault")
            yield Painted(preview_lines, id="preview")
        yield Footer(show_command_palette=False)

    def _entry(self, name: str, choices: tuple[str, ...]) -> Input | Choice:
        value = getattr(self._draft, name)
        if name == "provider":
            choices = tuple(dict.fromkeys((AUTO, *self._brokers, value)))
        entry: Input | Choice
        if choices:
            entry = Choice(choices, value, id=name)
        else:
            symbols = self.headroom.known_symbols if name == "symbol" else ()
            entry = Input(value, id=name, max_length=64, suggester=SuggestFromList(symbols, case_sensitive=False))
        entry.disabled = self._terms is not None and name in _FIXED
        return entry

    def on_mount(self) -> None:
        self.query_one("#quantity" if self._terms is not None else "#symbol").focus()
        self._look()

    def follow(self, frame: Frame) -> None:
        """Once a second: another broker may be the better one by now, or the engine has come up."""
        at_ns = frame.snapshot.at_ns
        if self._looked_ns is None or abs(at_ns - self._looked_ns) >= SECOND:
            self._looked_ns = at_ns
            if not self._is_reviewing and self.query("#preview"):
                self._judge_now()

    @on(Input.Changed)
    @on(Choice.Turned)
    def _look(self) -> None:
        """Judge what stands there now; a newer look takes the place of one that is under way."""
        self._draft = replace(self._draft, **{name: self._value(name) for name, _, _ in FIELDS})
        for name, takes in (("price", self._draft.takes_price), ("trigger_price", self._draft.takes_trigger)):
            self.query_one(f"#{name}", Input).disabled = not takes
        self._judge_now()

    @work(exclusive=True, group="judge")
    async def _judge_now(self) -> None:
        await self._judge()

    def _value(self, name: str) -> str:
        entry = self.query_one(f"#{name}")
        return entry.value if isinstance(entry, Input | Choice) else ""

    async def _judge(self) -> dict[str, str]:
        """Ask the router, and put each fault beside its field."""
        draft, silence = self._draft, ""
        try:
            self._preview = await self.headroom.ask(asked(draft))
        except HeadroomError as error:
            self._preview, silence = None, str(error)
        faults = faults_of(draft, self._preview)
        if silence:
            faults["order"] = silence
        for name, _, _ in FIELDS:
            untouched = name in {"symbol", "quantity", "price", "trigger_price"} and not self._value(name).strip()
            text = faults.get(name, "")
            hint = "" if not text else clean(text) if untouched else f"✖ {clean(text)}"
            fault = self.query_one(f"#{name}-fault", Static)
            fault.update(Content(hint))
            fault.set_class(bool(text) and not untouched, "-wrong")
        self.query_one("#preview", Painted).show((draft, self._preview, silence))
        return faults

    @on(Input.Submitted)
    def action_review(self) -> None:
        """Enter, in a field or elsewhere: look once more, then ask."""
        self._review()

    @work(exclusive=True, group="judge")
    async def _review(self) -> None:
        self._is_reviewing = True
        try:
            faults = await self._judge()
        finally:
            self._is_reviewing = False
        for name, _, _ in FIELDS:
            if name in faults:
                self.query_one(f"#{name}").focus()
                return
        if faults or self._preview is None:
            return
        command = command_of(self._draft, self._terms)
        if command is None:
            self.headroom.say("nothing is changed")
            self.dismiss()
            return
        choice = self._preview.choice
        where = self._draft.provider if self._terms is not None else choice.chosen if choice else ""
        why = f" ({clean(choice.reason)})" if choice is not None and self._terms is None else ""
        worth = "" if self._preview.value is None else f"It is worth {self._preview.value:,.2f}. "
        question = f"{'Change it to ' if self._terms else ''}{headline(self._draft)}?"
        consequence = f"{worth}It goes to {clean(where)}{why}."

        def answered(yes: bool | str | None) -> None:  # noqa: FBT001 - what a dialogue answers
            if yes:
                self.headroom.send(command)
                self.dismiss()

        if self._live:
            word = "CHANGE" if self._terms is not None else f"{self._draft.side} {asked(self._draft).quantity}"
            live = f"{consequence} This is a LIVE order, with real money. Type {word}."
            self.app.push_screen(Ask(question, live, accepts=typed(word), fault=word), answered)
        else:
            self.app.push_screen(Confirm(question, f"{consequence} The account is simulated."), answered)

    def action_leave(self) -> None:
        self.dismiss()
