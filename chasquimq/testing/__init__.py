"""Testing programs that use a queue: on a real server, without waiting and without mocks.

    from chasquimq.testing import QueueClock, assert_enqueued, drain

    def test_signup(queue):                                  # the fixture of the pytest plug-in
        sign_up("ada@example.com", queue)
        assert_enqueued(queue, "welcome", {"to": "ada@example.com"})
        drain(queue, send_email)                             # runs the jobs here and now
        QueueClock(queue).advance(timedelta(days=7))         # a week later
        assert_enqueued(queue, "how is it going")

``drain`` runs what is due, ``inline`` runs every job as it is added, ``QueueClock`` lets time pass. These are the
functions for the synchronous form; ``chasquimq.testing.aio`` has the same ones to be awaited.
"""

from chasquimq.testing._content import ANYTHING, EnqueuedJob
from chasquimq.testing._drain import Drained, FailedRun
from chasquimq.testing.sync import QueueClock, assert_enqueued, assert_not_enqueued, clear, drain, enqueued, inline

__all__ = [
    "ANYTHING",
    "Drained",
    "EnqueuedJob",
    "FailedRun",
    "QueueClock",
    "assert_enqueued",
    "assert_not_enqueued",
    "clear",
    "drain",
    "enqueued",
    "inline",
]
