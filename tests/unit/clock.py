"""A clock that stands still until a test moves it."""

__all__ = ["FakeClock"]


class FakeClock:
    """Both clocks of ``chasquimq._core.clock``; they move together, and only by ``advance``."""

    def __init__(self, wall_ms: int = 1_795_489_845_000, monotonic_ms: float = 1_000_000.0) -> None:
        self.wall = wall_ms
        self.monotonic = monotonic_ms

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> float:
        return self.monotonic

    def advance(self, by_ms: float) -> None:
        self.wall += int(by_ms)
        self.monotonic += by_ms
