"""Where the server is, what happens when it is not there, and the end of a queue."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from chasquimq import (
    AuthenticationError,
    ClosedError,
    ConnectionOptions,
    EmbeddedServerError,
    InvalidOptionError,
    NotSupportedError,
    QueueOptions,
    RedisConnectionError,
    UnsupportedServerError,
    embedded,
)
from tests.conformance.flavours import Flavour
from tests.conformance.world import World
from tests.servers import RedisServer, ServerBinary

SECRET = "s3cret-and-ünusual"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def handle(job: Any) -> None:
    """Does nothing."""


@pytest.mark.parametrize("form", ["url", "valkey", "mapping", "options", "redis", "redis.asyncio", "unix", "opts"])
async def test_every_way_to_say_where_the_server_is(world: World, redis_server: RedisServer, form: str) -> None:
    port = redis_server.port
    taken_over: Any = {"redis": redis.Redis, "redis.asyncio": redis.asyncio.Redis}.get(form)
    connection = {
        "url": world.url,
        "valkey": world.url.replace("redis://", "valkey://"),
        "mapping": {"host": "127.0.0.1", "port": port, "enableReadyCheck": True, "db": 0},
        "options": ConnectionOptions(host="127.0.0.1", port=port),
        "unix": redis_server.unix_url,
    }.get(form)
    if taken_over:
        connection = taken_over(host="127.0.0.1", port=port)
    options = {"opts": QueueOptions(connection=world.url)} if form == "opts" else {"connection": connection}
    async with world.flavour.queue(world.name, **options) as queue:
        await queue.add("w", 1)
    assert len(world.stream()) == 1


async def test_without_a_connection_the_environment_says_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHASQUIMQ_REDIS_URL", world.url)
    async with world.flavour.queue(world.name) as queue:
        await queue.add("w", 1)
    assert len(world.stream()) == 1


@pytest.mark.parametrize(
    ("connection", "error"),
    [
        ("localhost:6379", InvalidOptionError),
        ("http://localhost", InvalidOptionError),
        ("redis+sentinel://localhost", InvalidOptionError),
        ("redis+cluster://localhost/3", InvalidOptionError),
        (7, TypeError),
        ({"port": "many"}, ValueError),
    ],
)
async def test_what_is_no_address_is_refused_at_construction(
    flavour: Flavour, connection: Any, error: type[Exception]
) -> None:
    for make in (flavour.queue, lambda *a, **o: flavour.worker(a[0], handle, **o)):
        with pytest.raises(error):
            make("q", connection=connection)


@pytest.mark.parametrize("name", ["", "  ", 7, None, "\ud800"])
async def test_queue_names_are_checked(flavour: Flavour, name: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="name"):
        flavour.queue(name)
    with pytest.raises((ValueError, TypeError), match="name"):
        flavour.worker(name, handle)


@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
async def test_nobody_at_that_address(flavour: Flavour) -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:{unused_port()}/0"
    async with flavour.queue("q", connection=url) as queue:
        with pytest.raises(RedisConnectionError, match=r"Cannot connect to redis://127\.0\.0\.1") as refused:
            await queue.add("w", 1)
        assert isinstance(refused.value, ConnectionError)
        assert refused.value.may_have_executed is False
        assert SECRET not in str(refused.value) + repr(refused.value) + repr(queue)
    worker = flavour.worker("q", handle, connection=url)
    with pytest.raises(RedisConnectionError, match="Cannot connect"):
        await worker.run()
    await worker.close()
    with pytest.raises(RedisConnectionError, match="Cannot connect"):
        async with flavour.worker("q", handle, connection=url):
            raise AssertionError("the block must not be entered")


async def test_a_host_that_does_not_exist(flavour: Flavour) -> None:
    async with flavour.queue("q", connection="redis://no-such-host.invalid:6379") as queue:
        with pytest.raises(RedisConnectionError, match=r"no-such-host\.invalid"):
            await queue.add("w", 1)


async def test_a_wrong_password_is_not_shown(flavour: Flavour, redis_binary: ServerBinary) -> None:
    with RedisServer(redis_binary, requirepass="right") as server:
        address = f"127.0.0.1:{server.port}"
        for login, says in ((f":{SECRET}@", "refused the credentials"), ("", "asks for credentials")):
            url = f"redis://{login}{address}/0"
            async with flavour.queue("q", connection=url) as queue:
                with pytest.raises(AuthenticationError, match=says) as refused:
                    await queue.add("w", 1)
            with pytest.raises(AuthenticationError):
                await flavour.worker("q", handle, connection=url).run()
            assert SECRET not in str(refused.value) + repr(refused.value)
        async with flavour.queue("q", connection=server.url) as queue:
            await queue.add("w", 1)
            assert "right" not in repr(queue)


class OldServer:
    """Says that it is Redis 6, to whatever it is told."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        hello = b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n$5\r\nproto\r\n:2\r\n"
        hello += b"$2\r\nid\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        hello += b"$7\r\nmodules\r\n*0\r\n"
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(hello + b"*4\r\n" + b"*-1\r\n" * 4)
                connection.recv(4096)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def old_server() -> Iterator[OldServer]:
    server = OldServer()
    yield server
    server.close()


