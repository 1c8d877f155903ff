"""Every test here runs on both implementations of ``chasquimq._fast``: the twins and the compiled modules.

When a compiled module is missing the tests fail; only ``CHASQUIMQ_PURE=1`` leaves them out on purpose.
"""

import os
from importlib import import_module
from pkgutil import iter_modules
from types import SimpleNamespace

import pytest

from chasquimq._fast import _pure

MODULES = sorted(module.name for module in iter_modules(_pure.__path__))
PACKAGES = {"python": "chasquimq._fast._pure", "cython": "chasquimq._fast"}
IMPLEMENTATIONS = ["python"] if os.environ.get("CHASQUIMQ_PURE") == "1" else ["python", "cython"]


def load(implementation: str) -> SimpleNamespace:
    """The modules of one implementation, imported past the chooser."""
    modules = {name: import_module(f"{PACKAGES[implementation]}.{name}") for name in MODULES}
    return SimpleNamespace(implementation=implementation, package=PACKAGES[implementation], **modules)


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def fast(request: pytest.FixtureRequest) -> SimpleNamespace:
    return load(request.param)


@pytest.fixture(scope="session")
def twins() -> list[SimpleNamespace]:
    """All implementations at once, for tests that compare them."""
    return [load(implementation) for implementation in IMPLEMENTATIONS]
