"""What the keys of time do: they move the app's timeline, mark moments on it and write it to files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from textual.app import App

from core.clock import SECOND
from core.errors import HeadroomError
from core.models import RouterSnapshot

from .screens.dialogs import Ask
from .timeline import Timeline
from .view.moments import MOMENT_FORM, moment_ns
from .view.text import clock_time

__all__ = ["TimeTravel"]


class TimeTravel(App[None]):
    """The app's actions on its timeline. Whoever mixes it in has the timeline and says what came of it."""

    timeline: Timeline
    shown_snapshot: RouterSnapshot | None
    exports: Path
    frozen: bool

    def say(self, text: str, *, failed: bool = False) -> None:
        """Put one line before the operator."""
        raise NotImplementedError

    def tick(self) -> None:
        """Show the moment that the timeline stands at."""
        raise NotImplementedError

    def _into_the_past(self) -> Any:
        """The replay to move about in, at the picture that is on the screen; None where nothing is kept yet."""
        at_ns = None if self.shown_snapshot is None else self.shown_snapshot.at_ns
        try:
            replay = self.timeline.enter(at_ns)
        except HeadroomError as error:
            self.say(str(error), failed=True)
            return None
        self.frozen = False
        return replay

    def action_step(self, by: int) -> None:
        if replay := self._into_the_past():
            replay.step(by)
            self.tick()

    def action_shift(self, seconds: int) -> None:
        if replay := self._into_the_past():
            replay.seek(replay.playback.at_ns + seconds * SECOND)
            self.tick()

    def action_speed(self, by: int) -> None:
        if replay := self._into_the_past():
            replay.change_speed(by)
            self.tick()

    def action_play(self) -> None:
        if self._into_the_past():
            self.timeline.play()
            self.tick()

    def action_now(self) -> None:
        self.frozen = False
        self.timeline.to_now()
        self.tick()

    def seek(self, at_ns: int) -> None:
        """Stand at this time from now on."""
        if replay := self._into_the_past():
            replay.seek(at_ns)
            self.tick()

    def action_go_to(self) -> None:
        facts = self.timeline.facts()
        if not facts.pictures:
            self.say("nothing is kept yet", failed=True)
            return
        kept = f"From {facts.clock(facts.first_ns)} to {facts.clock(facts.last_ns)}."

        def meant(answer: str) -> int:
            now = self.timeline.facts()
            return moment_ns(answer, now.first_ns, now.last_ns, now.last_epoch_ns)

        def is_a_moment(answer: str) -> bool:
            try:
                meant(answer)
            except ValueError:
                return False
            return True

        self.push_screen(
            Ask(
                "Go to which moment?", f"{kept} Write {MOMENT_FORM}.", accepts=is_a_moment, fault="a moment inside that"
            ),
            lambda answer: self.seek(meant(answer)) if answer else None,
        )

    def action_mark(self, name: str) -> None:
        if self.shown_snapshot is None:
            return
        self.timeline.marks[name] = self.shown_snapshot
        self.say(f"{name} is {clock_time(self.shown_snapshot.epoch_ns)}; the replay screen shows what changed")

    def action_record(self) -> None:
        """Begin to write a file, or end it."""

        async def stop() -> None:
            try:
                self.say(await self.timeline.stop_recording())
            except HeadroomError as error:
                self.say(str(error), failed=True)

        if self.timeline.recording is not None:
            self.run_worker(stop(), group="recording")
            return
        path = self.exports / self.file_name("recording.hrec")
        try:
            self.timeline.start_recording(path)
        except HeadroomError as error:
            self.say(str(error), failed=True)
        else:
            self.say(f"recording to {path}")

    def action_keep(self) -> None:
        """Write what is kept to a file."""

        async def keep() -> None:
            try:
                self.say(await self.timeline.keep(self.exports / self.file_name("last-minutes.hrec")))
            except HeadroomError as error:
                self.say(str(error), failed=True)

        self.run_worker(keep(), group="recording")

    def file_name(self, name: str) -> str:
        """A name for a file that is about what the screen shows."""
        at_s = (self.shown_snapshot.epoch_ns if self.shown_snapshot else 0) // SECOND
        return f"headroom-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(at_s))}Z-{name}"
