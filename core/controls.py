"""What an operator tells a router to do, from one order to all trading halted; each command answers in one line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio.to_thread

from .advice import Alerts
from .clock import Clock
from .engine import TradingEngine
from .errors import ConfigError
from .manager import MultiAPIManager
from .models import (
    AcknowledgeAlerts,
    ApplySuggestion,
    CancelAllOrders,
    CancelOrder,
    Command,
    DismissSuggestion,
    DrainProvider,
    HaltTrading,
    ModifyOrder,
    OrderOutcome,
    ResumeProvider,
    ResumeTrading,
    SetFault,
    SetHedging,
    SetRateCap,
    SetReadCache,
    SetRouteWeight,
    Severity,
    SubmitOrder,
    UndoSuggestion,
)
from .store import load_notes, save_notes

__all__ = ["Controls"]


class Controls:
    """Does what it is told. `set_fault` makes a simulated broker misbehave; in `notes` lies what outlives a restart."""

    def __init__(
        self,
        manager: MultiAPIManager,
        engine: TradingEngine,
        alerts: Alerts,
        *,
        clock: Clock,
        notes: Path,
        set_fault: Callable[[str, str, float], Awaitable[None]],
    ) -> None:
        self._manager = manager
        self._engine = engine
        self._alerts = alerts
        self._clock = clock
        self._notes = notes
        self._set_fault = set_fault

    async def obey(self, command: Command) -> str:
        """Do it, and say in one line what came of it. Raises ConfigError, or what the parts raise that it goes to."""
        match command:
            case SubmitOrder() | ModifyOrder() | CancelOrder() | CancelAllOrders() | HaltTrading() | ResumeTrading():
                return await self._trade(command)
            case SetFault(provider, kind, share):
                await self._set_fault(provider, kind, float(share))
                return f"{provider}: {kind} in {share:.0%} of its requests" if share else f"{provider}: no more {kind}"
            case DismissSuggestion(suggestion_id):
                self._manager.advisor.dismiss(suggestion_id)
                await self._note_dismissed()
                return "dismissed until its cause has gone and come back"
            case _:
                return self._adjust(command)

    async def _trade(self, command: Command) -> str:
        """The commands that are about orders."""
        match command:
            case SubmitOrder(order, provider):
                outcome = await self._engine.place_order(order, only=provider or None)
                return f"{outcome.order_id}: {outcome.status.value} {outcome.message}".rstrip()
            case ModifyOrder(order_id, quantity, order_type, price, trigger_price):
                outcome = await self._engine.modify_order(
                    order_id, quantity=quantity, order_type=order_type, price=price, trigger_price=trigger_price
                )
                return f"{order_id}: {outcome.status.value} {outcome.message}".rstrip()
            case CancelOrder(order_id):
                outcome = await self._engine.cancel_order(order_id)
                return f"{order_id}: {outcome.status.value} {outcome.message}".rstrip()
            case CancelAllOrders():
                return _remains(await self._engine.cancel_all())
            case HaltTrading(reason):
                return f"halted; {_remains(await self._engine.halt(reason))}"
            case ResumeTrading(name):
                await self._engine.lift(name)
                return "trading resumed"
            case _:
                message = f"{type(command).__name__} is not about an order"
                raise ConfigError(message)

    def _adjust(self, command: Command) -> str:  # noqa: PLR0911 - a table, one row per command
        """The commands that change how we route, and touch no order."""
        match command:
            case DrainProvider(provider):
                self._manager.drain(provider)
                return f"{provider} is drained: nothing new goes there"
            case ResumeProvider(provider):
                self._manager.resume(provider)
                return f"{provider} is back"
            case SetRateCap(provider, share):
                self._manager.limiter(provider).set_cap(share)
                return f"{provider} uses at most {share:.0%} of each window"
            case SetRouteWeight(provider, category, weight):
                self._manager.set_weight(provider, category, weight)
                return f"{provider} now weighs {weight:g} for {category}"
            case SetReadCache(operation, seconds):
                self._manager.set_read_cache(operation, seconds)
                return f"{operation} is answered from memory for {seconds:g} s"
            case SetHedging(enabled, operation):
                self._manager.set_hedging(operation, enabled=enabled)
                return f"{operation or 'reads'}: {'hedged where the headroom allows it' if enabled else 'asked once'}"
            case ApplySuggestion(suggestion_id):
                return self._apply(suggestion_id)
            case UndoSuggestion(suggestion_id):
                return self._undo(suggestion_id)
            case AcknowledgeAlerts(alert_id):
                seen = self._alerts.acknowledge(alert_id, epoch_ns=self._clock.epoch_ns())
                return f"{seen} alert{'' if seen == 1 else 's'} acknowledged"
            case _:
                message = f"{type(command).__name__} is not known here"
                raise ConfigError(message)

    def _apply(self, suggestion_id: str) -> str:
        command = self._manager.advisor.command_for(suggestion_id)
        if command is None:
            message = "that suggestion has gone, or only the operator can do what it says"
            raise ConfigError(message)
        answer = self._adjust(command)
        self._manager.advisor.mark_applied(suggestion_id)
        return answer

    def _undo(self, suggestion_id: str) -> str:
        command = self._manager.advisor.undo_for(suggestion_id)
        if command is None:
            message = "there is nothing to undo"
            raise ConfigError(message)
        answer = self._adjust(command)
        self._manager.advisor.mark_undone(suggestion_id)
        return answer

    async def _note_dismissed(self) -> None:
        """So that what the operator has seen enough of stays away after a restart."""
        notes = {f"dismissed {key}": severity.value for key, severity in self._manager.advisor.dismissed.items()}
        try:
            await anyio.to_thread.run_sync(save_notes, self._notes, notes)
        except OSError as error:
            self._manager.incident("store", "", f"{self._notes}: not written ({error.strerror})")

    async def load_dismissed(self) -> None:
        """What was dismissed when this store was last in use."""
        notes = await anyio.to_thread.run_sync(load_notes, self._notes)
        self._manager.advisor.remember(
            {
                key.removeprefix("dismissed "): Severity(value)
                for key, value in notes.items()
                if key.startswith("dismissed ") and value in list(Severity)
            }
        )


def _remains(left: Sequence[OrderOutcome]) -> str:
    """What is still open after everything was to be cancelled, in one line."""
    if not left:
        return "nothing rests"
    named = ", ".join(f"{one.order_id} {one.status.value} at {one.provider or 'no broker'}" for one in left[:3])
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return f"{len(left)} remain{'s' if len(left) == 1 else ''}: {named}{more}"
