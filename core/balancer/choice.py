"""One choice: who is out, who is ready, who is cheapest; and what is kept of it.

Brokers are named by their place in `candidates`, to which `costs` and `knowns` are parallel. `barred` tells why some of
them are out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ..models import CandidateTerms, Decided, Decision
from .candidate import Candidate, RoutingRules
from .cost import Cost
from .known import HALF_OPEN, OPEN, Known

__all__ = ["Choice", "cheapest", "fewest", "hurry", "in_time", "nobody", "probe_of", "ready", "ruled_out"]

_new: Final = tuple.__new__  # what a named tuple calls, without the call around it


class Choice:
    """One decision as it was reckoned. What is told of it is made when somebody looks, and then kept.

    `chosen` is empty when no broker could take it.
    """

    __slots__ = (
        "_barred",
        "_costs",
        "_index",
        "_told",
        "at_ns",
        "chosen",
        "operation",
        "outcome",
        "reason",
        "serial",
    )

    def __init__(
        self,
        serial: int,
        at_ns: int,
        operation: str,
        reason: str,
        index: int,
        costs: Sequence[Cost],
        barred: Mapping[int, str],
    ) -> None:
        self.serial = serial
        self.at_ns = at_ns
        self.operation = operation
        self.reason = reason
        self.chosen = costs[index].name if index >= 0 else ""
        self.outcome = "in flight"
        self._index = index
        self._costs = costs
        self._barred = barred
        self._told: Decision | None = None

    @property
    def latency_s(self) -> float:
        """What the answer of the broker chosen is expected to take; 0 without one."""
        return self._costs[self._index].latency_s if self._index >= 0 else 0.0

    @property
    def candidates(self) -> tuple[CandidateTerms, ...]:
        """What each broker would have cost, in the order in which they were given."""
        return self.decision().candidates

    def decided(self) -> Decided:
        """The little of it that advice is made of."""
        if self._index < 0:
            return Decided(self.serial, self.at_ns, self.operation, 0.0, placed=False, held_up=False)
        cost = self._costs[self._index]
        wait_s = cost.wait_s + cost.queue_s
        held_up = wait_s > cost.latency_s
        return _new(Decided, (self.serial, self.at_ns, self.operation, wait_s, True, held_up))

    def decision(self) -> Decision:
        """It as a value, with what came of it so far."""
        told = self._told
        if told is None:
            terms = tuple(self._terms(place) for place in range(len(self._costs)))
        elif told.outcome == self.outcome:
            return told
        else:
            terms = told.candidates
        self._told = told = Decision(
            serial=self.serial,
            at_ns=self.at_ns,
            operation=self.operation,
            chosen=self.chosen,
            reason=self.reason,
            candidates=terms,
            outcome=self.outcome,
        )
        return told

    def _terms(self, place: int) -> CandidateTerms:
        name, wait_s, queue_s, latency_s, failure_s, headroom_s, *_ = self._costs[place]
        return CandidateTerms(
            name=name,
            wait_s=wait_s,
            queue_s=queue_s,
            latency_s=latency_s,
            failure_s=failure_s,
            headroom_s=headroom_s,
            barred=self._barred.get(place, ""),
        )


def ruled_out(candidate: Candidate, rules: RoutingRules, pin: str, exclude: Collection[str]) -> str:
    """Why the rules, or this request itself, keep it from this broker."""
    name = candidate.name
    pinned = pin or rules.pin
    if pinned and name != pinned:
        return f"pinned to {pinned}"
    if name in exclude:
        return "tried already"
    if name in rules.exclude:
        return "excluded by rule"
    if candidate.weight <= 0 or (rules.weights and rules.weights.get(name, 1.0) <= 0):
        return "weight 0"
    return ""


def ready(able: list[int], candidates: Sequence[Candidate], costs: Sequence[Cost]) -> tuple[bool, list[int]]:
    """Whether any has a permit now, and those to choose from: sound ones with a permit, any with one, sound ones.

    A silent one with a permit stands among those that have to wait: what it costs says whether waiting is better. Where
    all are silent, it is not.
    """
    now = [i for i in able if costs[i].now]
    if now:
        return True, now
    limited = [i for i in able if candidates[i].limited]
    waiting = [i for i in able if i not in limited]
    now = []
    if all(costs[i].silent for i in waiting):  # none of them is worth waiting for
        now = [i for i in waiting if candidates[i].wait_ns <= 0]
    now = now or [i for i in limited if candidates[i].wait_ns <= 0]
    return bool(now), now or waiting or limited


def fewest(among: list[int], candidates: Sequence[Candidate], barred: dict[int, str]) -> list[int]:
    """Those that take the fewest permits for it."""
    least = min(candidates[i].cost for i in among)
    for i in among:
        if candidates[i].cost > least:
            barred[i] = f"takes {candidates[i].cost} permits for what takes {least} elsewhere"
    return [i for i in among if candidates[i].cost == least]


def in_time(able: list[int], costs: Sequence[Cost], barred: dict[int, str], left_s: float) -> list[int]:
    """Those that would answer within the deadline; all, when none would."""
    late = [i for i in able if costs[i].answer_s > left_s]
    if len(late) == len(able):
        return able
    for i in late:
        barred[i] = f"would answer after the deadline, {left_s:.3g} s away"
    return [i for i in able if i not in late]


def nobody(candidates: Sequence[Candidate], barred: Mapping[int, str]) -> str:
    """Why none may take it, in one line."""
    if not candidates:
        return "no broker is configured"
    return "; ".join(f"{candidates[i].name} {why}" for i, why in barred.items())


def hurry(candidates: Sequence[Candidate], barred: Mapping[int, str], knowns: Sequence[Known], now_ns: int) -> None:
    """Nobody has a permit but brokers whose breaker is open: ask these sooner whether they are back."""
    for i, why in barred.items():
        if why is OPEN and candidates[i].wait_ns <= 0:
            for breaker in knowns[i].breakers:
                breaker.hurry(now_ns)


def probe_of(
    candidates: Sequence[Candidate], barred: Mapping[int, str], knowns: Sequence[Known], now_ns: int, grace_ns: int
) -> int:
    """A broker that is half open and that nobody has probed for `grace_ns`; -1 when there is none."""
    for i, why in barred.items():
        if why is HALF_OPEN and candidates[i].wait_ns <= 0:
            breaker = knowns[i].breakers[False]
            if breaker.probe_due(now_ns) and breaker.half_open_for_ns(now_ns) >= grace_ns:
                return i
    return -1


def cheapest(
    among: Sequence[int],
    costs: Sequence[Cost],
    weights: Mapping[str, float],
    near_s: float,
    near_share: float,
    rng: random.Random,
) -> tuple[int, str]:
    """The cheapest of `among`, or of those almost as cheap the one with the most headroom; and why, in words."""
    if len(among) == 1:
        return among[0], "no other can take it now"
    scores = {i: costs[i].score for i in among}
    if weights:
        scores = {i: score / weights.get(costs[i].name, 1.0) for i, score in scores.items()}
    best = min(scores.values())
    share = near_share * best
    near = best + (share if share > near_s else near_s)  # noqa: FURB136 - for every choice; max() costs five times that
    index, ties, fullest = -1, 0, math.inf
    for i, score in scores.items():
        if score <= near:
            # A coin among equals: the first one would always win when nothing is known yet.
            full = costs[i].fullest
            ties += 1
            if full < fullest or (full == fullest and rng.random() * ties < 1.0):
                index, fullest = i, full
    return index, "soonest done" if ties == 1 else f"tie of {ties}: most headroom"
