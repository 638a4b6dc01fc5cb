"""An order as it is being typed: text to values, faults beside their fields, and what it would do."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from core.models import (
    AskPreview,
    ModifyOrder,
    Order,
    OrderPreview,
    OrderType,
    Product,
    Side,
    SubmitOrder,
    Validity,
)

from .routing import decision_lines
from .text import Line, Role, Span, clean, fit, line, money, wrapped

__all__ = ["AUTO", "FIELDS", "Draft", "asked", "command_of", "faults_of", "headline", "preview_lines"]

AUTO: Final = "auto"
PRICED: Final = frozenset({OrderType.LIMIT, OrderType.SL})
TRIGGERED: Final = frozenset({OrderType.SL, OrderType.SL_M})

# Name, label, and the choices of a field that is not typed; in the order of the form.
FIELDS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("side", "side", tuple(Side)),
    ("symbol", "symbol", ()),
    ("quantity", "quantity", ()),
    ("order_type", "type", tuple(OrderType)),
    ("price", "price", ()),
    ("trigger_price", "trigger", ()),
    ("product", "product", tuple(Product)),
    ("validity", "validity", tuple(Validity)),
    ("provider", "broker", (AUTO,)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The form as text. `changes` is the id of the order that it would change, empty for a new one."""

    symbol: str = ""
    side: str = Side.BUY
    quantity: str = ""
    order_type: str = OrderType.LIMIT
    price: str = ""
    trigger_price: str = ""
    product: str = Product.INTRADAY
    validity: str = Validity.DAY
    provider: str = AUTO
    changes: str = ""

    @classmethod
    def of(cls, order: Order, provider: str) -> Draft:
        """The terms in force of an order that rests at `provider`."""
        return cls(
            symbol=order.symbol,
            side=order.side,
            quantity=str(order.quantity),
            order_type=order.order_type,
            price="" if order.price is None else f"{order.price:f}",
            trigger_price="" if order.trigger_price is None else f"{order.trigger_price:f}",
            product=order.product,
            validity=order.validity,
            provider=provider,
            changes=order.client_order_id,
        )

    @property
    def takes_price(self) -> bool:
        """Whether its type has a price."""
        return self.order_type in PRICED

    @property
    def takes_trigger(self) -> bool:
        """Whether its type has a trigger."""
        return self.order_type in TRIGGERED


def asked(draft: Draft) -> AskPreview:
    """The draft as a question; what is no number is None."""
    return AskPreview(
        symbol=draft.symbol.strip().upper(),
        side=Side(draft.side),
        quantity=_whole(draft.quantity),
        order_type=OrderType(draft.order_type),
        price=_decimal(draft.price) if draft.takes_price else None,
        trigger_price=_decimal(draft.trigger_price) if draft.takes_trigger else None,
        product=Product(draft.product),
        validity=Validity(draft.validity),
        provider="" if draft.provider == AUTO else draft.provider,
        changes=draft.changes,
    )


def faults_of(draft: Draft, preview: OrderPreview | None) -> dict[str, str]:
    """What is wrong, by field; the first fault of each. Without a preview only what the text itself tells."""
    faults: dict[str, str] = {}
    for name, text, number in (
        ("quantity", draft.quantity, _whole(draft.quantity)),
        ("price", draft.price if draft.takes_price else "", _decimal(draft.price)),
        ("trigger_price", draft.trigger_price if draft.takes_trigger else "", _decimal(draft.trigger_price)),
    ):
        if text.strip() and number is None:
            what = "a whole number of at least 1" if name == "quantity" else "a price above 0, such as 812.50"
            faults[name] = f"{text.strip()!r} is not {what}"
    for name, text in preview.faults if preview is not None else ():
        faults.setdefault(name, text)
    return faults


def command_of(draft: Draft, terms: Order | None = None) -> SubmitOrder | ModifyOrder | None:
    """What is sent for a draft without a fault; None when nothing about `terms` would change. Raises ValueError."""
    wanted = asked(draft)
    if terms is None:
        order = Order(
            symbol=wanted.symbol,
            quantity=wanted.quantity or 0,
            side=wanted.side,
            order_type=wanted.order_type,
            price=wanted.price,
            trigger_price=wanted.trigger_price,
            product=wanted.product,
            validity=wanted.validity,
        )
        return SubmitOrder(order, wanted.provider)
    change = ModifyOrder(
        draft.changes,
        quantity=wanted.quantity if wanted.quantity != terms.quantity else None,
        order_type=wanted.order_type if wanted.order_type is not terms.order_type else None,
        price=wanted.price if wanted.price != terms.price else None,
        trigger_price=wanted.trigger_price if wanted.trigger_price != terms.trigger_price else None,
    )
    return change if change != ModifyOrder(draft.changes) else None


def headline(draft: Draft) -> str:
    """The order in a few words, as the confirmation asks for it."""
    wanted = asked(draft)
    quantity = "?" if wanted.quantity is None else f"{wanted.quantity:,}"
    parts = [wanted.side.value, quantity, clean(wanted.symbol) or "?", wanted.order_type.value]
    if wanted.price is not None:
        parts.append(f"at {money(wanted.price)}")
    if wanted.trigger_price is not None:
        parts.append(f"trigger {money(wanted.trigger_price)}")
    return " ".join(parts)


def preview_lines(shown: tuple[Draft, OrderPreview | None, str], width: int, height: int | None = None) -> list[Line]:
    """What the order would do: its value, how far from the last price, where it would go and why."""
    draft, preview, silence = shown
    if preview is None:
        return [fit(line(Span(f" {clean(silence) or 'type an order'}", Role.WARN if silence else Role.DIM)), width)]
    lines = [line(Span(f" {headline(draft)}", Role.STRONG)), line(Span(f" {_worth(draft, preview)}", Role.DIM))]
    for name, text in faults_of(draft, preview).items():
        if name in {"order", "provider"} or getattr(draft, name).strip():  # in full: beside the field it may be cut
            lines += [line(Span(part, Role.CRIT)) for part in wrapped(f"✖ {clean(text)}", width, " ")]
    lines = [fit(entry, width) for entry in lines]
    if preview.choice is not None:
        lines += decision_lines(preview.choice, width)
    return lines[:height]


def _worth(draft: Draft, preview: OrderPreview) -> str:
    parts: list[str] = []
    if preview.value is not None:
        parts.append(f"value {money(preview.value.quantize(Decimal('0.01')))}")
    if preview.last is not None:
        parts.append(f"last {money(preview.last.normalize())}")
        price = asked(draft).price
        if price is not None:
            parts.append(f"{(price - preview.last) / preview.last:+.1%} from it")
    if preview.tick is not None:
        parts.append(f"tick {preview.tick:f}, lot {preview.lot}")
    return "  ".join(parts) or "nothing known of this symbol"


def _whole(text: str) -> int | None:
    stripped = text.strip().replace(",", "")
    return int(stripped) if stripped.isascii() and stripped.isdigit() and 0 < int(stripped) < 10**12 else None


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip().replace(",", ""))
    except ArithmeticError:
        return None
    return number if number.is_finite() and 0 < number < 10**12 else None
