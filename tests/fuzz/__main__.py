"""Coverage-guided fuzzing, target after target: ``python -m tests.fuzz [TARGET ...] [--minutes M]`` (``make fuzz``).

Each target runs in a process of its own and gets an equal part of the time. What it has learnt stays in ``.cache/fuzz``
and is where the next run goes on. An input that fails is written there, too; README.md says what to do with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import TOKENS, seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".cache" / "fuzz"
LONGEST_INPUT = 4_096
MOST_MEMORY_MB = 2_048


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--minutes", type=float, default=5, help="for all targets together (default: %(default)s)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    names = arguments.targets or list(TARGETS)
    seconds = max(1, round(arguments.minutes * 60 / len(names)))
    failed = [name for name in names if not fuzz(name, seconds)]
    print(
        f"{len(names) - len(failed)} of {len(names)} targets clean" + (f"; failed: {', '.join(failed)}" * bool(failed))
    )
    return bool(failed)


def fuzz(name: str, seconds: int) -> bool:
    """Whether the target found nothing."""
    corpus, begin = WORK / "corpus" / name, WORK / "seeds" / name
    for folder in (corpus, begin):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(name)):
        (begin / f"{number:04}").write_bytes(data)
    tokens = WORK / "tokens"
    tokens.write_text("".join(f'"{_escaped(token)}"\n' for token in TOKENS if len(token) < 40))
    print(f"== {name}, {seconds} s", flush=True)
    options = [
        *(f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-rss_limit_mb={MOST_MEMORY_MB}", "-timeout=15"),
        *(f"-artifact_prefix={WORK / f'{name}-'}", f"-dict={tokens}", "-print_final_stats=1", "-verbosity=0"),
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, *options, str(corpus), str(begin)],
        cwd=ROOT,
        check=False,
        timeout=seconds + 120,
    )
    return ended.returncode == 0


def _escaped(token: bytes) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    raise SystemExit(main())
