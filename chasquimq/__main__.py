"""``python -m chasquimq --version``: which version is installed and which implementation runs."""

from __future__ import annotations

import argparse
import platform
import sys

from chasquimq import IMPLEMENTATION, engine_version

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="chasquimq", description="A job queue on Redis Streams.")
    parser.add_argument("--version", action="store_true", help="print the version and the implementation that runs")
    options = parser.parse_args(arguments)
    if options.version:
        sys.stdout.write(f"chasquimq {engine_version()} ({IMPLEMENTATION}), Python {platform.python_version()}\n")
        return 0
    parser.print_help()
    return 2


if __name__ == "__main__":
    sys.exit(main())
