from __future__ import annotations

import asyncio
import csv
import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import SECOND, VirtualClock
from core.errors import EngineHalted, OrderConflict, OrderError, StoreCorrupt, StoreError, UnknownOrder
from core.models import FINAL, Order, OrderStatus, OrderType, Product, Side, Trade, Validity
from core.store import (
    CancelIntended,
    Claimed,
    Entry,
    Halted,
    IncidentSeen,
    Intent,
    Lifted,
    LimiterSaved,
    ModifyIntended,
    Step,
    TradeStore,
    fingerprint,
)
from core.store.entries import VERSION, _dumps, entry_from_json, json_of

S = OrderStatus


def order(order_id: str = "a", **changes: Any) -> Order:
    wanted = {"symbol": "NSE:SBIN-EQ", "quantity": 10, "order_type": "LIMIT", "price": "652.50", **changes}
    return Order(client_order_id=order_id, **wanted)


async def sent(store: TradeStore, order_id: str = "a", **changes: Any) -> Order:
    """An order that was claimed and is on its way to a broker."""
    one = order(order_id, **changes)
    await store.journal.claim(one)
    await store.journal.append(Intent(one, tag=f"t{order_id}", provider="fyers"))
    return one


# Entries as text.

text = st.text(max_size=12)  # lone surrogates too: brokers have sent them
prices = st.decimals("0.0001", 10**9, allow_nan=False, allow_infinity=False)
whole = st.integers(0, 2**62)
statuses = st.sampled_from(OrderStatus)


@st.composite
def orders(draw: st.DrawFn, order_id: st.SearchStrategy[str] = text) -> Order:
    kind = draw(st.sampled_from(OrderType))
    return Order(
        symbol=draw(text.filter(bool)),
        quantity=draw(st.integers(1, 2**40)),
        side=draw(st.sampled_from(Side)),
        order_type=kind,
        price=draw(prices) if kind in {OrderType.LIMIT, OrderType.SL} else None,
        trigger_price=draw(prices) if kind in {OrderType.SL, OrderType.SL_M} else None,
        product=draw(st.sampled_from(Product)),
        validity=draw(st.sampled_from(Validity)),
        client_order_id=draw(order_id),
    )


entries: dict[type[Any], st.SearchStrategy[Any]] = {
    Claimed: st.builds(Claimed, orders(), whole, st.booleans()),
    Intent: st.builds(Intent, orders(), text, text, whole, whole, text, st.booleans()),
    Step: st.builds(Step, text, statuses, statuses, text, text, text, whole, whole, prices, text, whole),
    CancelIntended: st.builds(CancelIntended, text, text, text, whole),
    ModifyIntended: st.builds(
        ModifyIntended,
        text,
        text,
        text,
        st.none() | whole,
        st.none() | st.sampled_from(OrderType),
        st.none() | prices,
        st.none() | prices,
        whole,
    ),
    IncidentSeen: st.builds(IncidentSeen, text, text, text, text, text, whole),
    Halted: st.builds(Halted, text, whole),
    Lifted: st.builds(Lifted, text, whole),
}


def test_the_law_covers_every_kind_of_entry() -> None:
    assert set(entries) == set(get_args(Entry))


@given(st.one_of(*entries.values()))
def test_the_bodies_that_are_spelt_out_are_what_the_general_way_writes(entry: Any) -> None:
    assert json_of(entry) == _dumps(entry)


@pytest.mark.parametrize("kind", entries)
@given(st.data())
@settings(max_examples=30)
def test_every_entry_comes_back_from_its_text(kind: type[Any], data: st.DataObject) -> None:
    entry = data.draw(entries[kind])
    body = json_of(entry)
    assert body.isascii()
    assert entry_from_json(kind.__name__, VERSION, body) == entry


