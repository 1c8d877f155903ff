"""The faults of a chaos run, drawn before it begins: the same seed gives the same faults at the same moments.

How a machine gets from one moment to the next is its own affair, so that two runs of a seed are alike, not equal. A
fault never hits what another one has already stopped, and there is one trouble of the server at a time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SERVER = "server"
WORKERS = ("worker-1", "worker-2", "worker-3")
PRODUCERS = ("producer-1", "producer-2")
OTHERS = ("scheduler-1", "reader-1")
CAST = (*WORKERS, *PRODUCERS, *OTHERS)

PROCESS_FAULTS = {"kill": 45, "stop": 20, "pause": 20}
"""kill -9 and start again; SIGTERM, drain and start again; SIGSTOP for a while."""
SERVER_FAULTS = {
    "kill": 8,  # kill -9, and start again with the data of its append-only file
    "pause": 6,
    "lose": 3,  # kill -9, and start again with nothing
    "cut": 8,  # all connections
    "flush": 6,  # the script cache
    "fill": 4,  # at maxmemory, for a while
    "demote": 3,  # a replica of nobody, for a while
    "ungroup": 2,  # the consumer group is destroyed
}
SERVER_SHARE = 0.35
FIRST_MS = 1_000
REST_MS = (150, 700)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done to one process at one moment of the run."""

    at_ms: int
    target: str
    action: str

    def __str__(self) -> str:
        return f"{self.at_ms / 1000:8.3f} s  {self.action} {self.target}"


def draw_schedule(seed: int, seconds: float) -> list[Step]:
    """All steps of a run, in order. Whatever is stopped goes on again, at the latest after the last fault."""
    dice = random.Random(f"chaos {seed}")
    steps: list[Step] = []
    back_at = dict.fromkeys((SERVER, *CAST), 0)
    now = FIRST_MS
    while now < seconds * 1000:
        if dice.random() < SERVER_SHARE:
            faults, targets = SERVER_FAULTS, [SERVER]
        else:
            faults, targets = PROCESS_FAULTS, [dice.choices([*CAST], [3 if name in WORKERS else 2 for name in CAST])[0]]
        target = targets[0]
        fault = dice.choices([*faults], [*faults.values()])[0]
        lasts = _length(dice, target, fault)
        if back_at[target] <= now:
            steps.append(Step(now, target, fault))
            if lasts is not None:
                steps.append(Step(now + lasts, target, _UNDONE_BY[fault]))
            back_at[target] = now + (lasts or 0) + 200
        now += dice.randrange(*REST_MS)
    # Stable: what is undone at once is undone after it was done.
    return sorted(steps, key=lambda step: step.at_ms)


_UNDONE_BY = {
    "kill": "start",
    "stop": "start",
    "lose": "start",
    "pause": "resume",
    "fill": "empty",
    "demote": "promote",
}


def _length(dice: random.Random, target: str, fault: str) -> int | None:
    """For how long, in milliseconds; None where it is over at once."""
    if fault not in _UNDONE_BY:
        return None
    if fault == "pause":
        # Beyond a worker's lease every other time.
        return dice.choice([dice.randrange(100, 1_200), dice.randrange(1_600, 3_500)])
    if target == SERVER:
        return dice.choice([0, dice.randrange(0, 1_500)])
    return dice.choice([0, dice.randrange(0, 800)])


def described(steps: Sequence[Step]) -> str:
    return "\n".join(map(str, steps))
