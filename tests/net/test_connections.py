"""What each connection promises, whatever way it waits: answers, limits, and never a reply in the wrong hands."""

import gc
import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import hiredis
import pytest

from chasquimq.address import Address, resolve_address
from chasquimq.errors import RedisConnectionError, RedisTimeoutError
from tests.servers import RedisServer

from .commands import pack
from .conftest import Form, Peer


def address_of(peer: Peer, **options: Any) -> Address:
    return Address(port=peer.port, **options)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_answers_and_error_values(form: Form, redis_server: RedisServer, kind: str) -> None:
    address = resolve_address(redis_server.url if kind == "tcp" else redis_server.unix_url)

    async def main() -> None:
        connection = await form.connection.open(address)
        try:
            request = pack("PING") + pack("NOSUCH") + pack("EVAL", "return {1, redis.error_reply('X in it')}", 0)
            pong, unknown, nested = await connection.exchange(request, 3)
            assert pong == b"PONG"
            assert isinstance(unknown, hiredis.ReplyError)
            assert nested[0] == 1
            assert isinstance(nested[1], hiredis.ReplyError)
            assert connection.client_id == (await connection.exchange(pack("CLIENT", "ID")))[0]
            assert connection.profile.server in ("redis", "valkey")
        finally:
            await connection.aclose()
        assert connection.is_closed

    form.run(main)


def test_large_requests_and_answers(form: Form, redis_server: RedisServer) -> None:
    """More than any socket buffer holds, in both directions."""
    big = random.Random(1).randbytes(8 * 1024 * 1024)

    async def main() -> None:
        connection = await form.connection.open(resolve_address(redis_server.url))
        assert await connection.exchange(pack("ECHO", big)) == [big]
        replies = await connection.exchange(pack("ECHO", "small") * 20_000, 20_000)
        assert replies == [b"small"] * 20_000
        await connection.aclose()

    form.run(main)


