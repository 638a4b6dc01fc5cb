"""What brokers need besides requests: forecasts, a look at their clocks, and a hand up once they fell out."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import anyio

from .accounts import Account
from .clock import SECOND
from .errors import HeadroomError
from .manager import MultiAPIManager
from .models import Category, HealthStatus, Operation

__all__ = ["Caretaker"]

RENEW_EVERY_NS: Final = 15 * SECOND
PROBE_PATIENCE_NS: Final = 2 * SECOND  # long enough for three to be unanswered at once, which opens a breaker
PROBE_EVERY_NS: Final = SECOND // 4  # how soon a breaker's time is noticed; the balancer spaces the probes
# The Date header counts whole seconds, so that a difference below two says nothing.
SKEW_MAX_NS: Final = 2 * SECOND


class Caretaker:
    """Looks after the accounts of one manager: once a second, and for probes four times."""

    def __init__(self, manager: MultiAPIManager) -> None:
        self._manager = manager
        self._clock = manager.clock
        self._skewed: set[str] = set()
        self._renew_at_ns: dict[str, int] = {}

    async def watch(self) -> None:
        """Look after them for ever: a probe once a breaker is half open, a log-in once a token was refused."""
        balancer = self._manager.balancer
        async with anyio.create_task_group() as tasks:
            look_at_ns = self._clock.now_ns()
            while True:
                now_ns = self._clock.now_ns()
                if now_ns >= look_at_ns:
                    look_at_ns = now_ns + SECOND
                    for name, account in self._manager.accounts.items():
                        account.forecaster.observe(now_ns, account.limiter.headroom(forecasts=False))
                        self._compare_clocks(name, account)
                        refused = balancer.health(name)[0] is HealthStatus.AUTH_FAILED
                        if refused and now_ns >= self._renew_at_ns.get(name, 0):
                            self._renew_at_ns[name] = now_ns + RENEW_EVERY_NS
                            tasks.start_soon(self._renew, name, account)
                for name in balancer.probes_due():
                    probed = self._manager.accounts.get(name)
                    if probed is not None and not probed.barred(now_ns):
                        tasks.start_soon(self._probe, name)
                await self._clock.sleep_until_ns(now_ns + PROBE_EVERY_NS)

    def _compare_clocks(self, name: str, account: Account) -> None:
        """Tell once when a broker's clock and ours part, and again after they had agreed."""
        skew_ns = account.session.clock_skew_ns if account.session is not None else None
        if skew_ns is None or abs(skew_ns) <= SKEW_MAX_NS:
            self._skewed.discard(name)
        elif name not in self._skewed:
            self._skewed.add(name)
            text = f"its clock and ours differ by {skew_ns / SECOND:+.1f} s; set ours by NTP"
            self._manager.incident("clock_skew", name, text)

    async def _probe(self, name: str) -> None:
        deadline_ns = self._clock.now_ns() + PROBE_PATIENCE_NS
        with (
            suppress(HeadroomError),  # the breaker has learned from it whatever it was
            await self._manager.reserve(Operation.HEALTH_CHECK, only=name, deadline_ns=deadline_ns) as place,
        ):
            await place.call(lambda api: api.health_check())

    async def _renew(self, name: str, account: Account) -> None:
        """Log in once more: `headroom login` may have left a fresh token. The balancer bars all else until then."""
        with suppress(HeadroomError):
            async with account.limiter.permit(Category.READS, deadline_ns=self._clock.now_ns() + SECOND) as permit:
                permit.sent()
                await account.api.authenticate()
            self._manager.balancer.reset(name)
