"""Finding the primary through sentinels: who is asked, who is believed, and how everybody moves with it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import hiredis
import pytest
import redis.asyncio.sentinel
import redis.sentinel

from chasquimq.address import resolve_address
from chasquimq.errors import AuthenticationError, RedisConnectionError
from tests.net.commands import call, pack
from tests.net.conftest import Form, Peer
from tests.servers import RedisServer, ServerBinary
from tests.topologies.sentinels import SERVICE, Watched

NOBODY = "127.0.0.1:1"


def told(form: Form, connection: Any, *words: Any) -> Any:
    """The answer of a fresh client to one command."""

    async def main() -> Any:
        client = form.client(resolve_address(connection))
        try:
            return await client.run(call(*words))
        finally:
            await client.close()

    return form.run(main)


class Naming:
    """A sentinel by hand, which names whom the test wants named. Real ones take seconds to change their mind."""

    def __init__(self) -> None:
        self.named: RedisServer | None = None
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(accepted,), daemon=True).start()

    def _talk(self, accepted: socket.socket) -> None:
        reader = hiredis.Reader()
        with accepted:
            while data := accepted.recv(65_536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    accepted.sendall(self._answer(command))

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] != b"SENTINEL":
            return b"-ERR unknown command\r\n"
        self.asked += 1
        if self.named is None:
            return b"*-1\r\n"
        return pack("127.0.0.1", self.named.port or 0)

    def close(self) -> None:
        with suppress(OSError):  # it may have been closed by the test
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def naming() -> Iterator[Naming]:
    found = Naming()
    yield found
    found.close()


@pytest.fixture
def pair(redis_binary: ServerBinary) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Two lone primaries."""
    with RedisServer(redis_binary) as first, RedisServer(redis_binary) as second:
        yield first, second


# -- asking --------------------------------------------------------------------------------------------------------


def test_the_primary_is_found_and_used(form: Form, watched: Watched) -> None:
    role, *_ = told(form, watched.url + "/2", "ROLE")
    assert role == b"master"
    assert b"db=2" in told(form, watched.url + "/2", "CLIENT", "INFO")


def test_sentinels_that_are_gone_or_know_nothing_are_passed_over(form: Form, watched: Watched, naming: Naming) -> None:
    real = watched.sentinels[2].port
    url = f"redis+sentinel://{NOBODY},{naming.address},127.0.0.1:{real}/{SERVICE}"
    assert told(form, url, "ROLE")[0] == b"master"
    assert naming.asked == 1


def test_when_nobody_knows_the_error_says_whom_it_has_asked(form: Form, watched: Watched) -> None:
    real = f"127.0.0.1:{watched.sentinels[0].port}"
    url = f"redis+sentinel://u:s3cret@{NOBODY},{real}/other?failover_timeout_ms=100"
    with pytest.raises(RedisConnectionError, match=f"{NOBODY}.*{real} knows no service of this name") as caught:
        told(form, url, "PING")
    assert not caught.value.may_have_executed
    assert "s3cret" not in str(caught.value)


def test_a_sentinel_that_does_not_answer_costs_its_time_and_no_more(
    form: Form, watched: Watched, peer: Callable[..., Peer]
) -> None:
    over = threading.Event()
    silent = peer(lambda accepted: over.wait(10), greets=False)
    url = f"redis+sentinel://127.0.0.1:{silent.port},127.0.0.1:{watched.sentinels[0].port}/{SERVICE}"
    assert told(form, url + "?discovery_timeout_ms=100", "ROLE")[0] == b"master"
    over.set()


def test_a_sentinel_that_names_a_replica_is_not_believed(form: Form, watched: Watched, naming: Naming) -> None:
    """It was cut off from the others during a failover, say; writes to that server would be refused, reads be old."""
    naming.named = watched.replica
    url = f"redis+sentinel://{naming.address},127.0.0.1:{watched.sentinels[0].port}/{SERVICE}"
    assert told(form, url, "ROLE")[0] == b"master"
    assert naming.asked == 1
    alone = f"redis+sentinel://{naming.address}/{SERVICE}?failover_timeout_ms=200"
    with pytest.raises(RedisConnectionError, match="is a replica now"):
        told(form, alone, "PING")


@pytest.mark.parametrize("library", [redis.sentinel, redis.asyncio.sentinel])
def test_clients_of_redis_py_are_taken_over(form: Form, watched: Watched, library: Any) -> None:
    watching = library.Sentinel([("127.0.0.1", sentinel.port) for sentinel in watched.sentinels])
    assert told(form, watching.master_for(SERVICE, db=3), "ROLE")[0] == b"master"
    assert b"db=3" in told(form, watching.master_for(SERVICE, db=3), "CLIENT", "INFO")


