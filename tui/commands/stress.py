"""`headroom stress`: play a scenario without a screen, and say whether it passed.

Exit codes: 0 passed, 1 a threshold failed, 2 usage, 130 interrupted (the reports of what was measured are written).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from core.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

    from core.models import StressSnapshot
    from core.stress.lab import Lab
    from core.stress.report import Report

__all__ = ["add_parser", "run"]

_BAR_WIDTH: Final = 24
_NS_PER_MS: Final = 1_000_000
_MARKS: Final = {True: "ok  ", False: "FAIL", None: "    "}
_OUTPUTS: Final = ("json", "junit", "html", "hdr")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `stress` and its flags."""
    parser = subparsers.add_parser(
        "stress",
        help="play a stress scenario on simulated brokers and judge it",
        description="Play a stress scenario and judge it by its thresholds. It brings its own simulated brokers: "
        "no live account is ever loaded.",
        epilog="Exit codes: 0 passed, 1 a threshold failed, 2 usage, 130 interrupted (reports are written even so). "
        "Scenario files, reports and what the figures mean: docs/stress.md.",
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=_Help, nargs=0, help="show this help, the scenarios too, and exit")
    parser.add_argument("scenario", nargs="?", metavar="NAME|FILE", help="a built-in scenario, or a .toml file")
    parser.add_argument("--list", action="store_true", help="list the built-in scenarios and exit")
    parser.add_argument(
        "--show", action="store_true", help="print a built-in scenario as TOML, to start from, and exit"
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of a report and exit")
    parser.add_argument("--rate", type=_positive, metavar="N", help="arrivals a second, instead of the scenario's")
    parser.add_argument("--duration", type=_positive, metavar="S", help="seconds, instead of the scenario's")
    parser.add_argument("--users", type=_count, metavar="N", help="users, instead of the scenario's")
    parser.add_argument("--seed", type=_seed, metavar="N", help="seed of arrivals, faults and brokers")
    clocks = parser.add_mutually_exclusive_group()
    clocks.add_argument("--real-time", action="store_true", help="on the machine's clock (default)")
    clocks.add_argument("--virtual", action="store_true", help="on a virtual clock: fast, the same digits for a seed")
    parser.add_argument(
        "--http",
        action="store_true",
        help="brokers behind real sockets, in a process of their own, by the real adapters",
    )
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON (- for standard output)")
    parser.add_argument("--junit", metavar="FILE", help="write the verdict as JUnit XML")
    parser.add_argument("--html", metavar="FILE", help="write one self-contained page with charts")
    parser.add_argument("--hdr", metavar="FILE", help="write the histograms as an HDR log")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with an earlier JSON report")
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep journal and trades there (default: temporary)")
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)  # for core/stress/child.py
    parser.set_defaults(run=run)


class _Help(argparse.Action):
    """The usual help, and what each built-in scenario does: read from the files only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"{parser.format_help()}\nBuilt-in scenarios:\n")
        sys.stdout.write("".join(f"  {entry}\n" for entry in _listing().splitlines()))
        parser.exit()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _count(text: str) -> int:
    return _whole(text, 1, 1_000_000)


def _seed(text: str) -> int:
    return _whole(text, 0, (1 << 63) - 1)


def _whole(text: str, least: int, most: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} to {most}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Play, report, judge. Raises ConfigError for what is wrong with the call."""
    if arguments.list or arguments.schema:
        sys.stdout.write(_listing() if arguments.list else _schema())
        return 0
    if arguments.scenario is None:
        message = "stress: name a scenario or a file; `headroom stress --list` names the built-in ones"
        raise ConfigError(message)
    from core.stress.library import load_scenario, scenario_text

    if arguments.show:
        sys.stdout.write(scenario_text(arguments.scenario))
        return 0
    scenario = load_scenario(arguments.scenario).changed(
        rate=arguments.rate,
        duration_s=arguments.duration,
        users=arguments.users,
        seed=arguments.seed,
        http=arguments.http,
    )
    from core.stress.lab import Lab
    from core.stress.report import load_report

    baseline = load_report(arguments.baseline) if arguments.baseline else None
    _check_outputs(arguments)
    progress = _stream if arguments.stream else _Progress(sys.stderr)
    lab = Lab(scenario, virtual=arguments.virtual, store=arguments.store, on_tick=progress)
    if arguments.stream:
        threading.Thread(target=_listen, args=(lab,), daemon=True).start()
    report = _play(lab)
    if isinstance(progress, _Progress):
        progress.close()
    _write_outputs(arguments, lab, report, baseline)
    return report.exit_code


def _play(lab: Lab) -> Report:
    from core.stress.report import make_report

    epoch_ns = time.time_ns()
    with _stop_on_signal(lab):
        lab.play_to_end()
    return make_report(lab, epoch_ns)


