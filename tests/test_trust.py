"""Nothing that comes from outside is ever run: no pickle, no marshal, no eval, wherever in the package."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import msgpack
import pytest

import chasquimq
from chasquimq.errors import EnvelopeError, PayloadDecodeError, PayloadEncodeError

PACKAGE = Path(chasquimq.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyx", ".pxd"))
# Modules that make objects, or code, out of bytes.
CARRIERS = {
    "pickle",
    "_pickle",
    "pickletools",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "jsonpickle",
    "joblib",
    "yaml",
}
RUNNERS = {"eval", "exec", "compile", "__import__"}
EVERY_SOURCE = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))


@EVERY_SOURCE
def test_no_module_makes_objects_or_code_out_of_bytes(path):
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        words = {word for line in text.splitlines() if not line.lstrip().startswith("#") for word in line.split()}
        assert not words & CARRIERS
        assert not [name for name in RUNNERS if f"{name}(" in text]
        return
    tree = ast.parse(text)
    named = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    named |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    carried = named & CARRIERS
    if path.relative_to(PACKAGE) == Path("_processes/blueprint.py"):
        # It tries early whether multiprocessing, which spawns interpreters, will be able to carry a function.
        assert carried == {"pickle"}
        used = {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_name(node.value, "pickle")
        }
        assert used == {"dumps"}
    else:
        assert not carried
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & RUNNERS


def is_name(node, name):
    return isinstance(node, ast.Name) and node.id == name


def test_only_lines_between_the_processes_of_one_worker_carry_objects():
    """multiprocessing's connections pickle. They are pipes that a process inherits; nobody else can write to them."""
    users = [
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(
            name.startswith("multiprocessing")
            for name in [getattr(node, "module", None) or "", *(a.name for a in node.names)]
        )
    ]
    assert {name.partition("/")[0] for name in users} == {"_processes"}


class Trap:
    """Whoever unpickles it says so."""

    def __reduce__(self):
        return (pytest.fail, ("a payload was unpickled",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_only_bytes(protocol):
    trap = pickle.dumps(Trap(), protocol)
    assert chasquimq.decode_payload(msgpack.packb(trap)) == trap
    for code in range(128):
        assert chasquimq.decode_payload(msgpack.packb(msgpack.ExtType(code, trap))) == msgpack.ExtType(code, trap)
    with pytest.raises((PayloadDecodeError, EnvelopeError)):
        chasquimq.decode_payload(trap)
    with pytest.raises(PayloadEncodeError):
        chasquimq.encode_payload(Trap())
