"""Errors go from process to process: what is pickled comes back as it was."""

import copy
import pickle

import pytest

from chasquimq import errors

ATTRIBUTES = {
    errors.PayloadTooLargeError: {"size": 3, "limit": 2},
    errors.RedisConnectionError: {"may_have_executed": True},
    errors.RedisTimeoutError: {"may_have_executed": True},
    errors.ServerReplyError: {"code": "OOM"},
    errors.UnsupportedServerError: {"version": "6.2", "missing": "XAUTOCLAIM"},
    errors.BulkAddError: {"errors": {1: errors.InvalidJobIdError("blank")}, "jobs": [None], "added": 4},
    errors.WorkerProcessError: {"process": "w-0", "pid": 7, "exit_code": -9},
}


class _Own(errors.UnrecoverableError):
    """A user's subclass whose constructor takes something else than a message."""

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(f"number {number}")
        self.reason = reason


def unpickled(error):
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - what was written a moment ago


@pytest.mark.parametrize("name", errors.__all__)
@pytest.mark.parametrize("again", [unpickled, copy.copy])
def test_an_error_comes_back_with_its_text_its_attributes_and_its_notes(name, again):
    kind = getattr(errors, name)
    attributes = ATTRIBUTES.get(kind, {})
    error = kind("what happened", **attributes)
    error.add_note("seen elsewhere")
    found = again(error)
    assert type(found) is kind
    assert str(found) == "what happened"
    assert found.args == ("what happened",)
    assert found.__notes__ == ["seen elsewhere"]
    for attribute, value in attributes.items():
        assert repr(getattr(found, attribute)) == repr(value)


def test_every_error_with_attributes_is_tried_with_them():
    with_own = {name for name in errors.__all__ if "__init__" in vars(getattr(errors, name))}
    assert with_own <= {kind.__name__ for kind in ATTRIBUTES}


def test_a_subclass_of_a_user_needs_no_more():
    found = unpickled(_Own(3, reason="odd"))
    assert (type(found), str(found), found.reason) == (_Own, "number 3", "odd")
