"""The test servers are what they say, and behave: the rest of the suite builds on it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from tests.conftest import ADMIN, await_departure, have, other_clients, remove_keys
from tests.servers import RECIPES, NotAvailable, RedisServer, ServerBinary, ensure, reference_environment
from tests.servers.certificates import make_certificate
from tests.servers.provision import ROOT, override_variable


@pytest.mark.parametrize("name", RECIPES)
def test_each_server_starts_and_is_the_version_that_it_is_called(name: str) -> None:
    binary = have(lambda: ensure(name), required=name == "redis-8.6")
    assert RECIPES[name].accepts(binary.version)
    with RedisServer(binary) as server:
        information = server.client.info("server")
        assert binary.version in (information.get("valkey_version"), information["redis_version"])
        with redis.Redis.from_url(server.url) as over_tcp:
            assert over_tcp.ping()


def test_a_second_call_finds_the_server_in_place() -> None:
    have(lambda: ensure("redis-8.6"))
    assert ensure("redis-8.6") == ensure("redis-8.6")


def test_an_unknown_server_is_refused_by_name() -> None:
    with pytest.raises(NotAvailable, match=r"redis-8\.6"):
        ensure("redis-1.0")


def test_a_server_of_ones_own_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("#!/bin/sh\necho 'Redis server v=8.6.99 sha=0'\n")
    own.chmod(0o755)
    monkeypatch.setenv(override_variable("redis-8.6"), str(own))
    assert ensure("redis-8.6").command == [str(own)]
    own.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(NotAvailable, match="CHASQUIMQ_SERVER_REDIS_8_6"):
        ensure("redis-8.6")


def test_data_survives_a_kill_with_appendonly_only(redis_binary: ServerBinary) -> None:
    for appendonly in (True, False):
        with RedisServer(redis_binary, appendonly=appendonly) as server:
            server.client.set("key", "value")
            server.restart(kill=True)
            assert server.client.get("key") == (b"value" if appendonly else None)


def test_a_paused_server_is_silent_until_resumed(redis_binary: ServerBinary) -> None:
    with RedisServer(redis_binary) as server:
        hasty = server.new_client(socket_timeout=0.05, retry=None)
        server.pause()
        with pytest.raises(redis.TimeoutError):
            hasty.ping()
        server.resume()
        assert server.client.ping()


def test_limits_and_log_in(redis_binary: ServerBinary, tmp_path: Path) -> None:
    users = tmp_path / "users.acl"
    users.write_text("user default on nopass ~* +@all\nuser reader on >secret ~* +@read +ping\n")
    with RedisServer(redis_binary, maxmemory="64mb", aclfile=users, config={"hz": "50"}) as server:
        assert server.client.config_get("hz") == {"hz": "50"}
        assert server.client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with (
            redis.Redis(unix_socket_path=server.socket_path, username="reader", password="secret") as reader,
            pytest.raises(redis.exceptions.NoPermissionError),
        ):
            reader.set("key", "value")
    with RedisServer(redis_binary, requirepass="secret") as server:
        assert server.client.ping()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_killed_test_run_leaves_no_server(redis_binary: ServerBinary) -> None:
    program = (
        "import os, signal; from tests.servers import RedisServer, ServerBinary\n"
        f"server = RedisServer({redis_binary!r})\n"
        "server.start(); print(server.folder, server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    folder, pid = ran.stdout.split()
    shutil.rmtree(folder)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_tls(tmp_path: Path) -> None:
    # Not every build of a server has it.
    with RedisServer(have(lambda: ensure("redis-8.6")), tls=make_certificate(tmp_path), unix_socket=False) as server:
        assert server.url.startswith("rediss://")
        assert server.client.ping()


def test_a_server_that_does_not_start_shows_its_log(redis_binary: ServerBinary) -> None:
    with (
        pytest.raises(NotAvailable, match="unknown-setting"),
        RedisServer(redis_binary, config=["unknown-setting yes"]),
    ):
        pass


def test_leak_checks_find_leaks(redis_server: RedisServer, admin: redis.Redis) -> None:
    before = set(other_clients(admin))
    admin.set("{chasqui:leaky}:promoter:lock", "holder")
    admin.set("{chasqui:leaky}:scheduler:lock", "holder", ex=5)
    admin.zadd("{chasqui:leaky}:delayed", {"member": 1})
    with redis.Redis.from_url(redis_server.url, client_name="leaky") as client:
        client.ping()
        assert "leaky" in await_departure(admin, before)[0]
    assert await_departure(admin, before) == []
    assert remove_keys(admin, "leaky") == [b"{chasqui:leaky}:promoter:lock"]
    assert not admin.exists("{chasqui:leaky}:delayed", "{chasqui:leaky}:promoter:lock")
    assert admin.client_getname() == ADMIN


def test_queue_names_are_new(queue_name: str, admin: redis.Redis) -> None:
    assert queue_name.startswith("test_queue_names_are_new-")
    assert not list(admin.scan_iter(match=f"*{queue_name}*"))


@pytest.mark.interop
def test_the_reference_is_not_us(reference_python: Path) -> None:
    program = "import chasquimq, chasquimq._native; print(chasquimq.__file__)"
    ran = subprocess.run(
        [reference_python, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=reference_environment(),
    )
    assert Path(ran.stdout.strip()).is_relative_to(reference_python.parents[1])
