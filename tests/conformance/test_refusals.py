"""A server that refuses: busy with a script, unable to save, with other passwords than yesterday, or a replica.

Producers are told what it means, whether anything was done, and what to do; workers wait and go on by themselves.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from chasquimq import AuthenticationError, BulkAddError, RedisConnectionError, ServerReplyError
from tests.conformance.world import World
from tests.servers import RedisServer

PATIENCE_S = 20.0


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# -- the ways in which a server refuses --------------------------------------------------------------------------------


@contextlib.contextmanager
def busy(server: RedisServer) -> Iterator[None]:
    """Somebody's script runs for longer than the server finds bearable."""
    admin = server.client
    admin.config_set("busy-reply-threshold", 20)
    client = server.new_client()

    def run() -> None:
        with contextlib.suppress(redis.ResponseError):  # it is killed
            client.eval("while true do end", 0)

    def is_busy() -> bool:
        try:
            admin.ping()
        except redis.ResponseError as error:
            return "BUSY" in str(error) or "running a script" in str(error)
        return False

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(is_busy)
    try:
        yield
    finally:
        admin.execute_command("SCRIPT", "KILL")
        thread.join()


@contextlib.contextmanager
def unable_to_save(server: RedisServer) -> Iterator[None]:
    """The last snapshot failed, and the server takes no writes before one succeeds (MISCONF)."""
    admin = server.client
    admin.config_set("save", "3600 1000000")
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()

    def save(status: str) -> None:
        admin.bgsave()
        wait_for(lambda: not admin.info("persistence")["rdb_bgsave_in_progress"])
        assert admin.info("persistence")["rdb_last_bgsave_status"] == status

    save("err")
    try:
        yield
    finally:
        in_the_way.rmdir()
        save("ok")


@contextlib.contextmanager
def without_replicas(server: RedisServer) -> Iterator[None]:
    server.client.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        server.client.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def demoted(server: RedisServer) -> Iterator[None]:
    server.client.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        server.client.replicaof("NO", "ONE")


@contextlib.contextmanager
def orphaned(server: RedisServer) -> Iterator[None]:
    server.client.config_set("replica-serve-stale-data", "no")
    with demoted(server):
        yield


