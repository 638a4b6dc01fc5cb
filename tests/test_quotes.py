"""Quotes: what is merged into one request, divided over brokers, or not asked for; what stays each caller's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import (
    APIConfig,
    APIProvider,
    MarketDataFeed,
    MockTradingAPI,
    MultiAPIManager,
    OrderRefused,
    PermitTimeout,
    VirtualClock,
)
from core.clock import MILLISECOND, MINUTE, SECOND
from core.errors import HeadroomError, OrderOutcomeUnknown
from core.models import Quote

NAMES = [f"NSE:S{number}" for number in range(12)]


class Broker(MockTradingAPI):
    """Knows every symbol, remembers each request for quotes, and refuses any that has a symbol named bad.

    A name is that of a provider, or that and a number. A price tells when it was asked for, in nanoseconds from the
    start, and one more.
    """

    def __init__(self, name: str, clock: VirtualClock, *, per_second: int = 10) -> None:
        provider = APIProvider(name.split("-", 1)[0])
        config = APIConfig(provider=provider, rate_limits={"requests_per_second": per_second}, simulated=True)
        super().__init__(name, config, 0.05, clock=clock, rng=random.Random(name), jitter=0.0)
        self.asked: list[tuple[str, ...]] = []
        self.answered_ns: dict[str, int] = {}  # when the last question that it has answered was asked
        self.now_ns = clock.now_ns

    async def get_market_data(self, symbols: Sequence[str]) -> tuple[Quote, ...]:
        self.asked.append(tuple(symbols))
        asked_ns = self.now_ns()
        if "bad" in symbols:
            raise OrderRefused("no such symbol: bad", provider=self.name, code="bad_symbol")
        quotes = await super().get_market_data(["NSE:SBIN-EQ"] * len(symbols))
        self.answered_ns.update(dict.fromkeys(symbols, asked_ns))
        price = Decimal(asked_ns + 1)
        return tuple(replace(quote, symbol=symbol, price=price) for quote, symbol in zip(quotes, symbols, strict=True))


def manager(
    clock: VirtualClock, *names: str, per_second: int = 10, max_age_s: float = 0.0, feed: MarketDataFeed | None = None
) -> tuple[MultiAPIManager, list[Broker]]:
    made = MultiAPIManager({}, clock=clock, rng=random.Random(1), feed=feed)
    made.set_read_cache("get_market_data", max_age_s)
    brokers = [Broker(name, clock, per_second=per_second) for name in names or ("fyers",)]
    made.apis = {broker.name: broker for broker in brokers}
    return made, brokers


def quotes(made: MultiAPIManager, *symbols: str, **rest: Any) -> Any:
    return made.execute_with_fallback("get_market_data", symbols=list(symbols), **rest)


def test_callers_of_one_moment_share_one_request_and_each_gets_his_symbols_in_his_order() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock)
    answers: dict[int, tuple[str, ...]] = {}

    async def caller(number: int, *symbols: str) -> None:
        answers[number] = tuple(quote.symbol for quote in await quotes(made, *symbols))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number, symbols in enumerate((("A", "B"), ("B", "C", "A"), ("D",), ("C", "C"))):
                tasks.start_soon(caller, number, *symbols)

    clock.run(main)
    assert fyers.asked == [("A", "B", "C", "D")]
    assert answers == {0: ("A", "B"), 1: ("B", "C", "A"), 2: ("D",), 3: ("C", "C")}
    assert made.counters.requests == 1


def test_whoever_comes_while_the_batch_waits_for_its_permit_still_joins() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, per_second=1)

    async def main() -> None:
        await quotes(made, "A")
        async with anyio.create_task_group() as tasks:
            for symbol in "BCDE":
                tasks.start_soon(lambda symbol=symbol: quotes(made, symbol))  # type: ignore[misc]
                await clock.sleep_until_ns(clock.now_ns() + SECOND // 10)

    clock.run(main)
    assert fyers.asked == [("A",), ("B", "C", "D", "E")]
    assert clock.now_ns() < 2 * SECOND


def test_a_symbol_on_its_way_is_not_asked_for_again_but_a_new_one_is() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: quotes(made, "A", "B"))
            await clock.sleep_until_ns(10 * MILLISECOND)
            tasks.start_soon(lambda: quotes(made, "B"))
            tasks.start_soon(lambda: quotes(made, "B", "C"))

    clock.run(main)
    assert fyers.asked == [("A", "B"), ("C",)]


def test_a_batch_never_grows_past_what_its_permit_carries() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, per_second=1)
    many = [f"S{number}" for number in range(120)]

    async def main() -> None:
        await quotes(made, "A")
        async with anyio.create_task_group() as tasks:
            for symbol in many:
                tasks.start_soon(lambda symbol=symbol: quotes(made, symbol))  # type: ignore[misc]
                await clock.sleep_until_ns(clock.now_ns() + MILLISECOND)

    clock.run(main)
    assert [len(asked) for asked in fyers.asked] == [1, 50, 50, 20]
    assert fyers.referee_report().refused == 0


def test_more_symbols_than_one_request_carries_go_where_they_cost_fewest_permits() -> None:
    clock = VirtualClock()
    made, (fyers, upstox) = manager(clock, "fyers", "upstox")
    many = [f"S{number}" for number in range(120)]

    async def main() -> tuple[Quote, ...]:
        found: tuple[Quote, ...] = await quotes(made, *many)
        made.drain("upstox")
        assert [quote.symbol for quote in await quotes(made, *many)] == many
        return found

    assert [quote.symbol for quote in clock.run(main)] == many
    assert [len(asked) for asked in upstox.asked] == [120], "Upstox takes 500 at once, Fyers 50"
    assert [len(asked) for asked in fyers.asked] == [50, 50, 20]


def test_one_callers_refused_symbol_harms_nobody_else() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock)
    ends: dict[str, object] = {}

    async def caller(*symbols: str) -> None:
        try:
            ends[symbols[0]] = [quote.symbol for quote in await quotes(made, *symbols)]
        except OrderRefused as error:
            ends[symbols[0]] = str(error)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for symbols in (("A",), ("bad", "B"), ("C",)):
                tasks.start_soon(caller, *symbols)

    clock.run(main)
    assert ends == {"A": ["A"], "bad": "no such symbol: bad", "C": ["C"]}
    assert fyers.asked[0] == ("A", "bad", "B", "C")
    assert sorted(fyers.asked[1:]) == [("A",), ("C",), ("bad", "B")], "then each for himself"


@pytest.mark.parametrize("when_ms", [0, 20])
def test_a_caller_who_is_cancelled_harms_nobody_whether_it_was_sent_or_not(when_ms: int) -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, per_second=2)
    got: list[str] = []

    async def main() -> None:
        first = anyio.CancelScope()

        async def one_who_leaves() -> None:
            with first:
                await quotes(made, "A")

        async def one_who_stays() -> None:
            got.extend(quote.symbol for quote in await quotes(made, "A", "B"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one_who_leaves)
            tasks.start_soon(one_who_stays)
            await clock.sleep_until_ns(when_ms * MILLISECOND)
            first.cancel()

    clock.run(main)
    assert got == ["A", "B"]
    assert len(fyers.asked) == (2 if when_ms else 1)


def test_each_has_his_own_deadline() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, per_second=1)
    ends: dict[str, tuple[str, int]] = {}

    async def caller(name: str, deadline_ns: int) -> None:
        try:
            await quotes(made, "A", deadline_ns=deadline_ns)
            ends[name] = "ok", clock.now_ns()
        except PermitTimeout:
            ends[name] = "no permit", clock.now_ns()

    async def main() -> None:
        await quotes(made, "B")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller, "patient", 3 * SECOND)
            tasks.start_soon(caller, "hasty", SECOND // 2)
            tasks.start_soon(caller, "as hasty", SECOND // 2)

    clock.run(main)
    assert ends["hasty"][0] == ends["as hasty"][0] == "no permit"
    assert ends["hasty"][1] <= SECOND // 2
    assert ends["patient"][0] == "ok"
    assert fyers.asked == [("B",), ("A",)]


def test_the_deadline_of_who_asked_first_ends_nobody_else() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock)
    fyers.set_fault("hang", 1)
    ends: dict[str, str] = {}

    async def caller(name: str, deadline_ns: int) -> None:
        try:
            await quotes(made, "A", deadline_ns=deadline_ns)
            ends[name] = "ok"
        except OrderOutcomeUnknown:
            ends[name] = "unknown"

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller, "hasty", SECOND)
            tasks.start_soon(caller, "patient", 5 * SECOND)

    clock.run(main)
    assert ends == {"hasty": "unknown", "patient": "ok"}


def test_kept_quotes_answer_by_symbol_until_they_are_too_old() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, max_age_s=1.0)

    async def main() -> None:
        await quotes(made, "A", "B")
        assert [quote.symbol for quote in await quotes(made, "B")] == ["B"]
        assert [quote.symbol for quote in await quotes(made, "C", "B")] == ["C", "B"]
        assert made.balancer.decisions(1)[0].reason.endswith("; fresh 1 from fyers")
        await clock.sleep_until_ns(clock.now_ns() + 2 * SECOND)
        await quotes(made, "B")
        assert (await made.get_load_balancing_insights())["requests_saved"] == 1

    clock.run(main)
    assert fyers.asked == [("A", "B"), ("C",), ("B",)]


@pytest.mark.parametrize(("later_ns", "requests"), [(0, 1), (SECOND - 1, 1), (SECOND, 1), (SECOND + 1, 2)])
def test_the_age_of_a_quote_counts_from_when_it_was_asked_for(later_ns: int, requests: int) -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, max_age_s=1.0)

    async def main() -> None:
        await quotes(made, "A")
        await clock.sleep_until_ns(max(clock.now_ns(), later_ns))
        await quotes(made, "A")

    clock.run(main)
    assert len(fyers.asked) == requests


def test_what_any_broker_has_answered_serves_all_and_who_wants_one_broker_gets_only_its_own() -> None:
    clock = VirtualClock()
    made, (fyers, upstox) = manager(clock, "fyers", "upstox", max_age_s=1.0)

    async def main() -> None:
        await quotes(made, "A", only="fyers")
        await quotes(made, "B", "C", only="upstox")
        await quotes(made, "A", "B", "C")
        assert (fyers.asked, upstox.asked) == ([("A",)], [("B", "C")]), "different brokers hold different symbols"
        await quotes(made, "A", "B", only="fyers")
        (youngest,) = await quotes(made, "B")
        assert youngest.price == Decimal(100 * MILLISECOND + 1), "of two that are fresh the younger one"

    clock.run(main)
    assert fyers.asked == [("A",), ("B",)]
    assert upstox.asked == [("B", "C")]


def test_a_young_tick_of_the_feed_spares_a_request_but_is_no_brokers_own_quote() -> None:
    clock = VirtualClock()
    feed = MarketDataFeed(clock=clock)
    made, (fyers,) = manager(clock, max_age_s=1.0, feed=feed)

    async def main() -> None:
        feed.publish(symbol="A", price=7)
        assert [quote.price for quote in await quotes(made, "A")] == [Decimal(7)]
        await quotes(made, "A", "B")
        assert made.balancer.decisions(1)[0].reason.endswith("; fresh 1 from the feed")
        await quotes(made, "A", only="fyers")

    clock.run(main)
    assert fyers.asked == [("B",), ("A",)]


def test_an_answer_becomes_a_tick_as_old_as_its_question_unless_a_younger_one_is_there() -> None:
    clock = VirtualClock()
    feed = MarketDataFeed(clock=clock)
    made, (fyers,) = manager(clock, feed=feed)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: quotes(made, "A", "B"))
            await clock.sleep_until_ns(10 * MILLISECOND)
            feed.publish(symbol="B", price=9)

    clock.run(main)
    (a, b) = (feed.latest("A"), feed.latest("B"))
    assert fyers.asked == [("A", "B")]
    assert a is not None
    assert b is not None
    assert (a.epoch_ns, b.price) == (clock.epoch_ns() - 50 * MILLISECOND, Decimal(9))


def test_a_batch_beyond_the_largest_request_goes_out_in_the_fewest_requests_at_once() -> None:
    clock = VirtualClock()
    made, (fyers, upstox) = manager(clock, "fyers", "upstox")
    many = [f"S{number}" for number in range(550)]
    found = clock.run(lambda: quotes(made, *many))
    assert [quote.symbol for quote in found] == many
    assert [len(asked) for asked in upstox.asked] == [500]
    assert [len(asked) for asked in fyers.asked] == [50], "the second one where it ends sooner"
    assert clock.now_ns() == 50 * MILLISECOND


def test_what_a_broker_cannot_carry_goes_its_own_way_at_the_same_time() -> None:
    """Upstox would carry all, but has no permit: two accounts at Fyers share it, and no request is above 50."""
    clock = VirtualClock()
    made, (one, two, upstox) = manager(clock, "fyers-1", "fyers-2", "upstox", per_second=3)
    many = [f"S{number}" for number in range(220)]

    async def main() -> tuple[int, tuple[Quote, ...]]:
        for symbol in "ABC":
            await quotes(made, symbol, only="upstox")
        began_ns = clock.now_ns()
        found: tuple[Quote, ...] = await quotes(made, *many)
        return clock.now_ns() - began_ns, found

    took_ns, found = clock.run(main)
    assert [quote.symbol for quote in found] == many
    assert upstox.asked == [("A",), ("B",), ("C",)]
    assert sorted(len(asked) for asked in (*one.asked, *two.asked)) == [20, 50, 50, 50, 50]
    assert {len(one.asked), len(two.asked)} == {2, 3}
    assert took_ns == 50 * MILLISECOND, "none waits for another"
    reasons = [decision.reason for decision in made.balancer.decisions(5)]
    assert sum("50 symbols; " in reason and reason.endswith(" shed") for reason in reasons) == 4, reasons


def test_the_part_that_a_broker_fails_is_asked_elsewhere_in_parts_that_fit_there() -> None:
    clock = VirtualClock()
    made, (fyers, upstox) = manager(clock, "fyers", "upstox")
    upstox.set_fault("error_before_accept", 1)
    many = [f"S{number}" for number in range(550)]
    found = clock.run(lambda: quotes(made, *many))
    assert [quote.symbol for quote in found] == many
    assert [len(asked) for asked in upstox.asked] == [500]
    assert len(fyers.asked) == 11
    assert sorted(symbol for asked in fyers.asked for symbol in asked) == sorted(many)
    assert max(len(asked) for asked in fyers.asked) == 50
    assert (fyers.referee_report().refused, upstox.referee_report().refused) == (0, 0)


def test_a_refused_symbol_of_one_part_leaves_the_other_parts_their_answers() -> None:
    clock = VirtualClock()
    made, (fyers,) = manager(clock, max_age_s=1.0)
    many = [f"S{number}" for number in range(100)]

    async def main() -> None:
        with pytest.raises(OrderRefused):
            await quotes(made, *many, "bad")
        assert [quote.symbol for quote in await quotes(made, *many)] == many

    clock.run(main)
    assert [len(asked) for asked in fyers.asked] == [50, 50, 1]


def test_a_broker_that_cannot_carry_so_many_at_once_is_left_out() -> None:
    clock = VirtualClock()
    made, (fyers, upstox) = manager(clock, "fyers", "upstox", per_second=2)
    clock.run(lambda: quotes(made, *(f"S{number}" for number in range(300))))
    assert (len(fyers.asked), len(upstox.asked)) == (0, 1)
    assert made.balancer.decisions(1)[0].candidates[0].barred == "takes 6 permits for what takes 1 elsewhere"


callers = st.lists(
    st.tuples(
        st.lists(st.sampled_from([*NAMES, "bad"]), min_size=1, max_size=6),
        st.sampled_from([0, 1, 30, 200]),  # when, in milliseconds
        st.sampled_from([None, 0, 20, 400]),  # cancelled after so long
        st.sampled_from([300, 5000]),  # patience
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(callers, st.integers(1, 10), st.sampled_from([["fyers"], ["fyers", "upstox"]]), st.sampled_from([0.0, 0.2]))
def test_everybody_gets_exactly_what_he_asked_for_or_an_error_of_his_own(
    story: list[tuple[list[str], int, int | None, int]], per_second: int, names: list[str], max_age_s: float
) -> None:
    clock = VirtualClock()
    made, brokers = manager(clock, *names, per_second=per_second, max_age_s=max_age_s)
    ends: dict[int, object] = {}

    async def caller(number: int, symbols: list[str], cancel_ms: int | None, patience_ms: int) -> None:
        with anyio.CancelScope() as scope:
            if cancel_ms is not None:
                clock.call_at_ns(clock.now_ns() + cancel_ms * MILLISECOND, scope.cancel)
            try:
                answer = await quotes(made, *symbols, deadline_ns=clock.now_ns() + patience_ms * MILLISECOND)
                ends[number] = [quote.symbol for quote in answer]
            except HeadroomError as error:
                ends[number] = error
        ends.setdefault(number, "cancelled")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number, (symbols, at_ms, cancel_ms, patience_ms) in enumerate(sorted(story, key=lambda one: one[1])):
                await clock.sleep_until_ns(at_ms * MILLISECOND)
                tasks.start_soon(caller, number, symbols, cancel_ms, patience_ms)

    clock.run(main)
    for number, (symbols, _, cancel_ms, patience_ms) in enumerate(sorted(story, key=lambda one: one[1])):
        match ends[number]:
            case "cancelled":
                assert cancel_ms is not None
            case OrderRefused():
                assert "bad" in symbols
            case PermitTimeout() | OrderOutcomeUnknown():
                # Who is cancelled on the way leaves a permit behind that is held while the request may still arrive.
                assert patience_ms == 300 or "cancelled" in ends.values()
            case answer:
                assert answer == symbols
    assert all(broker.referee_report().refused == 0 for broker in brokers)


@pytest.mark.parametrize(("count", "hedged"), [(50, True), (51, False)])
def test_a_batch_is_hedged_only_where_one_permit_carries_all_of_it(count: int, hedged: bool) -> None:
    clock = VirtualClock()
    made, (fyers, upstox) = manager(clock, "fyers", "upstox", per_second=100)
    made.set_hedging("get_market_data", enabled=True)

    async def main() -> None:
        for _ in range(60):
            await quotes(made, "A", only="upstox")
            await clock.sleep_until_ns(clock.now_ns() + SECOND // 5)
        made.drain("fyers")
        upstox.set_fault("hang", 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await clock.sleep_until_ns(clock.now_ns() + MILLISECOND)
            made.resume("fyers")

    async def ask() -> None:
        with suppress(OrderOutcomeUnknown):
            await quotes(made, *(f"S{number}" for number in range(count)), deadline_ns=clock.now_ns() + SECOND)

    clock.run(main)
    assert [len(asked) for asked in fyers.asked] == ([count] if hedged else [])


rounds = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=8),
        st.sampled_from([0, MILLISECOND, 200 * MILLISECOND, SECOND - 50 * MILLISECOND, SECOND, 3 * SECOND]),  # later
        st.sampled_from([None, None, "fyers", "upstox"]),
        st.sampled_from(["", "", "fyers", "upstox"]),  # who fails the next request
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@given(rounds, st.sampled_from([0.0, 0.2, 1.0]))
def test_a_fresh_symbol_is_never_asked_for_an_old_quote_never_given_and_each_symbol_comes_as_asked(
    story: list[tuple[list[str], int, str | None, str]], max_age_s: float
) -> None:
    clock = VirtualClock()
    made, brokers = manager(clock, "fyers", "upstox", max_age_s=max_age_s)
    max_age_ns = round(max_age_s * SECOND)

    async def main() -> None:
        for symbols, later_ns, only, fails in story:
            await clock.sleep_until_ns(clock.now_ns() + later_ns)
            for broker in brokers:
                broker.set_fault("error_before_accept", 1 if broker.name == fails else 0)
            now_ns = clock.now_ns()
            holders = [broker for broker in brokers if only in {None, broker.name}]
            fresh = {
                symbol
                for symbol in symbols
                if max_age_ns
                and any(now_ns - broker.answered_ns.get(symbol, -MINUTE) <= max_age_ns for broker in holders)
            }
            before = [len(broker.asked) for broker in brokers]
            try:
                found = await quotes(made, *symbols, only=only)
            except HeadroomError:
                assert fails, "one that is wanted alone may fail, and so may the retry budget"
                continue
            assert [quote.symbol for quote in found] == symbols
            assert all(now_ns - (int(quote.price) - 1) <= max_age_ns for quote in found)
            requests = [asked for broker, seen in zip(brokers, before, strict=True) for asked in broker.asked[seen:]]
            wanted = [symbol for symbol in dict.fromkeys(symbols) if symbol not in fresh]
            assert set(requests) == ({tuple(wanted)} if wanted else set())
            assert len(requests) <= 1 + bool(fails)

    clock.run(main)


@settings(max_examples=40)
@given(
    st.integers(1, 1300),
    st.lists(st.sampled_from(["fyers-1", "fyers-2", "upstox-1", "upstox-2", "dhan"]), min_size=1, unique=True),
)
def test_any_number_of_symbols_takes_the_fewest_requests_that_the_brokers_allow_and_all_go_at_once(
    count: int, names: list[str]
) -> None:
    clock = VirtualClock()
    made, brokers = manager(clock, *names, per_second=40)
    many = [f"S{number}" for number in range(count)]
    found = clock.run(lambda: quotes(made, *many))
    assert [quote.symbol for quote in found] == many
    requests = [asked for broker in brokers for asked in broker.asked]
    assert sorted(symbol for asked in requests for symbol in asked) == sorted(many)
    assert len(requests) == -(-count // max(account.carries for account in made.accounts.values()))
    assert made.counters.requests == len(requests)
    assert clock.now_ns() == 50 * MILLISECOND
    for account in made.accounts.values():
        (window,) = account.limiter.headroom()
        assert window.used == account.requests, "one permit each"
