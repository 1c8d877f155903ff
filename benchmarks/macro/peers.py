"""Who is measured beside us: how the process of a peer's side is started.

The reference implementation's package has our package's name, so its interpreter must never find the checkout: it
gets this package alone, by its place. Other peers (rq, huey, celery …) will be further sides with an interpreter of
their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["side_process"]

_HERE = Path(__file__).parents[1]

_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("benchmarks", {init!r}, submodule_search_locations=[{folder!r}])
package = importlib.util.module_from_spec(spec)
sys.modules["benchmarks"] = package
spec.loader.exec_module(package)
from benchmarks.macro.side import main
main()
"""


def side_process(side: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of one side's process. Raises NotAvailable when the peer cannot be had."""
    if side != "reference":
        return [sys.executable, "-m", "benchmarks.macro.side"], dict(os.environ)
    from tests.servers.reference import ensure_reference, reference_environment

    boot = _BOOT.format(init=str(_HERE / "__init__.py"), folder=str(_HERE))
    return [str(ensure_reference()), "-I", "-c", boot], reference_environment()
