"""The package's own ``dataclass``: the same as the standard library's, whoever asks and whatever is done with it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from chasquimq import BackoffOptions, BulkJob, ConnectionOptions, JobsOptions, _dataclass, events
from chasquimq.testing import Drained

T = TypeVar("T")


def define(module: Any) -> Any:
    """The same classes with the ``dataclass``, ``field`` and ``replace`` of either module."""

    class Classes:
        @module.dataclass(frozen=True, slots=True, kw_only=True)
        class Base:
            """Told."""

            kind: ClassVar[str] = "base"
            id: str
            at: int = 0

        @module.dataclass(frozen=True, slots=True, kw_only=True)
        class Derived(Base):
            kind: ClassVar[str] = "derived"
            name: str
            secret: str | None = module.field(default=None, repr=False)
            cache: dict[str, int] = module.field(default_factory=dict, compare=False, repr=False)

        @module.dataclass(frozen=True, slots=True)
        class Row(Generic[T]):
            first: T
            second: int = 2

            def __post_init__(self) -> None:
                if self.second < 0:
                    raise ValueError("negative")

            @property
            def both(self) -> tuple[T, int]:
                return self.first, self.second

        @module.dataclass(slots=True)
        class Open:
            rows: list[int]
            more: list[int] = module.field(default_factory=list)

    Classes.replace = staticmethod(module.replace)
    return Classes


STANDARD, OURS = define(dataclasses), define(_dataclass)
EITHER = pytest.mark.parametrize("classes", [STANDARD, OURS], ids=["standard", "ours"])


@EITHER
def test_fields_are_told_by_name_with_defaults_and_by_position_where_allowed(classes):
    derived = classes.Derived(id="a", name="b")
    assert (derived.id, derived.at, derived.name, derived.secret, derived.cache) == ("a", 0, "b", None, {})
    assert classes.Derived(id="a", name="b", cache={"x": 1}).cache == {"x": 1}
    assert classes.Row("a").both == classes.Row(second=2, first="a").both == ("a", 2)
    assert classes.Row("a", 3).both == classes.Row("a", second=3).both == ("a", 3)
    assert derived.kind == "derived"


@EITHER
@pytest.mark.parametrize(
    ("name", "args", "given", "told"),
    [
        ("Derived", (), {"id": "a"}, "missing .*'name'"),
        ("Derived", (), {}, "missing .*'id'.*'name'"),
        ("Derived", (), {"id": "a", "name": "b", "nam": "c"}, "unexpected keyword argument 'nam'"),
        ("Derived", (), {"id": "a", "nam": "c"}, "unexpected keyword argument 'nam'"),
        ("Derived", ("a",), {"name": "b"}, "positional argument"),
        ("Row", (), {}, "missing .*'first'"),
        ("Row", (1, 2, 3), {}, "positional argument"),
        ("Row", (1,), {"first": 1}, "multiple values for argument 'first'"),
        ("Row", (1, 2), {"second": 2}, "multiple values for argument 'second'"),
        ("Row", (1,), {"third": 1}, "unexpected keyword argument 'third'"),
    ],
)
def test_wrong_arguments_are_refused(classes, name, args, given, told):
    with pytest.raises(TypeError, match=told) as refused:
        getattr(classes, name)(*args, **given)
    assert name in str(refused.value)


@EITHER
def test_a_class_checks_its_fields_at_every_making(classes):
    with pytest.raises(ValueError, match="negative"):
        classes.Row("a", -1)
    with pytest.raises(ValueError, match="negative"):
        classes.replace(classes.Row("a"), second=-1)


@EITHER
def test_a_frozen_value_stays_as_it_is(classes):
    row = classes.Row("a")
    with pytest.raises(dataclasses.FrozenInstanceError, match="first"):
        row.first = 1
    with pytest.raises(dataclasses.FrozenInstanceError, match="first"):
        del row.first
    assert row == classes.Row("a")


@EITHER
def test_an_open_one_can_be_changed_within_its_fields(classes):
    one, other = classes.Open([1]), classes.Open([1])
    one.more += [2]
    one.rows = [3]
    assert (one.rows, one.more, other.more) == ([3], [2], [])
    with pytest.raises(AttributeError):
        one.fourth = 1


@EITHER
def test_slots_hold_the_fields(classes):
    assert classes.Derived.__slots__ == ("name", "secret", "cache")
    assert not hasattr(classes.Derived(id="a", name="b"), "__dict__")


@EITHER
def test_equality_is_of_the_class_and_of_what_is_compared(classes):
    assert classes.Derived(id="a", name="b", cache={"x": 1}) == classes.Derived(id="a", name="b")
    assert classes.Derived(id="a", name="b", secret="s") != classes.Derived(id="a", name="b")
    assert classes.Row("a") != classes.Open([1])
    assert classes.Base(id="a") != "a"
    assert classes.Open([1]) == classes.Open([1])


@EITHER
def test_frozen_values_are_hashed_as_they_are_compared_and_open_ones_are_not(classes):
    assert len({classes.Row("a"), classes.Row("a"), classes.Row("b")}) == 2
    assert hash(classes.Derived(id="a", name="b", cache={})) == hash(classes.Derived(id="a", name="b"))
    with pytest.raises(TypeError, match="unhashable"):
        hash(classes.Open([1]))


@EITHER
def test_shown_with_its_name_and_without_secrets(classes):
    assert (
        repr(classes.Derived(id="a", name="b", secret="s"))
        == f"{define.__name__}.<locals>.Classes.Derived(id='a', at=0, name='b')"
    )


@EITHER
def test_changed_copies(classes):
    row = classes.Row("a")
    assert classes.replace(row, second=3) == dataclasses.replace(row, second=3) == classes.Row("a", 3)
    assert row == classes.Row("a")
    with pytest.raises(TypeError, match="third"):
        classes.replace(row, third=3)


def test_changed_copies_in_the_way_that_came_with_python_3_13():
    assert OURS.Row("a").__replace__(second=3) == OURS.Row("a", 3)


@pytest.mark.parametrize(
    "value",
    [
        JobsOptions(attempts=3, backoff=BackoffOptions(type="fixed")),
        BulkJob("name", {"data": [1]}),
        ConnectionOptions(password="secret"),
        events.Active(event_id="1-0", job_id="j"),
        Drained(dead_letters=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_copies_and_pickles_are_equal(value):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value  # noqa: S301 - our own
    assert copy.copy(value) == copy.deepcopy(value) == value


def test_a_deep_copy_shares_nothing():
    row = OURS.Row(["a"])
    assert copy.deepcopy(row).first is not row.first


@EITHER
def test_patterns_match_by_position_and_by_name(classes):
    match classes.Row("a", 3):
        case classes.Row(first, second):
            assert (first, second) == ("a", 3)
        case _:
            pytest.fail("no match")
    assert classes.Derived.__match_args__ == ()


# -- who asks the standard library ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Base", "Derived", "Row", "Open"])
def test_the_standard_library_is_told_the_same(name):
    standard, ours = getattr(STANDARD, name), getattr(OURS, name)

    def shape(kind: type[Any]) -> list[Any]:
        return [(f.name, f.type, f.default, f.default_factory, f.repr, f.compare, f.kw_only, f.init)
                for f in dataclasses.fields(kind)]  # fmt: skip

    assert shape(ours) == shape(standard)
    assert _dataclass.field_names(ours) == tuple(f.name for f in dataclasses.fields(standard))
    assert inspect.signature(ours) == inspect.signature(standard)
    assert dataclasses.is_dataclass(ours)
    assert repr(ours.__dataclass_params__) == repr(standard.__dataclass_params__)
    assert ours.__doc__ == standard.__doc__ or ours.__doc__ is None
    assert typing.get_type_hints(ours, globals()) == typing.get_type_hints(standard, globals())


def test_as_a_dictionary_and_as_a_tuple():
    row = OURS.Row(OURS.Base(id="a"))
    assert dataclasses.is_dataclass(row)
    assert dataclasses.asdict(row) == {"first": {"id": "a", "at": 0}, "second": 2}
    assert dataclasses.astuple(row) == (("a", 0), 2)


def test_a_standard_dataclass_inherits():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class More(OURS.Base):
        extra: int = 5

    assert More(id="a") == More(id="a", at=0, extra=5)
    assert list(inspect.signature(More).parameters) == ["id", "at", "extra"]
    assert dataclasses.asdict(More(id="a")) == {"id": "a", "at": 0, "extra": 5}


def test_a_plain_class_inherits_and_has_its_own_signature():
    class Mine(OURS.Base):
        def __init__(self, number: int) -> None:
            super().__init__(id=str(number))

    assert Mine(7).id == "7"
    assert Mine(7) == Mine(7)
    assert list(inspect.signature(Mine).parameters) == ["number"]


def test_a_class_without_slots_is_refused():
    with pytest.raises(TypeError, match="slots=True"):
        _dataclass.dataclass(slots=False)


def test_none_of_it_loads_the_standard_module():
    program = (
        "import sys; from chasquimq import JobsOptions; from chasquimq._dataclass import replace\n"
        "one = JobsOptions(attempts=1); repr(one), hash(one), replace(one, attempts=2) == one\n"
        "print(*{'dataclasses', 'inspect', 'ast'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
