"""``python -m benchmarks [SCENARIO …]``: measures whole scenarios beside their floors and the reference.

Starts a private server for the run and ends it. Prints one table per scenario and, at the end, the targets.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from benchmarks.macro.case import FLAVOURS, Case
from benchmarks.macro.meter import Probe
from benchmarks.macro.results import Measured
from benchmarks.macro.runner import HOST, measure
from benchmarks.macro.scenarios import ALL
from benchmarks.macro.tables import lines_of
from benchmarks.report import target_rows, write_report

REPORT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="names, or beginnings of names; see --list")
    parser.add_argument("--list", action="store_true", help="name the scenarios and stop")
    parser.add_argument("--flavours", default=",".join(FLAVOURS), help="default: %(default)s")
    parser.add_argument("--pairs", type=int, help="rounds; default 5, or 3 with --quick")
    parser.add_argument("--quick", action="store_true", help="fewer jobs: for a look, not for a report")
    parser.add_argument("--no-reference", action="store_true", help="leave the reference out")
    parser.add_argument("--server", default="redis-8.6", help="a name of `python -m tests.servers list`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.relative_to(REPORT.parents[1])}")
    return parser.parse_args()


def _chosen(names: list[str]) -> list[Case]:
    if not names:
        return [case for case in ALL if not case.optional]
    known = {case.name for case in ALL}
    chosen = []
    for name in names:
        found = [case for case in ALL if case.name == name or (name not in known and case.name.startswith(name))]
        if not found:
            sys.exit(f"there is no scenario {name!r}; the names are {', '.join(sorted(known))}")
        chosen += [case for case in found if case not in chosen]
    return chosen


def main() -> int:
    options = _arguments()
    if options.list:
        for case in ALL:
            print(f"{case.name:16} {case.title}{' (only when named)' if case.optional else ''}")
        return 0
    cases = _chosen(options.scenarios)
    flavours = options.flavours.split(",")
    if unknown := set(flavours) - set(FLAVOURS):
        sys.exit(f"there is no flavour {', '.join(sorted(unknown))}; the flavours are {', '.join(FLAVOURS)}")
    pairs = options.pairs or (3 if options.quick else 5)

    from tests.servers.process import RedisServer

    # The server leaves with us, however we are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    results: dict[str, Measured] = {}
    with RedisServer(options.server) as server:
        assert server.port is not None
        version = Probe(HOST, server.port).info("server")["redis_version"]
        for case in cases:
            measured = measure(
                case,
                server.port,
                flavours=flavours,
                pairs=pairs,
                quick=options.quick,
                reference=not options.no_reference,
                tell=_tell if sys.stderr.isatty() else lambda _line: None,
            )
            results[case.name] = measured
            print("\n".join(lines_of(measured)), end="\n\n", flush=True)
    _print_targets(results)
    if options.json:
        options.json.write_text(json.dumps([measured.to_json() for measured in results.values()], indent=1))
    if options.report:
        write_report(REPORT, results, version, pairs)
    return 1 if any(measured.voids for measured in results.values()) else 0


def _tell(line: str) -> None:
    print(f"\r{line:78.78}\r", end="", file=sys.stderr, flush=True)


def _print_targets(results: dict[str, Measured]) -> None:
    rows = list(target_rows(results))
    if rows:
        print("targets")
        for what, side, target, measured, verdict in rows:
            print(f"  {what:52} {side:8} {target:>8}  {measured:>18}  {verdict}")


if __name__ == "__main__":
    sys.exit(main())
