"""A plug-in of pytest that writes the node ids of failed tests into the file that ``PROOF_FAILED`` names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        with Path(os.environ["PROOF_FAILED"]).open("a", encoding="utf-8") as file:
            file.write(report.nodeid + "\n")