def test_a_blocking_command_may_take_longer_than_the_socket_timeout(form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = await form.connection.open(replace(resolve_address(redis_server.url), socket_timeout_ms=150))
        assert await connection.exchange(pack("BLPOP", "test:nothing-comes", "0.4"), 1, 400) == [None]
        with pytest.raises(RedisTimeoutError):
            await connection.exchange(pack("BLPOP", "test:nothing-comes", "1"))
        assert connection.is_closed

    form.run(main)


def test_a_peer_that_never_answers(form: Form, peer: Callable[..., Peer]) -> None:
    silent = peer(lambda accepted: accepted.recv(65_536) and accepted.recv(65_536))

    async def main() -> None:
        connection = await form.connection.open(address_of(silent, socket_timeout_ms=100))
        with pytest.raises(RedisTimeoutError, match="did not answer within 100 ms") as caught:
            await connection.exchange(pack("PING"))
        assert caught.value.may_have_executed
        assert connection.is_closed

    form.run(main)


def test_a_peer_that_never_shakes_hands(form: Form, peer: Callable[..., Peer]) -> None:
    silent = peer(lambda accepted: accepted.recv(65_536) and accepted.recv(65_536), greets=False)

    async def main() -> None:
        with pytest.raises(RedisTimeoutError, match="connect_timeout_ms") as caught:
            await form.connection.open(address_of(silent, connect_timeout_ms=100))
        assert not caught.value.may_have_executed

    form.run(main)


def test_a_peer_that_closes_in_mid_reply(form: Form, peer: Callable[..., Peer]) -> None:
    def half_an_answer(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(b"$100\r\nhalf")

    broken = peer(half_an_answer)

    async def main() -> None:
        connection = await form.connection.open(address_of(broken))
        with pytest.raises(RedisConnectionError, match="lost"):
            await connection.exchange(pack("PING"))
        assert connection.is_closed

    form.run(main)


def test_a_server_that_turns_the_client_away(form: Form, peer: Callable[..., Peer]) -> None:
    def full(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(b"-ERR max number of clients reached\r\n")

    async def main() -> None:
        with pytest.raises(RedisConnectionError, match="max number of clients"):
            await form.connection.open(address_of(peer(full, greets=False)))

    form.run(main)


def test_a_peer_that_is_no_redis(form: Form, peer: Callable[..., Peer]) -> None:
    def talk(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        accepted.recv(65_536)

    async def main() -> None:
        connection = await form.connection.open(address_of(peer(talk)))
        with pytest.raises(RedisConnectionError, match="not Redis' protocol"):
            await connection.exchange(pack("PING"))
        assert connection.is_closed

    form.run(main)


@pytest.mark.parametrize(
    "answer",
    [b"?\r\n", b"*x\r\n", b"%1\r\n*0\r\n:1\r\n", b"%1\r\n%0\r\n:1\r\n"],
    ids=["no type", "no length", "a list as key", "a map as key"],
)
def test_answers_that_cannot_be_read(form: Form, peer: Callable[..., Peer], answer: bytes) -> None:
    """However the reader of replies fails over them, it is the connection that failed."""

    def talk(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(answer)
        accepted.recv(65_536)

    async def main() -> None:
        connection = await form.connection.open(address_of(peer(talk)))
        with pytest.raises(RedisConnectionError, match="not Redis' protocol") as failed:
            await connection.exchange(pack("PING"))
        assert failed.value.may_have_executed
        assert connection.is_closed

    form.run(main)


def test_answers_that_nobody_asked_for(form: Form, peer: Callable[..., Peer]) -> None:
    def talk(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(b"+OK\r\n+OK\r\n")
        accepted.recv(65_536)

    async def main() -> None:
        connection = await form.connection.open(address_of(peer(talk)))
        assert await connection.exchange(pack("PING")) == [b"OK"]
        assert connection.is_stale() if form.name == "sync" else connection.is_closed
        await connection.aclose()

    form.run(main)


def test_stale_after_the_peer_closed(peer: Callable[..., Peer]) -> None:
    leave = threading.Event()
    left = threading.Event()

    def until_told(accepted: socket.socket) -> None:
        leave.wait(10)
        accepted.close()
        left.set()

    form = Form("sync")
    connection = form.run(form.connection.open, address_of(peer(until_told)))
    assert not connection.is_stale()
    leave.set()
    left.wait(10)
    assert connection.is_stale()
    connection.close()
    assert connection.is_stale()


def test_interrupt_ends_a_blocked_read(redis_server: RedisServer) -> None:
    form = Form("sync")
    connection = form.run(form.connection.open, resolve_address(redis_server.url)).it
    caught: list[Exception] = []

    def block() -> None:
        try:
            connection.exchange(pack("BLPOP", "test:nothing-comes", "30"), 1, 30_000)
        except RedisConnectionError as error:
            caught.append(error)

    thread = threading.Thread(target=block)
    thread.start()
    while not redis_server.client.execute_command("CLIENT", "LIST", "ID", connection.client_id).count(b"blpop"):
        pass
    connection.interrupt()
    thread.join(10)
    assert len(caught) == 1
    assert "from this side" in str(caught[0])
    assert connection.is_closed
    connection.interrupt()


def test_keyboard_interrupt_in_mid_exchange_closes(redis_server: RedisServer) -> None:
    form = Form("sync")
    connection = form.run(form.connection.open, resolve_address(redis_server.url)).it
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        connection.exchange(pack("BLPOP", "test:nothing-comes", "30"), 1, 30_000)
    timer.join()
    assert connection.is_closed
    with pytest.raises(RedisConnectionError):
        connection.exchange(pack("PING"))


def test_concurrent_exchanges_keep_their_answers(async_form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        answers: dict[int, list[Any]] = {}

        async def ask(number: int) -> None:
            answers[number] = await connection.exchange(pack("ECHO", number) + pack("ECHO", -number), 2)

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(ask, number)
        assert answers == {n: [str(n).encode(), str(-n).encode()] for n in range(200)}
        await connection.aclose()

    async_form.run(main)


def test_requests_are_executed_in_the_order_of_submit(async_form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        key = f"test:order:{async_form.name}"
        await connection.exchange(pack("DEL", key))
        waiters = [connection.submit(pack("RPUSH", key, number)) for number in range(100)]
        assert [(await waiter)[0] for waiter in reversed(waiters)] == list(range(100, 0, -1))
        assert await connection.exchange(pack("LRANGE", key, 0, -1)) == [[b"%d" % n for n in range(100)]]
        await connection.exchange(pack("DEL", key))
        await connection.aclose()

    async_form.run(main)


@pytest.mark.parametrize("seed", range(5))
def test_cancellation_never_misdelivers(async_form: Form, redis_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)

    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        answered = 0

        async def ask(number: int) -> None:
            nonlocal answered
            token = f"{number}:{chance.random()}"
            size = chance.choice((1, 1, 1, 20))
            request = pack("ECHO", token) * size
            if chance.random() < 0.1:
                request += pack("ECHO", bytes(300_000))
                size += 1
            with anyio.move_on_after(chance.choice((0, 0.0005, 0.002, 5))):
                for _ in range(chance.randrange(3)):
                    await anyio.lowlevel.checkpoint()
                replies = await connection.exchange(request, size)
                assert len(replies) == size
                assert replies[0] == token.encode()
                answered += 1

        for _ in range(6):
            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(ask, number)
        assert answered > 0
        assert await connection.exchange(pack("ECHO", "last")) == [b"last"]
        assert not connection.is_closed
        await connection.aclose()

    async_form.run(main)


def test_what_was_not_written_is_not_sent_after_cancellation(async_form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        key = f"test:unsent:{async_form.name}"
        first = connection.submit(pack("PING"))
        second = connection.submit(pack("INCR", key))
        second.cancel()
        assert await first == [b"PONG"]
        assert await connection.exchange(pack("GET", key)) == [None]
        await connection.aclose()

    async_form.run(main)


def test_abort_fails_everybody_at_once(async_form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        errors: list[RedisConnectionError] = []

        async def wait(seconds: str) -> None:
            try:
                await connection.exchange(pack("BLPOP", "test:nothing-comes", seconds), 1, 30_000)
            except RedisConnectionError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait, "30")
            await anyio.wait_all_tasks_blocked()
            connection.abort()
        assert len({id(error) for error in errors}) == 3
        with pytest.raises(RedisConnectionError, match="closed before"):
            connection.submit(pack("PING"))
        await connection.aclose()

    async_form.run(main)


def test_closing_waits_for_the_answers_under_way(async_form: Form, redis_server: RedisServer) -> None:
    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        waiters = [connection.submit(pack("ECHO", number)) for number in range(3)]
        await connection.aclose()
        assert [await waiter for waiter in waiters] == [[b"0"], [b"1"], [b"2"]]

    async_form.run(main)


def test_an_answer_can_be_waited_for_in_turns(async_form: Form, redis_server: RedisServer) -> None:
    """Whoever is cancelled while waiting gives nothing up: neither a request that was sent nor one that was not."""
    key = f"turns-{async_form.name}"

    async def main() -> None:
        connection = await async_form.connection.open(resolve_address(redis_server.url))
        popped = connection.submit(pack("BLPOP", key, 10), 1, 10_000)
        pong = connection.submit(pack("PING"))
        for waiter, seconds in ((pong, 0), (popped, 0.01), (popped, 0.01)):
            with anyio.move_on_after(seconds) as scope:
                await connection.answered(waiter)
            assert scope.cancelled_caught
        redis_server.client.rpush(key, "here")
        with anyio.fail_after(5):
            await connection.answered(pong)
            assert await popped == [[key.encode(), b"here"]]
            assert await pong == [b"PONG"]
        await connection.aclose()

    async_form.run(main)


def test_an_answer_that_will_not_come_is_told_when_it_is_asked_for(
    async_form: Form, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        for is_forgotten in (False, True):
            connection = await async_form.connection.open(resolve_address(redis_server.url))
            waiter = connection.submit(pack("BLPOP", "nothing", 10), 1, 10_000)
            connection.abort()
            if is_forgotten:
                connection.forget(waiter)
                continue
            await connection.answered(waiter)
            with pytest.raises(RedisConnectionError):
                await waiter

    async_form.run(main)
    gc.collect()
    assert caplog.records == [], "asyncio complains of errors that nobody asked for"


def test_opening_can_be_cancelled(async_form: Form, peer: Callable[..., Peer]) -> None:
    silent = peer(lambda accepted: accepted.recv(65_536) and accepted.recv(65_536), greets=False)

    async def main() -> None:
        with anyio.move_on_after(0.1) as scope:
            await async_form.connection.open(address_of(silent))
        assert scope.cancelled_caught

    async_form.run(main)