@pytest.mark.parametrize(
    ("kind", "version", "body"),
    [
        ("Step", VERSION + 1, "{}"),
        ("Leap", VERSION, "{}"),
        ("Step", VERSION, "{"),
        ("Step", VERSION, '{"order_id": "a"}'),
        ("Halted", VERSION, '{"because": "x"}'),
        ("Step", VERSION, '{"order_id": "a", "before": "NEW", "after": "SOLD"}'),
    ],
)
def test_an_entry_that_cannot_be_understood_is_not_guessed_at(kind: str, version: int, body: str) -> None:
    with pytest.raises(StoreCorrupt):
        entry_from_json(kind, version, body)


# The content of an order.


@given(orders(), text)
@settings(max_examples=50)
def test_the_fingerprint_is_of_the_content_and_not_of_the_id(one: Order, other_id: str) -> None:
    assert fingerprint(one) == fingerprint(one.with_id(other_id))


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "NSE:INFY-EQ"},
        {"quantity": 11},
        {"side": "SELL"},
        {"price": "652.55"},
        {"order_type": "SL", "trigger_price": "652"},
        {"product": "DELIVERY"},
        {"validity": "IOC"},
    ],
)
def test_any_change_of_content_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(order(**change)) != fingerprint(order())


@pytest.mark.parametrize("price", ["652.5", "652.50", "652.5000", 652.5, Decimal("6.525E2")])
def test_one_price_written_in_several_ways_is_one_content(price: Any) -> None:
    with localcontext(prec=3):  # whatever precision the caller works with
        assert fingerprint(order(price=price)) == fingerprint(order(price="652.50"))


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    program = (
        "from core.models import Order; from core.store import fingerprint;"
        "print(fingerprint(Order(symbol='S', quantity=1)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == fingerprint(Order(symbol="S", quantity=1))


# Claims.


async def test_the_first_claim_gets_the_id_and_every_later_one_the_order(store: TradeStore) -> None:
    assert await store.journal.claim(order(), simulated=False) is None
    found = await store.journal.claim(order(price="652.5"))
    assert found is not None
    assert (found.order, found.status, found.attempt, found.simulated) == (order(), S.NEW, 0, False)
    assert len(await store.journal.story("a")) == 1


async def test_the_same_id_with_other_content_is_refused(store: TradeStore) -> None:
    await store.journal.claim(order())
    with pytest.raises(OrderConflict, match="order a was taken before with other content"):
        await store.journal.claim(order(quantity=11))
    with pytest.raises(OrderConflict, match="order a was taken before with other content"):
        await store.journal.append(Intent(order(quantity=11), tag="t", provider="fyers"))


async def test_an_order_without_an_id_cannot_be_claimed(store: TradeStore) -> None:
    with pytest.raises(OrderError, match="needs a client_order_id"):
        await store.journal.claim(order(""))


async def test_of_many_tasks_that_claim_one_id_one_gets_it(store: TradeStore) -> None:
    found = await asyncio.gather(*(store.journal.claim(order()) for _ in range(50)))
    assert sum(each is None for each in found) == 1
    assert len(await store.journal.story("a")) == 1


async def test_a_claim_and_its_entries_are_one(store: TradeStore) -> None:
    one = order()
    denied = Step("a", S.NEW, S.DENIED, message="above the limit")
    assert await store.journal.claim(one, denied) is None
    assert await store.journal.claim(one, denied) is not None
    assert [type(row.entry) for row in await store.journal.story("a")] == [Claimed, Step]
    intent = Intent(two := order("c"), tag="t", provider="fyers")
    assert await store.journal.claim(two, intent) is None
    found = await store.journal.claim(two, intent)
    assert found is not None
    assert (found.status, found.provider, found.tag, found.attempt) == (S.SUBMITTING, "fyers", "t", 1)
    assert [row.entry for row in await store.journal.story("c")] == [intent]
    with pytest.raises(UnknownOrder):
        await store.journal.claim(order("b"), Step("nobody", S.NEW, S.DENIED))
    assert await store.journal.order("b") is None


CLAIMER = """
import asyncio, sys
from core.models import Order
from core.store import TradeStore
async def main():
    async with TradeStore(sys.argv[1]) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(100):
            if await store.journal.claim(Order(symbol="S", quantity=1, client_order_id=str(number))) is None:
                print(number)
asyncio.run(main())
"""


def test_of_several_processes_that_claim_the_same_ids_each_id_goes_to_one(path: Path) -> None:
    command = [sys.executable, "-c", CLAIMER, str(path)]
    claimers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    claimed = [claimer.communicate(timeout=60)[0].split() for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0, 0]
    assert sorted(itertools.chain.from_iterable(claimed)) == sorted(map(str, range(100)))


# Intents and steps.


async def test_an_intent_says_where_the_order_went(store: TradeStore, clock: VirtualClock) -> None:
    await store.journal.claim(order())
    await clock.advance_ns(SECOND)
    await store.journal.append(Intent(order(), tag="t1", provider="upstox", attempt=1, simulated=False))
    found = await store.journal.order("a")
    assert found is not None
    assert (found.status, found.provider, found.tag, found.attempt) == (S.SUBMITTING, "upstox", "t1", 1)
    assert (found.simulated, found.updated_ns - found.epoch_ns) == (False, SECOND)
    trade = await store.get_trade_by_order_id("a")
    assert trade is not None
    assert (trade.status, trade.provider, trade.price) == ("SUBMITTING", "upstox", Decimal("652.50"))


async def test_an_intent_claims_an_id_that_nobody_has(store: TradeStore) -> None:
    await store.journal.append(Intent(order(), tag="t", provider="fyers"))
    found = await store.journal.claim(order())
    assert found is not None
    assert found.status is S.SUBMITTING


@pytest.mark.parametrize(("attempt", "goes"), [(0, False), (1, False), (2, True), (7, True)])
async def test_an_attempt_must_be_above_the_last(store: TradeStore, attempt: int, goes: bool) -> None:
    await sent(store)
    await store.journal.append(Step("a", S.SUBMITTING, S.NEW, message="connection refused"))
    again = Intent(order(), tag="other", provider="upstox", attempt=attempt)
    if goes:
        await store.journal.append(again)
    else:
        with pytest.raises(OrderConflict, match=f"attempt {attempt} is journaled already"):
            await store.journal.append(again)
    found = await store.journal.order("a")
    assert found is not None
    assert (found.tag, found.attempt) == (("other", attempt) if goes else ("ta", 1))


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {S.NEW}))
async def test_only_an_order_that_is_new_may_be_sent(store: TradeStore, status: OrderStatus) -> None:
    await sent(store)
    await store.journal.append(Step("a", S.SUBMITTING, status))
    with pytest.raises(OrderConflict, match=f"order a is {status.value}.*only an order that is NEW"):
        await store.journal.append(Intent(order(), tag="other", provider="upstox", attempt=2))


