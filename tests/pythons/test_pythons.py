"""Other Pythons are what they are called, and run the project's compiled modules wherever they were unpacked."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pythons import SERIES, ensure, ensure_environment, provision
from tests.pythons.provision import override_variable
from tests.servers import NotAvailable

OWN = ".".join(map(str, sys.version_info[:2]))


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_unknown_series_is_refused_by_name() -> None:
    with pytest.raises(NotAvailable, match=r"3\.12"):
        ensure("2.7")


def test_a_python_of_ones_own_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = script(tmp_path / "own", "echo 3.14")
    monkeypatch.setenv(override_variable("3.14"), str(own))
    assert ensure("3.14") == own
    monkeypatch.setenv(override_variable("3.15"), str(own))
    with pytest.raises(NotAvailable, match="CHASQUIMQ_PYTHON_3_15"):
        ensure("3.15")


def test_one_that_was_installed_without_headers_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The next one is taken: here the second of those that are below a folder of pyenv."""
    for version, text in {
        "3.14.9": "exit 1",
        "3.14.10": "echo 3.15",
        "3.14.2": "echo 3.14",
        "3.14.1": "exit 0",
    }.items():
        folder = tmp_path / "versions" / version / "bin"
        folder.mkdir(parents=True)
        script(folder / "python3", text)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.delenv(override_variable("3.14"), raising=False)
    assert ensure("3.14") == tmp_path / "versions" / "3.14.2" / "bin" / "python3"


def test_what_was_unpacked_and_then_moved_is_unpacked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The paths of its loader and libraries are written into it; a cache is copied from checkout to checkout."""
    asked: list[str] = []

    def unpack(_root: Path, _packages: object, series: tuple[str, ...], suite: str, target: Path) -> list[str]:
        asked.append(f"{series[0]} {suite}")
        raise NotAvailable("not here")

    monkeypatch.setattr(provision, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(provision, "unpack_newest", unpack)
    monkeypatch.setattr(provision, "_on_the_machine", lambda _series: [])
    folder = tmp_path / "3.14"
    folder.mkdir()
    marker = folder / "complete.json"
    marker.write_text(f'{{"folder": "{folder}", "interpreter": "{folder}/python"}}')
    assert ensure("3.14") == folder / "python"
    marker.write_text('{"folder": "/elsewhere", "interpreter": "/elsewhere/python"}')
    with pytest.raises(NotAvailable, match=r"3\.14 could not be had"):
        ensure("3.14")
    assert asked == [f"3.14 {suite}" for suite in provision.SUITES]
    assert not folder.exists()


def test_nothing_older_than_this_one_is_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(series: str) -> Path:
        asked.append(series)
        raise NotAvailable("not here")

    monkeypatch.setattr(provision, "ensure", refuse)
    with pytest.raises(NotAvailable, match="newer"):
        provision.ensure_newest()
    assert asked == [series for series in SERIES if tuple(map(int, series.split("."))) > sys.version_info[:2]]


def test_an_environment_has_pip_and_is_made_once(tmp_path: Path) -> None:
    inside = ensure_environment(Path(sys.executable), tmp_path / "environment")
    told = subprocess.run(
        [inside, "-m", "pip", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert str(tmp_path) in told
    assert f"(python {OWN})" in told
    (tmp_path / "environment" / "kept").touch()
    assert ensure_environment(Path(sys.executable), tmp_path / "environment") == inside
    assert (tmp_path / "environment" / "kept").exists()
    (tmp_path / "environment" / "complete.json").write_text("of another interpreter")
    ensure_environment(Path(sys.executable), tmp_path / "environment")
    assert not (tmp_path / "environment" / "kept").exists()