async def test_a_server_that_is_too_old_is_refused_by_name(flavour: Flavour, old_server: OldServer) -> None:
    async with flavour.queue("q", connection=f"redis://127.0.0.1:{old_server.port}") as queue:
        with pytest.raises(UnsupportedServerError, match=r"needs Redis 7\.0") as refused:
            await queue.add("w", 1)
    assert refused.value.version == "6.2.14"


async def test_another_database_is_another_queue(world: World) -> None:
    async with world.queue(connection=world.url[:-1] + "3") as queue:
        await queue.add("w", 1)
    assert not world.stream()
    with redis.Redis.from_url(world.url[:-1] + "3") as third:
        assert third.unlink(world.key("stream")) == 1


# -- the end of a queue ------------------------------------------------------------------------------------------------


async def test_a_closed_queue_refuses_every_call(world: World) -> None:
    queue = world.queue()
    assert queue.is_closed is False
    await queue.add("w", 1)
    await queue.close()
    await queue.close()
    assert queue.is_closed is True
    assert "closed" in repr(queue)
    for call in (
        lambda: queue.add("w", 1),
        lambda: queue.add_unique("w", 1, job_id="x"),
        lambda: queue.add_bulk([("w", 1)]),
        lambda: queue.add("w", 1, repeat={"every": 1_000}),
        queue.get_repeatable_jobs,
        lambda: queue.remove_repeatable_by_key("x"),
        lambda: queue.remove("x"),
        lambda: queue.get_job_result("x"),
        queue.peek_dlq,
        queue.replay_dlq,
    ):
        with pytest.raises(ClosedError, match="closed"):
            await call()


async def test_the_scope_closes_the_queue_also_when_it_fails(world: World) -> None:
    queue = world.queue()

    async def fail() -> None:
        async with queue:
            await queue.add("w", 1)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert queue.is_closed


async def test_methods_that_the_product_only_names_say_what_to_use_instead(world: World) -> None:
    async with world.queue() as queue:
        for method, arguments in {
            "get_job": ["x"],
            "get_jobs": [],
            "get_job_counts": [],
            "get_waiting_count": [],
            "get_active_count": [],
            "get_delayed_count": [],
            "get_failed_count": [],
            "count": [],
            "pause": [],
            "resume": [],
            "drain": [],
            "obliterate": [],
            "clean": [],
        }.items():
            with pytest.raises(NotSupportedError, match=rf"{method}.*: \w+") as refused:
                await getattr(queue, method)(*arguments)
            assert isinstance(refused.value, NotImplementedError)


# -- a server of its own -----------------------------------------------------------------------------------------------


@pytest.fixture
def embeddable() -> None:
    try:
        embedded.find_executable()
    except EmbeddedServerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.usefixtures("embeddable")
@pytest.mark.forms("sync", "asyncio", "trio", "uvloop")
@pytest.mark.parametrize("kept", [False, True], ids=["temporary", "kept"])
async def test_an_embedded_server_is_started_for_queue_and_worker(flavour: Flavour, tmp_path: Path, kept: bool) -> None:
    connection = f"embedded://{tmp_path / 'data'}" if kept else "embedded://"
    done = flavour.gate()

    async def work(job: Any) -> str:
        done.open()
        return "done"

    async with flavour.queue("q", connection=connection) as queue:
        job = await queue.add("w", 1)
        async with flavour.worker("q", work, connection=connection, store_results=True):
            await done.passed()
            assert await job.wait_for_result(timeout_ms=10_000, interval_ms=5) == "done"
    # The temporary server lives as long as this process, the kept one's data as long as its folder.
    async with flavour.queue("q", connection=connection) as queue:
        assert await queue.get_job_result(job.id) == "done"