async def test_two_processes_cannot_both_send_one_order(path: Path, clock: VirtualClock) -> None:
    async with TradeStore(path, clock=clock) as one, TradeStore(path, clock=clock) as other:
        await one.journal.claim(order())
        done = await asyncio.gather(
            *(each.journal.append(Intent(order(), tag="t", provider="fyers")) for each in (one, other)),
            return_exceptions=True,
        )
    assert sorted(type(each).__name__ for each in done) == ["OrderConflict", "int"]


async def test_a_new_attempt_forgets_the_old_brokers_id(store: TradeStore) -> None:
    await sent(store)
    await store.journal.append(
        Step("a", S.SUBMITTING, S.NEW, broker_order_id="b1", message="connection refused"),
        Intent(order(), tag="t2", provider="upstox", attempt=2),
    )
    found = await store.journal.order("a")
    assert found is not None
    assert (found.broker_order_id, found.message, found.provider) == ("", "", "upstox")


async def test_a_step_changes_what_it_names_and_keeps_the_rest(store: TradeStore) -> None:
    await sent(store)
    await store.journal.append(Step("a", S.SUBMITTING, S.ACCEPTED, broker_order_id="b1"))
    await store.journal.append(
        Step("a", S.ACCEPTED, S.PARTIALLY_FILLED, filled_quantity=4, average_price=Decimal("652.40"))
    )
    await store.journal.append(Step("a", S.PARTIALLY_FILLED, S.CANCEL_REQUESTED, message="by the operator"))
    found = await store.journal.order("a")
    assert found is not None
    assert (found.status, found.provider, found.tag, found.broker_order_id, found.attempt) == (
        S.CANCEL_REQUESTED,
        "fyers",
        "ta",
        "b1",
        1,
    )
    assert (found.filled_quantity, found.average_price, found.message) == (4, Decimal("652.4"), "by the operator")


