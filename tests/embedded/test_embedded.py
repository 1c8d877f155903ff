"""What ``embedded://`` promises: a server while it is used, data that stays, and nothing left over."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from chasquimq import embedded
from chasquimq.aio import Queue
from chasquimq.errors import EmbeddedServerError

from .conftest import ROOT, User, eventually, processes, servers, watchers

StartUser = Callable[..., User]


def client(held: embedded.EmbeddedServer | str) -> redis.Redis:
    return redis.Redis(unix_socket_path=held if isinstance(held, str) else held.socket_path, retry=None)


def test_the_temporary_server_is_one_per_process_and_stays_until_its_end() -> None:
    first = embedded.acquire(None)
    second = embedded.acquire(None)
    folder = Path(first.socket_path).parents[1]
    assert first.socket_path == second.socket_path
    with client(first) as one:
        one.set("key", "value")
        assert one.config_get("save") == {"save": ""}
        assert one.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert folder.stat().st_mode & 0o777 == 0o700
    first.release()
    first.release()
    second.release()
    with embedded.server() as url, redis.Redis.from_url(url) as later:
        assert later.get("key") == b"value", "what one scope added is there for the next"


def test_the_temporary_server_goes_with_its_process_and_its_data() -> None:
    program = "from chasquimq import embedded; print(embedded.acquire(None).socket_path)"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    folder = Path(run.stdout.strip()).parents[1]
    eventually(lambda: not processes(folder) and not folder.exists())


def test_it_listens_on_no_port(home: Path) -> None:
    with embedded.server(home):
        assert servers(home)[0].net_connections("tcp") == []


def test_threads_that_start_it_together_share_it(home: Path) -> None:
    held: list[embedded.EmbeddedServer] = []
    threads = [threading.Thread(target=lambda: held.append(embedded.acquire(str(home)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.socket_path for one in held}) == 1
    assert len(held) == 8
    assert len(servers(home)) == 1
    for one in held:
        one.release()


def test_processes_share_the_server_of_a_folder(home: Path, user: StartUser) -> None:
    other = user(home)
    with embedded.server(home) as url, redis.Redis.from_url(url) as mine:
        with client(other.socket_path) as theirs:
            theirs.set("key", "value")
        assert mine.get("key") == b"value"
        other.leave()
        assert mine.get("key") == b"value"
        assert len(servers(home)) == 1


def test_data_survives_a_restart(home: Path) -> None:
    with embedded.server(home) as url, redis.Redis.from_url(url) as before:
        before.set("key", "value")
    eventually(lambda: not processes(home))
    with embedded.server(home) as url, redis.Redis.from_url(url) as after:
        assert after.get("key") == b"value"


def test_a_newcomer_never_gets_a_server_that_is_stopping(home: Path) -> None:
    for round_number in range(15):
        with embedded.server(home) as url, redis.Redis.from_url(url, retry=None) as one:
            assert one.incr("rounds") == round_number + 1


@pytest.mark.parametrize("way", ["leave", "kill"])
def test_the_server_stops_with_its_last_user(home: Path, user: StartUser, way: str) -> None:
    users = [user(home), user(home)]
    assert users[0].socket_path == users[1].socket_path
    getattr(users[0], way)()
    assert len(servers(home)) == 1
    with client(users[1].socket_path) as one:
        assert one.ping()
    getattr(users[1], way)()
    eventually(lambda: not processes(home))
    assert not Path(users[0].socket_path).exists()


def test_the_temporary_server_of_a_killed_process_is_removed(user: StartUser) -> None:
    killed = user("")
    folder = Path(killed.socket_path).parents[1]
    killed.kill()
    eventually(lambda: not processes(folder) and not folder.exists())


def test_processes_that_start_it_together_start_one(home: Path, user: StartUser) -> None:
    users = [user(home) for _ in range(4)]
    assert len({one.socket_path for one in users}) == 1
    assert len(servers(home)) == len(watchers(home)) == 1


def test_who_is_cancelled_while_it_starts_gives_it_up_at_the_close(home: Path) -> None:
    """asyncio's own cancellation does not wait for the thread that starts the server."""

    async def main() -> None:
        async with Queue("started", connection=f"embedded://{home}") as queue:
            waiting = asyncio.create_task(queue.add("first", None))
            while not servers(home):
                await asyncio.sleep(0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(main())
    eventually(lambda: not processes(home))


def test_a_forked_child_keeps_the_server(home: Path) -> None:
    held = embedded.acquire(str(home))
    program = [sys.executable, "-c", FORK, str(ROOT), str(home)]
    forked = subprocess.run(program, capture_output=True, text=True, check=True, timeout=30)
    assert forked.stdout.split() == ["parent", "child", "True"]
    assert forked.stderr == ""
    held.release()


FORK = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from chasquimq import embedded
held = embedded.acquire(None)
ended, end = os.pipe()
if os.fork():
    os.close(ended)
    held.release()
    print("parent", flush=True)
    os._exit(0)
os.close(end)
os.read(ended, 1)
again = embedded.acquire(None)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(again.socket_path)
    connection.sendall(b"PING\\r\\n")
    print("child", connection.recv(64) == b"+PONG\\r\\n")
"""


@pytest.mark.parametrize("victim", [servers, watchers])
def test_the_next_user_mends_what_was_killed(home: Path, victim: Callable[[Path], list[object]]) -> None:
    with embedded.server(home) as url, redis.Redis.from_url(url) as one:
        one.set("key", "value")
        one.config_set("appendfsync", "always")
        killed = victim(home)[0]
        killed.kill()
        killed.wait(10)
        with embedded.server(home) as url_after, redis.Redis.from_url(url_after) as other:
            assert url_after == url
            assert other.get("key") == b"value"
            assert len(servers(home)) == 1
    eventually(lambda: not processes(home))


def test_everything_was_killed(home: Path, user: StartUser) -> None:
    user_process = user(home)
    with client(user_process.socket_path) as one:
        one.config_set("appendfsync", "always")
        one.set("key", "value")
    for process in [*watchers(home), *servers(home)]:
        process.kill()
    user_process.kill()
    with embedded.server(home) as url, redis.Redis.from_url(url) as one:
        assert one.get("key") == b"value"


def test_the_last_user_stops_the_server_of_a_killed_watcher(home: Path) -> None:
    with embedded.server(home):
        killed = watchers(home)[0]
        killed.kill()
        killed.wait(10)
        assert len(servers(home)) == 1
    eventually(lambda: not processes(home))


def test_a_crashed_server_is_started_again(home: Path) -> None:
    with embedded.server(home) as url, redis.Redis.from_url(url, retry=None) as one:
        one.ping()
        old = servers(home)[0]
        old.kill()
        eventually(lambda: bool(new := servers(home)) and new[0].pid != old.pid)


def test_the_folder_is_deleted_under_the_server(home: Path) -> None:
    held = embedded.acquire(str(home))
    old = servers(home)[0]
    with client(held) as one:
        one.ping()
        shutil.rmtree(home)
        assert one.ping()
    with embedded.server(home) as url, redis.Redis.from_url(url) as other:
        other.set("key", "value")
    held.release()
    eventually(lambda: not old.is_running() and not processes(home))


def test_interrupts_are_for_the_users(home: Path) -> None:
    with embedded.server(home) as url, redis.Redis.from_url(url) as one:
        for process in watchers(home):
            process.send_signal(2)
            process.send_signal(15)
        assert {os.getsid(process.pid) for process in processes(home)}.isdisjoint({os.getsid(0)})
        assert one.ping()


def test_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with embedded.server(deep) as url, redis.Redis.from_url(url) as one:
        assert one.ping()
        held = embedded.acquire(str(deep))
        folder = Path(held.socket_path).parent
        assert len(held.socket_path) < 100
        assert folder.stat().st_mode & 0o777 == 0o700
        held.release()
    eventually(lambda: not processes(deep) and not folder.exists())


def test_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    odd = tmp_path / "a b'c\"d#é%20"
    with embedded.server(odd) as url, redis.Redis.from_url(url) as one:
        one.set("key", "value")
    eventually(lambda: not processes(odd))
    with embedded.server(odd) as url, redis.Redis.from_url(url) as one:
        assert one.get("key") == b"value"


def test_no_server_to_be_had(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(EmbeddedServerError, match=r"pip install 'chasquimq\[embedded\]'"):
        embedded.acquire(str(home))
    monkeypatch.undo()
    with embedded.server(home):
        pass


@pytest.mark.parametrize(
    ("says", "serves"),
    [
        ("Redis server v=7.0.0 sha=0", True),
        ("Redis server v=6.2.14 sha=0", False),
        ("Valkey server v=8.0.1 sha=0", True),
        ("Valkey server v=7.2.5 sha=0", False),
        ("something else", False),
    ],
)
def test_old_and_strange_programs_are_passed_over(
    says: str, serves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (embedded.find_executable() == str(program)) is serves
    monkeypatch.setenv(embedded.OVERRIDE, str(program))
    if not serves:
        with pytest.raises(EmbeddedServerError, match="Correct or unset CHASQUIMQ_EMBEDDED_SERVER"):
            embedded.find_executable()


def test_a_server_that_does_not_start(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo 'Redis server v=8.0.0' && exit\n"
        f"echo no luck today > '{home}/.chasquimq/server.log'; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv(embedded.OVERRIDE, str(program))
    with pytest.raises(EmbeddedServerError, match=r"did not start.*no luck today"):
        embedded.acquire(str(home))
    # The temporary server of this process may run already, so another process is to start one.
    run = subprocess.run(
        [sys.executable, "-c", "from chasquimq import embedded; embedded.acquire(None)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "did not start" in run.stderr


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="cannot use the folder"):
        embedded.acquire(str(tmp_path / "file" / "data"))
