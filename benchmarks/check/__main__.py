"""``python -m benchmarks.check``: counts the instructions of the hot paths and compares them with the baseline.

Ends with 1 when a path has become slower than the tolerance allows, with 2 when nothing could be counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.check.callgrind import CannotCountError, Counts, count, toolchain
from benchmarks.check.verdict import OTHER_TOLERANCE, SAME_TOLERANCE, compare, differences

BASELINE = Path(__file__).parents[1] / "baseline.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE.name}; commit it and say why")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="count N times, to see the noise")
    options = parser.parse_args()
    try:
        runs = [count() for _ in range(options.repeat)]
    except CannotCountError as error:
        print(error, file=sys.stderr)
        return 2
    tools = toolchain()
    if options.repeat > 1:
        _show_noise(runs)
    if options.update:
        _write(runs[0], tools)
        return 0
    failed = False
    for counts in runs:
        failed = _judge(counts, tools) or failed
    return 1 if failed else 0


def _judge(counts: Counts, tools: dict[str, str]) -> bool:
    """Prints the comparison; True when a path has become slower."""
    stored = json.loads(BASELINE.read_text())
    baseline: Counts = {path: (row["ours"], row["bare"]) for path, row in stored["instructions_per_job"].items()}
    other = differences(tools, stored["toolchain"])
    findings = list(compare(counts, baseline, is_same_toolchain=not other))
    print(f"{'path':16} {'per job':>9} {'÷ bare':>7} {'change':>8}")
    for found in findings:
        word = "SLOWER" if found.is_slower else "faster: run with --update" if found.is_faster else ""
        print(f"{found.path:16} {found.per_job:9,.0f} {found.ratio:7.3f} {found.change:+8.1%}  {word}".rstrip())
    if other:
        print(
            f"The baseline is of another toolchain ({'; '.join(other)}): ratios to the bare paths were compared, and "
            f"only a change of {OTHER_TOLERANCE:.0%} counts. For a sharper guard here, store a baseline of your own "
            "with --update before the change that you want to judge."
        )
    else:
        print(f"Instructions per job were compared; a change of {SAME_TOLERANCE:.0%} counts.")
    return any(found.is_slower for found in findings)


def _show_noise(runs: list[Counts]) -> None:
    print(f"noise of {len(runs)} runs, highest over lowest count")
    for path in runs[0]:
        ours, bare = zip(*(run[path] for run in runs), strict=True)
        print(f"{path:16} ours {max(ours) / min(ours) - 1:.3%}, bare {max(bare) / min(bare) - 1:.3%}")


def _write(counts: Counts, tools: dict[str, str]) -> None:
    rows = {path: {"ours": round(ours), "bare": round(bare)} for path, (ours, bare) in counts.items()}
    BASELINE.write_text(json.dumps({"toolchain": tools, "instructions_per_job": rows}, indent=1) + "\n")
    print(f"wrote {BASELINE}")


if __name__ == "__main__":
    sys.exit(main())
