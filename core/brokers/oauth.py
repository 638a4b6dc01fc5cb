"""Logging in by the brokers' code flow: the address to open, the code that comes back, the token it is changed for.

Sources: Fyers API v3 documentation, Authentication & Login Flow, read January 2026 (the exchange is signed with
SHA-256 of `app id:secret`); Upstox developer documentation, Authentication, read February 2026 (a form post, and an
answer without the usual envelope). A code works once, even where the exchange fails.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import SecretStr

from ..clock import MILLISECOND, Clock, SystemClock
from ..errors import AuthenticationFailed, ConfigError
from ..models import APIConfig, APIProvider
from .account import check_address
from .fyers import TRADING_HOST, FyersAPI
from .http import HTTPTransport
from .jsontext import dump_json, read_json
from .reply import Fault, Refusal, judge, unreadable
from .tokens import Token, login_expiry_ns
from .upstox import MAIN_HOST, UpstoxAPI

__all__ = ["code_in_answer", "exchange_code", "login_url"]

_CODE_USED: Final = Refusal(
    "the login code is wrong or was used; start the login again", elsewhere=True, error=AuthenticationFailed
)


def login_url(config: APIConfig, *, redirect_uri: str, state: str) -> str:
    """The address that the account's owner opens in a browser. `state` comes back with the code.

    Raises ConfigError without a client id, or for a broker that has no such login.
    """
    query = {"response_type": "code", "client_id": _client_id(config), "redirect_uri": redirect_uri, "state": state}
    return f"{_login_base(config)}{_PATHS[config.provider][0]}?{urlencode(query)}"


def code_in_answer(answer: str, *, state: str) -> str:
    """The code in the address that the browser was sent back to; a bare code is taken as it is.

    Raises AuthenticationFailed for an address without a code, and for one of another login than `state`.
    """
    answer = answer.strip()
    if not answer:
        message = "nothing was pasted; paste the whole address that the browser was sent to"
        raise AuthenticationFailed(message)
    if "?" not in answer and "=" not in answer:
        return answer
    fields = {name: values[0] for name, values in parse_qs(urlsplit(answer).query).items()}
    if not hmac.compare_digest(fields.get("state", "").encode(), state.encode()):
        message = "the answer belongs to another login (its state differs); start again"
        raise AuthenticationFailed(message)
    # Fyers' redirect has `auth_code` for the code, and a `code` that is the HTTP status.
    code = fields.get("auth_code") or fields.get("code") or ""
    if not code:
        message = "there is no code in that address; paste the whole address that the browser was sent to"
        raise AuthenticationFailed(message)
    return code


async def exchange_code(config: APIConfig, code: str, *, redirect_uri: str, clock: Clock | None = None) -> Token:
    """Change the code for an access token. Raises AuthenticationFailed, or what the network did."""
    clock = clock or SystemClock()
    name, secret = config.provider.value, config.api_secret.get_secret_value()
    client_id, base = _client_id(config), _login_base(config)
    if not secret:
        message = f"{name}: no api_secret; set HEADROOM_{name.upper()}_API_SECRET or write it into the configuration"
        raise ConfigError(message)
    check_address(name, config)
    fyers = config.provider is APIProvider.FYERS
    if fyers:
        kind = "application/json"
        signature = hashlib.sha256(f"{client_id}:{secret}".encode()).hexdigest()
        body = dump_json({"grant_type": "authorization_code", "appIdHash": signature, "code": code})
    else:
        kind = "application/x-www-form-urlencoded"
        form = {
            "code": code,
            "client_id": client_id,
            "client_secret": secret,
            "redirect_uri": redirect_uri,
            "grant_type": "authorization_code",
        }
        body = urlencode(form).encode()
    async with HTTPTransport(name, timeout_ns=config.timeout_ms * MILLISECOND, clock=clock) as transport:
        reply = await transport.request(
            "POST",
            f"{base}{_PATHS[config.provider][1]}",
            headers={"Content-Type": kind, "Accept": "application/json", "User-Agent": "headroom"},
            body=body,
        )
    payload = judge(
        reply,
        await read_json(reply.body, clock),
        name=name,
        refusal_of=FyersAPI.refusal_of if fyers else _upstox_refusal,
        envelope=FyersAPI.envelope if fyers else _upstox_envelope,
        secrets=(secret, code),
    )
    token = payload.get("access_token")
    if not isinstance(token, str) or not token:
        raise unreadable(name, reply, "an answer without an access token")
    now_ns = clock.epoch_ns()
    return Token(
        access_token=SecretStr(token),
        user_id=str(payload.get("user_id") or ""),
        expires_epoch_ns=login_expiry_ns(config.provider, token, epoch_ns=now_ns),
        obtained_epoch_ns=now_ns,
    )


_PATHS: Final = {
    APIProvider.FYERS: ("/api/v3/generate-authcode", "/api/v3/validate-authcode"),
    APIProvider.UPSTOX: ("/v2/login/authorization/dialog", "/v2/login/authorization/token"),
}


def _login_base(config: APIConfig) -> str:
    if config.provider not in _PATHS:
        known = " and ".join(provider.value for provider in _PATHS)
        message = f"{config.provider.value} has no login here; {known} have"
        raise ConfigError(message)
    return config.base_url.rstrip("/") or (TRADING_HOST if config.provider is APIProvider.FYERS else MAIN_HOST)


def _client_id(config: APIConfig) -> str:
    client_id = config.client_id or config.api_key.get_secret_value()
    if not client_id:
        message = f"{config.provider.value}: no client_id; copy it from the broker's page of your app"
        raise ConfigError(message)
    return client_id


def _upstox_refusal(fault: Fault) -> Refusal | None:
    # The same number means a closed market on an order.
    return _CODE_USED if fault.code == "UDAPI100057" else UpstoxAPI.refusal_of(fault)


def _upstox_envelope(payload: Any) -> Fault | None:
    return None if "access_token" in payload else UpstoxAPI.envelope(payload)
