"""`headroom login`, run as a command against a server that plays the broker."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from core.brokers import TokenStore
from tests.brokers.recorded import Answer, Recorded

ANSWERS: dict[str, Answer | list[Answer]] = {
    "POST /api/v3/validate-authcode": Answer(payload={"s": "ok", "code": 200, "access_token": "the-token"}),
    "POST /v2/login/authorization/token": Answer(
        400, {"status": "error", "errors": [{"errorCode": "UDAPI100057", "message": "used"}]}
    ),
}


def configured(folder: Path, base_url: str) -> Path:
    path = folder / "headroom.toml"
    path.write_text(
        f'[brokers.fyers]\nclient_id = "APP-100"\nbase_url = "{base_url}"\n'
        f'[brokers.upstox]\nclient_id = "KEY"\nbase_url = "{base_url}"\n'
    )
    return path


async def command(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    environ = {
        **os.environ,
        "XDG_STATE_HOME": str(folder / "state"),
        "HEADROOM_FYERS_API_SECRET": "S3CRET-x",
        "HEADROOM_UPSTOX_API_SECRET": "S3CRET-x",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tui", "login", *arguments, "--no-browser",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environ,
    )  # fmt: skip


async def test_the_answer_is_caught_at_the_redirect_address_and_the_token_kept(tmp_path: Path, unused_port: int):
    async with Recorded(ANSWERS) as server:
        redirect = f"http://127.0.0.1:{unused_port}/"
        process = await command(
            tmp_path, "fyers", "--config", str(configured(tmp_path, server.base_url)), "--redirect-uri", redirect
        )
        assert process.stdout is not None
        address = ""
        while b"Waiting" not in (line := await process.stdout.readline()):
            assert line, "the command ended early"
            address = line.decode().strip() or address
        assert address.startswith(f"{server.base_url}/api/v3/generate-authcode?")
        state = parse_qs(urlsplit(address).query)["state"][0]
        for target in ("/favicon.ico", f"/?s=ok&code=200&auth_code=the-code&state={state}"):
            reader, writer = await asyncio.open_connection("127.0.0.1", unused_port)
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
        out, error = await process.communicate()
    assert process.returncode == 0, error
    assert b"logged in until" in out
    assert b"the-token" not in out
    assert server.seen[0].json["code"] == "the-code"
    store = TokenStore(tmp_path / "state" / "headroom" / "tokens")
    token = store.load("fyers")
    assert token is not None
    assert token.access_token.get_secret_value() == "the-token"
    assert stat.S_IMODE(store.path("fyers").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("account", "pasted", "words"),
    [
        ("upstox", b"the-code\n", b"was used; start the login again"),
        ("fyers", b"http://127.0.0.1/?auth_code=x&state=forged\n", b"another login"),
        ("fyers", b"", b"nothing was pasted"),
        ("nobody", b"", b"no account 'nobody'; it has fyers, upstox"),
    ],
)
async def test_a_log_in_that_fails_is_one_line_and_exit_code_2(
    tmp_path: Path, account: str, pasted: bytes, words: bytes
):
    async with Recorded(ANSWERS) as server:
        path = configured(tmp_path, server.base_url)
        process = await command(tmp_path, account, "--config", str(path), "--paste")
        _, error = await process.communicate(pasted)
    assert process.returncode == 2
    assert words in error
    assert error.count(b"\n") == 1
    assert b"S3CRET" not in error
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:99999/", "http://127.0.0.1:x/", "127.0.0.1:8750", "ftp://x/", ""])
async def test_a_redirect_address_that_is_none_is_one_line_and_exit_code_2(tmp_path: Path, uri: str):
    process = await command(tmp_path, "fyers", "--redirect-uri", uri)
    _, error = await process.communicate()
    assert process.returncode == 2
    assert b"is no address; give one such as http://127.0.0.1:8750/" in error
    assert error.count(b"\n") == 1


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
