"""F16: several event loops in one process."""

from collections import Counter

import msgpack
import pytest

from tests.servers import RedisServer

from .ledger import wait_until
from .programs import run_program
from .programs.loops import ANSWERS
from .state import QueueState, envelope

PAIRS = [("asyncio", "asyncio"), ("asyncio", "trio"), ("trio", "trio")]


def ids_in(state: QueueState) -> Counter[str]:
    return Counter(envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream")))


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("scenario", ["queue_each", "queue_shared", "one_after_another", "closed_elsewhere"])
def test_f16_two_loops(
    server: RedisServer, queue_name: str, state: QueueState, scenario: str, first: str, second: str
) -> None:
    for number in range(ANSWERS):
        state.client.set(state.key(f"result:{number}"), msgpack.packb(number), ex=600)
    before = int(server.client.info("clients")["connected_clients"])
    ran = run_program("loops", scenario, server.url, queue_name, first, second)
    assert (ran.returncode, ran.stderr) == (0, "")
    expected: dict[str, list[str]] = {
        "queue_each": [],
        "queue_shared": [f"{who}-{n}-{turn}" for who in "ab" for n in range(20) for turn in range(25)],
        "one_after_another": [f"{who}-{n}-{turn}" for who in range(5) for n in range(5) for turn in range(5)],
        "closed_elsewhere": [],
    }
    assert ids_in(state) == Counter(expected[scenario])
    wait_until(
        lambda: int(server.client.info("clients")["connected_clients"]) <= before, "all connections were given back"
    )
