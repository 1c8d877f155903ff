"""What the workers are given: the handler of a job, as a plain function and as a coroutine function.

Three kinds of trouble are shown. Some files fail in their first run, as if a disk had been busy: they are retried.
Some fail for good until a "bug" is repaired: they go to the dead-letter queue and are replayed afterwards. And
among the standard library's own tests there may be files that no Python 3 can parse: those stay dead letters.
"""

from zlib import crc32

import anyio
import anyio.to_thread

from chasquimq import BackoffSpec, JobsOptions, UnrecoverableError, aio, sync
from examples.demo.modules import STANDARD_LIBRARY, Measure, ModuleFile, measure

JOB_OPTIONS = JobsOptions(attempts=3, backoff=BackoffSpec.fixed(200, jitter_ms=100))
"""At most three runs, and about 200 ms between them."""


class Handlers:
    """The handlers of one run of the demo; ``is_repaired`` says whether the "bug" has been fixed by now."""

    def __init__(self) -> None:
        self.is_repaired = False

    def count(self, job: sync.Job[ModuleFile, Measure]) -> Measure:
        """For the sync worker, which calls it in a thread. The aio worker would accept it too."""
        self._fail_on_purpose(job.data["path"], job.attempts_made)
        source = (STANDARD_LIBRARY / job.data["path"]).read_bytes()
        return _measure(source)

    async def count_async(self, job: aio.Job[ModuleFile, Measure]) -> Measure:
        """For the aio worker, on asyncio and on trio alike."""
        self._fail_on_purpose(job.data["path"], job.attempts_made)
        source = await anyio.Path(STANDARD_LIBRARY / job.data["path"]).read_bytes()
        # Parsing computes. In a thread it leaves the event loop free for the other handlers.
        return await anyio.to_thread.run_sync(_measure, source)

    def _fail_on_purpose(self, path: str, attempt: int) -> None:
        luck = crc32(path.encode()) % 100
        if luck < 3 and attempt == 1:
            # Any exception means: try again after the backoff.
            raise OSError("the disk was busy (on purpose, in the first run only)")
        if luck >= 98 and not self.is_repaired:
            # This one means: trying again is pointless.
            raise UnrecoverableError("a bug in this handler (on purpose, until it is repaired)")


def _measure(source: bytes) -> Measure:
    try:
        return measure(source)
    except (SyntaxError, ValueError) as error:
        raise UnrecoverableError(f"this is not Python 3: {error}") from error
