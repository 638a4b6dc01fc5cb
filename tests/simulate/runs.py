"""One seed, or many of them over the cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import partial

from .mutations import FSYNC_OFF, MUTATIONS
from .world import Report, World

__all__ = ["simulate", "spread"]


def simulate(seed: int, *, mutation: str = "") -> tuple[Report, World]:
    """One world, lived to its end."""
    world = World(seed, fsync=mutation != FSYNC_OFF, first_only=bool(mutation))
    if mutation:
        with MUTATIONS[mutation]():
            return world.run(), world
    return world.run(), world


def spread(seeds: range, *, mutation: str, jobs: int) -> Iterator[Report]:
    """The reports of all seeds, in their order, made by so many processes."""
    report = partial(_report, mutation=mutation)
    if min(jobs, len(seeds)) <= 1:
        yield from map(report, seeds)
        return
    # Fresh processes: what a fork would inherit is no part of a seed.
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(seeds))) as pool:
        yield from pool.imap(report, seeds)


def _report(seed: int, mutation: str) -> Report:
    return simulate(seed, mutation=mutation)[0]
