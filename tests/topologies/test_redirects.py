"""Commands that a node of a real Cluster turns away, on every kind of connection: who sends them again, where, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.crc import key_slot

from chasquimq.address import resolve_address
from chasquimq.errors import RedisConnectionError, ServerReplyError
from tests.net.commands import call, pack, pipeline
from tests.net.conftest import Form
from tests.servers import RedisServer, ServerBinary
from tests.topologies.cluster import Cluster, Node, wait_for
from tests.topologies.conftest import await_departure, clients_of

TWO_KEYS = "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"


class Place:
    """A slot of a test's own, and the nodes that it moves between."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.home, self.other, self.third = (node for node in cluster.nodes if node.is_primary)
        name, self.slot = cluster.name_on(self.home, "redirects")
        self.tag = f"{{chasqui:{name}}}:"
        self.strangers: set[tuple[int | None, str, str]] = set()
        """Who was connected before the test."""

    def key(self, name: str) -> str:
        return self.tag + name

    def client(self, way: Form, url: str | None = None, **options: Any) -> Any:
        address = resolve_address({"url": url or self.cluster.url, **options})
        return way.client(address, self.tag.encode())

    def at(self, node: Node) -> str:
        return f"redis://127.0.0.1:{node.port}"

    @contextmanager
    def moving(self) -> Iterator[None]:
        """In the block the slot is on its way; none of its keys are."""
        self.cluster.begin_move(self.slot, self.home, self.other)
        try:
            yield
        finally:
            self.finish()

    def move(self, *names: str) -> None:
        """Moves some of its keys."""
        keys = [self.key(name) for name in names]
        self.home.say("MIGRATE", "127.0.0.1", self.other.port, "", 0, 5_000, "KEYS", *keys)

    def finish(self) -> None:
        if self.cluster.owner(self.slot) is self.home:
            self.cluster.move_keys(self.slot, self.home, self.other)
            self.cluster.end_move(self.slot, self.home, self.other)

    def reset(self) -> None:
        if self.cluster.owner(self.slot) is not self.home:
            self.cluster.reshard(self.slot, self.home)
        for key in self.home.say("CLUSTER GETKEYSINSLOT", self.slot, 1_000):
            self.home.say("DEL", key)


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Place]:
    found = Place(cluster)
    found.reset()
    servers = [node.server for node in cluster.nodes]
    found.strangers = clients_of(servers)
    yield found
    await_departure(servers, found.strangers)
    found.reset()


def turned_away(node: Node, code: str) -> int:
    """How often a node has answered with this error."""
    return int(node.client.info("errorstats").get(f"errorstat_{code}", {"count": 0})["count"])


# -- MOVED ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "stream", "dedicated"])
def test_a_plain_address_of_the_wrong_node_leads_to_the_right_one(form: Form, place: Place, way: str) -> None:
    async def main() -> None:
        client = place.client(form, place.at(place.other))
        before = turned_away(place.other, "MOVED")
        if way == "run":
            counts = [await client.run(call("INCR", place.key("n"))) for _ in range(20)]
        elif way == "stream":
            calls = [call("INCR", place.key("n")) for _ in range(20)]
            counts = [count async for count in client.stream(calls)]
        else:
            connection = await client.dedicated()
            counts = [(await connection.exchange(pack("INCR", place.key("n"))))[0] for _ in range(20)]
            await connection.aclose()
        await client.close()
        assert counts == list(range(1, 21))
        # Only what was sent before the first answer came: once, or as many as a stream has under way.
        assert turned_away(place.other, "MOVED") - before <= (3 if way == "stream" else 1)

    form.run(main)


def test_a_cluster_address_leads_there_at_once(form: Form, place: Place) -> None:
    async def main() -> None:
        before = [turned_away(node, "MOVED") for node in place.cluster.nodes]
        client = place.client(form)
        assert await client.run(call("INCR", place.key("n"))) == 1
        assert await client.run(call("INCR", place.key("n"))) == 2
        await client.close()
        assert [turned_away(node, "MOVED") for node in place.cluster.nodes] == before

    form.run(main)