# -- passwords -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(redis_binary: ServerBinary) -> Iterator[Watched]:
    with Watched(redis_binary, sentinels=1, password="sesame", sentinel_password="mellon") as found:
        yield found


def test_servers_and_sentinels_have_passwords_of_their_own(form: Form, guarded: Watched) -> None:
    sentinel = guarded.sentinels[0].port
    url = f"redis+sentinel://:sesame@127.0.0.1:{sentinel}/{SERVICE}?sentinel_password=mellon"
    assert told(form, url, "ROLE")[0] == b"master"
    mapping = {
        "sentinels": [("127.0.0.1", sentinel)],
        "service_name": SERVICE,
        "password": "sesame",
        "sentinel_username": "default",
        "sentinel_password": "mellon",
    }
    assert told(form, mapping, "ROLE")[0] == b"master"


@pytest.mark.parametrize(
    ("password", "sentinel_password", "match"),
    [
        ("sesame", "s3cret", "sentinel_password"),
        ("sesame", None, "sentinel_password"),
        ("s3cret", "mellon", "username and password of the connection"),
        (None, "mellon", "Give username and password"),
    ],
)
def test_wrong_passwords(
    form: Form, guarded: Watched, password: str | None, sentinel_password: str | None, match: str
) -> None:
    mapping = {
        "sentinels": [("127.0.0.1", guarded.sentinels[0].port)],
        "service_name": SERVICE,
        "password": password,
        "sentinel_password": sentinel_password,
    }
    with pytest.raises(AuthenticationError, match=match) as caught:
        told(form, mapping, "PING")
    for secret in ("sesame", "mellon", "s3cret"):
        assert secret not in str(caught.value)


# -- moving --------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentinels are asked again after a moment."""
    monkeypatch.setattr("chasquimq._core.location.CONFIRM_INTERVAL_MS", 50)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", ["run", "stream", "dedicated"])
def test_everybody_moves_when_sentinels_name_another(
    form: Form, naming: Naming, pair: tuple[RedisServer, RedisServer], way: str
) -> None:
    """The old primary is there and takes writes, as in a failover by hand; the connection to it is open."""
    first, second = pair
    naming.named = first

    async def main() -> None:
        client = form.client(resolve_address(f"redis+sentinel://{naming.address}/{SERVICE}"))
        dedicated = await client.dedicated()

        async def write() -> None:
            if way == "run":
                await client.run(call("INCR", "n"))
            elif way == "stream":
                assert [count async for count in client.stream([call("INCR", "n")])]
            else:
                await dedicated.exchange(pack("INCR", "n"))

        await write()
        assert first.client.get("n") == b"1"
        naming.named = second
        written = 1
        while not second.client.exists("n"):
            await write()
            written += 1
        await write()
        assert second.client.get("n") == b"2"
        assert first.client.get("n") == b"%d" % (written - 1)
        await dedicated.aclose()
        await client.close()

    form.run(main)


@pytest.mark.usefixtures("impatient")
def test_a_long_stream_moves_in_its_middle_and_keeps_its_order(
    form: Form, naming: Naming, pair: tuple[RedisServer, RedisServer]
) -> None:
    first, second = pair
    naming.named = first

    def calls() -> Iterator[Any]:
        number = 0
        while second.client.llen("list") < 10:
            yield call("RPUSH", "list", number)
            number += 1
            if number == 10:
                naming.named = second

    async def main() -> None:
        client = form.client(resolve_address(f"redis+sentinel://{naming.address}/{SERVICE}"))
        count = len([length async for length in client.stream(calls(), 4)])
        stored = first.client.lrange("list", 0, -1) + second.client.lrange("list", 0, -1)
        assert stored == [b"%d" % number for number in range(count)]
        await client.close()

    form.run(main)


@pytest.mark.usefixtures("impatient")
def test_sentinels_that_have_gone_disturb_nobody(
    form: Form, naming: Naming, pair: tuple[RedisServer, RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    naming.named = pair[0]
    caplog.set_level(logging.WARNING, "chasquimq")

    async def main() -> None:
        client = form.client(resolve_address(f"redis+sentinel://{naming.address}/{SERVICE}"))
        assert await client.run(call("INCR", "n")) == 1
        naming.close()
        count = 1
        while not caplog.records:
            count += 1
            assert await client.run(call("INCR", "n")) == count
        assert "do not say whether the primary is still the same" in caplog.text
        assert await client.run(call("INCR", "n")) == count + 1
        await client.close()

    form.run(main)
