"""``dataclass``, ``field`` and ``replace`` as the standard library has them, without what they cost at import.

The standard decorator writes the source of up to nine methods for every class and compiles it, about a millisecond a
class, and brings ``inspect`` and ``ast`` along: half of the time that this package took to load. Here each method is
written once and looks up the fields in its class. What the package needs is covered: slotted classes with at least one
field, frozen or not, with positional or keyword-only fields.

Whoever asks the standard library about such a class (``dataclasses.fields``, ``asdict``, ``replace``,
``inspect.signature``, a dataclass that inherits from it) is given the answers of a real dataclass, which is made then.
Type checkers see nothing but the standard decorator.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace

__all__ = ["dataclass", "field", "field_names", "replace"]

T = TypeVar("T")

_MISSING = object()


class _Field:
    """One field: where its value is kept, and what stands for a value that is not given."""

    __slots__ = ("annotation", "kw_only", "name", "put", "settings")

    def __init__(self, **settings: Any) -> None:
        """``settings``: what is given to ``dataclasses.field``."""
        self.settings = settings

    def in_class(self, kind: type[Any], name: str, annotation: Any, *, kw_only: bool) -> _Field:
        self.name = name
        self.annotation = annotation
        self.kw_only = kw_only
        self.put: Callable[[object, Any], None] = getattr(kind, name).__set__
        """Writes the slot, past the refusal of a frozen class."""
        return self


class _Shape:
    """The fields of a class, inherited ones included, in the forms in which the methods need them."""

    __slots__ = (
        "_real",
        "compared",
        "defaults",
        "factories",
        "fields",
        "has_post_init",
        "is_frozen",
        "is_kw_only",
        "positional",
        "puts",
        "shown",
    )

    def __init__(self, fields: dict[str, _Field], *, is_frozen: bool, is_kw_only: bool, has_post_init: bool) -> None:
        self.fields = fields
        self.is_frozen = is_frozen
        self.is_kw_only = is_kw_only
        self.has_post_init = has_post_init
        self.puts = [(name, each.put) for name, each in fields.items()]
        settings = [(name, each.settings) for name, each in fields.items()]
        self.defaults = {name: given["default"] for name, given in settings if "default" in given}
        self.factories = {name: given["default_factory"] for name, given in settings if "default_factory" in given}
        self.positional = tuple([name for name, each in fields.items() if not each.kw_only])
        self.shown = [name for name, given in settings if given.get("repr", True)]
        self.compared = attrgetter(*[name for name, given in settings if given.get("compare", True)])
        self._real: Any = None

    def real(self, name: str) -> Any:
        """The dataclass of the standard library with the same fields."""
        if self._real is None:
            import dataclasses  # noqa: PLC0415  what this module saves whoever does not need it

            rows = [
                (each.name, each.annotation, dataclasses.field(kw_only=each.kw_only, **each.settings))
                for each in self.fields.values()
            ]
            self._real = dataclasses.make_dataclass(
                name, rows, frozen=self.is_frozen, kw_only=self.is_kw_only, slots=True
            )
        return self._real

    def refusal(self, kind: type[Any], args: tuple[Any, ...], given: dict[str, Any]) -> TypeError:
        """Why these arguments make no object of the class."""
        known = self.positional[: len(args)]
        if len(args) > len(known):
            problem = f"takes {len(known)} positional arguments but {len(args)} were given"
        elif twice := [name for name in known if name in given]:
            problem = f"got multiple values for argument {twice[0]!r}"
        elif unknown := [name for name in given if name not in self.fields]:
            problem = f"got an unexpected keyword argument {unknown[0]!r}"
        else:
            given_or_not_needed = {*known, *given, *self.defaults, *self.factories}
            missing = [repr(name) for name in self.fields if name not in given_or_not_needed]
            problem = f"missing required arguments: {', '.join(missing)}"
        return TypeError(f"{kind.__name__}() {problem}")


def field_names(kind: type[Any]) -> tuple[str, ...]:
    """The names of the fields of a dataclass of this package, inherited ones first."""
    return tuple(kind.__shape__.fields)


# -- the methods -----------------------------------------------------------------------------------------------------


def _init(self: Any, /, *args: Any, **given: Any) -> None:
    shape: _Shape = self.__shape__
    values = {**shape.defaults, **given}
    if shape.factories:
        for name, factory in shape.factories.items():
            if name not in values:
                values[name] = factory()
    try:
        for number, value in enumerate(args):
            values[shape.positional[number]] = value
        for name, put in shape.puts:
            put(self, values[name])
    except LookupError:
        raise shape.refusal(type(self), args, given) from None
    if len(values) != len(shape.puts) or (
        args and given and not given.keys().isdisjoint(shape.positional[: len(args)])
    ):
        raise shape.refusal(type(self), args, given)
    if shape.has_post_init:
        self.__post_init__()


def _repr(self: Any) -> str:
    shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__shape__.shown])
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    compared = self.__shape__.compared
    return compared(self) == compared(other)


def _hash(self: Any) -> int:
    return hash(self.__shape__.compared(self))


def _setattr(_self: Any, name: str, _value: object) -> None:
    raise _frozen_error(f"cannot assign to field {name!r}")


def _delattr(_self: Any, name: str) -> None:
    raise _frozen_error(f"cannot delete field {name!r}")


def _frozen_error(message: str) -> Exception:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415  see the top

    return FrozenInstanceError(message)


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name, _ in self.__shape__.puts]


def _setstate(self: Any, state: list[Any]) -> None:
    for (_, put), value in zip(self.__shape__.puts, state, strict=True):
        put(self, value)


def _replace(value: T, /, **changes: Any) -> T:
    kept = {name: getattr(value, name) for name in field_names(type(value)) if name not in changes}
    return type(value)(**kept, **changes)


class _FromReal:
    """An attribute of the class that the standard library looks for; the real dataclass knows it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, kind: type[Any]) -> Any:
        real = kind.__shape__.real(kind.__name__)
        if self._name != "__signature__":
            return getattr(real, self._name)
        if kind.__init__ is not _init:
            raise AttributeError(self._name)
        from inspect import signature  # noqa: PLC0415  see the top

        return signature(real)


