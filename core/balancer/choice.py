"""The steps of a choice, as functions of what they are given: who is out, who is ready, who is cheapest.

Brokers are named by their place in `candidates`, to which `costs` and `barred` are parallel.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ..models import CandidateTerms, HealthStatus
from .candidate import Candidate, RoutingRules
from .cost import Cost

__all__ = ["cheapest", "in_time", "nobody", "ready", "ruled_out"]

_LIMITED: Final = HealthStatus.LIMITED  # looked up once: in an enum's class every member is a search
_UNHEALTHY: Final = HealthStatus.UNHEALTHY


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


def ready(able: Sequence[int], candidates: Sequence[Candidate]) -> tuple[bool, list[int]]:
    """Whether any has a permit now, and those to choose from: sound ones with a permit, any with one, sound ones."""
    now, sound, limited = [], [], []
    for i in able:
        candidate = candidates[i]
        if candidate.health is _LIMITED or candidate.health is _UNHEALTHY:
            limited.append(i)
        elif candidate.wait_ns <= 0:
            now.append(i)
        else:
            sound.append(i)
    now = now or [i for i in limited if candidates[i].wait_ns <= 0]
    return bool(now), now or sound or limited


def in_time(able: list[int], costs: Sequence[Cost], barred: list[str], left_s: float) -> list[int]:
    """Those that would answer within the deadline; all, when none would."""
    left = [i for i in able if _answer_s(costs[i].terms) <= left_s]
    if not left or len(left) == len(able):
        return able
    for i in able:
        if i not in left:
            barred[i] = f"would answer after the deadline, {left_s:.3g} s away"
    return left


def _answer_s(terms: CandidateTerms) -> float:
    return terms.wait_s + terms.queue_s + terms.latency_s


def nobody(candidates: Sequence[Candidate], barred: Sequence[str]) -> str:
    """Why none may take it, in one line."""
    if not candidates:
        return "no broker is configured"
    return "; ".join(f"{candidate.name} {why}" for candidate, why in zip(candidates, barred, strict=True))


def cheapest(
    among: Sequence[int],
    candidates: Sequence[Candidate],
    costs: Sequence[Cost],
    weights: Mapping[str, float],
    near_s: float,
    near_share: float,
    rng: random.Random,
) -> tuple[int, str]:
    """The cheapest of `among`, or of those almost as cheap the one with the most headroom; and why, in words."""
    if len(among) == 1:
        return among[0], "no other can take it now"
    scores = [costs[i].total_s / candidates[i].weight for i in among]
    if weights:
        scores = [score / weights.get(candidates[i].name, 1.0) for i, score in zip(among, scores, strict=True)]
    best = min(scores)
    near = best + max(near_s, near_share * best)
    index, ties, fullest = -1, 0, math.inf
    for i, score in zip(among, scores, strict=True):
        if score <= near:
            # A coin among equals: the first one would always win when nothing is known yet.
            full = costs[i].fullest
            ties += 1
            if full < fullest or (full == fullest and rng.random() * ties < 1.0):
                index, fullest = i, full
    return index, "soonest done" if ties == 1 else f"tie of {ties}: most headroom"
