"""Builds the extension modules of ``chasquimq._fast``; everything else stands in pyproject.toml.

Environment variables:

* ``CHASQUIMQ_NO_EXTENSIONS=1``: build none; the pure-Python twins serve (a ``py3-none-any`` wheel).
* ``CHASQUIMQ_DEBUG=1``: bounds and overflow checks on, for the test-suite and sanitizer builds.
* ``CHASQUIMQ_COVERAGE=1``: line tracing on.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

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
        Extension(
            f"chasquimq._fast.{path.stem}",
            [f"chasquimq/_fast/{path.name}"],
            define_macros=macros,
            extra_compile_args=["-O3"] if not DEBUG else ["-O1", "-g"],
        )
        for path in sorted((ROOT / "chasquimq" / "_fast").glob("*.pyx"))
    ]
    return cythonize(modules, compiler_directives=DIRECTIVES, language_level=3) if modules else []


class BuildIfPossible(build_ext):
    """Without a working C compiler the build goes on, and the pure-Python twins serve.

    Extension(optional=True) is meant for that, but covers only some of the ways in which a compiler can fail.
    """

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - however the compiler fails, there is a way to go on
            print(f"chasquimq: the extension modules were not built, the pure-Python twins will serve: {error}")


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildIfPossible})
