"""Access tokens between two logins: one file for each account, readable by its owner alone, with the time it dies."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from ..clock import DAY, SECOND
from ..errors import ConfigError
from ..models import APIProvider
from .jsontext import dump_json, load_json

__all__ = ["IST", "Token", "TokenStore", "expiry_in_token", "ist_epoch_ns", "login_expiry_ns", "next_ist_ns"]

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
_EPOCH_IN_INDIA: Final = datetime(1970, 1, 1, 5, 30)  # noqa: DTZ001 - as the texts are: a wall clock there
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One login. `expires_epoch_ns` is 0 where nothing is known of its end."""

    access_token: SecretStr
    user_id: str = ""
    expires_epoch_ns: int = 0
    obtained_epoch_ns: int = 0

    def expired(self, *, epoch_ns: int) -> bool:
        """Whether its time is over; a token of unknown end never is."""
        return 0 < self.expires_epoch_ns <= epoch_ns


class TokenStore:
    """The token files of one directory, made with mode 0700 when the first token is saved."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> Path:
        """The file of the account `name`. Raises ConfigError for a name that is no file name."""
        if not _NAME.match(name):
            message = f"account name {name!r} cannot name a token file; use letters, digits, - and _"
            raise ConfigError(message)
        return self.directory / f"{name}.token.json"

    def save(self, name: str, token: Token) -> Path:
        """Write the token so that a crash leaves the old file or the new one, mode 0600 from its first byte."""
        path = self.path(name)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = dump_json(
            {
                "access_token": token.access_token.get_secret_value(),
                "user_id": token.user_id,
                "expires_epoch_ns": token.expires_epoch_ns,
                "obtained_epoch_ns": token.obtained_epoch_ns,
            }
        )
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.unlink(missing_ok=True)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            os.write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        fresh.replace(path)
        return path

    def load(self, name: str) -> Token | None:
        """The saved token; None without one.

        Raises ConfigError when others may read the file, or when it is not one that `save` wrote.
        """
        path = self.path(name)
        try:
            mode = path.stat().st_mode
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"token file {path}: {error.strerror or error}"
            raise ConfigError(message) from None
        if stat.S_IMODE(mode) & 0o077:
            message = f"token file {path} can be read by others (mode {stat.S_IMODE(mode):04o}); chmod 600 it"
            raise ConfigError(message)
        try:
            fields = load_json(content)
            return Token(
                access_token=SecretStr(str(fields["access_token"])),
                user_id=str(fields["user_id"]),
                expires_epoch_ns=int(fields["expires_epoch_ns"]),
                obtained_epoch_ns=int(fields["obtained_epoch_ns"]),
            )
        except (ValueError, TypeError, KeyError):
            message = f"token file {path} is damaged; log in again"
            raise ConfigError(message) from None

    def forget(self, name: str) -> bool:
        """Remove the token; False when there was none."""
        path = self.path(name)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed


def ist_epoch_ns(text: object) -> int:
    """`2026-01-05 10:15:02`, in India, as epoch nanoseconds; 0 for anything else."""
    text = str(text)
    if len(text) != 19:  # no zone of its own, no fraction
        return 0
    try:
        since = datetime.fromisoformat(text) - _EPOCH_IN_INDIA
    except (ValueError, TypeError):
        return 0
    return since.days * DAY + since.seconds * SECOND


def next_ist_ns(epoch_ns: int, *, hour: int, minute: int = 0) -> int:
    """The first `hour`:`minute` in India strictly after `epoch_ns`, as epoch nanoseconds."""
    now = datetime.fromtimestamp(epoch_ns // SECOND, IST)
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if then <= now:
        then += timedelta(days=1)
    return int(then.timestamp()) * SECOND


def login_expiry_ns(provider: APIProvider, access_token: str, *, epoch_ns: int) -> int:
    """When a token got at `epoch_ns` dies: the time it carries, at the latest the broker's own hour.

    Upstox ends every token at about 03:30 IST, whatever the hour of the login (developer documentation,
    Authentication). Fyers' last the trading day; the samples in its documentation end at 06:00 IST.
    """
    hour, minute = (3, 30) if provider is APIProvider.UPSTOX else (6, 0)
    latest_ns = next_ist_ns(epoch_ns, hour=hour, minute=minute)
    carried_ns = expiry_in_token(access_token)
    return min(latest_ns, carried_ns) if carried_ns is not None and carried_ns > epoch_ns else latest_ns


def expiry_in_token(access_token: str) -> int | None:
    """The `exp` that a JSON web token carries, as epoch nanoseconds; None for any other text. Nothing is verified."""
    parts = access_token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = load_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expires_s = int(claims["exp"])
        datetime.fromtimestamp(expires_s, UTC)
    except (ValueError, TypeError, KeyError, binascii.Error, OverflowError, OSError):
        return None
    return expires_s * SECOND
