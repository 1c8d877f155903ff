"""``python -m benchmarks [SCENARIO …]``: measures whole scenarios beside their floors and the field.

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
from benchmarks.peers import PEERS, REFERENCE
from benchmarks.report.circumstances import circumstances, merged
from benchmarks.report.document import REPORT, target_rows, write_report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="names, or beginnings of names; see --list")
    parser.add_argument("--list", action="store_true", help="name the scenarios and the peers, and stop")
    parser.add_argument("--flavours", default=",".join(FLAVOURS), help="default: %(default)s")
    parser.add_argument("--pairs", type=int, help="rounds; default 5, or 3 with --quick")
    parser.add_argument("--quick", action="store_true", help="fewer jobs: for a look, not for a report")
    parser.add_argument(
        "--peers",
        nargs="?",
        const=",".join(PEERS),
        default=REFERENCE,
        metavar="NAMES",
        help="who is measured beside us; without names all; without the option %(default)s alone; '' = nobody",
    )
    parser.add_argument("--server", default="redis-8.6", help="a name of `python -m tests.servers list`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.relative_to(REPORT.parents[1])}")
    parser.add_argument(
        "--from",
        dest="earlier",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: show the runs of these --json files, together",
    )
    return parser.parse_args()


def _chosen(names: list[str], is_for_report: bool) -> list[Case]:
    if not names:
        return [case for case in ALL if is_for_report or not case.optional]
    known = {case.name for case in ALL}
    chosen: list[Case] = []
    for name in names:
        found = [case for case in ALL if case.name == name or (name not in known and case.name.startswith(name))]
        if not found:
            sys.exit(f"there is no scenario {name!r}; the names are {', '.join(sorted(known))}")
        chosen += [case for case in found if case not in chosen]
    return chosen


def _names(text: str, known: tuple[str, ...], what: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(known):
        sys.exit(f"there is no {what} {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def main() -> int:
    options = _arguments()
    if options.list:
        for case in ALL:
            print(f"{case.name:16} {case.title}{' (only when named, or for a report)' if case.optional else ''}")
        print(f"peers: {', '.join(PEERS)}")
        return 0
    if options.earlier is not None:
        document = merged([json.loads(file.read_text()) for file in options.earlier])
    else:
        document = _measure_all(options)
        if options.json:
            options.json.write_text(json.dumps(document, indent=1))
    results = {found["case"]: Measured.from_json(found) for found in document["cases"]}
    if options.earlier is not None:
        for measured in results.values():
            print("\n".join(lines_of(measured)), end="\n\n")
    _print_targets(results)
    if options.report:
        write_report(REPORT, results, document["circumstances"])
    return 1 if any(measured.voids for measured in results.values()) else 0


def _measure_all(options: argparse.Namespace) -> dict[str, object]:
    from tests.servers.process import RedisServer

    cases = _chosen(options.scenarios, options.report)
    flavours = _names(options.flavours, FLAVOURS, "flavour")
    peers = _names(options.peers, tuple(PEERS), "peer")
    pairs = options.pairs or (3 if options.quick else 5)
    # The server leaves with us, however we are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with RedisServer(options.server) as server:
        assert server.port is not None
        version = Probe(HOST, server.port).info("server")["redis_version"]
        found = []
        for case in cases:
            measured = measure(
                case,
                server.port,
                flavours=flavours,
                peers=peers,
                pairs=pairs,
                size="quick" if options.quick else "full",
                tell=_tell if sys.stderr.isatty() else lambda _line: None,
            )
            found.append(measured)
            print("\n".join(lines_of(measured)), end="\n\n", flush=True)
    asked = {side for measured in found for side in (*measured.sides(), *measured.missing) if side in PEERS}
    return {
        "circumstances": circumstances(version, pairs, is_quick=options.quick, peers=[p for p in peers if p in asked]),
        "cases": [measured.to_json() for measured in found],
    }


def _tell(line: str) -> None:
    print(f"\r{line:78.78}\r", end="", file=sys.stderr, flush=True)


def _print_targets(results: dict[str, Measured]) -> None:
    rows = list(target_rows(results))
    if rows:
        print("targets")
        for what, side, target, measured, verdict in rows:
            print(f"  {what:52} {side:8} {target:>8}  {measured:>26}  {verdict}")


if __name__ == "__main__":
    sys.exit(main())
