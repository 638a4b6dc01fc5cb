"""Programs of our own in processes of their own: started so that they are ours, ended so that none is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

__all__ = ["end_child", "start_child"]

_ROOT: Final = Path(__file__).resolve().parents[1]


async def start_child(module: str, *arguments: str, limit: int, stderr: int | None = None) -> Process:
    """Run `python -m module` with pipes to its input and output; `limit`: bytes of its longest line.

    The child shall end when its input does. `stderr` as asyncio takes it; None: ours.
    """
    # -P: what lies in the working folder must not be imported in place of our own packages. A session of its own, so
    # that Ctrl-C at the terminal reaches us alone, who then end it in order.
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, *arguments,
        stdin=PIPE, stdout=PIPE, stderr=stderr, limit=limit, start_new_session=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip


async def end_child(process: Process, gone: asyncio.Future[Any], *, grace_s: float) -> None:
    """Close its input and give it `grace_s` until `gone` is done; then kill it. Returns when `gone` is done."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await asyncio.shield(gone)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await gone
