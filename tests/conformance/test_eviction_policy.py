"""F28: a server that may delete keys when its memory is full. A worker looks once, says so, and works all the same."""

from __future__ import annotations

import pytest

from chasquimq._net import housekeeper
from tests.conformance.world import World

RIGHTS = ("reset", "on", ">secret", "~*", "+@all", "-info", "-config")


@pytest.fixture(autouse=True)
def _nothing_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process looks once at an address; among the hundreds of servers here, some get the port of another."""
    monkeypatch.setattr(housekeeper, "_looked_at", set())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "maxmemory-policy" in record.getMessage()]


async def run_a_delayed_job(world: World, connection: str | None = None) -> None:
    """One that a worker's housekeeper promotes, which it does after its look at the server."""
    ran = world.gate()

    async def handle(_job: object) -> None:
        ran.open()

    options = {"connection": connection} if connection else {}
    async with world.queue() as queue, world.worker(handle, **options):
        await queue.add("delayed", None, delay=10)
        await ran.passed()


async def test_f28_a_policy_that_drops_jobs_is_warned_of(own_world: World, caplog: pytest.LogCaptureFixture) -> None:
    own_world.admin.config_set("maxmemory-policy", "allkeys-lru")
    for _ in range(2):
        await run_a_delayed_job(own_world)
    (said,) = warnings(caplog)  # once, however many workers this process has for the server
    assert said.startswith(f"{own_world.url} has maxmemory-policy allkeys-lru: ")
    assert "all jobs of a queue" in said
    assert [record.name for record in caplog.records if record.getMessage() == said] == ["chasquimq.worker"]


async def test_f28_a_policy_that_drops_what_expires_is_warned_of(
    own_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    own_world.admin.config_set("maxmemory-policy", "volatile-ttl")
    await run_a_delayed_job(own_world)
    (said,) = warnings(caplog)
    assert "Jobs have none and stay" in said


async def test_f28_nothing_is_said_of_a_server_that_keeps_everything(
    own_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    own_world.admin.config_resetstat()
    await run_a_delayed_job(own_world)
    assert own_world.admin.info("commandstats")["cmdstat_info"]["calls"] == 1  # it did look; this one counts later
    assert warnings(caplog) == []


async def test_f28_who_may_not_look_works_without(own_world: World, caplog: pytest.LogCaptureFixture) -> None:
    own_world.admin.config_set("maxmemory-policy", "allkeys-lru")
    own_world.admin.execute_command("ACL", "SETUSER", "worker", *RIGHTS)
    await run_a_delayed_job(own_world, own_world.url.replace("redis://", "redis://worker:secret@"))
    denied = [(row["username"], row["object"]) for row in own_world.admin.acl_log()]
    assert denied == [("worker", "info")]
    assert warnings(caplog) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru"])
async def test_f28_the_warning_says_the_truth(own_world: World, policy: str) -> None:
    """What a full server with this policy really throws away: see the words of the warning."""
    admin = own_world.admin
    async with own_world.queue() as queue:
        for number in range(100):
            await queue.add("kept or not", "x" * 10_000, job_id=f"id-{number}")
        admin.config_set("maxmemory-samples", 64)
        admin.config_set("maxmemory-policy", policy)
        admin.config_set("maxmemory", 1)
        with pytest.raises(Exception, match="maxmemory"):
            admin.set("more", "memory")  # eviction begins with a write; the server goes on with it by itself
        goes = "*" if policy.startswith("allkeys") else own_world.key("dlid:*")
        await own_world.until(lambda: not admin.keys(goes), "everything that may go is gone")
        admin.config_set("maxmemory", 0)
        assert len(own_world.stream()) == (0 if policy.startswith("allkeys") else 100)
        assert not (await queue.add("again", None, job_id="id-1")).is_duplicate
