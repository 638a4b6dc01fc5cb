"""When work arrives: whole nanoseconds from the start of the run, never "after the last one came back".

An open model keeps its schedule however slow the brokers are, as a market does; a closed one has users who wait for
their answers, as people do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..clock import SECOND

__all__ = [
    "Arrivals",
    "Burst",
    "ClosedUsers",
    "Constant",
    "Poisson",
    "Ramp",
    "Replay",
    "Spike",
]

Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
LONGEST_REPLAY: Final = 1_000_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Constant(_Part):
    """`rate` arrivals a second for `duration_s`, evenly spaced."""

    kind: Literal["constant"] = "constant"
    rate: Rate
    duration_s: Seconds

    @property
    def planned(self) -> int:
        return math.floor(self.rate * self.duration_s + 1e-9)

    def offsets_ns(self, _rng: Random) -> Iterator[int]:
        # Each offset is counted from the start: a step added n times would drift by n rounding errors.
        return (int(n * SECOND / self.rate) for n in range(self.planned))


class Ramp(_Part):
    """The rate grows (or falls) evenly from `from_rate` to `to_rate` within `duration_s`.

    With `stop_when_queueing` the run ends once requests wait for permits: the rate of that moment is the knee.
    """

    kind: Literal["ramp"] = "ramp"
    from_rate: Rate
    to_rate: Rate
    duration_s: Seconds
    stop_when_queueing: bool = False

    @property
    def planned(self) -> int:
        return math.floor((self.from_rate + self.to_rate) / 2 * self.duration_s + 1e-9)

    def offsets_ns(self, _rng: Random) -> Iterator[int]:
        slope = (self.to_rate - self.from_rate) / self.duration_s
        for n in range(self.planned):
            # from_rate * t + slope * t^2 / 2 = n, in the form that bears a slope of 0.
            root = math.sqrt(max(0.0, self.from_rate**2 + 2 * slope * n))
            yield int(2 * n / (self.from_rate + root) * SECOND)

    def rate_at(self, offset_ns: int) -> float:
        """The rate offered at this offset."""
        share = min(1.0, offset_ns / SECOND / self.duration_s)
        return self.from_rate + (self.to_rate - self.from_rate) * share


class Spike(_Part):
    """A steady `rate`, and `peak` instead from `at_s` for `for_s`."""

    kind: Literal["spike"] = "spike"
    rate: Rate
    peak: Rate
    at_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    for_s: Seconds
    duration_s: Seconds

    @model_validator(mode="after")
    def _inside(self) -> Spike:
        if self.at_s + self.for_s > self.duration_s:
            message = f"the spike ends at {self.at_s + self.for_s:g} s, after the run of {self.duration_s:g} s"
            raise ValueError(message)
        return self

    @property
    def planned(self) -> int:
        return sum(1 for _ in self.offsets_ns(Random(0)))

    def offsets_ns(self, _rng: Random) -> Iterator[int]:
        parts = ((0.0, self.at_s, self.rate), (self.at_s, self.at_s + self.for_s, self.peak),
                 (self.at_s + self.for_s, self.duration_s, self.rate))  # fmt: skip
        for begin_s, end_s, rate in parts:
            for n in range(math.floor((end_s - begin_s) * rate + 1e-9)):
                yield int((begin_s + n / rate) * SECOND)


class Poisson(_Part):
    """Independent arrivals, `rate` a second on average, for `duration_s`: what many callers make together."""

    kind: Literal["poisson"] = "poisson"
    rate: Rate
    duration_s: Seconds

    @property
    def planned(self) -> int:
        return math.floor(self.rate * self.duration_s)

    def offsets_ns(self, rng: Random) -> Iterator[int]:
        at_s = rng.expovariate(self.rate)
        while at_s < self.duration_s:
            yield int(at_s * SECOND)
            at_s += rng.expovariate(self.rate)


class Burst(_Part):
    """`count` arrivals at one instant."""

    kind: Literal["burst"] = "burst"
    count: Annotated[int, Field(ge=1, le=100_000)]

    @property
    def planned(self) -> int:
        return self.count

    def offsets_ns(self, _rng: Random) -> Iterator[int]:
        return iter([0] * self.count)


class Replay(_Part):
    """Recorded arrivals, `at_s` seconds from the start; `speed` 2 plays them twice as fast."""

    kind: Literal["replay"] = "replay"
    at_s: Annotated[tuple[float, ...], Field(min_length=1, max_length=LONGEST_REPLAY)]
    speed: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Replay:
        if self.at_s[0] < 0 or not all(math.isfinite(at_s) for at_s in self.at_s):
            message = "at_s holds a time that is negative or no number"
            raise ValueError(message)
        if any(late < early for early, late in zip(self.at_s, self.at_s[1:], strict=False)):
            message = "at_s goes back in time; sort it"
            raise ValueError(message)
        return self

    @property
    def planned(self) -> int:
        return len(self.at_s)

    def offsets_ns(self, _rng: Random) -> Iterator[int]:
        return (int(at_s / self.speed * SECOND) for at_s in self.at_s)


class ClosedUsers(_Part):
    """`users` people: each goes through the journey `sessions` times, and thinks `think_s` between two steps.

    Think time is drawn between half and one and a half of `think_s`. They come evenly over `ramp_s`; 0: all at once.
    With `duration_s` they begin no session after that time.
    """

    kind: Literal["users"] = "users"
    users: Annotated[int, Field(ge=1, le=100_000)]
    sessions: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    think_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 0.0
    ramp_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 0.0
    duration_s: Seconds | None = None

    def starts_ns(self) -> Iterator[int]:
        """When each user comes."""
        return (int(n * self.ramp_s / self.users * SECOND) for n in range(self.users))

    def think_ns(self, rng: Random) -> int:
        """One pause."""
        return int(self.think_s * rng.uniform(0.5, 1.5) * SECOND) if self.think_s else 0


Arrivals = Annotated[
    Constant | Ramp | Spike | Poisson | Burst | Replay | ClosedUsers,
    Field(discriminator="kind"),
]
