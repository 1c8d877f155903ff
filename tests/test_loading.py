"""What a program loads: nothing of a form that it does not use, and nothing that takes long without need.

Counted are modules, not milliseconds: how long a module takes depends on the machine, that it is loaded does not.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import chasquimq

ROOT = Path(chasquimq.__file__).parents[1]
LOOPS = {"anyio", "asyncio", "trio", "sniffio", "uvloop"}
FOREIGN = {"redis", "croniter", "dateutil"}
SLOW = {
    "ast",
    "calendar",
    "concurrent.futures",
    "dataclasses",
    "email",
    "hashlib",
    "http",
    "importlib.metadata",
    "importlib.resources",
    "inspect",
    "logging",
    "multiprocessing",
    "pathlib",
    "platform",
    "ssl",
    "subprocess",
    "traceback",
    "uuid",
    "zoneinfo",
}
ASYNCIO_LOADS = {"ast", "concurrent.futures", "inspect", "logging", "pathlib", "ssl", "subprocess", "traceback"}
"""Some of them by way of others, and ``pathlib`` from Python 3.15 on."""
ANYIO_LOADS = {"dataclasses"}
FORMS_NOT_ASKED_FOR = {"consumer", "producer", "queue_events", "scheduler"}
SHARED_NOT_ASKED_FOR = {f"chasquimq.{name}" for name in ("_processes", "embedded", "events", "native", "testing")}


def loaded_by(program: str) -> set[str]:
    """The names of all modules that a fresh interpreter has loaded after the program, the shutdown not counted."""
    # Without -S an editable installation loads half of the standard library before the program begins; -I keeps the
    # environment's PYTHON* variables and the current folder out.
    lines = f"import sys\nsys.path[:0] = {[str(ROOT), *sys.path]!r}\n{program}\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", lines], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


@pytest.mark.parametrize("statement", ["import chasquimq", "import chasquimq.sync", "from chasquimq.sync import *"])
def test_a_synchronous_program_loads_no_event_loop_and_no_other_client(statement):
    unwanted = LOOPS | FOREIGN | {"chasquimq.aio", "chasquimq.embedded"}
    assert loaded_by(statement) & unwanted == set()


def test_an_asynchronous_program_loads_no_loop_that_it_does_not_run():
    unwanted = FOREIGN | {"trio", "uvloop", "chasquimq.embedded"}
    assert loaded_by("from chasquimq.aio import Queue, QueueEvents, Worker") & unwanted == set()


def test_an_asynchronous_program_loads_nothing_of_the_synchronous_form():
    loaded = loaded_by("from chasquimq.aio import Consumer, Producer, Queue, QueueEvents, Scheduler, Worker")
    assert not {name for name in loaded if name.startswith("chasquimq.sync")}


@pytest.mark.parametrize(
    "statement",
    [
        "from chasquimq import *",
        "from chasquimq.sync import *",
        "from chasquimq.events import *",
        "from chasquimq.native import *",
    ],
)
def test_a_synchronous_program_loads_nothing_slow(statement):
    assert loaded_by(statement) & SLOW == set()


def test_an_asynchronous_program_loads_nothing_slow_but_its_loop():
    loaded = loaded_by("from chasquimq.aio import *")
    assert loaded & SLOW <= ASYNCIO_LOADS | ANYIO_LOADS
    assert loaded & {"anyio._backends._asyncio", "anyio._backends._trio"} == set()


@pytest.mark.parametrize("form", ["sync", "aio"])
def test_a_queue_and_a_worker_load_no_other_class(form):
    loaded = loaded_by(f"from chasquimq.{form} import Queue, Worker")
    unwanted = SHARED_NOT_ASKED_FOR | {f"chasquimq.{form}.{name}" for name in FORMS_NOT_ASKED_FOR}
    assert loaded & unwanted == set()
    assert f"chasquimq.{form}.worker" not in loaded_by(f"from chasquimq.{form} import Queue")


# -- and later -----------------------------------------------------------------------------------------------------


def test_adding_and_running_a_job_loads_nothing_slow(redis_url, queue_name):
    program = f"""
from chasquimq.sync import Queue, Worker
with Queue({queue_name!r}, connection={redis_url!r}) as queue:
    job = queue.add("send", {{"to": "ada"}}, attempts=2)
    with Worker({queue_name!r}, lambda job: job.data, connection={redis_url!r}, store_results=True):
        assert job.wait_for_result(timeout_ms=20_000) == {{"to": "ada"}}
"""
    # The names of scripts are SHA-1 digests.
    assert loaded_by(program) & (SLOW | LOOPS) <= {"hashlib"}


def test_adding_a_job_under_asyncio_loads_no_second_layer_for_it(redis_url, queue_name):
    program = f"""
import asyncio
from chasquimq.aio import Queue
async def main():
    async with Queue({queue_name!r}, connection={redis_url!r}) as queue:
        await asyncio.gather(*(queue.add("send", {{"to": "ada"}}, job_id=f"job-{{n}}") for n in range(3)))
        assert len(await queue.add_bulk([("send", {{}})])) == 1
asyncio.run(main())
"""
    loaded = loaded_by(program)
    assert "anyio._backends._asyncio" not in loaded
    assert "trio" not in loaded