async def test_late_news_takes_no_fill_back(store: TradeStore) -> None:
    await sent(store)
    await store.journal.append(Step("a", S.ACCEPTED, S.FILLED, filled_quantity=10, average_price=Decimal(652)))
    await store.journal.append(Step("a", S.FILLED, S.FILLED, filled_quantity=4, average_price=Decimal(600)))
    found = await store.journal.order("a")
    assert found is not None
    assert (found.filled_quantity, found.average_price) == (10, Decimal(652))


async def test_news_of_an_order_that_was_never_claimed_is_refused(store: TradeStore) -> None:
    await store.store_trade(Trade(order_id="a", symbol="S", quantity=1, price=Decimal(1)))
    with pytest.raises(UnknownOrder, match="order a is not in the journal"):
        await store.journal.append(Step("a", S.NEW, S.DENIED))
    assert await store.journal.story("a") == ()
    assert (await store.journal.verify()).ok


async def test_several_entries_land_together_or_not_at_all(store: TradeStore) -> None:
    await sent(store)
    with pytest.raises(UnknownOrder):
        await store.journal.append(Step("a", S.SUBMITTING, S.ACCEPTED), Step("nobody", S.NEW, S.DENIED))
    found = await store.journal.order("a")
    assert found is not None
    assert found.status is S.SUBMITTING
    serials = [row.serial for row in await store.journal.story("a")]
    assert await store.journal.append(Lifted("x"), Step("a", S.SUBMITTING, S.ACCEPTED)) == serials[-1] + 2


