"""The pytest plug-in: a private server, and a fresh queue for every test.

Loaded by itself where chasquimq is installed; it does nothing until a test asks for one of its fixtures. The server is
the embedded one of this process (``chasquimq[embedded]``), or the one that the ini option ``chasquimq_url`` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chasquimq.sync import Queue
    from chasquimq.testing import QueueClock

__all__ = ["chasquimq_queue_name", "chasquimq_url", "pytest_addoption", "queue", "queue_clock"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the ini option."""
    parser.addini("chasquimq_url", "the Redis server for tests; by default an embedded one", default="")


@pytest.fixture(scope="session")
def chasquimq_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a server for this test run: for ``connection=``, or the environment variable of the program."""
    url = str(pytestconfig.getini("chasquimq_url"))
    if url:
        yield url
        return
    from chasquimq import embedded  # noqa: PLC0415 - only who asks for a server pays for it

    with embedded.server() as url:
        yield url


@pytest.fixture
def chasquimq_queue_name(chasquimq_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a queue that no other test uses; its keys are deleted after the test."""
    from uuid import uuid4  # noqa: PLC0415

    from chasquimq.sync import Queue  # noqa: PLC0415 - as above
    from chasquimq.testing import clear  # noqa: PLC0415 - as above

    name = f"{request.node.name[:40]}-{uuid4()}"
    yield name
    with Queue[Any, Any](name, connection=chasquimq_url) as used:
        clear(used)


@pytest.fixture
def queue(chasquimq_url: str, chasquimq_queue_name: str) -> Iterator[Queue[Any, Any]]:
    """A ``chasquimq.sync.Queue`` on the test server, empty at the start and closed at the end.

    An asynchronous test opens its own: ``async with Queue(chasquimq_queue_name, connection=chasquimq_url)``.
    """
    from chasquimq.sync import Queue  # noqa: PLC0415 - as above

    with Queue[Any, Any](chasquimq_queue_name, connection=chasquimq_url) as opened:
        yield opened


@pytest.fixture
def queue_clock(queue: Queue[Any, Any]) -> QueueClock:
    """A clock of the ``queue`` fixture that can be moved (``chasquimq.testing.QueueClock``)."""
    from chasquimq.testing import QueueClock  # noqa: PLC0415 - as above

    return QueueClock(queue)
