"""What a worker with several processes logs, tells and is called never shows the password of its connection."""

from __future__ import annotations

import contextlib
import signal

import psutil
import pytest

from tests.conformance.flavours import FLAVOURS
from tests.conformance.world import World
from tests.faults.ledger import wait_until
from tests.servers import RedisServer, ServerBinary

from .conftest import Start
from .programs import Running, add

SECRET = "s3cr3t-of-the-tests"


def command_lines(running: Running) -> str:
    """Those of the worker processes and what is between; the program itself was started with its configuration."""
    found = []
    for process in running.remember():
        with contextlib.suppress(psutil.Error):
            found += [] if process.pid == running.pid else process.cmdline()
    return " ".join(found)


@pytest.mark.parametrize(
    ("flavour", "method"), [("sync", "fork"), ("sync", "spawn"), ("asyncio", "spawn"), ("trio", "fork")]
)
def test_the_password_is_nowhere(start: Start, redis_binary: ServerBinary, flavour: str, method: str) -> None:
    with RedisServer(redis_binary, requirepass=SECRET) as server:
        assert SECRET in server.url
        world = World(FLAVOURS["sync"], server.url, "guarded", server.client)
        running = start(flavour, connection=server.url, queue=world.name, start_method=method).await_ready()
        add(world, "wait")
        running.send(signal.SIGKILL, running.await_lines("start", inside=True)[0]["pid"])
        running.await_lines("ready", 3, inside=True)
        if method == "spawn":
            assert SECRET not in command_lines(running)
        # From now on nobody is let in any more.
        server.client.config_set("requirepass", "another")
        server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: "was lost" in str(running), "the connections are lost")
        running.send(signal.SIGTERM)
        running.end()
    log, told = running.log.read_text(errors="replace"), running.ledger.path.read_text()
    assert "refused the credentials" in log
    assert "RedisConnectionError" in told
    assert SECRET not in log + told


@pytest.mark.parametrize(("flavour", "method"), [("sync", "spawn"), ("trio", "fork")])
def test_nor_is_a_wrong_one(start: Start, redis_binary: ServerBinary, flavour: str, method: str) -> None:
    with RedisServer(redis_binary, requirepass="right") as server:
        url = f"redis://:{SECRET}@127.0.0.1:{server.port}/0"
        running = start(flavour, connection=url, queue="guarded", start_method=method)
        assert running.end() == 1
    (failed,) = running.lines("failed")
    assert "AuthenticationError" in failed["text"]
    assert SECRET not in failed["text"] + running.log.read_text(errors="replace")
