"""A recorded session as a Router: it answers with what was, and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from ..errors import ReplayRefused
from ..models import Command, RouterSnapshot, StressCommand
from .track import Track

if TYPE_CHECKING:
    from ..models import BrokerOrder, Operation, Order, OrderOutcome, Question, RefereeReport
    from ..router import Router

__all__ = ["SPEEDS", "Playback", "ReplayRouter"]

A = TypeVar("A")
SPEEDS: Final = (1, 2, 5, 10, 20, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """Where a replay stands. Times are those of the recorder's monotonic clock; `playing` at `speed` times."""

    at_ns: int
    first_ns: int
    last_ns: int
    speed: int
    playing: bool

    @property
    def behind_ns(self) -> int:
        """How long before the end of the recording this is."""
        return self.last_ns - self.at_ns


class ReplayRouter:
    """The Router of a track. It stands still until it is told to play, at its start unless it is put elsewhere.

    The track may grow at its end and lose its beginning meanwhile; whoever stands on what was lost stands on the first
    frame that is left.
    """

    def __init__(
        self, track: Track, *, now_ns: Callable[[], int], simulated: bool, start_ns: int | None = None
    ) -> None:
        self._track = track
        self._now_ns = now_ns
        self._simulated = simulated
        self._at_ns = track.first_ns if start_ns is None else start_ns
        self._since_ns: int | None = None
        self._speed = SPEEDS[0]
        self.seek(self._at_ns)

    @property
    def simulated(self) -> bool:
        return self._simulated

    @property
    def track(self) -> Track:
        """What it moves about in."""
        return self._track

    @property
    def playback(self) -> Playback:
        """Where it stands now. At its end it stops by itself."""
        track = self._track
        at_ns = self._at_ns
        if self._since_ns is not None:
            at_ns += (self._now_ns() - self._since_ns) * self._speed
        playing = self._since_ns is not None and at_ns < track.last_ns
        if self._since_ns is not None and not playing:
            self._at_ns, self._since_ns = track.last_ns, None
        at_ns = max(track.first_ns, min(track.last_ns, at_ns))
        return Playback(at_ns=at_ns, first_ns=track.first_ns, last_ns=track.last_ns, speed=self._speed, playing=playing)

    def snapshot(self) -> RouterSnapshot:
        return self._track.at(self.playback.at_ns)

    # -- moving about -------------------------------------------------------------------------------------------------

    def seek(self, at_ns: int) -> None:
        """Stand at the last picture not after this time, or at the nearest there is; what plays goes on from there."""
        self._at_ns = max(self._track.first_ns, min(self._track.last_ns, at_ns))
        if self._since_ns is not None:
            self._since_ns = self._now_ns()

    def step(self, by: int) -> None:
        """Stop, and go on by so many pictures, or back when negative."""
        self.pause()
        self._at_ns = self._track.step(self._at_ns, by)

    def play(self, speed: int | None = None) -> None:
        """Go on by itself, at a multiple of the speed at which it happened; from the start when it is at the end."""
        at_ns = self.playback.at_ns
        self._speed = self._speed if speed is None else speed
        self._at_ns = self._track.first_ns if at_ns >= self._track.last_ns else at_ns
        self._since_ns = self._now_ns()

    def pause(self) -> None:
        """Stand still."""
        self._at_ns, self._since_ns = self.playback.at_ns, None

    def change_speed(self, by: int) -> None:
        """The next faster or slower of SPEEDS, playing or not."""
        playing = self.playback.playing
        self.pause()
        place = min((abs(speed - self._speed), n) for n, speed in enumerate(SPEEDS))[1]
        self._speed = SPEEDS[max(0, min(len(SPEEDS) - 1, place + by))]
        if playing:
            self.play()

    # -- what a recording cannot do -----------------------------------------------------------------------------------

    async def send(self, command: Command | StressCommand) -> str:
        self._refuse(type(command).__name__)

    async def ask(self, question: Question[A]) -> A:
        message = f"a recording holds what the screens show and no more: {type(question).__name__} has no answer in it"
        raise ReplayRefused(message)

    async def execute(self, operation: Operation, **options: Any) -> Any:  # noqa: ARG002
        self._refuse(operation.value)

    async def place_order(self, order: Order, **options: Any) -> OrderOutcome:  # noqa: ARG002
        self._refuse("an order")

    async def modify_order(self, order_id: str, **changes: Any) -> OrderOutcome:  # noqa: ARG002
        self._refuse("a change of an order")

    async def cancel_order(self, order_id: str, **options: Any) -> OrderOutcome:  # noqa: ARG002
        self._refuse("a cancellation")

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        self._refuse("a judgement")

    async def broker_books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        self._refuse("a book")

    async def set_fault(self, broker: str, kind: str, value: float) -> None:  # noqa: ARG002
        self._refuse("a fault")

    def _refuse(self, what: str) -> NoReturn:
        message = f"this is a recording, there is no broker behind it: {what} was not sent"
        raise ReplayRefused(message)


if TYPE_CHECKING:

    def _is_a_router(replay: ReplayRouter) -> Router:
        return replay