def test_all_kinds_of_connections_follow_a_slot(form: Form, place: Place) -> None:
    async def main() -> None:
        client = place.client(form)
        dedicated = await client.dedicated()
        for node in (place.other, place.third, place.home):
            place.cluster.reshard(place.slot, node)
            assert await client.run(call("INCR", place.key("n"))) > 0
            assert (await dedicated.exchange(pack("INCR", place.key("n"))))[0] > 0
            assert dedicated.client_id is not None
        assert await client.run(call("GET", place.key("n"))) == b"6"
        # Nobody stays where the slot is no more.
        await_departure([place.other.server, place.third.server], place.strangers)
        await dedicated.aclose()
        await client.close()

    form.run(main)


def test_idle_connections_of_the_pool_leave_as_soon_as_anybody_notices(place: Place) -> None:
    client = place.client(Form("sync")).it
    dedicated = client.dedicated()
    waiting = call("BLPOP", place.key("list"), 20, blocks_ms=20_000)
    threads = [threading.Thread(target=client.run, args=[waiting]) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: place.home.client.info("clients")["blocked_clients"] == 3, "they are blocked")
    place.home.say("RPUSH", place.key("list"), 1, 2, 3)
    for thread in threads:
        thread.join()
    place.cluster.reshard(place.slot, place.other)
    assert dedicated.exchange(pack("INCR", place.key("n"))) == [1]
    await_departure([place.home.server], place.strangers)
    dedicated.close()
    client.close()


def test_a_stream_keeps_its_order_while_the_slot_moves(form: Form, place: Place) -> None:
    async def main() -> None:
        client = place.client(form)
        targets = {10: place.other, 40: place.third, 70: place.home}
        calls = (call("RPUSH", place.key("list"), number) for number in range(100))
        lengths = []
        async for length in client.stream(calls, 4):
            lengths.append(length)
            if target := targets.get(length):
                place.cluster.reshard(place.slot, target)
        assert lengths == list(range(1, 101))
        stored = await client.run(call("LRANGE", place.key("list"), 0, -1))
        assert stored == [b"%d" % number for number in range(100)]
        await client.close()

    form.run(main)


def test_a_script_that_the_new_node_does_not_know(form: Form, place: Place) -> None:
    text = f"return redis.call('INCR', KEYS[1]) -- {form.name}"
    key = place.key("n")

    def counting() -> Any:
        import hashlib

        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return call("EVALSHA", digest, 1, key, eval_form=lambda _: pack("EVAL", text, 1, key))

    async def main() -> None:
        place.other.say("SCRIPT FLUSH", "SYNC")
        client = place.client(form)
        assert await client.run(counting()) == 1
        place.cluster.reshard(place.slot, place.other)
        assert await client.run(counting()) == 2
        assert [count async for count in client.stream([counting(), counting()])] == [3, 4]
        await client.close()

    form.run(main)


# -- ASK and TRYAGAIN ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "stream", "dedicated"])
def test_commands_in_the_middle_of_a_pipeline_are_asked_for_elsewhere(form: Form, place: Place, way: str) -> None:
    """Half of the keys have moved: each command is executed once, and the answers are in their places."""
    names = ["a", "b", "c", "d", "e", "f"]
    requests = [pack("INCR", place.key(name)) for name in names]
    text = f"return redis.call('INCR', KEYS[1]) -- {way}"
    requests.append(pack("EVALSHA", "0" * 40, 1, place.key("b")))

    async def send(client: Any) -> list[Any]:
        forms = {6: pack("EVAL", text, 1, place.key("b"))}
        if way == "run":
            return list(await client.run(pipeline(*requests, eval_forms=forms)))
        if way == "stream":
            (replies,) = [found async for found in client.stream([pipeline(*requests, eval_forms=forms)])]
            return list(replies)
        connection = await client.dedicated()
        try:
            return list(await connection.exchange(b"".join(requests[:6]), 6))
        finally:
            await connection.aclose()

    async def main() -> None:
        client = place.client(form)
        for number, name in enumerate(names):
            await client.run(call("SET", place.key(name), 10 * number))
        with place.moving():
            place.move("b", "d", "f")
            replies = await send(client)
            assert replies[:6] == [1, 11, 21, 31, 41, 51]
            assert replies[6:] == ([] if way == "dedicated" else [12])
            assert turned_away(place.home, "ASK")
        for number, name in enumerate(names):
            expected = 10 * number + 1 + (name == "b" and way != "dedicated")
            assert await client.run(call("GET", place.key(name))) == b"%d" % expected
        await client.close()

    form.run(main)


