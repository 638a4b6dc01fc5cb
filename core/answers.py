"""What is asked of a router besides its snapshot: an order's story, a broker in depth, what an order would become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from . import brokers
from .brokers.base import HasSession
from .chronicle import Chronicle
from .config import token_dir
from .engine import TradingEngine
from .errors import ConfigError
from .manager import MultiAPIManager
from .models import (
    APIConfig,
    AskBroker,
    AskPreview,
    AskStory,
    BrokerDetail,
    Budget,
    LimitSource,
    Question,
    Rate,
)
from .preview import preview_of

__all__ = ["Answers"]

A = TypeVar("A")


class Answers:
    """Reads, and changes nothing. `for_show` tells whether an account is an embedded one."""

    def __init__(
        self,
        manager: MultiAPIManager,
        engine: TradingEngine,
        chronicle: Chronicle,
        instruments: brokers.InstrumentTable,
        for_show: Callable[[str], bool],
    ) -> None:
        self._manager = manager
        self._engine = engine
        self._chronicle = chronicle
        self._instruments = instruments
        self._for_show = for_show

    async def to(self, question: Question[A]) -> A:
        """Each question bears the type of its answer. Raises ConfigError for one that is not known here."""
        asked: object = question
        match asked:
            case AskStory(order_id):
                answer: object = await self._engine.story(order_id)
            case AskPreview():
                answer = preview_of(asked, manager=self._manager, engine=self._engine, instruments=self._instruments)
            case AskBroker(name):
                answer = self._detail(name)
            case _:
                message = f"{type(asked).__name__} is not known here"
                raise ConfigError(message)
        return cast("A", answer)

    def _detail(self, name: str) -> BrokerDetail:
        limiter, api = self._manager.limiter(name), self._manager.apis[name]
        config = api.config
        published = brokers.published_limits(config.provider, registered_algo=config.registered_algo)
        told = self._chronicle.of(name)
        return BrokerDetail(
            name=name,
            windows=told.windows(),
            histogram=told.latencies.bars(),
            operations=told.operation_rows(),
            breaker=tuple(told.moves),
            refusals=tuple(told.refusals),
            limits=tuple(
                LimitSource(budget=budget.name, rate=rate, source=_source(config, budget, rate, published, limiter.cap))
                for budget in config.limits
                for rate in budget.rates
            ),
            published=published,
            token_source=self._token_source(config, name),
            token_expires_epoch_ns=api.token_expires_epoch_ns if isinstance(api, HasSession) else 0,
        )

    def _token_source(self, config: APIConfig, name: str) -> str:
        if self._for_show(name):
            return "the embedded broker's own; nothing real"
        if config.access_token.get_secret_value():
            return "the configuration, or its place in the environment"
        return f"headroom login, kept in {token_dir()}"


def _source(config: APIConfig, budget: Budget, rate: Rate, published: Sequence[Budget], cap: float) -> str:
    """Where one number of the limits comes from, and what of it is in use."""
    capped = f"; capped to {cap:.0%} by you" if cap < 1 else ""
    theirs = any(budget.name == other.name and rate in other.rates for other in published)
    if theirs and config.budgets:
        return f"published: {brokers.limits_source(config.provider)}{capped}"
    return f"set in the configuration{capped}"
