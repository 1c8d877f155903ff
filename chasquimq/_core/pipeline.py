"""Several Calls in one write: putting their requests together and taking the answers apart again.

Only the arithmetic of positions; who sends and waits is the frontend's part. NOSCRIPT in the middle of a pipeline
concerns exactly the command that got it, and only that one is sent again, as EVAL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chasquimq._core.call import Call, Reply, missing_scripts

__all__ = ["Pipeline"]


class Pipeline:
    """Calls that travel together."""

    __slots__ = ("_calls", "replies", "request")

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self._calls = calls
        self.request = calls[0].request if len(calls) == 1 else b"".join([call.request for call in calls])
        self.replies = sum([call.replies for call in calls])

    def missing(self, replies: Sequence[Reply]) -> tuple[list[int], bytes]:
        """The positions that the server answered with NOSCRIPT, and the request that repeats those commands."""
        positions: list[int] = []
        requests: list[bytes] = []
        start = 0
        for call in self._calls:
            if call.eval_form is not None:
                for number in missing_scripts(call, replies[start : start + call.replies]):
                    positions.append(start + number)
                    requests.append(call.eval_form(number))
            start += call.replies
        return positions, b"".join(requests)

    def results(self, replies: list[Reply]) -> list[Any]:
        """The result of each Call, in order. Raises what the first failing ``parse`` raises."""
        results = []
        start = 0
        for call in self._calls:
            results.append(call.parse(replies[start : start + call.replies]))
            start += call.replies
        return results
