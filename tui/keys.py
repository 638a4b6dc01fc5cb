"""Every key, once. Footer, help, command palette and remapping all read this table.

A keymap from the configuration maps an id of this table to other keys: `{"app.freeze": "f5"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from textual.binding import Binding, BindingType

from core.errors import ConfigError

__all__ = [
    "EVERYWHERE",
    "KEYS",
    "LAYOUTS",
    "PANES",
    "SCREENS",
    "Key",
    "bindings",
    "check_keymap",
    "keys_of",
    "shown_keys",
]

EVERYWHERE: Final = "everywhere"

# Name, title and number of each screen, in the order of their numbers.
SCREENS: Final = (
    ("overview", "Overview"),
    ("broker", "Broker"),
    ("routing", "Routing"),
    ("orders", "Orders"),
    ("stress", "Stress"),
    ("advice", "Advice"),
    ("replay", "Replay"),
    ("log", "Log"),
)


LAYOUTS: Final = ("balanced", "limits", "activity")
PANES: Final = 6  # as many panes of a screen have a key


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a key does. `where` is a screen's name or EVERYWHERE; `keys` are alternatives, apart by commas.

    `action` belongs to the app where it begins with `app.`, to the screen otherwise. `acts` marks what reaches the
    engine: a read-only screen does not do it. `footer_on` is the one screen whose footer shows it.
    """

    id: str
    keys: str
    action: str
    label: str
    help: str
    where: str = EVERYWHERE
    footer: bool = False
    acts: bool = False
    urgent: bool = False
    footer_on: str = ""


def _table(where: str, *rows: Key) -> tuple[Key, ...]:
    return tuple(
        Key(f"{where}.{row.id}", row.keys, row.action, row.label, row.help, where, row.footer, row.acts, row.urgent)
        for row in rows
    )


_BROKER_KEYS: Final = (
    Key(
        "drain",
        "d",
        "drain",
        "drain",
        "Drain the broker, or take it back when it is drained",
        acts=True,
        footer=True,
    ),
    Key("cap", "c", "cap", "cap rate", "Use only a share of each of the broker's limits", acts=True, footer=True),
)

_TABLE_KEYS: Final = (
    Key(
        "filter",
        "slash",
        "filter",
        "filter",
        "Filter the table: words, !without, field=value, field!=value",
    ),
    Key("sort", "o", "sort", "sort", "Sort the table by its next column; a click on a title does it too"),
    Key("reverse", "O", "reverse", "reverse", "Sort it the other way round"),
    Key("copy", "y", "copy", "copy", "Copy the row, or the pane where there is no table"),
)
_DETAIL: Final = Key("detail", "enter", "open", "detail", "Show or hide all of the row")
# Urgent: what is typed ahead of a busy screen must not land in the field before.
_FIELD_KEYS: Final = (
    Key("next_field", "tab,down", "app.focus_next", "next field", "Go to the next field", urgent=True),
    Key("previous_field", "shift+tab,up", "app.focus_previous", "field before", "Go to the field before", urgent=True),
)
_CLEAR: Final = Key("clear", "escape", "clear", "clear", "Drop filter and sorting")

