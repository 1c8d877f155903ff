"""Why these tests know one server only: on the others the reference cannot even add a job.

Should this fail one day, the interop tests belong on that server, too.
"""

from pathlib import Path

import pytest

from tests.servers import RECIPES, RedisServer, ensure

from .reference import Reference, ReferenceFailed


@pytest.mark.parametrize("server", [name for name in RECIPES if name != "redis-8.6"])
def test_the_reference_adds_nothing_on_an_older_server(
    server: str, reference_interpreter: Path, tmp_path: Path
) -> None:
    with RedisServer(ensure(server)) as older:
        reference = Reference(reference_interpreter, older.url, "interop", tmp_path / "ledger.jsonl")
        try:
            with pytest.raises(ReferenceFailed, match="Invalid stream ID"):  # it takes XADD's IDMP for one
                reference.add("job", {"n": 1})
        finally:
            reference.end()
        assert not older.client.keys("*")