def test_keys_that_do_not_exist_yet_are_made_where_the_slot_will_be(form: Form, place: Place) -> None:
    async def main() -> None:
        client = place.client(form)
        with place.moving():
            for number in range(5):
                assert await client.run(call("INCR", place.key("new"))) == number + 1
            assert place.key("new") not in place.home.say("CLUSTER GETKEYSINSLOT", place.slot, 10)
        assert await client.run(call("INCR", place.key("new"))) == 6
        await client.close()

    form.run(main)


def two_keys(place: Place) -> Any:
    return call("EVAL", TWO_KEYS, 2, place.key("a"), place.key("b"))


def test_keys_that_are_in_two_places_are_waited_for(form: Form, place: Place) -> None:
    async def main() -> None:
        client = place.client(form, failover_timeout_ms=20_000)
        await client.run(call("SET", place.key("a"), 0))
        await client.run(call("SET", place.key("b"), 0))
        place.cluster.begin_move(place.slot, place.home, place.other)
        place.move("a")
        before = turned_away(place.home, "TRYAGAIN")
        finishing = threading.Thread(
            target=lambda: (
                wait_for(lambda: turned_away(place.home, "TRYAGAIN") > before + 1, "it was tried"),
                place.finish(),
            )
        )
        finishing.start()
        assert await client.run(two_keys(place)) == 1
        finishing.join()
        assert await client.run(call("GET", place.key("a"))) == b"1"
        await client.close()

    form.run(main)


def test_when_the_patience_is_over_the_error_says_what_the_matter_is(form: Form, place: Place) -> None:
    async def main() -> None:
        client = place.client(form, failover_timeout_ms=200)
        await client.run(call("SET", place.key("a"), 0))
        await client.run(call("SET", place.key("b"), 0))
        with place.moving():
            place.move("a")
            with pytest.raises(ServerReplyError, match="is on its way to another node") as caught:
                await client.run(two_keys(place))
            assert caught.value.code == "TRYAGAIN"
            assert await client.run(call("GET", place.key("a"))) == b"0"
        await client.close()

    form.run(main)


# -- blocked reads -------------------------------------------------------------------------------------------------


def blocked(node: Node, command: str) -> bool:
    return any(row["cmd"] == command and "b" in row["flags"] for row in node.client.client_list())


@pytest.mark.parametrize("kind", ["XREADGROUP", "BLPOP"])
def test_a_blocked_read_goes_on_where_the_slot_has_gone(form: Form, place: Place, kind: str) -> None:
    stream, listed = place.key("stream"), place.key("list")
    if kind == "BLPOP":
        request = pack("BLPOP", listed, 20)
    else:
        request = pack("XREADGROUP", "GROUP", "g", "c", "BLOCK", 20_000, "STREAMS", stream, ">")

    def meanwhile() -> None:
        wait_for(lambda: blocked(place.home, kind.lower()), "it is blocked")
        place.cluster.reshard(place.slot, place.other)
        wait_for(lambda: blocked(place.other, kind.lower()), "it is blocked at the other node")
        if kind == "BLPOP":
            place.other.say("RPUSH", listed, "x")
        else:
            place.other.say("XADD", stream, "*", "f", "x")

    async def main() -> None:
        client = place.client(form)
        await client.run(call("XGROUP", "CREATE", stream, "g", "$", "MKSTREAM"))
        connection = await client.dedicated()
        moving = threading.Thread(target=meanwhile)
        moving.start()
        (reply,) = await connection.exchange(request, 1, 20_000)
        moving.join()
        assert (reply == [listed.encode(), b"x"]) if kind == "BLPOP" else (reply[0][1][0][1] == [b"f", b"x"])
        await connection.aclose()
        await client.close()

    form.run(main)


def test_a_blocked_read_at_a_node_that_was_asked_can_be_ended(place: Place) -> None:
    """The other thread does not know on which connection the reader is just waiting."""
    client = place.client(Form("sync")).it
    with place.moving():
        connection = client.dedicated()
        ending = threading.Thread(
            target=lambda: (
                wait_for(lambda: blocked(place.other, "blpop"), "it is blocked at the other node"),
                connection.interrupt(),
            )
        )
        ending.start()
        with pytest.raises(RedisConnectionError, match="from this side"):
            connection.exchange(pack("BLPOP", place.key("nothing"), 20), 1, 20_000)
        ending.join()
        assert connection.is_closed
    client.close()