_METHODS: dict[str, Any] = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
    "__replace__": _replace,
    "__signature__": _FromReal("__signature__"),
    "__dataclass_fields__": _FromReal("__dataclass_fields__"),
    "__dataclass_params__": _FromReal("__dataclass_params__"),
}
_METHODS_FROZEN: dict[str, Any] = {**_METHODS, "__hash__": _hash, "__setattr__": _setattr, "__delattr__": _delattr}


# -- the decorator ---------------------------------------------------------------------------------------------------


def _dataclass(*, slots: bool, frozen: bool = False, kw_only: bool = False) -> Callable[[type[Any]], type[Any]]:
    if not slots:
        raise TypeError("the dataclasses of this package are slotted: write slots=True.")

    def slotted(plain: Any) -> Any:
        own = {name: kind for name, kind in plain.__annotations__.items() if not str(kind).startswith("ClassVar")}
        # A slot has no default, so the class is made once more without them, as the standard decorator does it.
        left_out = {"__dict__", "__weakref__", *own}
        namespace = {name: value for name, value in vars(plain).items() if name not in left_out}
        methods = _METHODS_FROZEN if frozen else _METHODS
        kind: Any = type(plain)(plain.__name__, plain.__bases__, {**methods, **namespace, "__slots__": tuple(own)})
        kind.__qualname__ = plain.__qualname__
        fields: dict[str, _Field] = {}
        for base in reversed(plain.__bases__):
            if hasattr(base, "__shape__"):
                fields |= base.__shape__.fields
        for name, annotation in own.items():
            default = vars(plain).get(name, _MISSING)
            if not isinstance(default, _Field):
                default = _Field() if default is _MISSING else _Field(default=default)
            fields[name] = default.in_class(kind, name, annotation, kw_only=kw_only)
        kind.__shape__ = _Shape(
            fields, is_frozen=frozen, is_kw_only=kw_only, has_post_init=hasattr(kind, "__post_init__")
        )
        kind.__match_args__ = kind.__shape__.positional  # type: ignore[misc]  # mypy wants it in the class body
        return kind

    return slotted


if not TYPE_CHECKING:
    dataclass, field, replace = _dataclass, _Field, _replace
