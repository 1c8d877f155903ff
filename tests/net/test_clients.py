"""What ``Client.run`` promises, whatever way it waits: which Calls survive a failure, and what the others are told."""

import asyncio
import gc
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from chasquimq.address import Address, resolve_address
from chasquimq.errors import ClosedError, RedisConnectionError, RedisTimeoutError, ServerReplyError
from tests.servers import RedisServer, ServerBinary

from .commands import call, echo, pack, pipeline, script
from .conftest import Form, Peer


@pytest.fixture
def own_server(redis_binary: ServerBinary) -> Iterator[RedisServer]:
    with RedisServer(redis_binary) as server:
        yield server


def numbered(count: int) -> list[Any]:
    return [echo(str(number)) for number in range(count)]


def test_run_profile_and_close(form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        assert (await client.profile()).version
        assert await client.run(echo("hello")) == b"hello"
        with pytest.raises(ServerReplyError, match=r"test\.nosuch"):
            await client.run(call("NOSUCH"))
        assert await client.run(echo("still there")) == b"still there"
        await client.close()
        await client.close()
        assert client.is_closed
        with pytest.raises(ClosedError):
            await client.run(echo("x"))
        with pytest.raises(ClosedError):
            await client.dedicated()

    form.run(main)


def test_stream_keeps_the_order(form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        results = [result async for result in client.stream(numbered(50))]
        assert results == [b"%d" % number for number in range(50)]
        assert [result async for result in client.stream([])] == []
        await client.close()

    form.run(main)


def test_stream_sends_ahead(form: Form, redis_server: RedisServer) -> None:
    """Three Calls are taken from the iterable before the first answer is waited for, never a fourth."""
    taken: list[int] = []

    def calls() -> Iterator[Any]:
        for number in range(6):
            taken.append(number)
            yield echo(str(number))

    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        seen = [len(taken) async for _ in client.stream(calls(), 3)]
        assert seen == [3, 4, 5, 6, 6, 6]
        await client.close()

    form.run(main)


def test_stream_given_up_in_the_middle(form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        with pytest.raises(ServerReplyError):
            async for _ in client.stream([echo("1"), call("NOSUCH"), *numbered(3)]):
                pass
        stream = client.stream(numbered(9))
        assert await anext(stream) == b"0"
        await stream.aclose()
        assert await client.run(echo("mine")) == b"mine"
        await client.close()

    form.run(main)


def test_noscript_is_answered_with_eval(form: Form, redis_server: RedisServer) -> None:
    text = f"return 'lone {random.random()}' .. ARGV[1]"

    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        result = await client.run(script(text, "!"))
        assert result.endswith(b"!")
        assert await client.run(script(text, "?")) == result[:-1] + b"?"
        await client.close()

    form.run(main)


def test_noscript_in_the_middle_of_a_pipeline(form: Form, redis_server: RedisServer) -> None:
    """Only the two commands that did nothing are sent again, and their answers take their places."""
    key = f"test:noscript:{form.name}"
    missing = pack("EVALSHA", "0" * 40, 0)
    mixed = pipeline(
        pack("INCR", key),
        missing,
        pack("NOSUCH"),
        missing,
        pack("INCR", key),
        eval_forms={1: pack("EVAL", "return 'a'", 0), 3: pack("EVAL", "return 'b'", 0)},
    )

    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        await client.run(call("DEL", key))
        first, a, unknown, b, second = await client.run(mixed)
        assert (first, a, b, second) == (1, b"a", b"b", 2)
        assert "NOSUCH" in unknown
        results = [replies async for replies in client.stream([mixed] * 5)]
        assert [replies[0] for replies in results] == [3, 5, 7, 9, 11]
        assert all(replies[1] == b"a" and replies[3] == b"b" for replies in results)
        await client.run(call("DEL", key))
        await client.close()

    form.run(main)


def test_nobody_listens(form: Form) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> None:
        client = form.client(resolve_address(f"redis://someone:secret@127.0.0.1:{port}/3"))
        with pytest.raises(RedisConnectionError, match=f"redis://127.0.0.1:{port}/3") as caught:
            await client.run(echo("x"))
        assert "secret" not in str(caught.value)
        assert not caught.value.may_have_executed
        await client.close()

    form.run(main)


def test_a_name_that_does_not_exist(form: Form) -> None:
    async def main() -> None:
        client = form.client(resolve_address("redis://no-such-host.invalid"))
        with pytest.raises(RedisConnectionError, match=r"no-such-host\.invalid"):
            await client.run(echo("x"))
        await client.close()

    form.run(main)


def test_a_server_that_comes_back_is_used_again(form: Form, own_server: RedisServer) -> None:
    async def main() -> None:
        client = form.client(resolve_address(own_server.url))
        assert await client.run(echo("1")) == b"1"
        own_server.restart(kill=True)
        assert await client.run(echo("2")) == b"2"
        own_server.kill()
        with pytest.raises(RedisConnectionError):
            await client.run(echo("3"))
        own_server.start()
        assert await client.run(echo("4")) == b"4"
        await client.close()

    form.run(main)


def breaks_after(requests: int) -> Callable[[socket.socket], None]:
    """Serves +OK ``requests`` times; then takes one more and closes without an answer."""

    def serve(accepted: socket.socket) -> None:
        for _ in range(requests):
            accepted.recv(65_536)
            accepted.sendall(b"+OK\r\n")
        accepted.recv(65_536)

    return serve


def test_a_lost_answer_is_ambiguous(form: Form, peer: Callable[..., Peer]) -> None:
    broken = peer(breaks_after(1))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        assert await client.run(call("INCR", "x")) == b"OK"
        with pytest.raises(RedisConnectionError, match=r"test\.incr: .*may or may not") as caught:
            await client.run(call("INCR", "x"))
        assert caught.value.may_have_executed
        assert broken.connections == 1
        await client.close()

    form.run(main)


def test_what_is_idempotent_is_sent_again(form: Form, peer: Callable[..., Peer]) -> None:
    broken = peer(breaks_after(1))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        for _ in range(4):
            assert await client.run(echo("x")) == b"OK"
        assert broken.connections == 4
        await client.close()

    form.run(main)


def test_sending_again_has_an_end(form: Form, peer: Callable[..., Peer]) -> None:
    broken = peer(breaks_after(0))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        with pytest.raises(RedisConnectionError, match="Repeating the call is safe") as caught:
            await client.run(echo("x"))
        assert caught.value.may_have_executed
        assert caught.value.safe_to_repeat
        assert broken.connections == 3
        await client.close()

    form.run(main)


def test_a_timeout_is_not_sent_again(form: Form, peer: Callable[..., Peer]) -> None:
    silent = peer(lambda accepted: accepted.recv(65_536) and accepted.recv(65_536))

    async def main() -> None:
        client = form.client(Address(port=silent.port, socket_timeout_ms=100))
        with pytest.raises(RedisTimeoutError):
            await client.run(echo("x"))
        assert silent.connections == 1
        await client.close()

    form.run(main)


def test_a_stream_goes_on_after_a_lost_connection(form: Form, peer: Callable[..., Peer]) -> None:
    broken = peer(breaks_after(2))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        # One request per read of the peer, so that its count is exact.
        results = [result async for result in client.stream(numbered(7), window=1)]
        assert results == [b"OK"] * 7
        await client.close()

    form.run(main)


def test_a_stream_tells_which_call_was_lost(form: Form, peer: Callable[..., Peer]) -> None:
    broken = peer(breaks_after(2))

    async def main() -> None:
        client = form.client(Address(port=broken.port))
        stream = client.stream([call("INCR", "x")] * 5, window=1)
        assert [await anext(stream), await anext(stream)] == [b"OK", b"OK"]
        with pytest.raises(RedisConnectionError, match="number 2 of the stream") as caught:
            await anext(stream)
        assert caught.value.may_have_executed
        await client.close()

    form.run(main)


def test_dedicated_connections_belong_to_their_owner(form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        client = form.client(resolve_address(redis_server.url))
        connection = await client.dedicated()
        await client.close()
        assert await connection.exchange(pack("PING")) == [b"PONG"]
        await connection.aclose()

    form.run(main)


def test_an_embedded_server_in_a_folder_lives_as_long_as_its_client(form: Form, tmp_path: Path) -> None:
    async def main() -> None:
        client = form.client(resolve_address(f"embedded://{tmp_path}"))
        path = (await client.run(call("CONFIG", "GET", "unixsocket")))[1].decode()
        assert Path(path).is_socket()
        await client.close()
        with anyio.fail_after(10) if form.name != "sync" else nullcontext():
            while Path(path).exists():
                await anyio.sleep(0.01) if form.name != "sync" else time.sleep(0.01)

    form.run(main)


# --- concurrency ------------------------------------------------------------------------------------------


def test_tasks_share_one_connection(client_form: Form, own_server: RedisServer) -> None:
    async def main() -> None:
        client = client_form.client(resolve_address(own_server.url))
        answers: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            answers[number] = await client.run(echo(str(number)))

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(ask, number)
        assert answers == {number: b"%d" % number for number in range(200)}
        assert int(own_server.client.info("stats")["total_connections_received"]) <= 3
        await client.close()

    client_form.run(main)


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_tasks_while_the_server_fails(client_form: Form, own_server: RedisServer, seed: int) -> None:
    """Each task asks for its own token, some are cancelled, and connections are killed under them."""
    chance = random.Random(seed)

    async def main() -> None:
        client = client_form.client(resolve_address(own_server.url))
        answered = 0

        async def ask(number: int) -> None:
            nonlocal answered
            with anyio.move_on_after(chance.choice((0.0, 0.001, 0.003, 5.0))), suppress(RedisConnectionError):
                for turn in range(5):
                    token = f"{number}-{turn}"
                    assert await client.run(echo(token)) == token.encode()
                    answered += 1

        for _ in range(8):
            async with anyio.create_task_group() as tasks:
                for number in range(30):
                    tasks.start_soon(ask, number)
                await anyio.sleep(chance.random() * 0.004)
                own_server.client.client_kill_filter(_type="normal", skipme=True)
        assert answered > 100
        assert await client.run(echo("end")) == b"end"
        await client.close()

    client_form.run(main)


def test_many_wait_for_one_failing_connection(client_form: Form) -> None:
    """Whoever waits while an attempt fails shares its failure; one after the other would take minutes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> None:
        client = client_form.client(Address(port=port))
        failed = 0

        async def ask() -> None:
            nonlocal failed
            with pytest.raises(RedisConnectionError):
                await client.run(echo("x"))
            failed += 1

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(300):
                    tasks.start_soon(ask)
        assert failed == 300
        await client.close()

    client_form.run(main)


def test_the_one_who_opens_may_be_cancelled(client_form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        client = client_form.client(resolve_address(redis_server.url))
        results: list[bytes] = []

        async def opener() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await client.run(echo("opener"))

        async def follower() -> None:
            results.append(await client.run(echo("follower")))

        scopes: list[anyio.CancelScope] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opener)
            tasks.start_soon(follower)
            while not scopes:
                await anyio.sleep(0)
            scopes[0].cancel()
        assert results == [b"follower"]
        await client.close()

    client_form.run(main)


def test_threads_share_a_pool(redis_server: RedisServer) -> None:
    form = Form("sync")
    client = form.client(resolve_address(redis_server.url)).it
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(50):
            token = f"{number}-{turn}"
            if (answer := client.run(echo(token))) != token.encode():
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    client.close()


def test_a_rested_connection_is_looked_at(own_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Call that must not be sent twice survives the end of a connection that was idle."""
    monkeypatch.setattr("chasquimq.sync._client.IDLE_CHECK_SECONDS", -1.0)
    client = Form("sync").client(resolve_address(own_server.url)).it
    assert client.run(call("INCR", "x")) == 1
    own_server.restart()
    assert client.run(call("INCR", "x")) == 1
    client.close()


def test_close_while_a_thread_is_busy(redis_server: RedisServer) -> None:
    """The busy connection is closed when its Call has ended, not under it."""
    client = Form("sync").client(resolve_address(redis_server.url)).it
    client.profile()
    results: list[object] = []
    key = "test:close-while-busy"
    thread = threading.Thread(target=lambda: results.append(client.run(call("BLPOP", key, "10", blocks_ms=10_000))))
    thread.start()
    while not redis_server.client.info("clients")["blocked_clients"]:
        time.sleep(0.001)
    client.close()
    redis_server.client.rpush(key, "here")
    thread.join(10)
    assert results == [[key.encode(), b"here"]]


def test_one_client_in_two_loops_of_two_threads(client_form: Form, redis_server: RedisServer) -> None:
    """Each loop has a connection of its own; neither disturbs the other."""
    client = client_form.client(resolve_address(redis_server.url))
    both = threading.Barrier(2)
    failures: list[BaseException] = []

    async def main(name: str) -> None:
        await client.run(echo(name))
        both.wait(10)
        for turn in range(100):
            assert await client.run(echo(f"{name}{turn}")) == f"{name}{turn}".encode()
        connection = client._connection
        both.wait(10)
        if name == "a":
            await client.close()
        both.wait(10)
        # The other thread's close() reaches this loop's connection a turn later.
        while connection is not None and connection.belongs_here and not connection.is_closed:
            await anyio.sleep(0)
        await anyio.sleep(0.01)

    def thread(name: str) -> None:
        try:
            client_form.run(main, name)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_one_client_in_one_loop_after_another(client_form: Form, redis_server: RedisServer) -> None:
    client = client_form.client(resolve_address(redis_server.url))
    for number in range(3):
        assert client_form.run(client.run, echo(str(number))) == b"%d" % number
        assert len(client._homes) == 1
    client_form.run(client.close)
    # asyncio warns, rightly, of transports that their loop has left open; here, not in whatever test comes next.
    del client
    gc.collect()


# --- fork -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_opens_its_own_connections(redis_server: RedisServer) -> None:
    client = Form("sync").client(resolve_address(redis_server.url)).it
    parent_id = client.run(call("CLIENT", "ID"))
    inbox, outbox = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(outbox, b"%d" % client.run(call("CLIENT", "ID")))
            client.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    child_id = int(os.read(inbox, 100))
    os.close(inbox)
    os.close(outbox)
    assert child_id != parent_id
    assert client.run(call("CLIENT", "ID")) == parent_id
    client.close()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_runs_a_loop_of_its_own(redis_server: RedisServer) -> None:
    client = Form("asyncio").client(resolve_address(redis_server.url))
    inbox, outbox = os.pipe()

    async def main() -> None:
        parent_id = await client.run(call("CLIENT", "ID"))
        child = os.fork()
        if child == 0:
            try:
                # What asyncio itself does in the child of a fork.
                asyncio._set_running_loop(None)
                os.write(outbox, b"%d" % asyncio.run(client.run(call("CLIENT", "ID"))))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert int(os.read(inbox, 100)) != parent_id
        assert await client.run(call("CLIENT", "ID")) == parent_id
        await client.close()

    asyncio.run(main())
    os.close(inbox)
    os.close(outbox)
