"""Two forms, one API: the same classes, methods, parameters, defaults and words in ``sync`` and ``aio``.

What is compared is found through ``__all__``: a class that is added later is compared without a change here.
"""

import importlib
import inspect
import pkgutil
import re
import typing

import pytest

import chasquimq
import chasquimq.aio
import chasquimq.sync

FORMS = (chasquimq.sync, chasquimq.aio)
SHARED = sorted(set(chasquimq.sync.__all__) & set(chasquimq.aio.__all__))
CLASSES = [name for name in SHARED if inspect.isclass(getattr(chasquimq.sync, name))]

# Words that differ because the forms do; everything else must be the same text.
DIALECT = [
    (r"chasquimq\.(sync|aio)", "chasquimq.FORM"),
    (r"\ban?synchronous\b|\bsynchronous\b", "FORM"),
    (r"\bcoroutine functions?\b|\bplain functions?\b", "FUNCTION"),
    (r"\b(threads?|tasks?)\b", "TASK"),
    (r"\b(threading|anyio)\.Event\b", "Event"),
    (r"\basync (with|for)\b", r"\1"),
    (r"\ban? (?=``)", "a "),
    (r"\bStopAsyncIteration\b", "StopIteration"),
]
# Parameters or words that belong to one form by nature, each with its reason.
DIFFERENT_TEXT: dict[str, str] = {
    "Worker": "handlers run in threads here and as tasks there",
    "Worker.run": "Ctrl-C reaches a thread here and a task group there",
    "Worker.close": "what may be called from where",
    "Worker.on": "listeners may be coroutine functions there",
}
PAIRS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__", "__next__": "__anext__"}
OWN_DUNDERS = {"__init__", "__repr__", "__len__", "__contains__"}


def test_both_forms_export_the_same_names():
    assert sorted(chasquimq.sync.__all__) == sorted(chasquimq.aio.__all__)


def test_the_top_of_the_package_exports_the_synchronous_form_and_everything_shared():
    assert set(chasquimq.sync.__all__) <= set(chasquimq.__all__)
    for name in chasquimq.sync.__all__:
        assert getattr(chasquimq, name) is getattr(chasquimq.sync, name)
    from chasquimq import errors, native, options, states

    for shared in (errors, options, native, states):
        assert set(shared.__all__) <= set(chasquimq.__all__)
        assert all(getattr(chasquimq, name) is getattr(shared, name) for name in shared.__all__)


@pytest.mark.parametrize("module", [chasquimq, *FORMS], ids=lambda module: module.__name__)
def test_every_exported_name_is_there_and_sorted(module):
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_both_forms_have_the_same_public_modules_with_the_same_names_in_them():
    modules = [{found.name for found in pkgutil.iter_modules(form.__path__) if found.name[0] != "_"} for form in FORMS]
    assert modules[0] == modules[1]
    for name in modules[0]:
        ours, theirs = (importlib.import_module(f"{form.__name__}.{name}") for form in FORMS)
        assert sorted(ours.__all__) == sorted(theirs.__all__)


# -- members ---------------------------------------------------------------------------------------------------


def members(owner):
    """The public members of a class, and the special ones that make up its API; by the synchronous name."""
    asynchronous = {theirs: ours for ours, theirs in PAIRS.items()}
    found = {}
    for name, member in inspect.getmembers_static(owner):
        if name in OWN_DUNDERS or name in PAIRS or name in asynchronous or not name.startswith("_"):
            if name.startswith("__") and member is getattr(object, name, None):
                continue
            found[asynchronous.get(name, name)] = member
    return found


def function_of(member):
    if isinstance(member, property):
        return member.fget
    if isinstance(member, staticmethod | classmethod):
        return member.__func__
    return member if inspect.isfunction(member) else None


def compared():
    """Every member that stands in both forms' classes."""
    for name in CLASSES:
        both = members(getattr(chasquimq.sync, name)).keys() & members(getattr(chasquimq.aio, name)).keys()
        yield from (pytest.param(name, member, id=f"{name}.{member}") for member in sorted(both))


@pytest.mark.parametrize("name", SHARED)
def test_a_name_means_the_same_kind_of_thing_in_both_forms(name):
    ours, theirs = getattr(chasquimq.sync, name), getattr(chasquimq.aio, name)
    assert type(ours) is type(theirs)
    assert inspect.isclass(ours) or typing.get_origin(ours) is typing.get_origin(theirs) is not None


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_same_members(name):
    ours, theirs = (members(getattr(form, name)) for form in FORMS)
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize(("name", "member"), [*compared()])
def test_parameters_are_the_same_in_the_same_order_with_the_same_defaults(name, member):
    ours, theirs = (members(getattr(form, name))[member] for form in FORMS)
    assert type(ours) is type(theirs)
    ours, theirs = function_of(ours), function_of(theirs)
    if ours is None:
        return
    assert signature(ours) == signature(theirs)


def signature(function):
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("name", "member"), [*compared()])
def test_words_are_the_same(name, member):
    ours, theirs = (members(getattr(form, name))[member] for form in FORMS)
    if f"{name}.{member}" not in DIFFERENT_TEXT:
        assert words(ours) == words(theirs)
    if not member.startswith("__") and function_of(ours) is not None:
        assert words(ours), f"{name}.{member} has no docstring"


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_described_in_the_same_words(name):
    ours, theirs = (getattr(form, name) for form in FORMS)
    assert inspect.getdoc(ours)
    if name not in DIFFERENT_TEXT:
        assert words(ours) == words(theirs)


def words(documented):
    text = " ".join((getattr(documented, "__doc__", None) or "").split())
    for pattern, word in DIALECT:
        text = re.sub(pattern, word, text)
    return text


# -- what waits ------------------------------------------------------------------------------------------------

IMMEDIATE = {"on", "once", "off", "is_running", "is_paused", "to_json", "is_delayed", "progressed"}
"""Methods that do not wait in either form."""


@pytest.mark.parametrize(("name", "member"), [*compared()])
def test_what_waits_is_awaited_in_one_form_and_never_in_the_other(name, member):
    ours, theirs = (function_of(members(getattr(form, name))[member]) for form in FORMS)
    if ours is None:
        return
    assert not inspect.iscoroutinefunction(ours)
    if (
        ours is theirs
        or member in IMMEDIATE
        or member in OWN_DUNDERS
        or isinstance(members(getattr(chasquimq.sync, name))[member], property)
    ):
        assert not inspect.iscoroutinefunction(theirs)


# -- types at run time -----------------------------------------------------------------------------------------

PUBLIC_MODULES = [
    importlib.import_module(f"chasquimq{name}")
    for name in ("", ".sync", ".aio", ".address", ".errors", ".events", ".native", ".options", ".states", ".testing")
]


def annotated():
    """Every public class and function, and the functions of the classes; each once."""
    found = {}
    for module in PUBLIC_MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found.setdefault(value, f"{module.__name__}.{name}")
            if inspect.isclass(value):
                for member, function in inspect.getmembers_static(value):
                    if member.startswith("_") and not member.startswith("__"):
                        continue
                    found.setdefault(function_of(function), f"{module.__name__}.{name}.{member}")
    return [pytest.param(value, id=name) for value, name in found.items() if value is not None]


@pytest.mark.parametrize("found", annotated())
def test_annotations_can_be_read_at_run_time(found):
    """Programs that read them (dependency injection, documentation, validation) find every name defined."""
    typing.get_type_hints(found)
