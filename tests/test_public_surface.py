"""What `import core` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import core

ROOT = Path(__file__).parents[1]


def test_every_public_name_resolves_and_nothing_else_is_offered() -> None:
    assert sorted(core.__all__) == dir(core)
    for name in core.__all__:
        assert getattr(core, name).__name__ == name
    assert not hasattr(core, "utils")


def test_core_loads_no_screen_even_when_every_name_is_used() -> None:
    program = (
        "import sys, core\n"
        "for name in core.__all__: getattr(core, name)\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'textual', 'rich', 'tui'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_no_screen() -> None:
    program = (
        "import sys\n"
        "from tui.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print([m for m in ('textual', 'aiohttp', 'pydantic') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