@contextmanager
def _stop_on_signal(lab: Lab) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the run in order, the second at once."""

    def asked(_number: int, _frame: FrameType | None) -> None:
        if lab.stopped:
            raise KeyboardInterrupt
        lab.stop()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(lab: Lab) -> None:
    """What the parent of a streaming run says; the end of the input is the end of the run."""
    for line in sys.stdin:
        lab.ask(line.strip())
    lab.stop()


def _stream(snapshot: StressSnapshot) -> None:
    from core import wire

    sys.stdout.buffer.write(wire.encode(snapshot) + b"\n")
    sys.stdout.buffer.flush()


class _Progress:
    """A bar on a terminal, a line a second elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._next_s = 0.0
        self._open = False

    def __call__(self, snapshot: StressSnapshot) -> None:
        final = snapshot.state != "running"
        now_s = time.monotonic()
        if not final and now_s < self._next_s:
            return
        self._next_s = now_s + (0.1 if self._terminal else 1.0)
        if not self._terminal:
            self._out.write(_progress_line(snapshot, _BAR_WIDTH) + "\n")
        else:
            width = (os.get_terminal_size(self._out.fileno()).columns or 80) - 1
            bar_width = min(_BAR_WIDTH, width - len(_progress_line(snapshot, 0)))
            line = _progress_line(snapshot, max(4, bar_width))
            self._out.write("\r" + line[:width].ljust(width) + ("\n" if final else ""))
            self._open = not final
        self._out.flush()

    def close(self) -> None:
        if self._open:
            self._out.write("\n")


def _progress_line(snapshot: StressSnapshot, bar_width: int) -> str:
    share = min(1.0, snapshot.finished / snapshot.planned) if snapshot.planned else 0.0
    bar = ("#" * round(share * bar_width)).ljust(bar_width, ".")
    return (
        f"{snapshot.scenario:<11} [{bar}] {snapshot.finished}/{snapshot.planned} {snapshot.elapsed_ns / 1e9:4.1f} s "
        f"{snapshot.achieved_per_s:4.0f}/s p50 {_ms(snapshot.p50_ns)} p99 {_ms(snapshot.p99_ns)} "
        f"failed {snapshot.failures} {snapshot.state}"
        + (f" VIOLATIONS {snapshot.violations}" if snapshot.violations else "")
    )


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / _NS_PER_MS:.1f} ms"


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Find out before a run of minutes, not after it, that a report cannot be written."""
    for name in _OUTPUTS:
        target = getattr(arguments, name)
        if target is None or target == "-":
            continue
        path = Path(target)
        folder = path.parent
        if not folder.is_dir() or path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
            message = f"--{name} {target}: cannot be written; name a file in a folder that exists"
            raise ConfigError(message)


def _write_outputs(arguments: argparse.Namespace, lab: Lab, report: Report, baseline: Report | None) -> None:
    from core.stress.baseline import compare
    from core.stress.hdr import hdr_log
    from core.stress.junit import junit_xml
    from core.stress.page import html_page

    changes = compare(baseline, report) if baseline else None
    formats: dict[str, Callable[[], str]] = {
        "json": report.json_text,
        "junit": lambda: junit_xml(report),
        "html": lambda: html_page(report, changes),
        "hdr": lambda: hdr_log(lab.results),
    }
    for name, text in formats.items():
        target = getattr(arguments, name)
        if target == "-":
            sys.stdout.write(text())
        elif target is not None:
            _write_whole(Path(target), text())
    if arguments.stream:
        return
    # Where the report itself goes to standard output, what is for people must not mix with it.
    out = sys.stderr if "-" in {getattr(arguments, name) for name in _OUTPUTS} else sys.stdout
    out.write(_summary(report))
    if changes is not None:
        out.write("".join(f"{change}\n" for change in changes) or "no figure moved beyond noise\n")


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing: a reader never finds half a report."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        message = f"{path}: {error.strerror or error}"
        raise ConfigError(message) from None


def _summary(report: Report) -> str:
    lines = []
    for run_report in report.runs:
        latency, rates = run_report.latency, run_report.rates
        lines.append(
            f"{run_report.name}: {run_report.state} in {run_report.elapsed_s:.2f} s, {rates.units} done "
            f"({rates.units_per_s:.1f}/s), {run_report.requests.failures} failed; "
            f"p50 {latency.p50_ms:.1f} p99 {latency.p99_ms:.1f} max {latency.max_ms:.1f} ms"
        )
        lines += [f"  {_MARKS[line.passed]} {line.name}: {line.value} ({line.limit})" for line in run_report.thresholds]
        lines += [
            f"  {count} x {name}: {run_report.requests.examples[name]}"
            for name, count in run_report.requests.failures_by_class.items()
        ]
        lines += [f"  {example}" for example in run_report.orders.examples]
        if run_report.knee_per_s is not None:
            lines.append(
                f"  the limits bite from {run_report.knee_per_s:.1f}/s on (capacity {run_report.capacity_per_s:.1f}/s)"
            )
        if run_report.generator.fell_behind:
            lines.append(f"  the generator itself fell behind: lag p99 {run_report.generator.lag.p99_ms:.1f} ms")
    failed = [line for each in report.runs for line in each.thresholds if line.passed is False]
    lines.append(
        f"{report.scenario}: {report.verdict}"
        + (f", {len(failed)} threshold{'s' * (len(failed) > 1)} failed" if failed else "")
    )
    return "\n".join(lines) + "\n"


def _listing() -> str:
    from core.stress.library import BUILT_IN

    return "".join(f"{scenario.name:<12} {scenario.description}\n" for scenario in BUILT_IN.values())


def _schema() -> str:
    from core.stress.report import schema

    return json.dumps(schema(), indent=2) + "\n"
