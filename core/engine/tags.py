"""Order tags: what a lost order is found by. Made before sending, never twice, the same at every broker."""

from __future__ import annotations

import random
from typing import Final

from ..clock import MILLISECOND, Clock

__all__ = ["TAG_LENGTH", "TagMaker"]

TAG_LENGTH: Final = 19  # the shortest limit among the brokers; letters and digits only: 1 + 8 + 10
_SPELL_LENGTH: Final = 6  # of the eight digits of the time; base 36 milliseconds reach the year 2059
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)
_PAIR: Final = 36**2
_FOUR: Final = 36**4


class TagMaker:
    """Makes tags of 19 lower-case letters and digits: `h`, eight for the millisecond, ten from `rng`.

    Unique across restarts and processes without a file to remember them by: two tags of one millisecond agree with a
    chance of one in 3.6e15. Within one maker never, whatever the clock and the generator do.
    """

    def __init__(self, *, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._millisecond = -1
        self._spell = -1  # 1.3 s, as long as all but the last pair of the time's digits stay
        self._spelt = ""
        self._stamp = ""
        self._made: set[str] = set()  # of this millisecond

    def order_tag(self) -> str:
        """A tag for one attempt of one order."""
        return self._fresh("h")

    def order_id(self) -> str:
        """A client order id for a caller who gave none."""
        return self._fresh("o")

    def _fresh(self, prefix: str) -> str:
        # Never back to an earlier millisecond: the tags made in it are forgotten.
        millisecond = self._clock.epoch_ns() // MILLISECOND
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            spell, rest = divmod(millisecond, _PAIR)
            if spell != self._spell:
                self._spell, self._spelt = spell, _base36(spell)[-_SPELL_LENGTH:]
            self._stamp = self._spelt + _PAIRS[rest]
            self._made.clear()
        while True:
            tag = prefix + self._stamp + _base36(self._rng.getrandbits(52))
            if tag not in self._made:
                self._made.add(tag)
                return tag


def _base36(number: int) -> str:
    """The last ten base 36 digits of `number`, two at a time and without a loop: it is done for every order."""
    number, low = divmod(number, _FOUR)
    high, middle = divmod(number, _FOUR)
    return (
        f"{_PAIRS[high % _PAIR]}{_PAIRS[middle // _PAIR]}{_PAIRS[middle % _PAIR]}"
        f"{_PAIRS[low // _PAIR]}{_PAIRS[low % _PAIR]}"
    )