# -- a Cluster in trouble ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(redis_binary: ServerBinary) -> Iterator[Node]:
    """A Cluster of one node, for what would disturb others."""
    with Cluster(redis_binary, primaries=1, replicas=0) as found:
        yield found.nodes[0]


@contextmanager
def unserved(node: Node) -> Iterator[None]:
    """In the block nobody serves the slot of the key ``k``."""
    node.say("CLUSTER DELSLOTS", key_slot(b"k"))
    try:
        yield
    finally:
        if len(node.say("CLUSTER SLOTS")) > 1:  # nobody has mended it
            node.say("CLUSTER ADDSLOTS", key_slot(b"k"))


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_cluster_that_is_down_is_waited_for(form: Form, small: Node, scheme: str) -> None:
    options = {"url": f"{scheme}://127.0.0.1:{small.port}", "failover_timeout_ms": 20_000}

    async def main() -> None:
        client = form.client(resolve_address(options), b"k")
        assert await client.run(call("SET", "k", 1)) == b"OK"
        with unserved(small):
            if scheme == "redis":  # nobody has said yet that it is a Cluster: it is not waited for long
                with pytest.raises(ServerReplyError, match="does not serve the queue's slot") as caught:
                    await client.run(call("SET", "k", 2))
                assert caught.value.code == "CLUSTERDOWN"
            else:
                before = turned_away(small, "CLUSTERDOWN")
                mending = threading.Thread(
                    target=lambda: (
                        wait_for(lambda: turned_away(small, "CLUSTERDOWN") > before, "it was tried"),
                        small.say("CLUSTER ADDSLOTS", key_slot(b"k")),
                    )
                )
                mending.start()
                assert await client.run(call("SET", "k", 2)) == b"OK"
                mending.join()
        await client.close()

    form.run(main)


def test_a_slot_that_nobody_serves(form: Form, small: Node) -> None:
    options = {"startup_nodes": [("127.0.0.1", small.port)], "failover_timeout_ms": 100}

    async def main() -> None:
        with unserved(small):
            client = form.client(resolve_address(options), b"k")
            with pytest.raises(RedisConnectionError, match="no node that serves slot") as caught:
                await client.run(call("SET", "k", 1))
            assert not caught.value.may_have_executed
            await client.close()

    form.run(main)


def test_a_lone_server_and_another_database(form: Form, small: Node, redis_server: RedisServer) -> None:
    async def main() -> None:
        client = form.client(resolve_address(f"redis+cluster://127.0.0.1:{redis_server.port}"))
        with pytest.raises(ServerReplyError, match="connect with redis://"):
            await client.run(call("PING"))
        await client.close()
        client = form.client(resolve_address(f"redis://127.0.0.1:{small.port}/2"))
        with pytest.raises(ServerReplyError, match="SELECT 2"):
            await client.run(call("PING"))
        await client.close()

    form.run(main)


def test_dead_nodes_are_passed_over(form: Form, place: Place) -> None:
    async def main() -> None:
        client = place.client(form, f"redis+cluster://127.0.0.1:1,127.0.0.1:{place.third.port}")
        assert await client.run(call("INCR", place.key("n"))) == 1
        await client.close()
        client = place.client(form, "redis+cluster://127.0.0.1:1,127.0.0.1:2", failover_timeout_ms=100)
        with pytest.raises(RedisConnectionError, match=r"Cannot find the node that serves slot.*127\.0\.0\.1:2"):
            await client.run(call("INCR", place.key("n")))
        await client.close()

    form.run(main)


@pytest.mark.parametrize("library", ["sync", "asyncio"])
def test_a_cluster_client_of_redis_py_is_taken_over(form: Form, place: Place, library: str) -> None:
    given: Any
    if library == "sync":
        given = redis.RedisCluster(host="127.0.0.1", port=place.third.port)
    else:
        given = redis.asyncio.RedisCluster(host="127.0.0.1", port=place.third.port)

    async def main() -> None:
        client = form.client(resolve_address(given), place.tag.encode())
        assert await client.run(call("INCR", place.key("n"))) == 1
        await client.close()

    form.run(main)
    if library == "sync":
        given.close()