KEYS: Final[tuple[Key, ...]] = (
    *(
        Key(
            f"app.{name}",
            str(number),
            f"app.show_screen('{name}')",
            title.lower(),
            f"Go to the {title.lower()} screen",
        )
        for number, (name, title) in enumerate(SCREENS, 1)
    ),
    Key("app.kill", "K", "app.kill_switch", "kill switch", "Halt new orders and cancel what rests; again to lift it",
        acts=True, footer=True),
    Key("app.freeze", "space", "app.freeze", "freeze", "Hold the picture or let it go on; the engine never waits",
        footer=True),
    Key("app.help", "question_mark,f1", "app.help", "help", "Every key of this screen", footer=True),
    Key("app.quit", "q", "app.quit", "quit", "Leave; the engine closes in order", footer=True),
    Key("app.play", "P", "app.play", "play", "Play the past from the moment shown, or stand still",
        footer_on="replay"),
    Key("app.step_back", "left,shift+left", "app.step(-1)", "step back", "One picture back, into the last ten minutes"),
    Key("app.step", "right,shift+right", "app.step(1)", "step", "One picture on"),
    Key("app.back", "left_square_bracket", "app.shift(-10)", "10 s back", "Ten seconds back",
        footer_on="replay"),
    Key("app.on", "right_square_bracket", "app.shift(10)", "10 s on", "Ten seconds on"),
    Key("app.back_minute", "left_curly_bracket", "app.shift(-60)", "minute back", "A minute back"),
    Key("app.on_minute", "right_curly_bracket", "app.shift(60)", "minute on", "A minute on"),
    Key("app.faster", "full_stop", "app.speed(1)", "faster", "Play faster, up to 60 times"),
    Key("app.slower", "comma", "app.speed(-1)", "slower", "Play slower, down to as it happened"),
    Key("app.go_to", "J", "app.go_to", "go to time", "Go to a moment: 3m ago, 12:03:10, the start",
        footer_on="replay"),
    Key("app.now", "N", "app.now", "now", "Back to now; to the end, of a recording",
        footer_on="replay"),
    Key("app.mark_a", "less_than_sign", "app.mark('A')", "mark A",
        "Mark this moment as A; the replay screen compares it with B",
        footer_on="replay"),
    Key("app.mark_b", "greater_than_sign", "app.mark('B')", "mark B", "Mark this moment as B"),
    Key("app.record", "R", "app.record", "record", "Record to a file from now on, or end it",
        footer_on="replay"),
    Key("app.keep", "W", "app.keep", "keep", "Write the last ten minutes to a file"),
    Key("app.palette", "colon,ctrl+p", "app.command_palette", "commands", "Find any command by its name"),
    Key("app.maximise", "m", "app.maximise", "maximise", "Give the focused pane the whole screen, or take it back"),
    Key("app.layout", "l", "app.next_layout", "layout", "Change the layout: balanced, limits first, activity first"),
    *(
        Key(f"app.pane_{number}", f"f{number + 1}", f"app.focus_pane({number})", f"pane {number}",
            f"Go to pane {number}; its title bears the key")
        for number in range(1, PANES + 1)
    ),
    Key("app.next_pane", "tab", "app.focus_next", "next pane", "Go to the next pane"),
    Key("app.previous_pane", "shift+tab", "app.focus_previous", "previous pane", "Go to the previous pane"),
    Key("app.theme", "T", "app.next_theme", "theme", "Change between the dark and the light theme"),
    Key("app.csv", "e", "app.export('csv')", "export CSV", "Write the table of this screen to a CSV file"),
    Key("app.json", "E", "app.export('json')", "export JSON", "Write the table of this screen to a JSON file"),
    Key("app.svg", "S", "app.picture", "picture", "Write this screen to an SVG file"),
    Key("app.bell", "b", "app.bell_switch", "bell", "Ring the bell at new alerts, or stop ringing"),
    Key("app.acknowledge", "A", "app.acknowledge", "acknowledge", "Say that you have seen the alerts that stand",
        acts=True),
    Key("app.faults", "X", "app.faults", "faults", "Make an embedded simulated broker misbehave, to see what follows",
        acts=True),
    Key("app.suspend", "ctrl+z", "app.suspend_process", "suspend",
        "Stop the program and its engine until fg; not with LIVE accounts"),
    Key("app.quit_now", "ctrl+c", "app.quit", "quit", "Leave from anywhere, out of a dialogue too", urgent=True),
    *_table(
        "overview",
        Key("previous", "up,k", "move(-1)", "previous", "Choose the broker above"),
        Key("next", "down,j", "move(1)", "next", "Choose the broker below"),
        Key("open", "enter", "open", "open", "Look at the chosen broker in depth", footer=True),
        *_BROKER_KEYS,
        *_TABLE_KEYS,
        _CLEAR,
    ),
    *_table(
        "broker",
        Key("previous", "up,k", "move(-1)", "previous", "The broker before this one"),
        Key("next", "down,j", "move(1)", "next", "The broker after this one"),
        *_BROKER_KEYS,
        Key("page", "v", "page(1)", "next page", "Over time, answers, operations, breaker, refusals, limits",
            footer=True),
        Key("page_back", "V", "page(-1)", "page before", "The page before"),
        *_TABLE_KEYS,
        Key("back", "escape", "back", "back", "Drop filter and sorting; without them, back to the overview"),
    ),
    *_table(
        "routing",
        Key("why", "enter", "open", "why", "Show or hide why this broker was chosen", footer=True),
        Key("what_if", "w", "what_if", "what if", "Suppose a broker were drained or capped, before doing it",
            footer=True),
        Key("undo", "u", "undo", "undo", "Take back what was applied from what-if", acts=True),
        *_TABLE_KEYS,
        _CLEAR,
    ),
    *_table(
        "orders",
        Key("detail", "enter", "open", "detail", "Show or hide all that is known of the order", footer=True),
        Key("story", "s", "story", "story", "The order's whole story from the journal", footer=True),
        Key("ticket", "n", "ticket", "new order", "Write an order by hand", acts=True, footer=True),
        Key("modify", "M", "modify", "modify", "Change quantity, price, trigger or type of the order", acts=True),
        Key("cancel", "c", "cancel", "cancel", "Cancel the order that the cursor is on", acts=True, footer=True),
        Key("cancel_all", "C", "cancel_all", "cancel all", "Cancel every open order", acts=True),
        *_TABLE_KEYS,
        _CLEAR,
    ),
    *_table(
        "stress",
        Key("previous", "up,k", "move(-1)", "previous", "Choose the scenario above"),
        Key("next", "down,j", "move(1)", "next", "Choose the scenario below"),
        Key("start", "s,enter", "start", "start", "Start the chosen scenario with these sizes", acts=True, footer=True),
        Key("stop", "x", "stop", "stop", "Stop the run; what it measured is kept", acts=True, footer=True),
        Key("pause", "p", "pause", "pause/go on", "Hold the run's schedule, or let it go on", acts=True, footer=True),
        Key("faster", "plus,equals_sign", "pace(1.25)", "faster", "A quarter more requests a second, from now on",
            acts=True),
        Key("slower", "minus", "pace(0.8)", "slower", "A fifth fewer requests a second, from now on", acts=True),
        Key("sizes", "i,slash", "sizes", "sizes", "Type users, rate and seconds; Enter comes back",
            footer=True),
        Key("way", "w", "way", "clock and wire", "Play in real time, over HTTP, or in virtual time"),
        Key("edit", "t", "edit", "edit", "Read or change the chosen scenario's TOML before it runs", footer=True),
        Key("report", "r", "report", "report", "The whole report of the last run, beside earlier ones", footer=True),
    ),
    *_table(
        "advice",
        Key("apply", "a", "apply", "apply", "Do what the suggestion proposes", acts=True, footer=True),
        Key("undo", "u", "undo", "undo", "Take an applied suggestion back", acts=True, footer=True),
        Key("dismiss", "x", "hide", "dismiss", "Hide it until its cause has gone and come back", acts=True,
            footer=True),
        *_TABLE_KEYS,
        _CLEAR,
    ),
    *_table(
        "ticket",
        Key("review", "enter", "review", "review", "Go on to the confirmation, or to what is wrong", footer=True),
        *_FIELD_KEYS,
        Key("leave", "escape", "leave", "leave it", "Send nothing", footer=True),
    ),
    *_table(
        "story",
        Key("copy", "y", "copy", "copy", "Copy the story", footer=True),
        Key("back", "escape,s", "back", "back", "Close the story", footer=True),
        Key("quit", "q", "app.quit", "quit", "Leave the program"),
    ),
    *_table(
        "whatif",
        Key("previous", "up,k", "move(-1)", "previous", "The broker above"),
        Key("next", "down,j", "move(1)", "next", "The broker below"),
        Key("drain", "d", "suppose_drain", "drained or not", "Suppose it were drained, or taken back", footer=True),
        Key("less", "left,minus", "suppose_cap(-10)", "cap down", "Suppose it used 10 % less", footer=True),
        Key("more", "right,plus", "suppose_cap(10)", "cap up", "Suppose it used 10 % more", footer=True),
        Key("reset", "r", "reset", "as it is", "Suppose nothing"),
        Key("apply", "enter", "apply", "apply", "Make it so; u takes it back", acts=True, footer=True),
        Key("undo", "u", "undo", "undo", "Take back what was applied last", acts=True, footer=True),
        Key("back", "escape,w", "back", "back", "Change nothing", footer=True),
        Key("quit", "q", "app.quit", "quit", "Leave the program"),
    ),
    *_table(
        "faults",
        Key("set", "enter", "set", "set it", "From now on, until it is set to none", acts=True, footer=True),
        *_FIELD_KEYS,
        Key("end_all", "x", "end_all", "end all", "End every fault that was set here", acts=True, footer=True),
        Key("back", "escape", "back", "back", "Close; faults stay as they are", footer=True),
        Key("quit", "q", "app.quit", "quit", "Leave the program"),
    ),
    *_table("replay", _DETAIL, *_TABLE_KEYS, _CLEAR),
    *_table("log", _DETAIL, *_TABLE_KEYS, _CLEAR),
    *_table(
        "confirm",
        Key("yes", "y", "answer(1)", "do it", "Do what the question asks"),
        Key("no", "n,escape", "answer(0)", "leave it", "Do nothing"),
        Key("quit", "q", "app.quit", "quit", "Leave the program"),
    ),
    *_table(
        "editor",
        Key("keep", "ctrl+s", "keep", "take it", "Check the text and take it for the next run", urgent=True),
        Key("leave", "escape", "leave", "leave it", "Leave the scenario as it was", urgent=True),
    ),
    *_table(
        "report",
        Key("compare", "c", "compare", "compare", "What moved since an earlier run; again for the one before",
            footer=True),
        Key("back", "escape,r", "back", "back", "Close the report", footer=True),
        Key("quit", "q", "app.quit", "quit", "Leave the program"),
    ),
    *_table("ask", Key("leave", "escape", "leave", "leave it", "Do nothing")),
    *_table(
        "help",
        Key("back", "escape,question_mark,f1", "back", "back", "Close the help", footer=True),
        Key("quit", "q", "app.quit", "quit", "Leave the program"),
    ),
)  # fmt: skip