async def test_a_story_is_told_in_order_with_its_times(store: TradeStore, clock: VirtualClock) -> None:
    begun = clock.epoch_ns()
    one = order()
    told: list[Entry] = [
        Intent(one, tag="t", provider="fyers"),
        Step("a", S.SUBMITTING, S.UNKNOWN, message="read timeout"),
        IncidentSeen("timeout", "fyers", "no answer", "POST /orders", order_id="a"),
        Step("a", S.UNKNOWN, S.ACCEPTED, broker_order_id="b"),
        ModifyIntended("a", "fyers", "b", price=Decimal(650)),
        CancelIntended("a", "fyers", "b"),
    ]
    await store.journal.claim(one)
    for entry in told:
        await clock.advance_ns(SECOND)
        await store.journal.append(entry, Halted("others"), Lifted("too"))
    story = await store.journal.story("a")
    assert [row.entry for row in story[1:]] == told
    assert [(row.epoch_ns - begun) // SECOND for row in story] == list(range(7))
    assert [row.serial for row in story] == sorted({row.serial for row in story})


async def test_an_entrys_own_time_stands(store: TradeStore) -> None:
    await store.journal.claim(order())
    await store.journal.append(replace(Intent(order(), tag="t", provider="fyers"), epoch_ns=77))
    found = await store.journal.order("a")
    assert found is not None
    assert found.updated_ns == 77


async def test_open_orders_are_those_without_an_end_oldest_first(store: TradeStore) -> None:
    for status in OrderStatus:
        await sent(store, status.value)
        await store.journal.append(Step(status.value, S.SUBMITTING, status))
    await store.store_trade(Trade(order_id="by hand", symbol="S", quantity=1, price=Decimal(1)))
    found = await store.journal.open_orders()
    assert [each.order_id for each in found] == [status.value for status in OrderStatus if status not in FINAL]
    assert found == tuple([await store.journal.order(each.order_id) for each in found])


async def test_open_orders_are_found_by_their_own_index(store: TradeStore) -> None:
    from core.store.journal import _OPEN

    plan = await store._readers.quick(f"EXPLAIN QUERY PLAN {_OPEN}")
    assert "USING INDEX trades_open" in " / ".join(str(row[3]) for row in plan)


async def test_an_order_with_strange_text_is_kept_as_it_came(store: TradeStore) -> None:
    one = order("id \ud800 \x00 'x'", symbol="S\udfff")
    await store.journal.claim(one)
    await store.journal.append(Step(one.client_order_id, S.NEW, S.DENIED, message="\ud83d\x1b[2J"))
    found = await store.journal.order(one.client_order_id)
    assert found is not None
    assert (found.order, found.message) == (one, "?\x1b[2J")
    assert (await store.journal.verify()).ok


# The kill switch.


async def test_a_halt_is_seen_by_every_store_on_the_file_at_once(path: Path, clock: VirtualClock) -> None:
    async with TradeStore(path, clock=clock) as one, TradeStore(path, clock=clock) as other:
        assert (await other.journal.halted(), other.journal.halted_now()) == ("", "")
        await one.journal.append(Halted("loss limit"))
        assert (await other.journal.halted(), other.journal.halted_now()) == ("loss limit", "loss limit")
        await other.journal.append(Lifted("maria"))
        assert (await one.journal.halted(), one.journal.halted_now()) == ("", "")


async def test_a_halt_outlives_the_process(path: Path) -> None:
    async with TradeStore(path) as store:
        await store.journal.append(Halted("loss limit"))
    async with TradeStore(path) as store:
        assert store.journal.halted_now() == "loss limit"


async def test_a_halt_without_a_reason_is_a_halt(store: TradeStore) -> None:
    await store.journal.append(Halted(""))
    assert await store.journal.halted() == "no reason given"


async def test_nothing_new_is_journaled_to_be_sent_while_halted(path: Path, clock: VirtualClock) -> None:
    async with TradeStore(path, clock=clock) as one, TradeStore(path, clock=clock) as other:
        await sent(other, "open")
        await other.journal.claim(order("new"))
        await one.journal.append(Halted("loss limit"))
        with pytest.raises(EngineHalted, match=r"trading is halted \(loss limit\).*lift it by name"):
            await other.journal.append(Intent(order("new"), tag="t", provider="fyers"))
        # What is open may be cancelled, and its news is kept.
        await other.journal.append(CancelIntended("open"), Step("open", S.SUBMITTING, S.CANCELLED))
        await one.journal.append(Lifted("maria"))
        await other.journal.append(Intent(order("new"), tag="t", provider="fyers"))


async def test_each_limiters_last_state_is_kept(path: Path) -> None:
    async with TradeStore(path) as store:
        await store.journal.append(LimiterSaved("fyers", '{"used": 1}'), LimiterSaved("upstox", "{}"))
        await store.journal.append(LimiterSaved("fyers", '{"used": 2}'))
    async with TradeStore(path) as store:
        await store.journal.rebuild()
        assert await store.journal.limiter_states() == {"fyers": '{"used": 2}', "upstox": "{}"}
        # Only the last is kept: saved every few seconds, all of them would outgrow the orders.
        assert await store.journal.append(Lifted("the first entry")) == 1


# Proof.


async def filled_store(store: TradeStore) -> None:
    for order_id in ("a", "b", "c"):
        await sent(store, order_id)
        await store.store_trade(Trade(order_id=f"hand-{order_id}", symbol="S", quantity=1, price=Decimal(1)))
    await store.journal.append(
        Step("a", S.SUBMITTING, S.PARTIALLY_FILLED, filled_quantity=2), Step("b", S.SUBMITTING, S.REJECTED)
    )
    await store.journal.append(IncidentSeen("429", "fyers"), Halted("x"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE journal SET body = replace(body, 'fyers', 'upstox') WHERE serial = 2", "entry 2 fails its checksum"),
        ("UPDATE journal SET epoch_ns = epoch_ns + 1 WHERE serial = 4", "entry 4 fails its checksum"),
        ("UPDATE journal SET order_id = 'c' WHERE serial = 3", "entry 3 fails its checksum"),
        ("UPDATE journal SET kind = 'Lifted' WHERE serial = 10", "entry 10 fails its checksum"),
        ("UPDATE journal SET checksum = x'00' WHERE serial = 1", "entry 1 fails its checksum"),
        ("DELETE FROM journal WHERE serial = 1", "entry 1 is missing"),
        ("DELETE FROM journal WHERE serial = 5", "entry 5 is missing"),
        ("DELETE FROM journal WHERE serial = 10", "ends at entry 9, its chain at 10"),
        ("DELETE FROM journal", "ends at entry 0, its chain at 10"),
        ("UPDATE chain SET checksum = x'00'", "ends at entry 10"),
        ("UPDATE trades SET status = 'FILLED' WHERE order_id = 'c'", "trades: the row of c"),
        ("DELETE FROM trades WHERE order_id = 'a'", "trades: the row of a"),
        ("DELETE FROM halts", "halts: the row of 1"),
    ],
)
async def test_verify_names_what_was_tampered_with(path: Path, damage: str, says: str) -> None:
    async with TradeStore(path) as store:
        await filled_store(store)
        assert await store.journal.verify() == type(await store.journal.verify())(entries=10, orders=3)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(damage)
        verdict = await store.journal.verify()
        assert not verdict.ok
        assert any(says in problem for problem in verdict.problems), verdict.problems


async def test_verify_minds_no_rows_that_are_kept_by_hand(store: TradeStore) -> None:
    await filled_store(store)
    await store.update_trade_status("hand-a", "COMPLETE")
    assert (await store.journal.verify()).ok


async def test_rebuild_refuses_a_damaged_journal_and_changes_nothing(path: Path) -> None:
    async with TradeStore(path) as store:
        await filled_store(store)
        before = await store.get_recent_trades()
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE journal SET body = '{}' WHERE serial = 9")
        with pytest.raises(StoreCorrupt, match="entry 9 fails its checksum"):
            await store.journal.rebuild()
        assert await store.get_recent_trades() == before


def dump(path: Path) -> dict[str, list[Any]]:
    tables = ("trades", "halts")
    with closing(sqlite3.connect(path)) as db:
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


async def test_a_rebuild_keeps_what_shares_its_transaction(store: TradeStore) -> None:
    await store.journal.claim(order("a"))
    blocked = asyncio.gather(store.journal.append(Halted("first")))  # what follows shares the next trip
    await asyncio.sleep(0)
    others = [store.journal.claim(order(name)) for name in "bcd"]
    results = await asyncio.gather(*others, store.journal.rebuild(), store.journal.claim(order("e")))
    await blocked
    assert results == [None, None, None, 5, None]
    assert (await store.journal.verify()).problems == ()
    assert {row.order_id for row in await store.get_recent_trades()} == set("abcde")


names = st.sampled_from(["a", "b", "c", "d"])
hand_names = names.map(lambda name: f"hand-{name}")
moves: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda name, attempt: Intent(order(name), "t", "fyers", attempt), names, st.integers(1, 4)),
    st.builds(Step, names, statuses, statuses, text, text, text, st.integers(0, 4), st.integers(0, 10), prices, text),
    st.builds(Halted, text),
    st.builds(Lifted, text),
    st.builds(lambda name: Trade(order_id=name, symbol="S", quantity=1, price=Decimal(1)), names | hand_names),
    names,  # a claim
    st.builds(lambda name: (Intent(order(name), "t", "fyers"),), names),  # a claim by an intent
)


