"""One symbol's price: a seeded walk on the tick grid that leans back towards the last close and stays in the band."""

from __future__ import annotations

from random import Random

from .listings import Listing

__all__ = ["Walk"]


class Walk:
    """The market of one symbol. The price after n steps depends on the seed alone, not on when anyone looked.

    `until_ns`: when the next step is due, as whoever counts the steps by time has noted it.
    """

    __slots__ = (
        "_rng",
        "_seed",
        "_steps",
        "high_paise",
        "listing",
        "low_paise",
        "open_paise",
        "price_paise",
        "until_ns",
        "volume",
    )

    def __init__(self, listing: Listing, seed: int) -> None:
        self.listing = listing
        self._seed = seed
        self._rng = Random(f"walk/{seed}/{listing.symbol}")
        self._steps = 0
        self.until_ns = 0
        self.price_paise = listing.close_paise + self._rng.randint(-20, 20) * listing.tick_paise
        self.price_paise = min(max(self.price_paise, listing.low_paise), listing.high_paise)
        self.open_paise = self.high_paise = self.low_paise = self.price_paise
        self.volume = self._rng.randint(10_000, 100_000) * listing.lot

    def step_to(self, steps: int) -> None:
        """Take the steps up to number `steps`, none when they are taken."""
        if steps <= self._steps:
            return
        listing, draw = self.listing, self._rng.random
        price, high, low, volume = self.price_paise, self.high_paise, self.low_paise, self.volume
        tick, close, least, most = listing.tick_paise, listing.close_paise, listing.low_paise, listing.high_paise
        band = most - close
        # About half a basis point a step, whatever the tick; of the close, because the price of now is another for each
        # who looks.
        move = max(1, close // (20_000 * tick)) * tick
        for _ in range(steps - self._steps):
            chance = draw()
            up = 0.35 - 0.3 * (price - close) / band
            if chance < up:
                price = min(price + move, most)
                high = max(high, price)
            elif chance > up + 0.3:
                price = max(price - move, least)
                low = min(low, price)
            volume += int(chance * 1000) * listing.lot
        self.price_paise, self.high_paise, self.low_paise, self.volume = price, high, low, volume
        self._steps = steps

    def candles(self, steps_per_bar: int, first_bar: int = 0) -> list[tuple[int, int, int, int, int, int]]:
        """(bar, open, high, low, close in paise, volume) of each `steps_per_bar` steps so far, from `first_bar` on.

        The walk is lived through again from its start: about 40 ms for a day of steps.
        """
        again = Walk(self.listing, self._seed)
        bars = []
        for bar in range(self._steps // steps_per_bar + 1):
            again.open_paise = again.high_paise = again.low_paise = again.price_paise
            before = again.volume
            again.step_to(min((bar + 1) * steps_per_bar, self._steps))
            if bar >= first_bar:
                volume = again.volume - before
                bars.append((bar, again.open_paise, again.high_paise, again.low_paise, again.price_paise, volume))
        return bars