def keys_of(where: str) -> tuple[Key, ...]:
    """The keys of one screen, or those that hold everywhere."""
    return tuple(key for key in KEYS if key.where == where)


def bindings(where: str) -> list[BindingType]:
    """The same for Textual, and first those that hold everywhere and stand in the footer here."""
    here = [replace(key, footer=True) for key in KEYS if key.footer_on == where]
    return [
        Binding(key.keys, key.action, key.label, show=key.footer, id=key.id, priority=key.urgent, tooltip=key.help)
        for key in (*here, *keys_of(where))
    ]


def shown_keys(keys: str) -> str:
    """Keys as they stand on a keyboard.

    >>> shown_keys("question_mark,f1,shift+tab")
    '? F1 Shift+Tab'
    """
    named = {
        "question_mark": "?", "slash": "/", "colon": ":", "escape": "Esc", "plus": "+", "minus": "-", "left": "←",
        "right": "→", "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{",
        "right_curly_bracket": "}", "equals_sign": "=", "full_stop": ".", "comma": ",", "less_than_sign": "<",
        "greater_than_sign": ">",
    }  # fmt: skip
    parts = [named.get(key.strip(), key.strip()) for key in keys.split(",")]
    return " ".join(part if len(part) == 1 else part.title() for part in parts)


def check_keymap(keymap: Mapping[str, str]) -> None:
    """Raise ConfigError for an id that this table does not have, no key, or two ids of one place on one key."""
    known = {key.id for key in KEYS}
    for id_ in keymap:
        if id_ not in known:
            near = get_close_matches(id_, known, 1)
            mend = f"did you mean {near[0]}?" if near else "`headroom` shows all of them under ? and :"
            message = f"keys: there is no command {id_!r}; {mend}"
            raise ConfigError(message)
        if not all(key.strip() for key in keymap[id_].split(",")):
            message = f"keys: {id_} has no key; name one, or leave the line out"
            raise ConfigError(message)
    for where in {key.where for key in KEYS}:
        taken: dict[str, str] = {}
        for key in KEYS:
            if key.where not in {where, EVERYWHERE}:
                continue
            for pressed in keymap.get(key.id, key.keys).split(","):
                other = taken.setdefault(pressed.strip(), key.id)
                if other != key.id and (key.id in keymap or other in keymap):
                    message = f"keys: {pressed.strip()!r} would mean both {other} and {key.id}; choose another for one"
                    raise ConfigError(message)
