"""Builds the extension modules of ``chasquimq._fast``; everything else stands in pyproject.toml.

Environment variables:

* ``CHASQUIMQ_NO_EXTENSIONS=1``: build none; the pure-Python twins serve (a ``py3-none-any`` wheel).
* ``CHASQUIMQ_DEBUG=1``: bounds and overflow checks on, for the test-suite and sanitizer builds.
* ``CHASQUIMQ_COVERAGE=1``: line tracing on.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
DEBUG = bool(os.environ.get("CHASQUIMQ_DEBUG"))
COVERAGE = bool(os.environ.get("CHASQUIMQ_COVERAGE"))

# One table for all modules: what differs between release and debug builds is visible here and only here.
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
    "overflowcheck": DEBUG,
    "nonecheck": DEBUG,
    "embedsignature": True,
    "linetrace": COVERAGE,
    "binding": True,
}


def extensions() -> list[Extension]:
    if os.environ.get("CHASQUIMQ_NO_EXTENSIONS"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        print("chasquimq: Cython is not installed, building without the extension modules")
        return []
    macros = [("CYTHON_TRACE_NOGIL", "1")] if COVERAGE else []
    modules = [
        # optional: without a working C compiler the build goes on and the twins serve.
        Extension(
            f"chasquimq._fast.{path.stem}",
            [f"chasquimq/_fast/{path.name}"],
            define_macros=macros,
            extra_compile_args=["-O3"] if not DEBUG else ["-O1", "-g"],
            optional=True,
        )
        for path in sorted((ROOT / "chasquimq" / "_fast").glob("*.pyx"))
    ]
    return cythonize(modules, compiler_directives=DIRECTIVES, language_level=3) if modules else []


setup(ext_modules=extensions())
