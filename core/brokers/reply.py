"""What a broker answered, and what that answer means for the order: pure, no network, tested on recorded shapes.

The order of the questions is the same for every broker, and it is the whole of the safety argument:

1. 5xx, or a code that says the same: their fault, at a time nobody knows: the order may be live. Unknown.
2. 429, or a code that says so: refused for the rate, whatever the body; the firewall in front answers without JSON.
3. An error in the broker's own envelope, under any other status (200 too): refused, by the row of its code.
4. 401; 403 without an envelope (the firewall); 404 and 405 without one (a wrong address): refused.
5. 2xx with a success envelope: the answer.
6. Anything else says nothing that can be relied on. Unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from ..clock import DAY, SECOND
from ..errors import AuthenticationFailed, OrderOutcomeUnknown, OrderRefused, RateLimited

__all__ = [
    "ORDER_ID",
    "UNKNOWN_ORDER",
    "Fault",
    "Quota",
    "Refusal",
    "Reply",
    "clean_text",
    "epoch_ns_of",
    "judge",
    "money",
    "order_id",
    "quota_in",
    "rows_in",
    "unreadable",
]

UNKNOWN_ORDER: Final = "unknown_order"
ORDER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z", re.ASCII)
# A gateway that has answered 5xx may still have the request in a queue behind it: chosen, nobody publishes a figure.
BEHIND_GATEWAY_NS: Final = SECOND
_TOKEN_IN_BODY: Final = re.compile(r"""((?:access|refresh|extended)_token["']?\s*[:=]\s*["']?)[^"',}\s]+""")
_SHOWN_HEADERS: Final = ("retry-after", "x-retry-after-ms", "content-type", "server", "cf-ray")


class Reply(NamedTuple):
    """One HTTP answer. Headers are looked up by lower-case names; `begun_ns`: when it began to leave (monotonic)."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    begun_ns: int = 0
    done_ns: int = 0

    def __repr__(self) -> str:
        return f"Reply(status={self.status})"  # the body of a login holds a token


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the broker's envelope names it."""

    code: str
    message: str


