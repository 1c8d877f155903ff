"""Workers as processes of their own, to be stopped, interrupted and killed.

``python -m tests.conformance.programs FLAVOUR URL QUEUE OPTIONS`` runs a worker until it is told to stop. What its
handler does is the job's data: see ``handle``. Everything that happens is a line on the standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """A worker in another process, and what it said."""

    def __init__(self, flavour: str, url: str, queue: str, **options: Any) -> None:
        self.lines: list[str] = []
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, flavour, url, queue, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.strip())

    def said(self, what: str) -> list[str]:
        return [line for line in self.lines if line.startswith(what)]

    def send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def release(self) -> None:
        """Lets the handlers go on that wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    @property
    def exit_code(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._reader.join(5)
        return code

    @property
    def complaints(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if exc_info[0] is not None:
            sys.stderr.write(f"the worker process said: {self.lines}\n{self.complaints}\n")
        self._complaints.close()


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(form: str, url: str, queue: str, given: str) -> None:
    from tests.conformance.flavours import FLAVOURS

    flavour = FLAVOURS[form]
    options = json.loads(given)
    run_options = {"handle_signals": options.pop("handle_signals", False)}
    scoped = options.pop("scoped", False)
    released = threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            released.set()

    threading.Thread(target=listen, daemon=True).start()

    async def handle(job: Any) -> Any:
        say("started", job.data, job.deliveries, job.attempts_made)
        if job.data == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif job.data == "wait":
            while not released.is_set():
                await flavour.sleep(0.01)
        elif job.data == "block":
            released.wait(20)
        say("done", job.data)

    async def run() -> None:
        worker = flavour.worker(queue, handle, connection=url, **options)
        worker.on("ready", lambda: say("ready"))
        worker.on("error", lambda error: say("error", type(error).__name__))
        worker.on("closing", lambda message: say("closing"))
        worker.on("closed", lambda: say("closed"))
        if scoped:
            async with worker:
                say("in scope")
                while True:
                    await flavour.sleep(0.05)
        await worker.run(**run_options)

    try:
        flavour.run(run)  # at most 40 s on an event loop; no test needs a worker for longer
    except KeyboardInterrupt:
        say("interrupted")
        raise
    say("left")


if __name__ == "__main__":
    main(*sys.argv[1:])
