"""Every error that headroom raises, sorted by what the caller can do next.

    HeadroomError
      ConfigError                 mend the file, flag or value it names (also a ValueError)
      LimiterError
        CostTooHigh               never: no wait could help (also a ValueError)
        UnknownCategory           mend the caller (also a ValueError)
        PermitMisuse              mend the caller: a permit used twice, or done before it was sent
        PermitTimeout             nothing was sent; `free_in_ns` says when to come back
        QueueFull                 nothing was sent; slow the caller
      ReplayRefused               nothing was sent: a recording is shown; ask the live router
      NoBrokerAvailable           nothing was sent; every broker is open, drained or blocked
      BrokerError                 one broker said or did something
        OrderNotSent              it never left this process: safe to send elsewhere
        OrderRefused              the broker answered no; `elsewhere` tells whether another may take it
          RateLimited             the broker counts us above a limit; `retry_in_ns` when it says
            BlockedForDay         it takes nothing more until `until_epoch_ns`
          AuthenticationFailed    log in again
        OrderOutcomeUnknown       it left and no answer came: look it up, never send it again
      OrderError
        OrderDenied               our own guard said no; nothing was sent; names rule and numbers
        OrderConflict             the same client order id with other content
        UnknownOrder              no such order here
        IllegalStep               an order state that may not follow the present one
        EngineHalted              the kill switch is on; lift it by name
      StoreError
        StoreLocked               another process holds the file; nothing acknowledged is lost
        StoreFull                 the disk is full; nothing acknowledged is lost
        StoreReadOnly             the file or its folder cannot be written
        StoreCorrupt              the file fails its checksums; restore a backup or rebuild

`OrderNotSent`, `OrderRefused` and `OrderOutcomeUnknown` bear the order's name because orders are why the difference
matters; reads raise them too.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationFailed",
    "BlockedForDay",
    "BrokerError",
    "ConfigError",
    "CostTooHigh",
    "EngineHalted",
    "HeadroomError",
    "IllegalStep",
    "LimiterError",
    "NoBrokerAvailable",
    "OrderConflict",
    "OrderDenied",
    "OrderError",
    "OrderNotSent",
    "OrderOutcomeUnknown",
    "OrderRefused",
    "PermitMisuse",
    "PermitTimeout",
    "QueueFull",
    "RateLimited",
    "ReplayRefused",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "StoreReadOnly",
    "UnknownCategory",
    "UnknownOrder",
]


class HeadroomError(Exception):
    """The root: one `except` catches whatever headroom raises on purpose."""


class ConfigError(HeadroomError, ValueError):
    """A value that cannot be worked with: the message names the place, the fault and the mend in one line."""


class LimiterError(HeadroomError):
    """No permit. Nothing was sent."""


class CostTooHigh(LimiterError, ValueError):
    """The cost is above the smallest limit, so that no wait could help."""


class UnknownCategory(LimiterError, ValueError):
    """No budget of this broker knows the category."""


class PermitMisuse(LimiterError):
    """A permit was used against its order: take, sent, done; or take, give back."""


class PermitTimeout(LimiterError):
    """No permit before the deadline. Nothing was sent.

    `free_in_ns`: nanoseconds until the next permit, None when nobody can tell.
    """

    def __init__(self, message: str, *, free_in_ns: int | None = None) -> None:
        super().__init__(message)
        self.free_in_ns = free_in_ns


class QueueFull(LimiterError):
    """As many wait as may wait. Nothing was sent."""


class ReplayRefused(HeadroomError):
    """What is shown has been recorded: there is nobody to send to. Nothing was sent."""


class NoBrokerAvailable(HeadroomError):
    """No broker may take this operation now. Nothing was sent."""


class BrokerError(HeadroomError):
    """One broker said or did something.

    `provider` is the name it is routed by, `code` the broker's own code as text, `status` the HTTP status (None without
    an answer), `evidence` what may be kept and shown: never a secret, never more than a few hundred characters.
    """

    def __init__(
        self, message: str, *, provider: str = "", code: str = "", status: int | None = None, evidence: str = ""
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.code = code
        self.status = status
        self.evidence = evidence[:400]


class OrderNotSent(BrokerError):
    """It never left this process. Sending it again, anywhere, is safe."""


class OrderRefused(BrokerError):
    """The broker answered no; nothing is live.

    `elsewhere` is True where the reason is the broker's (its limit, its token, its maintenance) and another broker may
    take the order; False where the reason is the order's own (price band, lot, funds).
    """

    elsewhere: bool = False

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        code: str = "",
        status: int | None = None,
        evidence: str = "",
        elsewhere: bool | None = None,
    ) -> None:
        super().__init__(message, provider=provider, code=code, status=status, evidence=evidence)
        if elsewhere is not None:
            self.elsewhere = elsewhere


class RateLimited(OrderRefused):
    """The broker counts us above a limit.

    `retry_in_ns`: what the broker advised, None without advice. `window_ns`: the window it named, None when it did not.
    """

    elsewhere = True

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        code: str = "",
        status: int | None = None,
        evidence: str = "",
        retry_in_ns: int | None = None,
        window_ns: int | None = None,
    ) -> None:
        super().__init__(message, provider=provider, code=code, status=status, evidence=evidence)
        self.retry_in_ns = retry_in_ns
        self.window_ns = window_ns


class BlockedForDay(RateLimited):
    """The broker takes nothing more from this account until its day ends. `retry_in_ns` is the time until then."""


class AuthenticationFailed(OrderRefused):
    """The token is bad, expired or missing a permission. Log in again."""

    elsewhere = True


class OrderOutcomeUnknown(BrokerError):
    """It left and no answer came. Look it up by its tag; never send it again.

    `arrives_within_ns`: how long from now the request may still reach the broker; its permit is held as long.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        code: str = "",
        status: int | None = None,
        evidence: str = "",
        arrives_within_ns: int = 0,
    ) -> None:
        super().__init__(message, provider=provider, code=code, status=status, evidence=evidence)
        self.arrives_within_ns = arrives_within_ns


class OrderError(HeadroomError):
    """The order itself is the matter, not a broker."""


class OrderDenied(OrderError):
    """Our own guard said no. Nothing was sent. `rule` names it."""

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class OrderConflict(OrderError, ValueError):
    """The same client order id was used before, with other content."""


class UnknownOrder(OrderError, KeyError):
    """No order of that id is known here."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class IllegalStep(OrderError):
    """An order state that may not follow the present one."""


class EngineHalted(OrderError):
    """The kill switch is on: nothing new leaves until it is lifted by name."""


class StoreError(HeadroomError):
    """The store cannot do what was asked. What it acknowledged before is safe."""


class StoreLocked(StoreError):
    """Another process holds the file."""


class StoreFull(StoreError):
    """The disk, or the bound set for the file, is full."""


class StoreReadOnly(StoreError):
    """The file or its folder cannot be written."""


class StoreCorrupt(StoreError):
    """The file fails its checks."""
