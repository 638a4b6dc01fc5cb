"""What goes wrong in a simulated world: every kind of trouble, by the name under which it is counted."""

from __future__ import annotations

from core.brokers.simulator.faults import FaultKind

# All but the skewed clock, which only a wire has: there are no dates in the answers of a broker in this process.
BROKER_KINDS = tuple(kind for kind in FaultKind if kind is not FaultKind.CLOCK_SKEW)
CRASH, CRASH_BEFORE, CRASH_AFTER = "crash_at_any_instant", "crash_before_commit", "crash_after_commit"
DISK_FULL, RESTART, RIVAL = "disk_full", "restart_over_a_journal", "rival_process"
TWICE_AT_ONCE, TWICE_LATER, TWICE_ELSEWHERE = "submitted_twice_at_once", "submitted_again", "submitted_by_a_rival_too"
GAVE_UP = "caller_gave_up"
OUR_KINDS = (
    CRASH,
    CRASH_BEFORE,
    CRASH_AFTER,
    DISK_FULL,
    RESTART,
    RIVAL,
    TWICE_AT_ONCE,
    TWICE_LATER,
    TWICE_ELSEWHERE,
    GAVE_UP,
)
FAULTS = (*(kind.value for kind in BROKER_KINDS), *OUR_KINDS)
# A refused token bars its broker, and who waits for a second asks less; a wrong address has only orders to strike.
HARDER = {
    FaultKind.WRONG_IP: 3.0,
    FaultKind.LATE: 2.0,
    FaultKind.SLOW: 1.6,
    FaultKind.SLOW_BODY: 1.6,
    FaultKind.HANG: 1.6,
    FaultKind.TOKEN_EXPIRED: 1.5,
}
ORDERS_ONLY = frozenset({"place_order", "modify_order", "cancel_order"})
