"""``python -m tests.faults.soak``: one run, what it measured, and whether all is well."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.faults.soak.stage import run
from tests.servers import ensure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there is work (10)")
    parser.add_argument("--seed", type=int, default=0, help="for what is done when (0)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep ledgers and logs there")
    arguments = parser.parse_args()
    binary = ensure(os.environ.get("CHASQUIMQ_TEST_SERVER") or "redis-8.6")
    print(f"soak: {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="chasquimq-soak-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(arguments.seed, arguments.minutes * 60, folder, binary)
    print(report)
    return 1 if report.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
