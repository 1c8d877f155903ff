"""One chaos run from its seed to its report."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.faults.chaos.reckoning import Reckoning, reckon
from tests.faults.chaos.schedule import SERVER
from tests.faults.chaos.stage import Stage
from tests.servers import ServerBinary

TROUBLE_IN_LOGS = ("Traceback (most recent call last)", "was never retrieved", "Exception ignored")
SHOWN = 10
ROBS_DELIVERIES = ("lose", "ungroup")
"""After these, an entry that comes again does not know that it came before."""


@dataclass
class Report:
    """What happened in a run, and what should not have."""

    heading: str
    faults: Counter[str]
    reckoning: Reckoning
    breaches: list[str]

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        verdict = "all is well" if not self.breaches else f"{len(self.breaches)} BREACHES:"
        lines = [self.heading, f"faults: {faults}", "", str(self.reckoning), "", verdict, *self.breaches[:SHOWN]]
        return "\n".join(lines)


def run(seed: int, seconds: float, folder: Path, binary: ServerBinary) -> Report:
    """Plays the seed's schedule and judges what is left. ``folder`` then holds ledgers, logs and journals."""
    with Stage(seed, seconds, folder, binary) as stage:
        stage.play()
        stage.settle()
        journals = stage.journals()
    disturbances = [(begun, over) for begun, over, step in stage.happened if step.action in ROBS_DELIVERIES]
    reckoning = reckon(folder, journals, disturbances)
    faults = Counter(
        f"{'server' if step.target == SERVER else 'process'} {step.action}"
        for _, _, step in stage.happened
        if step.action not in ("start", "resume", "empty", "promote")
    )
    forms = Counter[str]()
    for actor in stage.cast.values():
        forms.update(actor.forms)
    heading = (
        f"seed {seed}, {seconds:.0f} s of faults, {binary.command[-1].rsplit('/')[-1]} {binary.version}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"processes: {', '.join(f'{form} {count}' for form, count in sorted(forms.items()))}"
    )
    return Report(heading, faults, reckoning, [*stage.wrongs(), *trouble_in_logs(folder), *reckoning.breaches])


def trouble_in_logs(folder: Path) -> list[str]:
    """Errors that nobody was meant to see: a process that could not start has told why elsewhere."""
    found = []
    for log in folder.glob("process-*.log"):
        text = log.read_text(errors="replace")
        if "chasquimq.errors.Redis" in text or "chasquimq.errors.ServerReplyError" in text:
            continue
        found += [f"{log.name} has {words!r}: {text[-800:]}" for words in TROUBLE_IN_LOGS if words in text]
    return found
