"""Which version is installed and which implementation runs, asked in a program and on the command line."""

import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

import chasquimq
from chasquimq.__main__ import main


def test_the_engine_has_the_version_of_the_package():
    assert chasquimq.engine_version() == chasquimq.__version__ == version("chasquimq")


def test_the_command_line_tells_it(capsys):
    assert main(["--version"]) == 0
    implementation, python = chasquimq.IMPLEMENTATION, platform.python_version()
    assert capsys.readouterr().out == f"chasquimq {version('chasquimq')} ({implementation}), Python {python}\n"


@pytest.mark.parametrize("command", [["-m", "chasquimq", "--version"], ["-m", "chasquimq"]])
def test_the_package_can_be_run(command):
    ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert ran.returncode == (0 if "--version" in command else 2), ran.stderr
    assert ran.stdout.startswith("chasquimq " if "--version" in command else "usage: chasquimq")
