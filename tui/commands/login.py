"""`headroom login BROKER`: the broker's own log-in page, then an access token kept for the day. Knows no screen."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import webbrowser
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import asyncio

    from core.brokers import Token

__all__ = ["add_parser", "run"]

DEFAULT_REDIRECT: Final = "http://127.0.0.1:8750/"
WAIT_S: Final = 300
_PAGE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"headroom has its answer; you may close this page.\n"
)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "login",
        help="log in at a broker and keep its access token for the day",
        description="Opens the broker's log-in page, takes the answer at the redirect address (or from a paste), "
        "changes it for an access token and keeps that in your state directory, readable by you alone. "
        "Exit code 0: logged in; 2: it could not be done.",
    )
    parser.add_argument("account", metavar="BROKER", help="the account's name in the configuration, such as fyers")
    parser.add_argument(
        "--config", type=Path, default=Path("headroom.toml"), metavar="FILE", help="default: headroom.toml"
    )
    parser.add_argument(
        "--redirect-uri",
        type=_redirect,
        default=DEFAULT_REDIRECT,
        metavar="URI",
        help=f"as registered with your app at the broker (default: {DEFAULT_REDIRECT}); the answer is caught there "
        "when it is on this machine",
    )
    parser.add_argument("--paste", action="store_true", help="paste the answer instead of catching it")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import asyncio

    from core import brokers
    from core.brokers.oauth import exchange_code, login_url
    from core.brokers.tokens import IST
    from core.clock import SECOND
    from core.config import load_settings, token_dir
    from core.errors import ConfigError

    settings = load_settings(arguments.config, brokers.published_limits, os.environ)
    config = settings.brokers.get(arguments.account)
    if config is None:
        known = ", ".join(sorted(settings.brokers))
        message = f"{arguments.config} has no account {arguments.account!r}; it has {known}"
        raise ConfigError(message)
    state = secrets.token_urlsafe(24)
    address = login_url(config, redirect_uri=arguments.redirect_uri, state=state)
    port = None if arguments.paste else _port_here(arguments.redirect_uri)
    code = asyncio.run(_code(address, state, port, browser=not arguments.no_browser))
    token: Token = asyncio.run(exchange_code(config, code, redirect_uri=arguments.redirect_uri))
    path = brokers.TokenStore(token_dir()).save(arguments.account, token)
    until = datetime.fromtimestamp(token.expires_epoch_ns // SECOND, IST)
    print(f"{arguments.account}: logged in until {until:%Y-%m-%d %H:%M} IST; token in {path}")
    return 0


def _redirect(text: str) -> str:
    parts = urlsplit(text)
    try:
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; give one such as {DEFAULT_REDIRECT}")
    return text


def _port_here(redirect_uri: str) -> int | None:
    """The port to listen on when the redirect comes to this machine in the clear; None when it goes elsewhere."""
    parts = urlsplit(redirect_uri)
    return parts.port if parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"} else None


async def _code(address: str, state: str, port: int | None, *, browser: bool) -> str:
    import asyncio

    from core.brokers.oauth import code_in_answer

    print(f"Log in here:\n\n  {address}\n", flush=True)
    if port is None:
        print("Then paste the address that the browser was sent to:", flush=True)
        if browser:
            webbrowser.open(address)
        return code_in_answer(await asyncio.to_thread(sys.stdin.readline), state=state)
    return code_in_answer(await _caught(address, port, browser=browser), state=state)


async def _caught(address: str, port: int, *, browser: bool) -> str:
    """The first request with a query that comes to `port`, as its target."""
    import asyncio

    from core.errors import ConfigError

    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            words = (await asyncio.wait_for(reader.readline(), 10)).decode("ascii", "replace").split()
            if len(words) == 3 and "?" in words[1] and not answer.done():  # browsers also ask for an icon
                answer.set_result(words[1])
            writer.write(_PAGE)
            await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(take, "127.0.0.1", port, limit=16_384)
    except OSError as error:
        message = f"port {port} cannot be listened on ({error.strerror}); use --paste, or another --redirect-uri"
        raise ConfigError(message) from None
    async with server:
        print(f"Waiting for the answer at port {port} (Ctrl-C to stop; --paste to paste it instead)", flush=True)
        if browser:
            webbrowser.open(address)
        try:
            return await asyncio.wait_for(answer, WAIT_S)
        except TimeoutError:
            message = f"no answer within {WAIT_S} s; start the login again"
            raise ConfigError(message) from None
