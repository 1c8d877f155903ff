"""F54, F55: a dead letter is written once and replayed once, whatever happens to connections and callers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chasquimq import sync
from tests.servers import RedisServer

from .conftest import Queue
from .ledger import Ledger, wait_until
from .processes import Workers
from .state import QueueState, envelope


def test_f54_answers_get_lost_while_jobs_die(
    own_server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    """The write is repeated when its answer is lost; the move is not. The same for retries and for acks."""
    jobs = queue.add_bulk([("job", {"fails": 2, "wait_ms": 5}, {"attempts": 2, "backoff": 1}) for _ in range(300)])
    fleet = workers.start_fleet(concurrency=4)
    over = threading.Event()
    client = own_server.new_client()

    def cut() -> None:
        while not over.wait(0.15):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        time.sleep(2.5)  # how long the trouble lasts
    finally:
        over.set()
        cutter.join()
    wait_until(lambda: len(state.dead()) >= 300 and state.is_empty(), f"all dead; {ledger}", within=60)
    assert sorted(envelope(fields[b"d"])[0] for fields in state.dead()) == sorted(job.id for job in jobs)
    assert set(ledger.started().values()) <= {2, 3}
    assert all(worker.is_alive for worker in fleet)


def test_f55_many_replays_at_once(
    server: RedisServer, queue: Queue, workers: Workers, ledger: Ledger, state: QueueState
) -> None:
    worker = workers.start()
    jobs = queue.add_bulk([("job", {"unrecoverable": True})] * 400)
    wait_until(lambda: len(state.dead()) == 400, "all dead")
    assert worker.stop() == 0

    def replay(limit: int) -> int:
        with sync.Queue[Any, Any](queue.name, connection=server.url) as own:
            return sum(own.replay_dlq(limit) for _ in range(6))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(replay, [10, 50, 100, 200] * 2)) == 400
    assert state.dead() == []
    ids = [envelope(fields[b"d"])[0] for _, fields in state.client.xrange(state.key("stream"))]
    assert sorted(ids) == sorted(job.id for job in jobs)
