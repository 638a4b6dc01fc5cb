"""What an answer says is left of a limit reaches the limiter that keeps it."""

from __future__ import annotations

import random

import pytest

from core import MultiAPIManager, SystemClock
from core.brokers import FyersAPI
from core.brokers.reply import Quota, quota_in
from core.clock import DAY, SECOND
from core.models import APIProvider
from tests.brokers.recorded import Answer, Recorded, config

BOOK = {"s": "ok", "code": 200, "message": "", "orderBook": []}


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, None),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "3"}, Quota(10, 3, None)),
        (
            {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"},
            Quota(200, 0, 12 * SECOND),
        ),
        ({"ratelimit-limit": "10", "ratelimit-remaining": "9", "ratelimit-reset": "86400"}, Quota(10, 9, DAY)),
        ({"ratelimit-limit": "10", "ratelimit-remaining": "9", "ratelimit-reset": "1767585600"}, Quota(10, 9, None)),
        ({"x-ratelimit-remaining": "3"}, None),
        ({"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "-1"}, None),
        ({"x-ratelimit-limit": "10, 10;w=1", "x-ratelimit-remaining": "3"}, None),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9" * 50}, None),
    ],
)
def test_a_quota_is_heard_where_both_its_numbers_stand(headers: dict[str, str], quota: Quota | None) -> None:
    assert quota_in(headers) == quota


@pytest.mark.parametrize(
    ("headers", "used", "closed_s"),
    [
        ({}, 1, 0),
        ({"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "150"}, 50, 0),
        ({"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "200"}, 1, 0),
        ({"X-RateLimit-Limit": "77", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 1, 0),
        ({"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 200, 30),
    ],
)
async def test_what_somebody_else_has_used_of_the_account_counts_here_too(
    headers: dict[str, str], used: int, closed_s: int
) -> None:
    async with (
        Recorded({"GET /api/v3/orders": Answer(payload=BOOK, headers=headers)}) as server,
        FyersAPI("fyers", config(APIProvider.FYERS, server.base_url)) as api,
    ):
        manager = MultiAPIManager({"enabled_apis": ["fyers"]}, clock=SystemClock(), rng=random.Random(1))
        manager.apis = {"fyers": api}
        await manager.execute_with_fallback("get_orders")
        limiter = manager.limiter("fyers")
        minute = next(window for window in limiter.headroom() if window.rate.permits == 200)
        assert minute.used == used
        assert closed_s - 1 <= limiter.limited_for_ns / SECOND <= closed_s
        assert api.heard_quota() is None
