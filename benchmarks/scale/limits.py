"""How much one Redis core bears before waiting times grow: found by simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache

from benchmarks.scale.capacity import HANDLER_S, Way
from benchmarks.scale.commands import CommandCosts
from benchmarks.scale.simulation.shard import SECOND, Load, Outcome, simulate, workers_for
from benchmarks.scale.simulation.worker import Handlers

__all__ = ["Study"]

PROMPT_S = 0.1
"""A core bears a rate when 99 % of the jobs start at most this much later than with a server that takes no time."""
GROUPS = 100
"""Of those that arrive together there are enough to see more than one of them."""
PRECISION = 0.02
WARM_UP_S = 0.5
"""Some durations of a handler."""
LOWEST, HIGHEST = 2_000.0, 400_000.0
NO_TIME = CommandCosts(**dict.fromkeys((field.name for field in fields(CommandCosts)), 0.0))


class Study:
    """Simulations of each way, with the same seed."""

    def __init__(self, costs: Mapping[Way, CommandCosts], seed: int, seconds: float = 1.0) -> None:
        self._costs = costs
        self._seed = seed
        self._seconds = seconds
        self.limit = lru_cache(self._limit)

    def load(self, way: Way, rate: float) -> Load:
        """This rate, with as many workers as it takes."""
        handlers = Handlers(duration=HANDLER_S * SECOND, events=way.events, gathers=not way.results)
        seconds = max(self._seconds, GROUPS * way.group / rate)
        return Load(rate, workers_for(rate, handlers), way.group, handlers, seconds=seconds, warm_up=WARM_UP_S)

    def run(self, way: Way, load: Load) -> Outcome:
        return simulate(load, self._costs[way], self._seed)

    def at(self, way: Way, rate: float) -> Outcome:
        """How a rate goes with as many workers as it takes."""
        return self.run(way, self.load(way, rate))

    def bears(self, way: Way, rate: float) -> bool:
        """Whether jobs start promptly at this rate."""
        load, bearable = self.load(way, rate), PROMPT_S * SECOND
        here = self.run(way, load).waits.quantile(0.99)
        return here <= bearable or here - simulate(load, NO_TIME, self._seed).waits.quantile(0.99) <= bearable

    def _limit(self, way: Way) -> float:
        """Jobs a second that a shard bears."""
        low, high = 0.0, LOWEST
        while high < HIGHEST and self.bears(way, high):
            low, high = high, high * 2
        while high - low > PRECISION * high:
            middle = (low + high) / 2
            if self.bears(way, middle):
                low = middle
            else:
                high = middle
        return low
