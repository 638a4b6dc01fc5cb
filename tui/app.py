"""The operator's screen: asks the port for a snapshot at each tick, shows it, passes commands on. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from textual import work
from textual.app import ScreenStackError
from textual.color import Color
from textual.timer import Timer

from core.errors import ConfigError, HeadroomError
from core.models import (
    AcknowledgeAlerts,
    Command,
    HaltTrading,
    ResumeTrading,
    RouterSnapshot,
    StressCommand,
)

from .app_log import AppLog
from .keys import EVERYWHERE, KEYS, LAYOUTS, SCREENS, Key, bindings, check_keymap, keys_of, shown_keys
from .palette import KeyCommands, Palette
from .port import STARTING, RouterPort
from .screens.base import RouterScreen
from .screens.dialogs import Ask, typed
from .screens.faults import FaultsScreen
from .screens.help import HelpScreen
from .screens.overlay import ACTING, Overlay
from .terminal import surviving_output
from .theme import DARK, THEMES
from .timeline import Timeline
from .travel import TimeTravel
from .view.export import to_csv, to_json
from .view.frame import Frame
from .view.help import HelpEntry
from .view.stress import Scenarios
from .view.text import Role

if TYPE_CHECKING:
    from core.models import Question

__all__ = ["HeadroomApp"]

A = TypeVar("A")

_UNFOCUSED_HZ: Final = 1.0
_SETTLED_S: Final = 0.08
_log = logging.getLogger(__name__)


def _screen(name: str) -> RouterScreen:
    """A screen by its name, loaded when it is first gone to: the first picture needs one alone."""
    made: RouterScreen = getattr(import_module(f".screens.{name}", __package__), f"{name.title()}Screen")()
    return made


class HeadroomApp(TimeTravel):
    """One app over one port.

    `hz` pictures a second, once a second while the terminal is not looked at; `hz=0` waits for `tick()` by hand.
    `keymap` maps ids of the key table to other keys. `scenarios` are the names and descriptions the stress screen
    offers, `recording` is the name of the file where the port is a replay, `log` what the log screen shows. `bell`
    rings at new alerts. `after_first_paint` is called once. `stopwatch` gives nanoseconds, for the app's own cost and
    the pace of a replay.

    Raises ConfigError for a theme, a layout or a key id that does not exist.
    """

    TITLE = "headroom"
    CSS_PATH = Path(__file__).with_name("headroom.tcss")
    MODES: ClassVar[dict[str, Callable[[], RouterScreen]]] = {  # type: ignore[assignment]
        name: partial(_screen, name) for name, _ in SCREENS
    }
    DEFAULT_MODE = "overview"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual
        (0, "-narrow"),
        (80, "-normal"),
        (120, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-short"),
        (22, "-middling"),
        (34, "-tall"),
    ]
    BINDINGS: ClassVar = bindings(EVERYWHERE)
    COMMANDS: ClassVar = {KeyCommands}
    COMMAND_PALETTE_DISPLAY = None

    def __init__(
        self,
        port: RouterPort,
        *,
        hz: float = 10,
        read_only: bool = False,
        theme: str | None = None,
        layout: str | None = None,
        keymap: Mapping[str, str] | None = None,
        scenarios: Scenarios = (),
        bell: bool = True,
        exports: Path | None = None,
        recording: str = "",
        log: AppLog | None = None,
        after_first_paint: Callable[[], None] | None = None,
        stopwatch: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        super().__init__()
        for known in THEMES:
            self.register_theme(known)
        wanted = theme or DARK.name
        if wanted not in self.available_themes:
            message = f"theme: there is no theme {wanted!r}; there are {', '.join(sorted(self.available_themes))}"
            raise ConfigError(message)
        check_keymap(keymap or {})
        self.theme = wanted
        self.set_keymap(keymap or {})
        self._pressed = {key.id: shown_keys((keymap or {}).get(key.id, key.keys)) for key in KEYS}
        self.read_only = read_only
        self.scenarios = scenarios
        self.broker = ""
        self.faults: dict[tuple[str, str], float] = {}  # what was set on simulated brokers from here
        self.undo: list[tuple[Command, ...]] = []  # what takes back what was applied from a what-if, newest last
        self.layout_name = layout or LAYOUTS[0]
        if self.layout_name not in LAYOUTS:
            message = f"layout: there is no layout {layout!r}; there are {', '.join(LAYOUTS)}"
            raise ConfigError(message)
        self.interval_s = 0.0
        self._port = port
        self._hz = hz
        self.log_kept = log or AppLog()
        self.exports = exports or Path.cwd()
        self.timeline = Timeline(port, now_ns=stopwatch, file=recording)
        self._after_first_paint = after_first_paint
        self._stopwatch = stopwatch
        self._timer: Timer | None = None
        self.shown_snapshot: RouterSnapshot | None = None
        self._newest_at_ns = 0
        self._frame_ns = 0
        self.fault: HeadroomError | None = None
        self.frozen = False
        self._newest_incident_ns = -1
        self._bell_on = bell
        self._answer = ""
        self._answer_level = Role.OK

    def run(self, **options: Any) -> None:
        """Run until it is left; takes what Textual's own `run` takes. Look at `return_code` afterwards.

        Raises HeadroomError when the port has nothing to show and never will.
        """
        with surviving_output(), self.log_kept.listening():
            super().run(**options)
        self.timeline.close()
        if self.fault is not None:
            raise self.fault

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Two shades between foreground and background; the terminal's own grey where its own colours are used."""
        theme = self.current_theme
        if theme.ansi:
            return {"dim": "ansi_bright_black", "faint": "ansi_bright_black"}
        colours = theme.to_color_system().generate()
        ground, ink = Color.parse(colours["background"]), Color.parse(colours["foreground"])
        return {"dim": ground.blend(ink, 0.58).hex, "faint": ground.blend(ink, 0.3).hex}

    def clear_selection(self) -> None:
        """Clear what is selected on the screen, once there is one.

        On Python 3.12 and later Textual's tasks begin eagerly: the fields of the first screen are mounted, and clear
        their selection, before that screen is on the stack.
        """
        with suppress(ScreenStackError):
            super().clear_selection()

    def on_mount(self) -> None:
        self.tick()
        self._beat(self._hz)
        if self._after_first_paint is not None:
            # A panel that learns its height asks for another layout: the picture is whole a few passes later.
            self.set_timer(_SETTLED_S, self._after_first_paint)
        if not self.is_headless:
            self._watch_the_terminal()

    def _beat(self, hz: float) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self.interval_s = 1 / hz if hz > 0 else 0.0
        if self.interval_s:
            self._timer = self.set_interval(self.interval_s, self.tick)

    def on_app_blur(self) -> None:
        self._beat(min(self._hz, _UNFOCUSED_HZ))

    def on_app_focus(self) -> None:
        self._beat(self._hz)
        self.tick()

    def tick(self) -> None:
        """Ask for a snapshot, and show it unless the picture is frozen or of another time."""
        try:
            before = self.timeline.newest
            if self.timeline.poll() and self.timeline.newest is not None:
                self._newest_at_ns = self._stopwatch()
                self._heed(before, self.timeline.newest)
            if not self.frozen:
                self.shown_snapshot = self.timeline.shown()
        except HeadroomError as error:
            self.fault = error
            self.exit(None, 2)
            return
        if self.timeline.fault:
            self.say(self.timeline.fault, failed=True)
            self.timeline.fault = ""
        self.show_now()

    def show_now(self) -> None:
        """Show the present snapshot on the screen that is up, dialogues above it or not."""
        if self.shown_snapshot is None:
            return
        begun_ns = self._stopwatch()
        frame = Frame(
            snapshot=self.shown_snapshot,
            frozen=self.frozen,
            read_only=self.read_only,
            answer=self._answer,
            answer_level=self._answer_level,
            age_ns=begun_ns - self._newest_at_ns,
            frame_ns=self._frame_ns,
            track=self.timeline.facts(),
            starting=self.shown_snapshot.sequence == STARTING,
        )
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Overlay):
                if screen.is_mounted and screen.query("*"):
                    screen.follow(frame)
            elif isinstance(screen, RouterScreen):
                if screen.is_mounted and screen.query("#status"):
                    screen.show(frame)
                break
        self._frame_ns = self._stopwatch() - begun_ns

    def _heed(self, before: RouterSnapshot | None, now: RouterSnapshot) -> None:
        """Log new incidents, and ring for new alerts."""
        for incident in reversed(now.incidents):
            if incident.at_ns > self._newest_incident_ns:
                _log.warning("incident: %s %s: %s", incident.provider, incident.kind, incident.message)
                self._newest_incident_ns = incident.at_ns
        if self._bell_on and before is not None:
            known = {(alert.id, alert.raised_epoch_ns) for alert in before.alerts}
            if any(alert.calls and (alert.id, alert.raised_epoch_ns) not in known for alert in now.alerts):
                self.bell()

    def say(self, text: str, *, failed: bool = False) -> None:
        """Put one line before the operator."""
        (_log.warning if failed else _log.info)("%s", text)
        self._answer = text
        self._answer_level = Role.CRIT if failed else Role.OK
        self.show_now()

    def send(self, command: Command | StressCommand) -> None:
        """Pass a command on and say what came of it."""
        if self.read_only:
            self.say("read only: nothing was sent", failed=True)
            return
        if self.timeline.past and not self.timeline.recorded and not isinstance(command, HaltTrading):
            self.say("this is the past: nothing was sent; N goes back to now", failed=True)
            return
        self._send(command)

    async def ask(self, question: Question[A]) -> A:
        """Ask the engine what a snapshot has no room for. Raises HeadroomError with one line for the operator."""
        return await self._port.ask(question)

    @property
    def known_symbols(self) -> tuple[str, ...]:
        """Symbols that stand on the screen somewhere, to complete what is being typed."""
        if self.shown_snapshot is None:
            return ()
        quoted = [quote.symbol for quote in self.shown_snapshot.quotes]
        return tuple(dict.fromkeys([*quoted, *(order.symbol for order in self.shown_snapshot.orders)]))

    def apply(self, commands: Sequence[tuple[Command, Command]]) -> None:
        """Send each first command; the second ones take it back."""
        if self.read_only:
            self.say("read only: nothing was sent", failed=True)
            return
        for command, _ in commands:
            self.send(command)
        self.undo.append(tuple(back for _, back in reversed(commands)))

    def take_back(self) -> None:
        """Send what takes the last `apply` back."""
        if not self.undo:
            self.say("nothing was applied from a what-if")
        elif self.read_only:
            self.say("read only: nothing was sent", failed=True)
        else:
            for command in self.undo.pop():
                self.send(command)

    @work(group="commands")
    async def _send(self, command: Command | StressCommand) -> None:
        _log.info("asked for %s", command)
        try:
            self.say(await self._port.send(command))
        except HeadroomError as error:
            self.say(str(error), failed=True)
        except Exception as error:  # noqa: BLE001 - a command that fails must not take the screen away
            _log.exception("%s failed", command)
            self.say(f"{type(command).__name__} failed: {type(error).__name__}: {error}", failed=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return None if self.read_only and f"app.{action}" in ACTING else True

    def action_show_screen(self, name: str) -> None:
        self.switch_mode(name)

    def action_freeze(self) -> None:
        if self.timeline.past:
            self.action_play()
            return
        self.frozen = not self.frozen
        self.tick()

    def action_kill_switch(self) -> None:
        """Halt at once, whatever moment is shown; LIVE asks for a typed word first. A halt is lifted by name."""
        snapshot = self.timeline.newest or self.shown_snapshot
        if snapshot is None:
            return
        if snapshot.halted:
            self.push_screen(
                Ask(
                    "Lift the kill switch?",
                    "Orders go out again. Type your name; it goes into the journal.",
                    accepts=lambda answer: len(answer) > 1,
                    fault="your name",
                ),
                lambda name: self.send(ResumeTrading(name)) if name else None,
            )
        elif snapshot.simulated:
            self.send(HaltTrading("kill switch"))
        else:
            self.push_screen(
                Ask(
                    "Stop all new orders and cancel what rests?",
                    f"{snapshot.open_orders:,} LIVE orders are open. Type HALT.",
                    accepts=typed("HALT"),
                    fault="HALT",
                ),
                lambda word: self.send(HaltTrading("kill switch")) if word else None,
            )

    def action_command_palette(self) -> None:
        if not any(isinstance(screen, Palette) for screen in self.screen_stack):
            self.push_screen(Palette(id="--command-palette"))

    def action_suspend_process(self) -> None:
        """Stop like any program of a shell. Not where real orders may be under way: nobody would ask after them."""
        if self.shown_snapshot is not None and not self.shown_snapshot.simulated:
            self.say("not with LIVE accounts: the engine would stop with it", failed=True)
        else:
            super().action_suspend_process()

    def action_acknowledge(self) -> None:
        if self.shown_snapshot is not None and any(alert.calls for alert in self.shown_snapshot.alerts):
            self.send(AcknowledgeAlerts())
        else:
            self.say("no alert calls")

    def action_faults(self) -> None:
        if self.shown_snapshot is None or not self.shown_snapshot.brokers:
            self.say("there is no broker yet: the engine is still starting")
            return
        if not self.shown_snapshot.simulated:
            self.say("these are LIVE accounts: only simulated brokers can be made to fail", failed=True)
        else:
            self.push_screen(FaultsScreen(tuple(broker.name for broker in self.shown_snapshot.brokers)))

    def action_help(self) -> None:
        mode = self.current_mode
        title = dict(SCREENS)[mode]
        places = {mode: f"on {title.lower()}", EVERYWHERE: "everywhere"}
        entries = [
            HelpEntry(place, self.pressed(key.id), key.help)
            for where, place in places.items()
            for key in KEYS
            if key.where == where and (where == mode or not self._hidden(key, mode))
        ]
        self.push_screen(HelpScreen(title.lower(), entries))

    def _hidden(self, key: Key, mode: str) -> bool:
        """Whether the screen has taken every key of a command that holds everywhere."""
        own = {pressed for other in keys_of(mode) for pressed in self.pressed(other.id).split()}
        return set(self.pressed(key.id).split()) <= own

    def pressed(self, key_id: str) -> str:
        """What to press for a command of the key table, as the operator's keymap has it."""
        return self._pressed[key_id]

    def action_maximise(self) -> None:
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.screen.focused is not None:
            self.screen.maximize(self.screen.focused)

    def action_focus_pane(self, number: int) -> None:
        screen = self.screen
        if not isinstance(screen, RouterScreen):
            return
        if number > len(screen.panes):
            self.say(f"this screen has {len(screen.panes)} panes")
        elif screen.panes[number - 1] not in screen.focus_chain:
            self.say("that pane is not shown in this layout and at this size")
        else:
            screen.panes[number - 1].focus()

    def action_next_layout(self) -> None:
        self.layout_name = LAYOUTS[(LAYOUTS.index(self.layout_name) + 1) % len(LAYOUTS)]
        for screen in self.screen_stack:
            if isinstance(screen, RouterScreen):
                screen.take_layout()
        self.say(f"layout {self.layout_name}")

    def action_next_theme(self) -> None:
        names = [known.name for known in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        self.say(f"theme {self.theme}")

    def action_bell_switch(self) -> None:
        self._bell_on = not self._bell_on
        self.say("the bell rings at new alerts" if self._bell_on else "the bell is off")

    def action_export(self, form: str) -> None:
        screen = self.screen
        if isinstance(screen, RouterScreen):
            sheet = screen.sheet()
            text = to_csv(sheet) if form == "csv" else to_json(sheet)
            self._write(f"{sheet.name}.{form}", text, f"{len(sheet.rows):,} rows")

    def action_picture(self) -> None:
        self._write(f"{self.current_mode}.svg", self.export_screenshot(), "this screen")

    @work(group="exports")
    async def _write(self, name: str, text: str, what: str) -> None:
        path = self.exports / self.file_name(name)
        try:
            await asyncio.to_thread(path.write_text, text, encoding="utf-8", newline="")
        except OSError as error:
            self.say(f"not written: {error.strerror}: {path}; start headroom in a folder of yours", failed=True)
        else:
            self.say(f"{what} written to {path}")

    def _watch_the_terminal(self) -> None:
        """End in order when told to, and when the terminal is gone: Textual alone does neither.

        Without this a signal leaves the terminal in the alternate screen, and a closed one leaves a process that
        takes half a core for ever.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end_by, number)
        # Textual stops and goes on inside the signal itself, which may come while this thread holds the lock of what is
        # written to the terminal: it would then wait for itself for ever. From the loop nothing is in the middle.
        for number in (signal.SIGTSTP, signal.SIGCONT):
            act = signal.getsignal(number)
            if callable(act):
                loop.add_signal_handler(number, act, number, None)
        self.set_interval(1.0, self._check_terminal)

    def _end_by(self, number: int) -> None:
        self.exit(None, 128 + number)

    def _check_terminal(self) -> None:
        stdin: Any = sys.__stdin__
        try:
            termios.tcgetattr(stdin.fileno())
        except (termios.error, OSError, ValueError):
            self.exit(None, 128 + signal.SIGHUP)
