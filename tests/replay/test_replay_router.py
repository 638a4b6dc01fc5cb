"""A recorded session behind the same protocol: it moves through time, and does nothing."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest

from core.clock import MINUTE, SECOND
from core.errors import ReplayRefused
from core.models import AskStory, CancelAllOrders, HaltTrading, Operation, Order, StopScenario
from core.replay import SPEEDS, ReplayRouter, Ring, differences
from core.router import Router
from tests.screen import samples


class Watch:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 5 * SECOND


def minutes(count: int = 3) -> Ring:
    ring = Ring()
    for second in range(count * 60 + 1):
        ring.take(replace(samples.normal(), sequence=second, at_ns=second * SECOND))
    return ring


def replayed(watch: Watch, ring: Ring | None = None) -> ReplayRouter:
    return ReplayRouter(ring or minutes(), now_ns=lambda: watch.now_ns, simulated=True)


def test_it_stands_still_until_told_to_play_and_stops_at_the_end() -> None:
    watch = Watch()
    replay = replayed(watch)
    watch.now_ns += MINUTE
    assert replay.snapshot().sequence == 0
    replay.play(1)
    watch.now_ns += 10 * SECOND
    assert replay.snapshot().sequence == 10
    assert replay.playback.playing
    watch.now_ns += 10 * MINUTE
    assert replay.snapshot().sequence == 180
    assert not replay.playback.playing
    replay.play()
    assert replay.snapshot().sequence == 0  # from the end it begins anew


@pytest.mark.parametrize("speed", SPEEDS)
def test_it_plays_at_multiples_of_the_speed_at_which_it_happened(speed: int) -> None:
    watch = Watch()
    replay = replayed(watch)
    replay.play(speed)
    watch.now_ns += 2 * SECOND
    assert replay.snapshot().sequence == min(180, 2 * speed)


def test_a_change_of_speed_loses_no_place_and_ends_at_1_and_60() -> None:
    watch = Watch()
    replay = replayed(watch)
    replay.play()
    watch.now_ns += 10 * SECOND
    seen = [replay.playback.speed]
    for by in (1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1):
        replay.change_speed(by)
        seen.append(replay.playback.speed)
        assert replay.snapshot().sequence == 10
        assert replay.playback.playing
    assert seen == [1, 2, 5, 10, 20, 60, 60, 20, 10, 5, 2, 1, 1]
    replay.pause()
    replay.change_speed(1)
    assert not replay.playback.playing


def test_steps_and_jumps_stay_inside() -> None:
    watch = Watch()
    replay = replayed(watch)
    replay.step(1)
    assert replay.snapshot().sequence == 1
    replay.step(-5)
    assert replay.snapshot().sequence == 0
    replay.seek(90 * SECOND + 7)
    assert (replay.snapshot().sequence, replay.playback.behind_ns) == (90, 90 * SECOND - 7)
    replay.seek(10 * MINUTE)
    assert replay.snapshot().sequence == 180
    replay.seek(-1)
    assert replay.snapshot().sequence == 0


def test_whoever_stands_on_what_the_ring_forgot_stands_on_the_first_that_is_left() -> None:
    ring = Ring(span_ns=MINUTE)
    watch = Watch()
    ring.take(replace(samples.normal(), at_ns=0))
    replay = replayed(watch, ring)
    for second in range(1, 300):
        ring.take(replace(samples.normal(), sequence=second, at_ns=second * SECOND))
    assert replay.snapshot().at_ns == ring.first_ns > 200 * SECOND


async def test_everything_that_would_reach_a_broker_is_refused_in_one_clear_line() -> None:
    replay = replayed(Watch())
    asked: list[Any] = [
        replay.send(CancelAllOrders()),
        replay.send(StopScenario()),
        replay.send(HaltTrading("kill switch")),
        replay.execute(Operation.GET_PORTFOLIO),
        replay.place_order(Order(symbol="NSE:SBIN-EQ", quantity=1)),
        replay.modify_order("mine", quantity=2),
        replay.cancel_order("mine"),
        replay.referee_reports(),
        replay.broker_books(),
        replay.set_fault("fyers", "slow", 1.0),
    ]
    for call in asked:
        with pytest.raises(ReplayRefused, match="this is a recording") as caught:
            await call
        assert "\n" not in str(caught.value)
    with pytest.raises(ReplayRefused, match="AskStory has no answer in it"):
        await replay.ask(AskStory("mine"))


def test_it_has_all_that_the_protocol_asks_for() -> None:
    wanted = {name for name in vars(Router) if not name.startswith("_")}
    assert wanted
    for name in wanted:
        ours, theirs = getattr(ReplayRouter, name), getattr(Router, name)
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs), name


def test_two_moments_differ_in_what_happened_between_them() -> None:
    before = samples.normal()
    first, *others = before.orders
    fyers, upstox = before.brokers
    fuller = replace(fyers.windows[1], used=fyers.windows[1].used + 12, free=fyers.windows[1].free - 12)
    after = replace(
        before,
        sequence=before.sequence + 600,
        at_ns=before.at_ns + MINUTE,
        open_orders=before.open_orders + 1,
        unknown_orders=1,
        counters=replace(before.counters, requests=before.counters.requests + 40),
        brokers=(
            replace(fyers, requests=fyers.requests + 40, drained=True, windows=(fyers.windows[0], fuller)),
            upstox,
        ),
        orders=(samples.order(990, "NEW"), replace(first, status="UNKNOWN"), *others),
        suggestions=samples.ADVICE[:1],
        incidents=samples.INCIDENTS[:1],
        halted="kill switch",
    )
    found = {(row.place, row.name, row.what): (row.before, row.after, row.change) for row in differences(before, after)}
    requests = before.counters.requests
    assert found["counter", "", "requests"] == (f"{requests:,}", f"{requests + 40:,}", 40)
    assert found["router", "", "unknown_orders"] == ("0", "1", 1)
    assert found["router", "", "halted"] == ("-", "kill switch", None)
    assert found["broker", "fyers", "drained"] == ("no", "yes", None)
    assert found["window", "fyers", "all 200/min used"][2] == 12
    assert [key for key in found if key[0] == "order"] == [
        ("order", "ord-000990", next(key[2] for key in found if key[1] == "ord-000990")),
        ("order", first.order_id, next(key[2] for key in found if key[1] == first.order_id)),
    ]
    assert found["advice", samples.ADVICE[0].id, samples.ADVICE[0].title] == ("-", "proposed", None)
    assert sum(key[0] == "incident" for key in found) == 1
    assert not any(key[1] == "upstox" for key in found if key[0] != "incident")
    assert differences(after, after) == ()
    back = differences(after, before)
    assert {(row.place, row.name) for row in back} >= {("order", "ord-000990"), ("advice", samples.ADVICE[0].id)}
