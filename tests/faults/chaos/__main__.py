"""``python -m tests.faults.chaos``: one run, its ledger, and whether all is well."""

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from tests.faults.chaos.run import run
from tests.faults.chaos.schedule import described, draw_schedule
from tests.servers import ensure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of an earlier run, to have the same faults again")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long there are faults (1)")
    parser.add_argument("--schedule", action="store_true", help="print the faults of the seed and play nothing")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep ledgers, logs and journals there")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    if arguments.schedule:
        print(described(draw_schedule(seed, arguments.minutes * 60)))
        return 0
    print(f"chaos: seed {seed}, {arguments.minutes:g} minutes of faults", flush=True)
    binary = ensure(os.environ.get("CHASQUIMQ_TEST_SERVER") or "redis-8.6")
    with tempfile.TemporaryDirectory(prefix="chasquimq-chaos-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(seed, arguments.minutes * 60, folder, binary)
    print(report)
    return 1 if report.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