class Quota(NamedTuple):
    """What a broker says is left of that of its limits which allows `limit`; `resets_in_ns` None when it is silent."""

    limit: int
    remaining: int
    resets_in_ns: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a documented code means: the error to raise, in words, and whether another broker may take the order.

    `code` replaces the broker's own where all brokers share a meaning that callers ask for. `their_fault`: no refusal
    at all, it failed on the way, and whether the order is live is unknown.
    """

    meaning: str
    elsewhere: bool = False
    error: type[OrderRefused] = OrderRefused
    code: str = ""
    their_fault: bool = False


def judge(
    reply: Reply,
    payload: Any,
    *,
    name: str,
    refusal_of: Callable[[Fault], Refusal | None],
    envelope: Callable[[Any], Fault | None],
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """The answer's JSON object when it is a success; raises what the answer means otherwise.

    `payload` is what its body says (`read_json`), None for what is no JSON.
    `envelope` finds the fault in a decoded object: None for a success; it raises ValueError when the object is neither.
    `refusal_of` is the broker's table; None for what is in no list.
    """
    try:
        fault = envelope(payload)
        readable = True
    except (ValueError, TypeError, KeyError, AttributeError):
        payload, fault, readable = None, None, False
    if isinstance(payload, dict) and fault is None and 200 <= reply.status < 300:
        return payload  # by far the most: nothing else is worked out for them
    if fault is not None:  # a code is the broker's text as well
        fault = Fault(clean_text(fault.code, secrets, limit=40), fault.message)
    code = fault.code if fault else ""
    said = clean_text(fault.message, secrets) if fault else ""
    evidence = _evidence(reply, code, secrets)
    row = refusal_of(fault) if fault else None

    if reply.status >= 500 or (row is not None and row.their_fault):
        message = f"{name}: its server failed ({reply.status}){_quoted(code, said)}; it may have been done: look it up"
        raise OrderOutcomeUnknown(
            message,
            provider=name,
            code=code,
            status=reply.status,
            evidence=evidence,
            arrives_within_ns=BEHIND_GATEWAY_NS,
        )
    if reply.status == 429 or (row is not None and issubclass(row.error, RateLimited)):
        source = "" if readable else " by the firewall in front of it"
        message = f"{name}: too many requests, refused{source}{_quoted(code, said)}; slow down"
        raise RateLimited(
            message,
            provider=name,
            code=code,
            status=reply.status,
            evidence=evidence,
            retry_in_ns=_advice_ns(reply.headers),
        )
    if fault is not None:
        raise _refusal(name, reply, fault, row, said, evidence)
    if not readable and reply.status in {401, 403, 404, 405}:
        raise _bare_refusal(name, reply, evidence)
    raise unreadable(name, reply, f"an answer that says neither yes nor no (HTTP {reply.status})", secrets)


def _refusal(name: str, reply: Reply, fault: Fault, row: Refusal | None, said: str, evidence: str) -> OrderRefused:
    if row is None:
        # 401 and 403 are about the account, whatever the code; other codes that no page lists are taken for the
        # order's own fault, so that nothing wanders from broker to broker on a guess.
        error: type[OrderRefused] = AuthenticationFailed if reply.status == 401 else OrderRefused
        row = Refusal("refused, with a code that is in no list", elsewhere=reply.status in {401, 403}, error=error)
    return row.error(
        f"{name}: {row.meaning}{_quoted(fault.code, said)}",
        provider=name,
        code=row.code or fault.code,
        status=reply.status,
        evidence=evidence,
        elsewhere=row.elsewhere,
    )


def _bare_refusal(name: str, reply: Reply, evidence: str) -> OrderRefused:
    if reply.status == 401:
        message = f"{name}: the token is not accepted; log in again"
        return AuthenticationFailed(message, provider=name, status=401, evidence=evidence)
    if reply.status == 403:
        # "error code: 1015" is Cloudflare's word for a rate, 1010 for a client it does not like; without a word the
        # safe reading is the rate.
        if b"1010" in reply.body:
            message = f"{name}: the firewall in front of it does not accept this client"
            return OrderRefused(message, provider=name, code="1010", status=403, evidence=evidence, elsewhere=True)
        message = f"{name}: refused by the firewall in front of it; slow down"
        return RateLimited(message, provider=name, status=403, evidence=evidence, retry_in_ns=_advice_ns(reply.headers))
    message = f"{name}: no such address ({reply.status}); check base_url"
    return OrderRefused(message, provider=name, status=reply.status, evidence=evidence, elsewhere=True)


def unreadable(name: str, reply: Reply, what: str, secrets: Sequence[str] = ()) -> OrderOutcomeUnknown:
    """The error for an answer that cannot be relied on: unknown, since the request did arrive."""
    return OrderOutcomeUnknown(
        f"{name}: {clean_text(what, secrets)}; the request arrived: look it up, never send it again",
        provider=name,
        status=reply.status,
        evidence=_evidence(reply, "", secrets),
    )


def _quoted(code: str, said: str) -> str:
    if said:
        return f": {code} {said!r}" if code else f": {said!r}"
    return f": {code}" if code else ""


def _advice_ns(headers: Mapping[str, str]) -> int | None:
    """When the broker would have us back: milliseconds first, then seconds; None without a word or with nonsense."""
    for header, unit_ns in (("x-retry-after-ms", SECOND // 1000), ("retry-after", SECOND)):
        text = headers.get(header, "").strip()
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            return min(int(text) * unit_ns, DAY)
    return None


def quota_in(headers: Mapping[str, str]) -> Quota | None:
    """The remaining-quota headers, in their two common spellings; None without them or with nonsense.

    No page of a broker that we have read promises them, so they are only believed where both numbers stand.
    """
    for prefix in ("x-ratelimit-", "ratelimit-"):
        if prefix + "remaining" in headers:
            limit, remaining, reset = (_number(headers, prefix + name) for name in ("limit", "remaining", "reset"))
            if limit and remaining is not None:
                # Seconds to go; a greater number is a date, and nobody says on whose clock.
                known = reset is not None and reset * SECOND <= DAY
                return Quota(limit, remaining, reset * SECOND if known and reset is not None else None)
    return None


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def _evidence(reply: Reply, code: str, secrets: Sequence[str]) -> str:
    parts = [f"HTTP {reply.status}"]
    if code:
        parts.append(f"code {code}")
    parts += [f"{header}: {reply.headers[header]}" for header in _SHOWN_HEADERS if header in reply.headers]
    # An answer to a login that is odd enough to get here may hold the very token.
    body = _TOKEN_IN_BODY.sub(r"\1***", reply.body[:2000].decode("utf-8", "replace"))
    parts.append(f"body {body}")
    return clean_text("; ".join(parts), secrets, limit=380)


def clean_text(text: object, secrets: Sequence[str] = (), *, limit: int = 200) -> str:
    """A broker's words, fit to be shown: one line, printable, no secret of ours, at most `limit` characters."""
    words = str(text)[: 4 * limit]
    for secret in secrets:
        words = words.replace(secret, "***")
    if not words.isprintable():
        words = "".join(char if char.isprintable() else " " for char in words)
    words = " ".join(words.split())
    return words if len(words) <= limit else words[: limit - 3] + "..."


def order_id(value: object) -> str:
    """An order id as brokers make them. Raises ValueError for anything that could not be asked for again."""
    if not isinstance(value, str) or not ORDER_ID.match(value):
        message = f"{value!r} is no order id"
        raise ValueError(message)
    return value


def rows_in(payload: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The rows under `key`. Raises ValueError for anything but a list: an empty object is not an empty book."""
    rows = payload[key]
    if not isinstance(rows, list):
        message = f"{key} is {type(rows).__name__}, not a list"
        raise ValueError(message)
    return rows


def money(value: object) -> Decimal:
    """A price or sum from the wire. Raises ValueError for text that is no number, or a number that is no money.

    The bounds keep a hostile 1e999999999 from being printed out in full further up.
    """
    if value is None or value == "":
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        message = f"{value!r} is no price"
        raise ValueError(message)
    try:
        amount = Decimal(value)
    except ArithmeticError:
        message = f"{value!r} is no price"
        raise ValueError(message) from None
    if not amount.is_finite() or (amount and not -13 < amount.adjusted() < 19):
        message = f"{value!r} is no price"
        raise ValueError(message)
    return amount


def epoch_ns_of(date: str) -> int | None:
    """An HTTP Date header as epoch nanoseconds; None when it is not one."""
    try:
        return int(parsedate_to_datetime(date).timestamp()) * SECOND
    except (ValueError, TypeError, OverflowError):
        return None
