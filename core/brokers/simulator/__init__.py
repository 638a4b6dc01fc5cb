"""An exchange and both brokers' wires on local sockets, with faults to order and a referee of the limits."""

from __future__ import annotations