def test_a_rebuild_makes_the_same_projection_to_the_byte(tmp_path: Path) -> None:
    serial = 0

    @given(st.lists(moves, max_size=30))
    @settings(max_examples=25)
    def law(story: list[Any]) -> None:
        nonlocal serial
        serial += 1
        path = tmp_path / f"{serial}.db"

        async def main() -> None:
            async with TradeStore(path) as store:
                for move in story:
                    try:
                        if isinstance(move, Trade):
                            await store.store_trade(move)
                        elif isinstance(move, str):
                            await store.journal.claim(order(move))
                        elif isinstance(move, tuple):
                            await store.journal.claim(move[0].order, *move)
                        else:
                            await store.journal.append(move)
                    except (OrderError, StoreError):
                        pass  # refused, and so not journaled
                before, found = dump(path), await store.get_trades(symbol="NSE:SBIN-EQ", since_ns=1)
                assert (await store.journal.verify()).ok
                await store.journal.rebuild()
                assert dump(path) == before
                assert await store.get_trades(symbol="NSE:SBIN-EQ", since_ns=1) == found

        asyncio.run(main())

    law()


async def test_a_rebuild_brings_back_what_was_lost(path: Path) -> None:
    async with TradeStore(path) as store:
        await filled_store(store)
        before = dump(path)
        with closing(sqlite3.connect(path)) as other, other:
            for table in ("halts", "blocks"):
                other.execute(f"DELETE FROM {table}")
            other.execute("UPDATE trades SET status = 'LOST', request = NULL WHERE order_id IN ('a', 'b')")
        assert await store.journal.rebuild() == 10
        assert dump(path) == before
        assert len(await store.get_trades(since_ns=1)) == 6
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM trades WHERE order_id = 'b'")
        await store.journal.rebuild()
        assert [row[1:] for row in dump(path)["trades"] if row[1] == "b"] == [
            row[1:] for row in before["trades"] if row[1] == "b"
        ]
        assert (await store.get_recent_trades(limit=1))[0].order_id == "b"  # its old place is forgotten
        assert (await store.journal.verify()).ok


