"""What the program says of itself: the newest lines of its own log, kept in memory for the log screen."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from .view.log import LogEntry

__all__ = ["AppLog"]

KEPT: Final = 2000
_OURS: Final = ("core", "tui")


class AppLog(logging.Handler):
    """Keeps the last 2000 entries: ours from INFO on, everyone else's from WARNING on. May be written by any thread.

    `secrets` are texts that never show, wherever they turn up in a message or a traceback.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._entries: deque[LogEntry] = deque(maxlen=KEPT)
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)
        self._newest_first: tuple[LogEntry, ...] = ()
        self._serial = 0
        self.setFormatter(logging.Formatter())

    def hide(self, secrets: Collection[str]) -> None:
        """Keep these out as well from now on."""
        self._secrets = sorted({*self._secrets, *(secret for secret in secrets if secret)}, key=len, reverse=True)

    def emit(self, record: logging.LogRecord) -> None:
        first, _, rest = self._told(record).partition("\n")
        self._serial += 1
        self._entries.append(
            LogEntry(
                serial=self._serial,
                epoch_ns=round(record.created * 1e9),
                level=record.levelname.lower(),
                source=record.name,
                text=first,
                rest=rest,
            )
        )

    def _told(self, record: logging.LogRecord) -> str:
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001 - a line that cannot be told must not stop who wrote it
            text = f"a line that cannot be told: {record.msg!r}: {type(error).__name__}: {error}"
        for secret in self._secrets:
            text = text.replace(secret, "•••")
        return text

    @property
    def newest_first(self) -> tuple[LogEntry, ...]:
        """Every entry that is kept."""
        with self.lock or _nothing():
            if not self._newest_first or self._newest_first[0].serial != self._serial:
                self._newest_first = tuple(reversed(self._entries))
            return self._newest_first

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside the block what is logged comes here, and nowhere else: stderr is the screen."""
        root = logging.getLogger()
        loggers = [logging.getLogger(name) for name in _OURS]
        before = [(logger, logger.level) for logger in (root, *loggers)]
        root.addHandler(self)
        root.setLevel(logging.WARNING)
        for logger in loggers:
            logger.setLevel(logging.INFO)
        logging.captureWarnings(capture=True)
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)
            root.removeHandler(self)
            for logger, level in before:
                logger.setLevel(level)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