REFUSALS: dict[str, Callable[[RedisServer], contextlib.AbstractContextManager[None]]] = {
    "BUSY": busy,
    "MISCONF": unable_to_save,
    "NOREPLICAS": without_replicas,
    "READONLY": demoted,
    "MASTERDOWN": orphaned,
}
ADVICE = {
    "BUSY": "long script; repeat in a moment",
    "MISCONF": "Nothing was written",
    "NOREPLICAS": "Nothing was written",
    "READONLY": "Point the connection at the primary",
    "MASTERDOWN": "Point the connection at the primary",
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refusing_server_is_waited_for_by_workers_and_explained_to_producers(
    own_world: World, own_server: RedisServer, code: str
) -> None:
    world = own_world
    writes = "READONLY" if code == "MASTERDOWN" else code  # that it takes no writes comes first
    ran: list[Any] = []
    errors: list[Exception] = []
    started, gate = world.gate(), world.gate()

    async def handle(job: Any) -> Any:
        if job.data == "running":
            started.open()
            await gate.passed()
        ran.append(job.data)
        return job.data

    worker = world.worker(handle, store_results=True)
    worker.on("error", errors.append)
    async with world.queue() as queue, worker:
        await queue.add("w", "before")
        await world.until(lambda: ran == ["before"] and world.is_empty())
        await queue.add("w", "running")
        await started.passed()
        with REFUSALS[code](own_server):
            with pytest.raises(ServerReplyError, match=ADVICE[code]) as refused:
                await queue.add("w", "refused")
            assert refused.value.code == writes
            assert refused.value.safe_to_repeat
            assert not refused.value.may_have_executed
            with pytest.raises(ServerReplyError) as refused_script:
                await queue.add_unique("w", "refused", job_id="refused")
            assert refused_script.value.code == writes
            with pytest.raises(BulkAddError) as refused_rows:
                await queue.add_bulk([("w", "refused")] * 3)
            assert refused_rows.value.added == 0
            assert {error.code for error in refused_rows.value.errors.values()} == {writes}
            if code in ("BUSY", "MASTERDOWN"):
                with pytest.raises(ServerReplyError, match=ADVICE[code]) as refused_read:
                    await queue.get_job_result("none")
                assert refused_read.value.code == code
            gate.open()
            await world.until(lambda: "running" in ran)
            await world.until(lambda: errors, "the worker tells of it")
            assert worker.is_running()
        job = await queue.add("w", "after")
        assert await job.wait_for_result(timeout_ms=20_000) == "after"
        await world.until(world.is_empty)
        assert worker.is_running()
    assert ran == ["before", "running", "after"]
    codes = {error.code for error in errors if isinstance(error, ServerReplyError)}
    assert codes <= {code, writes, "UNBLOCKED"}, errors
    assert len(errors) <= 6, errors  # the reader, the acker and the housekeeper, each once for each kind
    assert not world.dead()


async def test_rows_behind_and_before_a_refusal_are_told_apart(own_world: World, own_server: RedisServer) -> None:
    """The server becomes full in the middle of an add_bulk: what it took is counted, what it refused is named."""
    world = own_world
    used = own_server.client.info("memory")["used_memory"]
    own_server.client.config_set("maxmemory", used + 3_000_000)
    async with world.queue() as queue:
        with pytest.raises(BulkAddError, match="OOM") as refused:
            await queue.add_bulk(
                [("w", bytes(20_000), {"job_id": f"id-{n}"} if n % 5 == 0 else {}) for n in range(400)]
            )
        error = refused.value
        own_server.client.config_set("maxmemory", 0)
        assert 0 < error.added < 400
        assert error.added + len(error.errors) == 400
        assert len(world.stream()) == error.added
        assert [job is None for job in error.jobs] == [number in error.errors for number in range(400)]
        stored = {fields[b"d"] for _, fields in world.stream()}
        assert all(any(job.id.encode() in entry for entry in stored) for job in error.jobs if job is not None)
        assert (await queue.add("w", "after")).id


# -- passwords that change -----------------------------------------------------------------------------------------


class Rotation:
    """A user of the server whose password changes; also what gives connections the password of the day."""

    def __init__(self, server: RedisServer) -> None:
        self.admin = server.client
        self.password = "first-secret"
        self.url = f"redis://127.0.0.1:{server.port}/0"
        self.valid(self.password)

    def valid(self, password: str) -> None:
        self.admin.acl_setuser(
            "app",
            enabled=True,
            reset_passwords=True,
            passwords=[f"+{password}"],
            keys=["*"],
            categories=["+@all"],
        )

    def rotate(self) -> None:
        """The old password is worth nothing any more, and whoever came in with it is thrown out."""
        self.valid("second-secret")
        self.admin.execute_command("CLIENT", "KILL", "USER", "app")

    def get_credentials(self) -> tuple[str, str]:
        return "app", self.password


async def test_a_password_that_was_changed(
    own_world: World, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who have the old one are told so, each time or once; the password is in no message."""
    world = own_world
    rotation = Rotation(own_server)
    url = rotation.url.replace("://", "://app:first-secret@")
    ran: list[Any] = []
    errors: list[Exception] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    worker = world.worker(handle, connection=url)
    worker.on("error", errors.append)
    async with world.queue(connection=url) as queue, worker:
        await queue.add("w", "before")
        await world.until(lambda: ran == ["before"] and world.is_empty())
        rotation.rotate()
        # The first one may have gone out on the connection that was just being killed.
        with pytest.raises(AuthenticationError, match=r"WRONGPASS.*credential_provider") as first:
            await queue.add("w", "refused", job_id="refused")
        assert first.value.safe_to_repeat
        told = [str(first.value)]
        for call in (
            lambda: queue.add("w", "refused"),
            lambda: queue.add_bulk([("w", "refused")]),
            lambda: queue.get_job_result("none"),
        ):
            with pytest.raises(AuthenticationError, match=r"WRONGPASS.*Check the username and password") as refused:
                await call()
            assert refused.value.safe_to_repeat
            assert not refused.value.may_have_executed
            told.append(str(refused.value))
        await world.until(lambda: any(isinstance(error, AuthenticationError) for error in errors))
        await world.flavour.sleep(1.5)  # several attempts, of which nothing more is said
        assert worker.is_running()
        assert 1 <= sum(isinstance(error, AuthenticationError) for error in errors) <= 3  # one for each connection
        told += map(str, errors)
        told += [record.getMessage() for record in caplog.records]
        assert not any("secret" in text for text in told)
        rotation.valid("first-secret")
        await queue.add("w", "after")
        await world.until(lambda: ran == ["before", "after"] and world.is_empty())
        assert worker.is_running()


async def test_a_password_that_changes_with_its_provider(own_world: World, own_server: RedisServer) -> None:
    """Who asks a provider at every connect goes on with the new password, without a restart."""
    world = own_world
    rotation = Rotation(own_server)
    connection = {"url": rotation.url, "credential_provider": rotation}
    ran: list[Any] = []

    async def handle(job: Any) -> None:
        ran.append(job.data)

    async with world.queue(connection=connection) as queue, world.worker(handle, connection=connection) as worker:
        await queue.add("w", "before")
        await world.until(lambda: ran == ["before"] and world.is_empty())
        rotation.password = "second-secret"
        rotation.rotate()
        await queue.add("w", "after", job_id="after")
        await world.until(lambda: ran == ["before", "after"] and world.is_empty())
        assert worker.is_running()


async def test_a_password_where_there_was_none(own_world: World, own_server: RedisServer) -> None:
    """NOAUTH: the message says that the connection has no credentials and where to give them."""
    world = own_world
    async with world.queue() as queue:
        await queue.add("w", 1)
        own_server.client.config_set("requirepass", "sesame")
        own_server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(AuthenticationError, match="asks for credentials and the connection has none") as refused:
            await queue.add("w", 2, job_id="two")
        assert "sesame" not in str(refused.value)
        assert refused.value.safe_to_repeat
        own_server.client.config_set("requirepass", "")
        await queue.add("w", 2, job_id="two")
    assert len(world.stream()) == 2


# -- connections that are ended ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["idle", "running", "flooded"])
@pytest.mark.parametrize("blow", ["UNBLOCK TIMEOUT", "UNBLOCK ERROR", "KILL"])
async def test_every_connection_is_hit_in_every_phase(own_world: World, moment: str, blow: str) -> None:
    world = own_world
    ran: list[Any] = []
    started, gate = world.gate(), world.gate()
    total = 300 if moment == "flooded" else 1

    async def handle(job: Any) -> None:
        ran.append(job.data)
        if moment == "running":
            started.open()
            await gate.passed()

    def hit() -> None:
        for client in world.admin.client_list():
            if client["id"] == str(world.admin.client_id()):
                continue
            if blow == "KILL":
                world.admin.client_kill_filter(_id=client["id"])
            else:
                world.admin.client_unblock(int(client["id"]), error=blow.endswith("ERROR"))

    async with world.queue() as queue, world.worker(handle, concurrency=4, lease_ms=600) as worker:
        if moment != "idle":
            await queue.add_bulk([("w", number) for number in range(total)])
        if moment == "running":
            await started.passed()
        for _ in range(10):
            hit()
            await world.flavour.sleep(0.01)
        gate.open()
        await queue.add("w", "after", job_id="after")
        await world.until(lambda: "after" in ran and world.is_empty())
        assert worker.is_running()
    assert set(ran) >= {*(range(total) if moment != "idle" else ()), "after"}
    assert ran.count("after") == 1
    assert not world.dead()


async def test_refusals_carry_what_a_caller_needs_to_decide(own_world: World, own_server: RedisServer) -> None:
    """One rule for every failed add: ``safe_to_repeat`` says whether calling again can double the job."""
    world = own_world
    async with world.queue() as queue:
        with busy(own_server), pytest.raises((ServerReplyError, RedisConnectionError)) as refused:
            await queue.add("w", 1)
        assert refused.value.safe_to_repeat
        assert not refused.value.may_have_executed
        own_server.kill()
        with pytest.raises(RedisConnectionError):
            await queue.get_job_result("none")  # so that no connection is left on which an add could be lost
        with pytest.raises((ServerReplyError, RedisConnectionError)) as refused:
            await queue.add("w", 1)
        assert refused.value.safe_to_repeat
        own_server.start()
        await queue.add("w", 1)
    assert len(world.stream()) == 1
