"""Every command of the key table in the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from .keys import EVERYWHERE, KEYS, Key

__all__ = ["KeyCommands", "Palette"]


class Palette(CommandPalette):
    """Textual's own, which fails at a page key while its list has not been laid out (8.2.8)."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return action != "command_list" or self.query_one(CommandList).virtual_size.height > 0


class KeyCommands(Provider):
    """What the keys of the present screen do, by name."""

    def _keys(self) -> Iterator[Key]:
        where = self.app.current_mode
        for key in KEYS:
            if key.where in {where, EVERYWHERE} and key.id not in {"app.palette", "app.quit_now"}:
                yield key

    def _run(self, key: Key) -> IgnoreReturnCallbackType:
        return partial(self.app.run_action, key.action, self.screen)

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(_title(key), self._run(key), help=key.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._keys():
            # Not in the help: letters spread over a sentence match almost anything, the kill switch too.
            score = matcher.match(_title(key))
            if score > 0:
                yield Hit(score, matcher.highlight(_title(key)), self._run(key), text=_title(key), help=key.help)


def _title(key: Key) -> str:
    place = "" if key.where == EVERYWHERE else f"{key.where}: "
    return f"{place}{key.label}"
