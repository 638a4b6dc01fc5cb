"""A broker goes wrong under a running router: traffic leaves, decisions say why, one key drains it, and it is back."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest

from core import Operation, Order, VirtualClock, open_router
from core.brokers import published_limits
from core.clock import SECOND
from core.config import simulated_settings
from core.errors import HeadroomError
from core.models import ApplySuggestion, Decision, HealthStatus, SetFault, Suggestion, UndoSuggestion
from core.router import LocalRouter


class Desk:
    """A router with a flow of reads and orders, five a second, and what it decided."""

    def __init__(self, router: LocalRouter, clock: VirtualClock) -> None:
        self.router = router
        self.clock = clock
        self._rng = random.Random(5)

    async def flow(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                tasks.start_soon(self._one)
                await self.clock.sleep_until_ns(self.clock.now_ns() + SECOND // 5)

    async def _one(self) -> None:
        with suppress(HeadroomError):
            if self._rng.random() < 0.3:
                await self.router.place_order(Order(symbol="NSE:SBIN-EQ", quantity=1))
            else:
                read = self._rng.choice((Operation.GET_POSITIONS, Operation.GET_PORTFOLIO, Operation.GET_ORDERS))
                await self.router.execute(read)

    def decisions(self, since_ns: int) -> list[Decision]:
        """What was decided since then, newest first; not what only that broker can be asked, such as its health."""
        return [
            decision
            for decision in self.router.manager.balancer.decisions(500)
            if decision.at_ns >= since_ns and not any(terms.barred[:6] == "pinned" for terms in decision.candidates)
        ]

    def sent_there(self, name: str, since_ns: int) -> int:
        return sum(decision.chosen == name for decision in self.decisions(since_ns))

    async def until(self, holds: Callable[[], object], within_ns: int) -> None:
        deadline_ns = self.clock.now_ns() + within_ns
        while not holds():
            assert self.clock.now_ns() < deadline_ns, f"not within {within_ns / SECOND:g} s"
            await self.clock.sleep_until_ns(self.clock.now_ns() + SECOND // 10)

    def advice(self, name: str) -> Suggestion | None:
        return next(
            (one for one in self.router.snapshot().suggestions if one.provider == name and "drain" in one.action), None
        )

    def health(self, name: str) -> HealthStatus:
        return next(row.health for row in self.router.snapshot().brokers if row.name == name)


@pytest.mark.parametrize("kind", ["hang", "down", "error_before_accept", "reset_before_read", "maintenance"])
def test_traffic_leaves_the_decisions_say_why_one_key_drains_and_after_the_fault_it_is_back(kind: str) -> None:
    clock = VirtualClock()

    async def story(desk: Desk) -> None:
        router = desk.router
        await clock.sleep_until_ns(clock.now_ns() + 30 * SECOND)
        name = "fyers" if desk.sent_there("fyers", 0) >= desk.sent_there("upstox", 0) else "upstox"
        assert desk.sent_there(name, clock.now_ns() - 5 * SECOND) >= 5, "it carries traffic"

        began_ns = clock.now_ns()
        await router.send(SetFault(name, kind, 1.0))
        await clock.sleep_until_ns(began_ns + 2 * SECOND)
        assert desk.sent_there(name, began_ns) <= 5, "requests lost before it was noticed"
        await clock.sleep_until_ns(began_ns + 6 * SECOND)
        assert desk.sent_there(name, began_ns + 2 * SECOND) == 0, "traffic has left"

        terms = next(terms for terms in desk.decisions(began_ns)[0].candidates if terms.name == name)
        assert terms.barred or terms.failure_s > 0.05, "the terms say what speaks against it"
        await desk.until(lambda: desk.advice(name), 8 * SECOND)
        told = desk.advice(name)
        assert told is not None
        assert any(digit.isdigit() for digit in told.evidence)

        await router.send(ApplySuggestion(told.id))
        assert desk.health(name) is HealthStatus.DRAINED
        await router.send(UndoSuggestion(told.id))
        assert desk.health(name) is not HealthStatus.DRAINED

        await router.send(SetFault(name, kind, 0.0))
        ended_ns = clock.now_ns()
        await desk.until(lambda: desk.sent_there(name, ended_ns) >= 3, 10 * SECOND)
        await clock.sleep_until_ns(clock.now_ns() + 20 * SECOND)
        reports = await router.referee_reports()
        assert sum(report.refused for report in reports) == router.snapshot().counters.refusals == 0

    async def main() -> None:
        settings = simulated_settings(published_limits, seed=4)
        async with open_router(settings, clock=clock) as router, anyio.create_task_group() as tasks:
            desk = Desk(router, clock)
            tasks.start_soon(desk.flow)
            await story(desk)
            tasks.cancel_scope.cancel()

    clock.run(main)
