"""Tokens of one simulated user: which are good, until when, and how a new one is got."""

from __future__ import annotations

from random import Random

from ...clock import DAY, HOUR, MINUTE
from .referee import IST_OFFSET_NS

__all__ = ["Logins"]


class Logins:
    """`token` is good from the start and until it is revoked; those that a code fetches end at `ends_at_ns` IST.

    A code works once. With `logout_revokes` unset a log-out is answered and changes nothing, so that many simulated
    users may share one account.
    """

    def __init__(
        self,
        *,
        client_id: str,
        secret: str,
        token: str,
        rng: Random,
        ends_at_ns: int = 3 * HOUR + 30 * MINUTE,
        logout_revokes: bool = True,
    ) -> None:
        self.client_id = client_id
        self.secret = secret
        self._rng = rng
        self._ends_at_ns = ends_at_ns
        self._logout_revokes = logout_revokes
        self._codes: set[str] = set()
        self._ends_ns: dict[str, int | None] = {token: None}

    def accepts(self, token: str, epoch_ns: int) -> bool:
        """Whether the token is good at that time."""
        if token not in self._ends_ns:
            return False
        ends_ns = self._ends_ns[token]
        return ends_ns is None or epoch_ns < ends_ns

    def new_code(self) -> str:
        """A code to be exchanged for a token."""
        code = f"{self._rng.getrandbits(64):016x}"
        self._codes.add(code)
        return code

    def redeem(self, code: str, epoch_ns: int) -> str | None:
        """A new token for a code; None for a code that is unknown or used."""
        if code not in self._codes:
            return None
        self._codes.remove(code)
        token = f"{self._rng.getrandbits(128):032x}"
        day_ns = (epoch_ns + IST_OFFSET_NS) // DAY * DAY - IST_OFFSET_NS
        ends_ns = day_ns + self._ends_at_ns
        self._ends_ns[token] = ends_ns if ends_ns > epoch_ns else ends_ns + DAY
        return token

    def revoke(self, token: str) -> None:
        """Log out."""
        if self._logout_revokes:
            self._ends_ns.pop(token, None)

    def revoke_all(self) -> None:
        self._ends_ns.clear()
