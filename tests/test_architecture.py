"""The shape of the package: who may import whom, how large a file may become."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import chasquimq

PACKAGE = Path(chasquimq.__file__).parent
ROOT = PACKAGE.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
COMPILED = sorted(PACKAGE.rglob("*.pyx")) + sorted(PACKAGE.rglob("*.pxd"))

LOOPS = {"anyio", "asyncio", "trio", "sniffio", "uvloop"}
VALUES = {
    f"chasquimq.{name}"
    for name in ("_dataclass", "_first_use", "errors", "times", "address", "options", "events", "states", "job")
}
SHARED = VALUES | {"chasquimq._fast", "chasquimq._core"}
NATIVE = {"chasquimq.native"}
PERIPHERAL = {"chasquimq.embedded", "chasquimq._version"}

# What the modules below a name may import of ours; the longest name that fits counts.
OURS = {
    "chasquimq._dataclass": set(),
    "chasquimq._first_use": set(),
    "chasquimq.errors": set(),
    "chasquimq._version": set(),
    "chasquimq.times": {"chasquimq.errors"},
    "chasquimq.address": {"chasquimq._dataclass", "chasquimq.errors", "chasquimq.address"},
    "chasquimq.events": {"chasquimq._dataclass", "chasquimq.errors"},
    "chasquimq.options": {"chasquimq._dataclass", "chasquimq.errors", "chasquimq.times", "chasquimq.address"},
    "chasquimq.states": set(),
    "chasquimq._fast": {"chasquimq.errors", "chasquimq._fast"},
    "chasquimq.job": {"chasquimq.errors", "chasquimq.times", "chasquimq.options", "chasquimq._fast"},
    "chasquimq._core": SHARED,
    "chasquimq._net": SHARED | {"chasquimq._net"},
    "chasquimq._processes": SHARED | PERIPHERAL | {"chasquimq._processes"},
    "chasquimq.embedded": {"chasquimq.errors", "chasquimq._embedded_watch"},
    "chasquimq._embedded_watch": set(),
    "chasquimq.native": SHARED,
    "chasquimq.sync": SHARED | PERIPHERAL | NATIVE | {"chasquimq._net", "chasquimq._processes", "chasquimq.sync"},
    "chasquimq.aio": SHARED | PERIPHERAL | NATIVE | {"chasquimq._net", "chasquimq._processes", "chasquimq.aio"},
    "chasquimq.testing": SHARED | NATIVE | {"chasquimq._net", "chasquimq.sync", "chasquimq.testing"},
    "chasquimq.testing.aio": SHARED | NATIVE | {"chasquimq._net", "chasquimq.aio", "chasquimq.testing"},
    "chasquimq.pytest_plugin": {"chasquimq.embedded", "chasquimq.sync", "chasquimq.testing"},
}
# What the modules below a name must never import of anybody else's.
FORBIDDEN = {
    # Its decorator would be half of the time in which the package loads: chasquimq._dataclass has another.
    "chasquimq": {"dataclasses"},
    "chasquimq.errors": LOOPS | {"redis", "hiredis"},
    "chasquimq._fast": LOOPS | {"redis", "hiredis", "socket", "select", "ssl"},
    "chasquimq._core": LOOPS
    | {"redis", "socket", "select", "ssl", "time", "threading", "random", "secrets", "os", "uuid"},
    "chasquimq._processes": LOOPS | {"redis", "hiredis", "socket"},
    "chasquimq.sync": LOOPS | {"redis"},
    "chasquimq.aio": {"redis"},
    "chasquimq._net.blocking": LOOPS,
    "chasquimq._net.following": LOOPS,
    "chasquimq._net.housekeeper": LOOPS,
    "chasquimq._net.scheduling": LOOPS,
    "chasquimq._net.parking": LOOPS,
    "chasquimq._net.clock": LOOPS,
    "chasquimq._net.opening": LOOPS,
}
EXCEPTIONS = {
    # Listeners are added by users' threads; the lock guards the table, it waits for nothing else.
    ("chasquimq._core.listeners", "threading"),
    # It answers for the standard module to whoever asks that one.
    ("chasquimq._dataclass", "dataclasses"),
}

EVERY_MODULE = pytest.mark.parametrize("module", MODULES)


def is_below(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")


def rule_for(module: str, rules: dict[str, set[str]]) -> set[str] | None:
    fitting = [name for name in rules if is_below(module, name)]
    return rules[max(fitting, key=len)] if fitting else None


def imports(module: str) -> set[str]:
    """Every module that the source imports, wherever in the file; what only type checkers read is left out."""
    path = MODULES[module]
    is_package = path.name == "__init__.py"
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if is_for_types(block) for node in ast.walk(block)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base]).rstrip(".")
            # ``from chasquimq._core import dead_letters`` imports a module, ``from x import name`` does not.
            found |= {name if (name := f"{base}.{alias.name}") in MODULES else base for alias in node.names}
    return found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@EVERY_MODULE
def test_imports_go_one_way_only(module):
    allowed = rule_for(module, OURS)
    ours = {name for name in imports(module) if is_below(name, "chasquimq")}
    if allowed is None:
        # The top of the package and its command line may know everything but the asynchronous form.
        assert not any(is_below(name, "chasquimq.aio") for name in ours)
        return
    wrong = {name for name in ours if not any(is_below(name, way) for way in allowed)}
    assert not wrong, f"{module} imports {wrong}"


@EVERY_MODULE
def test_no_module_imports_what_its_layer_must_do_without(module):
    forbidden = set().union(*(names for layer, names in FORBIDDEN.items() if is_below(module, layer)))
    used = {name.split(".")[0] for name in imports(module)}
    wrong = {name for name in used & forbidden if (module, name) not in EXCEPTIONS}
    assert not wrong, f"{module} imports {wrong}"


def test_every_rule_is_about_a_module_that_exists():
    for name in [*OURS, *FORBIDDEN, *(module for module, _ in EXCEPTIONS)]:
        assert name in MODULES, name


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.name)
def test_compiled_modules_import_errors_and_their_like_only(path):
    for line in path.read_text("utf-8").splitlines():
        words = line.split()
        if line.startswith(("from chasquimq", "cimport chasquimq", "import chasquimq")):
            assert words[1] == "chasquimq.errors" or words[1].startswith("chasquimq._fast"), line


# -- the house -------------------------------------------------------------------------------------------------


@EVERY_MODULE
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(MODULES[module].read_text("utf-8")))


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.name)
def test_every_compiled_module_says_what_it_is_for(path):
    assert path.read_text("utf-8").lstrip().startswith(('"""', "#"))


@pytest.mark.parametrize("path", [*MODULES.values(), *COMPILED], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_source_file_holds_more_than_one_concept(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", sorted(path.stem for path in (PACKAGE / "_fast").glob("*.pyx")))
def test_every_compiled_module_has_its_twin(name):
    assert (PACKAGE / "_fast" / "_pure" / f"{name}.py").exists()


def test_the_generated_files_are_what_would_be_generated():
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate_sync.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
