"""One process of the reference implementation, driven by lines of JSON."""

import json
import select
import subprocess
from pathlib import Path
from typing import Any

from tests.servers import reference_environment

DRIVER = Path(__file__).with_name("reference_driver.py")
ANSWER_S = 60.0


class ReferenceFailed(AssertionError):
    """The reference answered with an error."""


class Reference:
    """``reference_driver.py`` under the reference's interpreter; every method is one request about one queue."""

    def __init__(self, interpreter: Path, url: str, queue: str, ledger: Path) -> None:
        self.queue = queue
        self._log = (ledger.parent / "reference.log").open("ab")
        self._process = subprocess.Popen(
            [str(interpreter), "-I", str(DRIVER), url, str(ledger)],
            cwd=ledger.parent,
            env=reference_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, op: str, **request: Any) -> Any:
        line = json.dumps(_to_json({"op": op, **request})).encode() + b"\n"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
            more = self._process.stdout.read(65_536) if ready else b""
            if not more:
                raise ReferenceFailed(f"no answer to {op}; its log: {Path(self._log.name).read_text()[-2000:]}")
            answer += more
        reply = _from_json(json.loads(answer))
        if "error" in reply:
            raise ReferenceFailed(f"{op}: {reply['error']}")
        return reply["ok"]

    def add(self, name: str, data: Any, **options: Any) -> str:
        return str(self.ask("add", queue=self.queue, name=name, data=data, **options))

    def add_unique(self, name: str, data: Any, **options: Any) -> str:
        return str(self.ask("add_unique", queue=self.queue, name=name, data=data, **options))

    def add_bulk(self, rows: list[dict[str, Any]]) -> list[str]:
        return list(self.ask("add_bulk", queue=self.queue, rows=rows))

    def cancel(self, job_id: str) -> bool:
        return bool(self.ask("cancel", queue=self.queue, job_id=job_id))

    def peek(self) -> list[dict[str, Any]]:
        return list(self.ask("peek", queue=self.queue))

    def replay(self, limit: int = 100) -> int:
        return int(self.ask("replay", queue=self.queue, limit=limit))

    def result(self, job_id: str) -> Any:
        return self.ask("result", queue=self.queue, job_id=job_id)

    def work(self, **options: Any) -> None:
        """Starts a worker; keywords are options of the reference's Worker."""
        self.ask("work", queue=self.queue, **options)

    def stop(self) -> None:
        """Closes the worker and waits until it has drained."""
        self.ask("stop")

    def listen(self) -> None:
        self.ask("listen", queue=self.queue)

    def heard(self) -> list[dict[str, Any]]:
        return list(self.ask("heard"))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$hex": value.hex()}
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$hex"}:
            return bytes.fromhex(value["$hex"])
        return {key: _from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return value
