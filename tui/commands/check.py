"""`headroom check`: would this configuration work now? One line per finding, marked ok, warn or FAIL."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from core.brokers import RESTAccount
    from core.models import APIConfig

__all__ = ["add_parser", "run"]

OK: Final = "ok  "
WARN: Final = "warn"
FAIL: Final = "FAIL"
SKEW_MAX_MS: Final = 1_000

Finding = tuple[str, str]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "check",
        help="say whether a configuration would work now",
        description="Reads the configuration, then asks each broker for the cheapest thing that needs a token. Says "
        "when the token expires, whether the clock agrees with the broker's, which limits are in force and where they "
        "come from. One permit a broker is spent. Exit code 0: all will work; 1: something will not; 2: the file is "
        "no good.",
    )
    parser.add_argument(
        "--config", type=Path, default=Path("headroom.toml"), metavar="FILE", help="default: headroom.toml"
    )
    parser.add_argument("--offline", action="store_true", help="ask no broker")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import anyio

    from core import brokers
    from core.config import load_settings

    settings = load_settings(arguments.config, brokers.published_limits, os.environ)

    async def say() -> int:
        worst = 0
        count = len(settings.brokers)
        print(f"{OK} {arguments.config}: {count} account{'' if count == 1 else 's'}")
        mode = stat.S_IMODE(arguments.config.stat().st_mode)
        if mode & 0o077:
            print(
                f"{WARN} {arguments.config}: may hold secrets, and others may read it (mode {mode:04o}); chmod 600 it"
            )
        for name, config in settings.brokers.items():
            async for mark, text in _account(name, config, offline=arguments.offline):
                worst = max(worst, int(mark is FAIL))
                print(f"{mark} {name}: {text.removeprefix(name + ': ')}")
        return worst

    return anyio.run(say)


async def _account(name: str, config: APIConfig, *, offline: bool) -> AsyncIterator[Finding]:
    from core import brokers
    from core.config import token_dir
    from core.errors import HeadroomError

    for budget in config.limits:
        own = config.limits != brokers.published_limits(config.provider, registered_algo=config.registered_algo)
        rates = ", ".join(str(rate) for rate in budget.rates)
        counted = " and ".join(sorted(budget.categories))
        yield OK, f"{counted}: {rates} ({'from the file' if own else 'as the broker publishes'})"
    if not config.client_id:
        yield FAIL, "client_id is missing; copy it from the broker's developer page"
    try:
        adapter = brokers.adapter_of(config.provider)
        async with adapter(name, config, tokens=brokers.TokenStore(token_dir())) as api:
            async for finding in _session(name, api, offline=offline):
                yield finding
    except HeadroomError as error:
        yield FAIL, str(error)


async def _session(name: str, api: RESTAccount, *, offline: bool) -> AsyncIterator[Finding]:
    from core.clock import HOUR, MILLISECOND, SystemClock
    from core.errors import HeadroomError

    expires_ns, now_ns = api.token_expires_epoch_ns, SystemClock().epoch_ns()
    left_ns = expires_ns - now_ns
    age = f" is {(now_ns - since_ns) / HOUR:.1f} h old and" if (since_ns := api.token_obtained_epoch_ns) else ""
    if not api.has_token:
        yield FAIL, f"no access token; run: headroom login {name}"
        return
    if not expires_ns:
        yield WARN, f"the token{age} does not say when it expires"
    elif left_ns <= 0:
        yield FAIL, f"the token expired {-left_ns / HOUR:.1f} h ago; run: headroom login {name}"
        return
    else:
        yield OK, f"the token{age or ' is'} good for {left_ns / HOUR:.1f} h more"
    if offline:
        return
    try:
        await api.health_check()
    except HeadroomError as error:
        yield FAIL, str(error)
        return
    yield OK, "the broker takes the token"
    skew_ns = api.clock_skew_ns
    if skew_ns is None:
        yield WARN, "the broker sent no Date header, so the clock could not be checked"
    elif abs(skew_ns) > SKEW_MAX_MS * MILLISECOND:
        yield WARN, f"this clock and the broker's differ by {skew_ns / MILLISECOND:.0f} ms; set it by NTP"
    else:
        yield OK, "this clock and the broker's agree within a second"
