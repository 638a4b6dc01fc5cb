"""What can be done to the chosen broker, on whichever screen it is chosen."""

from __future__ import annotations

from core.models import BrokerSnapshot, DrainProvider, ResumeProvider, SetRateCap

from .dialogs import Ask
from .tables import TablesScreen

__all__ = ["BrokerActs"]


class BrokerActs(TablesScreen):
    """The choice of a broker, and the keys that act on it. The choice is the app's: it outlives the screen."""

    @property
    def broker(self) -> str:
        """The name of the chosen broker; the first one until another is chosen."""
        names = [broker.name for broker in self.frame.snapshot.brokers] if self.frame else []
        return self.headroom.broker if self.headroom.broker in names else names[0] if names else ""

    @property
    def chosen(self) -> BrokerSnapshot | None:
        """How the chosen broker stands."""
        brokers = self.frame.snapshot.brokers if self.frame else ()
        return next((broker for broker in brokers if broker.name == self.broker), None)

    def action_move(self, by: int) -> None:
        if self.frame is not None:
            names = [broker.name for broker in self.frame.snapshot.brokers]
            self.headroom.broker = self.after(names, self.broker, by)
            self.show(self.frame)

    def action_drain(self) -> None:
        if self.chosen is not None:
            name = self.chosen.name
            self.send(ResumeProvider(name) if self.chosen.drained else DrainProvider(name))

    def action_cap(self) -> None:
        if self.chosen is None:
            return
        name = self.chosen.name

        def cap(answer: str | None) -> None:
            if answer is not None:
                self.send(SetRateCap(name, float(answer) / 100))

        self.app.push_screen(
            Ask(
                f"Use how much of the limits of {name}?",
                "1 to 100 percent; 100 takes the cap away",
                accepts=_is_percent,
                fault="a number from 1 to 100",
            ),
            cap,
        )


def _is_percent(text: str) -> bool:
    try:
        return 1 <= float(text) <= 100
    except ValueError:
        return False
