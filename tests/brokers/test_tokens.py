"""Logging in, and the token between two log-ins."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from core.brokers import FyersAPI, Token, TokenStore, UpstoxAPI
from core.brokers.oauth import code_in_answer, exchange_code, login_url
from core.brokers.tokens import IST, expiry_in_token, login_expiry_ns
from core.clock import SECOND, VirtualClock
from core.errors import AuthenticationFailed, BrokerError, ConfigError, OrderNotSent, OrderOutcomeUnknown
from core.models import APIProvider
from tests.brokers.recorded import Answer, Recorded, config

FYERS, UPSTOX = APIProvider.FYERS, APIProvider.UPSTOX
SECRET = SecretStr("S3CRET-x")
TOKEN = Token(access_token=SecretStr("abc.def"), user_id="XA1", expires_epoch_ns=5, obtained_epoch_ns=3)


def ist_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()) * SECOND


def jwt(**claims: Any) -> str:
    parts = ({"alg": "HS256"}, claims, {"sig": 1})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


# --- the file


def test_a_saved_token_comes_back_and_only_its_owner_can_read_it(tmp_path: Path):
    store = TokenStore(tmp_path / "state" / "tokens")
    assert store.load("fyers") is None
    path = store.save("fyers", TOKEN)
    assert store.load("fyers") == TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.save("fyers", Token(access_token=SecretStr("second")))
    assert store.load("fyers") == Token(access_token=SecretStr("second"))
    assert [file.name for file in path.parent.iterdir()] == ["fyers.token.json"]


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path):
    path = TokenStore(tmp_path).save("fyers", TOKEN)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 0640.*chmod 600"):
        TokenStore(tmp_path).load("fyers")


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"access_token":1}', "not json", '{"access_token":"x","user_id":"",']
)
def test_a_damaged_token_file_says_what_to_do(tmp_path: Path, content: str):
    path = TokenStore(tmp_path).save("fyers", TOKEN)
    path.write_text(content)
    with pytest.raises(ConfigError, match="damaged; log in again"):
        TokenStore(tmp_path).load("fyers")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a\n", "a b"])
def test_an_account_name_cannot_lead_out_of_the_directory(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match="cannot name a token file"):
        TokenStore(tmp_path).path(name)


def test_a_forgotten_token_is_gone(tmp_path: Path):
    store = TokenStore(tmp_path)
    store.save("fyers", TOKEN)
    assert store.forget("fyers") is True
    assert store.load("fyers") is None
    assert store.forget("fyers") is False


def test_a_symlink_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path):
    store, victim = TokenStore(tmp_path / "tokens"), tmp_path / "victim"
    victim.write_text("untouched")
    store.save("fyers", TOKEN)
    store.path("fyers").unlink()
    store.path("fyers").symlink_to(victim)
    store.save("fyers", TOKEN)
    assert victim.read_text() == "untouched"
    assert store.load("fyers") == TOKEN


def test_a_token_prints_as_stars():
    assert "abc.def" not in repr(TOKEN)


# --- its end


@pytest.mark.parametrize(
    ("provider", "now", "end"),
    [
        (UPSTOX, "2026-01-05 09:00", "2026-01-06 03:30"),
        (UPSTOX, "2026-01-05 00:10", "2026-01-05 03:30"),
        (UPSTOX, "2026-01-05 03:30", "2026-01-06 03:30"),
        (UPSTOX, "2026-01-31 23:59", "2026-02-01 03:30"),
        (FYERS, "2026-01-05 09:00", "2026-01-06 06:00"),
        (FYERS, "2026-01-05 05:59", "2026-01-05 06:00"),
    ],
)
def test_a_token_ends_at_the_brokers_own_hour(provider: APIProvider, now: str, end: str):
    assert login_expiry_ns(provider, "opaque", epoch_ns=ist_ns(now)) == ist_ns(end)


@pytest.mark.parametrize(
    ("carried", "end"),
    [
        ("2026-01-05 15:30", "2026-01-05 15:30"),  # what it carries, when that is earlier
        ("2026-02-05 15:30", "2026-01-06 06:00"),  # never later than the broker's hour
        ("2026-01-05 08:59", "2026-01-06 06:00"),  # an end in the past of a fresh token is nonsense
    ],
)
def test_the_end_that_a_token_carries_counts_when_it_is_earlier(carried: str, end: str):
    token = jwt(exp=ist_ns(carried) // SECOND)
    assert login_expiry_ns(FYERS, token, epoch_ns=ist_ns("2026-01-05 09:00")) == ist_ns(end)


@pytest.mark.parametrize(
    "text", ["", "opaque", "a.b.c", "a.b", jwt(), jwt(exp="soon"), jwt(exp=10**30), "....", "é.é.é"]
)
def test_text_that_carries_no_end_carries_none(text: str):
    assert expiry_in_token(text) is None


@pytest.mark.parametrize(("epoch_ns", "expired"), [(4, False), (5, True), (6, True)])
def test_a_token_is_over_at_its_last_instant(epoch_ns: int, *, expired: bool):
    assert TOKEN.expired(epoch_ns=epoch_ns) is expired
    assert Token(access_token=SecretStr("x")).expired(epoch_ns=epoch_ns) is False


# --- the adapter reads it


@pytest.mark.parametrize("adapter", [FyersAPI, UpstoxAPI])
async def test_an_adapter_takes_the_saved_token_and_a_fresh_one_at_the_next_authenticate(adapter: Any, tmp_path: Path):
    provider = FYERS if adapter is FyersAPI else UPSTOX
    profile = Answer(payload={"s": "ok", "status": "success", "data": {"fy_id": "XA1", "user_id": "XA1"}})
    store = TokenStore(tmp_path)
    store.save("mine", TOKEN)
    answers: dict[str, Answer | list[Answer]] = {"GET /api/v3/profile": profile, "GET /v2/user/profile": profile}
    async with Recorded(answers) as server:
        settings = config(provider, server.base_url, access_token="")
        async with adapter("mine", settings, tokens=store) as api:
            session = await api.authenticate()
            assert (session.user_id, session.expires_epoch_ns) == ("XA1", 5)
            store.save("mine", Token(access_token=SecretStr("fresh"), expires_epoch_ns=9))
            assert (await api.authenticate()).expires_epoch_ns == 9
            store.path("mine").chmod(0o644)
            with pytest.raises(AuthenticationFailed, match="chmod 600"):
                await api.authenticate()
    shown = [seen.headers["authorization"].removeprefix("Bearer ").removeprefix("APP1234-100:") for seen in server.seen]
    assert shown == ["abc.def", "fresh"]


async def test_a_token_in_the_configuration_wins_over_the_file(tmp_path: Path):
    TokenStore(tmp_path).save("mine", TOKEN)
    answers: dict[str, Answer | list[Answer]] = {
        "GET /v2/user/profile": Answer(payload={"status": "success", "data": {"user_id": "XA1"}})
    }
    async with (
        Recorded(answers) as server,
        UpstoxAPI("mine", config(UPSTOX, server.base_url), tokens=TokenStore(tmp_path)) as api,
    ):
        await api.authenticate()
    assert server.seen[0].headers["authorization"] == "Bearer token-9f8e7d"


@pytest.mark.parametrize(
    ("base_url", "simulated", "fine"),
    [
        ("https://broker.example", False, True),
        ("http://127.0.0.1:8770", False, True),
        ("http://localhost:8770", False, True),
        ("http://[::1]:8770/", False, True),
        ("http://127.0.0.1:8770", True, True),
        ("http://10.0.0.5:8770", True, False),
        ("http://10.0.0.5:8770", False, False),
        ("http://127.evil.example", False, False),
        ("ftp://127.0.0.1", False, False),
        ("127.0.0.1:8770", False, False),
        ("https://broker.example/?x=1", False, False),
    ],
)
def test_a_live_token_is_never_sent_in_the_clear(base_url: str, *, simulated: bool, fine: bool):
    if fine:
        settings = config(FYERS, base_url, simulated=simulated)
        assert FyersAPI("x", settings).config is settings
    else:
        with pytest.raises(ValueError, match="base_url"):  # by the configuration itself, or by the adapter
            FyersAPI("x", config(FYERS, base_url, simulated=simulated))


# --- the code flow


def test_the_addresses_to_log_in_at():
    fyers = login_url(config(FYERS, ""), redirect_uri="http://127.0.0.1:8750/", state="s t")
    upstox = login_url(config(UPSTOX, ""), redirect_uri="http://127.0.0.1:8750/", state="s t")
    assert fyers.startswith("https://api-t1.fyers.in/api/v3/generate-authcode?")
    assert upstox.startswith("https://api.upstox.com/v2/login/authorization/dialog?")
    for address in (fyers, upstox):
        assert parse_qs(urlsplit(address).query) == {
            "response_type": ["code"], "client_id": ["APP1234-100"], "redirect_uri": ["http://127.0.0.1:8750/"],
            "state": ["s t"],
        }  # fmt: skip


def test_a_log_in_without_client_id_or_for_another_broker_says_what_is_missing():
    with pytest.raises(ConfigError, match="no client_id"):
        login_url(config(FYERS, "", client_id=""), redirect_uri="x", state="s")
    with pytest.raises(ConfigError, match="dhan has no login here"):
        login_url(config(APIProvider.DHAN, ""), redirect_uri="x", state="s")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("http://127.0.0.1:8750/?code=abc&state=S", "abc"),
        ("/?s=ok&code=200&auth_code=a.b.c&state=S", "a.b.c"),
        ("  barecode\n", "barecode"),
    ],
)
def test_the_code_is_found_in_what_the_browser_was_sent_to(answer: str, code: str):
    assert code_in_answer(answer, state="S") == code


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("http://x/?code=abc&state=T", "another login"),
        ("http://x/?code=abc", "another login"),
        ("http://x/?state=S&error=denied", "no code"),
        (" \n", "nothing was pasted"),
    ],
)
def test_an_answer_of_another_login_or_without_a_code_is_refused(answer: str, words: str):
    with pytest.raises(AuthenticationFailed, match=words):
        code_in_answer(answer, state="S")


async def fetched(provider: APIProvider, answer: Answer, clock: VirtualClock) -> tuple[Token, Recorded]:
    answers: dict[str, Answer | list[Answer]] = {
        "POST /api/v3/validate-authcode": answer, "POST /v2/login/authorization/token": answer,
    }  # fmt: skip
    async with Recorded(answers) as server:
        settings = config(provider, server.base_url, api_secret=SECRET)
        return await exchange_code(settings, "the-code", redirect_uri="http://r/", clock=clock), server


async def test_fyers_code_is_signed_with_the_hash_of_id_and_secret(clock: VirtualClock):
    token, server = await fetched(FYERS, Answer(payload={"s": "ok", "code": 200, "access_token": "tok"}), clock)
    assert server.seen[0].json == {
        "grant_type": "authorization_code",
        "appIdHash": hashlib.sha256(b"APP1234-100:S3CRET-x").hexdigest(),
        "code": "the-code",
    }
    assert b"S3CRET" not in server.seen[0].body
    assert token.access_token.get_secret_value() == "tok"
    assert token.obtained_epoch_ns == clock.epoch_ns()
    assert token.expires_epoch_ns == ist_ns("2026-01-06 06:00")


async def test_upstox_code_goes_as_a_form_and_its_answer_has_no_envelope(clock: VirtualClock):
    token, server = await fetched(UPSTOX, Answer(payload={"user_id": "AB1", "access_token": "tok"}), clock)
    (seen,) = server.seen
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(seen.body.decode()) == {
        "code": ["the-code"], "client_id": ["APP1234-100"], "client_secret": ["S3CRET-x"],
        "redirect_uri": ["http://r/"], "grant_type": ["authorization_code"],
    }  # fmt: skip
    assert (token.user_id, token.access_token.get_secret_value()) == ("AB1", "tok")
    assert token.expires_epoch_ns == ist_ns("2026-01-06 03:30")


@pytest.mark.parametrize(
    ("provider", "answer", "expected"),
    [
        (FYERS, Answer(200, {"code": -437, "message": "invalid auth code", "s": "error"}), AuthenticationFailed),
        (UPSTOX, Answer(401, {"status": "error", "errors": [{"errorCode": "UDAPI100057"}]}), AuthenticationFailed),
        (UPSTOX, Answer(400, {"status": "error", "errors": [{"errorCode": "UDAPI100068"}]}), AuthenticationFailed),
        (UPSTOX, Answer(200, {"status": "success"}), OrderOutcomeUnknown),
        (FYERS, Answer(200, {"s": "ok", "access_token": ""}), OrderOutcomeUnknown),
        (FYERS, Answer(502, body=b"<html>"), OrderOutcomeUnknown),
    ],
)
async def test_a_failed_exchange_is_sorted_like_any_call(
    provider: APIProvider, answer: Answer, expected: type[BrokerError], clock: VirtualClock
):
    with pytest.raises(BrokerError) as raised:
        await fetched(provider, answer, clock)
    assert type(raised.value) is expected


async def test_an_odd_answer_to_a_log_in_leaves_no_token_in_the_evidence(clock: VirtualClock):
    odd = Answer(200, {"s": "hm", "access_token": "very.secret.token", "refresh_token": "other", "echo": "S3CRET-x"})
    with pytest.raises(OrderOutcomeUnknown) as raised:
        await fetched(FYERS, odd, clock)
    for secret in ("very.secret.token", "other", "S3CRET-x"):
        assert secret not in raised.value.evidence
        assert secret not in str(raised.value)


async def test_an_exchange_without_a_secret_or_a_connection_says_so(clock: VirtualClock):
    with pytest.raises(ConfigError, match="HEADROOM_FYERS_API_SECRET"):
        await exchange_code(config(FYERS, ""), "c", redirect_uri="r", clock=clock)
    with pytest.raises(OrderNotSent):
        await exchange_code(config(FYERS, "http://127.0.0.1:1", api_secret=SECRET), "c", redirect_uri="r", clock=clock)