async def test_a_rebuild_after_the_journal_has_taken_over_a_row_kept_by_hand(store: TradeStore) -> None:
    await store.store_trade(Trade(order_id="a", symbol="S", quantity=1, price=Decimal(1)))
    await store.journal.claim(order("b"))
    await store.journal.claim(order("a"))  # journaled after b, and its row stands before
    before = dump(store.path)
    assert await store.journal.rebuild() == 2
    assert dump(store.path) == before


async def test_the_csv_holds_every_entry(store: TradeStore, tmp_path: Path) -> None:
    await filled_store(store)
    target = tmp_path / "journal.csv"
    assert await store.journal.export_csv(target) == 10
    with target.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["serial"]) for row in rows] == list(range(1, 11))
    read = [entry_from_json(row["kind"], int(row["version"]), row["body"]) for row in rows if row["order_id"] == "a"]
    assert read == [row.entry for row in await store.journal.story("a")]
    assert not target.with_name("journal.csv.part").exists()


async def test_a_step_from_where_another_process_has_moved_on_is_refused(store: TradeStore) -> None:
    await sent(store)
    for stale in (
        Step("a", S.UNKNOWN, S.DENIED, attempt=1),
        Step("a", S.SUBMITTING, S.DENIED, attempt=2),
        Intent(order(), "t2", "fyers", attempt=2),
    ):
        for entries in ((stale,), (CancelIntended("a"), stale)):
            with pytest.raises(OrderConflict, match="is SUBMITTING at attempt 1, by another process"):
                await store.journal.move(*entries)
    assert len(await store.journal.story("a")) == 2
    await store.journal.move(Step("a", S.SUBMITTING, S.ACCEPTED, attempt=1))
    found = await store.journal.order("a")
    assert found is not None
    assert found.status is S.ACCEPTED
