"""What the real adapters share: one account's session, token, instruments and clock skew. No wire format."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar
from urllib.parse import urlsplit

import anyio.to_thread
from pydantic import SecretStr

from ..clock import MILLISECOND, SECOND, Clock, SystemClock
from ..errors import AuthenticationFailed, ConfigError, OrderNotSent, OrderRefused
from ..models import APIConfig, BrokerOrder, HealthStatus, Order, OrderAck, OrderType, Session
from ..slices import Slices
from .base import ANSWER_IS_IN
from .http import HTTPTransport
from .instruments import Instrument, InstrumentTable, priced
from .jsontext import KnownRows, read_json
from .reply import ORDER_ID, UNKNOWN_ORDER, Fault, Quota, Refusal, Reply, epoch_ns_of, judge, quota_in, unreadable
from .tokens import Token, TokenStore, expiry_in_token

__all__ = ["RESTAccount", "check_address"]

_ROWS_AT_ONCE: Final = 50  # about a millisecond
_TAG: Final = re.compile(r"[A-Za-z0-9]{1,19}\Z", re.ASCII)
# How long a lost order may still turn up in the book. No broker publishes a figure. Chosen: twice the longest session
# timeout of the load balancers in front (60 s), after which nothing on the way can still deliver it. The embedded
# exchange books an order on arrival: a few seconds over its longest delay are enough there.
ABSENCE_PROVEN_AFTER_NS: Final = 120 * SECOND
ABSENCE_PROVEN_AFTER_SIMULATED_NS: Final = 5 * SECOND
SYMBOLS_REMEMBERED: Final = 20_000

T = TypeVar("T")


class RESTAccount(ABC):
    """One account behind a REST API. Use it as an `async with` block: the block owns the connections.

    `tokens` is where `headroom login` left the access token; it is read when the block opens, and again by
    `authenticate`, unless `config.access_token` is set. Raises ConfigError for an address that would send the token in
    the clear.
    """

    book_key: ClassVar[str]  # under which an answer holds the rows of the order book

    def __init__(
        self,
        name: str,
        config: APIConfig,
        *,
        clock: Clock | None = None,
        instruments: InstrumentTable | None = None,
        tokens: TokenStore | None = None,
        absence_proven_after_ns: int | None = None,
    ) -> None:
        check_address(name, config)
        self._name = name
        self._config = config
        self._clock: Clock = clock or SystemClock()
        self._instruments = instruments or InstrumentTable.sample()
        self._tokens = tokens
        self._http = HTTPTransport(name, timeout_ns=config.timeout_ms * MILLISECOND, clock=self._clock)
        chosen_ns = ABSENCE_PROVEN_AFTER_SIMULATED_NS if config.simulated else ABSENCE_PROVEN_AFTER_NS
        self._absence_ns = chosen_ns if absence_proven_after_ns is None else absence_proven_after_ns
        self._date_seen = ""
        self._skew_ns: int | None = None
        self._quota: Quota | None = None
        self._symbol_of: dict[str, str] = {}
        self._book = KnownRows(self.book_key, self._order_in)
        self._address(config.base_url.rstrip("/"))
        self._use(Token(access_token=config.access_token))

    @property
    def name(self) -> str:
        return self._name

    @property
    def config(self) -> APIConfig:
        return self._config

    @property
    def absence_proven_after_ns(self) -> int:
        """Chosen, not published: see ABSENCE_PROVEN_AFTER_NS."""
        return self._absence_ns

    @property
    def has_token(self) -> bool:
        """Whether there is an access token to show; not whether the broker takes it."""
        return bool(self._token.access_token.get_secret_value())

    @property
    def token_expires_epoch_ns(self) -> int:
        """When the access token ends, epoch nanoseconds; 0 when neither the log-in nor the token says."""
        return self._token.expires_epoch_ns

    @property
    def token_obtained_epoch_ns(self) -> int:
        """When `headroom login` fetched the access token, epoch nanoseconds; 0 for one from the configuration."""
        return self._token.obtained_epoch_ns

    @property
    def clock_skew_ns(self) -> int | None:
        """The broker's clock minus ours, from its last Date header (whole seconds); None before any answer."""
        return self._skew_ns

    def heard_quota(self) -> Quota | None:
        quota, self._quota = self._quota, None
        return quota

    @property
    def instruments(self) -> InstrumentTable:
        return self._instruments

    async def __aenter__(self) -> Self:
        await self._reload_token()
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def authenticate(self) -> Session:
        """Read the token anew, where `headroom login` may have left a fresh one, and prove it by the profile call."""
        try:
            await self._reload_token()
        except ConfigError as error:
            raise AuthenticationFailed(str(error), provider=self._name) from None
        user_id = await self._profile()
        return Session(
            provider=self._name, user_id=user_id or self._token.user_id, expires_epoch_ns=self._token.expires_epoch_ns
        )

    async def health_check(self) -> HealthStatus:
        """The profile call: the cheapest that needs the token. HEALTHY, or raises what is the matter."""
        await self._profile()
        return HealthStatus.HEALTHY

    @abstractmethod
    def _address(self, base_url: str) -> None:
        """Fix the addresses that calls go to; `base_url` without its last slash, empty for the broker's own hosts."""

    @abstractmethod
    async def _profile(self) -> str:
        """The user id."""

    @abstractmethod
    def _authorization(self, token: str) -> dict[str, str]:
        """The headers that show the token."""

    @abstractmethod
    def _order_in(self, row: dict[str, Any]) -> BrokerOrder:
        """One row of the order book; it follows from the row alone."""

    @staticmethod
    @abstractmethod
    def envelope(payload: Any) -> Fault | None:
        """The fault that a decoded answer names; None for a success; ValueError when it is neither."""

    @staticmethod
    @abstractmethod
    def refusal_of(fault: Fault) -> Refusal | None:
        """What the broker's table says of a fault; None where it is in no list."""

    # --- token

    async def _reload_token(self) -> None:
        if self._tokens is None or self._config.access_token.get_secret_value():
            return
        with self._clock.outside():
            token = await anyio.to_thread.run_sync(self._tokens.load, self._name)
        if token is not None:
            self._use(token)

    def _use(self, token: Token) -> None:
        text = token.access_token.get_secret_value()
        if not token.expires_epoch_ns:
            token = replace(token, expires_epoch_ns=expiry_in_token(text) or 0)
        self._token = token
        config = self._config
        known = (text, config.api_key.get_secret_value(), config.api_secret.get_secret_value())
        self._secrets = tuple(secret for secret in known if len(secret) >= 4)
        self._headers = {
            **self._authorization(text),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "headroom",
        }

    def _forget_token(self) -> None:
        self._use(Token(access_token=SecretStr("")))

    # --- one request

    async def _call(
        self, method: str, url: str, *, body: bytes | None = None, book: KnownRows[BrokerOrder] | None = None
    ) -> dict[str, Any]:
        """Send once; the answer's object, or what it means. The rows of a long `book` come parsed."""
        if not self._token.access_token.get_secret_value():
            message = f"{self._name}: no access token; run `headroom login {self._config.provider.value}`"
            raise AuthenticationFailed(message, provider=self._name)
        reply = await self._http.request(method, url, headers=self._headers, body=body)
        self._learn_skew(reply)
        self._quota = quota_in(reply.headers)
        if book is not None and (answer_is_in := ANSWER_IS_IN.get(None)) is not None:
            answer_is_in()
        return self._judged(reply, await read_json(reply.body, self._clock, book))

    def _judged(self, reply: Reply, payload: Any) -> dict[str, Any]:
        return judge(
            reply,
            payload,
            name=self._name,
            refusal_of=self.refusal_of,
            envelope=self.envelope,
            secrets=self._secrets,
        )

    def _learn_skew(self, reply: Reply) -> None:
        date = reply.headers.get("date", "")
        if date == self._date_seen:  # at most one parse a second
            return
        self._date_seen = date
        server_ns = epoch_ns_of(date)
        if server_ns is not None:
            # The header drops the fraction of the second: half a second is its expected value. The answer was written
            # about half a round trip ago.
            ours_ns = self._clock.epoch_ns() - (reply.done_ns - reply.begun_ns) // 2
            self._skew_ns = server_ns + SECOND // 2 - ours_ns

    def _parsed(self, parse: Callable[[], T]) -> T:
        """`parse()`, with an answer of another shape than documented sorted as unknown instead of a KeyError."""
        try:
            return parse()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            reply = Reply(status=200, body=b"", headers={})
            what = f"an answer of another shape than documented ({type(error).__name__}: {error})"
            raise unreadable(self._name, reply, what, self._secrets) from error

    async def _orders_in(self, rows: Sequence[dict[str, Any] | BrokerOrder]) -> tuple[BrokerOrder, ...]:
        """The orders of a book, which may be long: orders that leave meanwhile go between its slices."""
        found: list[BrokerOrder] = []
        read, slices = 0, Slices(self._clock)
        for row in rows:
            if isinstance(row, BrokerOrder):
                found.append(row)
                continue
            if read and not read % _ROWS_AT_ONCE:
                await slices.pause()
            read += 1
            found.append(self._parsed(partial(self._order_in, row)))
        self._remember((order.broker_order_id, order.symbol) for order in found)
        return tuple(found)

    # --- checks before sending

    def _instrument(self, symbol: str) -> Instrument:
        instrument = self._instruments.find(symbol)
        if instrument is None:
            message = f"{self._name}: {self._instruments.unknown(symbol)}"
            raise OrderNotSent(message, provider=self._name, code="unknown_symbol")
        return instrument

    def _checked(self, order: Order, tag: str) -> Instrument:
        """The order's instrument. Raises OrderNotSent for a tag, quantity or price that would be refused."""
        if not _TAG.match(tag):
            message = f"{self._name}: tag {tag!r} is not 1 to 19 letters and digits"
            raise OrderNotSent(message, provider=self._name, code="tag")
        instrument = self._instrument(order.symbol)
        self._check_terms(instrument, quantity=order.quantity, price=order.price, trigger_price=order.trigger_price)
        return instrument

    def _check_terms(
        self, instrument: Instrument, *, quantity: int | None, price: Decimal | None, trigger_price: Decimal | None
    ) -> None:
        fault = instrument.fault(quantity=quantity, price=price, trigger_price=trigger_price)
        if fault:
            message = f"{self._name}: {fault}"
            raise OrderNotSent(message, provider=self._name, code="terms")

    def _check_id(self, broker_order_id: str) -> str:
        if not ORDER_ID.match(broker_order_id):
            message = f"{self._name}: {broker_order_id!r} is no order id of a broker"
            raise OrderNotSent(message, provider=self._name, code="order_id")
        return broker_order_id

    # --- changing an order

    async def modify_order(
        self,
        broker_order_id: str,
        *,
        quantity: int | None = None,
        order_type: OrderType | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> OrderAck:
        """Change what is given. Both wires want type and prices each time: left out, they are read from the broker."""
        self._check_id(broker_order_id)
        complete = (
            order_type is not None
            and (price is not None or order_type in {OrderType.MARKET, OrderType.SL_M})
            and (trigger_price is not None or order_type in {OrderType.MARKET, OrderType.LIMIT})
        )
        if not complete:
            present = await self.get_order(broker_order_id)
            order_type = order_type or present.order_type
            price = present.price if price is None else price
            trigger_price = present.trigger_price if trigger_price is None else trigger_price
        assert order_type is not None  # noqa: S101 - both branches have set it
        instrument = self._instruments.find(self._symbol_of.get(broker_order_id, ""))
        if instrument is not None:
            self._check_terms(instrument, quantity=quantity, price=price, trigger_price=trigger_price)
        limit, trigger = priced(order_type, price, trigger_price)
        return await self._modify(broker_order_id, quantity, order_type, limit, trigger)

    @abstractmethod
    async def _modify(
        self, broker_order_id: str, quantity: int | None, order_type: OrderType, limit: Decimal, trigger: Decimal
    ) -> OrderAck:
        """Send the whole of the new terms; `quantity` None leaves it as it is, a price of 0 is none."""

    @abstractmethod
    async def get_order(self, broker_order_id: str) -> BrokerOrder: ...

    def _remember(self, rows: Iterable[tuple[str, str]]) -> None:
        """Which symbol an order is for, so that a later modify can be checked; the oldest are forgotten."""
        self._symbol_of.update(rows)
        while len(self._symbol_of) > SYMBOLS_REMEMBERED:
            del self._symbol_of[next(iter(self._symbol_of))]

    def _only(self, rows: Iterable[BrokerOrder], broker_order_id: str) -> BrokerOrder:
        """The row of that id, whatever else was sent. Raises OrderRefused where there is none."""
        for row in rows:
            if row.broker_order_id == broker_order_id:
                return row
        message = f"{self._name}: no order {broker_order_id}"
        raise OrderRefused(message, provider=self._name, code=UNKNOWN_ORDER, status=200)


def check_address(name: str, config: APIConfig) -> None:
    """Raise ConfigError for a base_url that is no address, or that would send a live token in the clear."""
    if not config.base_url:
        return
    parts = urlsplit(config.base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        message = f"{name}: base_url is {config.base_url!r}; give an address such as http://127.0.0.1:8770"
        raise ConfigError(message)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        message = f"{name}: base_url {config.base_url} would send the access token unencrypted; use https"
        raise ConfigError(message)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
