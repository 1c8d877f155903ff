"""A copy of the checkout whose extension modules are built in a special way, and commands that run there.

``python tools/variant.py sanitize COMMAND …``: built with AddressSanitizer and UndefinedBehaviorSanitizer (gcc), which
end the process at the first access beyond what is allocated and at the first step of undefined behaviour.
``python tools/variant.py coverage COMMAND …``: built so that libFuzzer sees which branches are taken (clang).

The copy is .cache/variants/NAME and is brought up to date before each command; the checkout itself is never touched.
The modules are compiled with the directives of a release: what users run is what is looked at.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ROOT / ".cache" / "variants"
COMPILED = "chasquimq/_fast"
FOLDERS = ("chasquimq", "tests", "tools", "examples", "benchmarks", "docs")
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
COVERAGE = "-fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp -g"
BUILDS = {
    "sanitize": {"CC": "gcc", "CFLAGS": SANITIZERS, "LDFLAGS": SANITIZERS},
    "coverage": {"CC": "clang", "CFLAGS": COVERAGE, "LDFLAGS": f"{COVERAGE} -Wl,--no-as-needed"},
}


def main() -> int:
    name, command = sys.argv[1], sys.argv[2:]
    tree = VARIANTS / name
    bring_up_to_date(tree)
    build(name, tree)
    # Programs that tests start find the copy too, wherever they stand.
    environment = {**os.environ, "PYTHONPATH": str(tree), **(sanitizers_options() if name == "sanitize" else {})}
    os.chdir(tree)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is what is wanted


def bring_up_to_date(tree: Path) -> None:
    """Every source file of the checkout, and no other one but what was built from them."""
    tree.mkdir(parents=True, exist_ok=True)
    if not (tree / ".cache").is_symlink():
        (tree / ".cache").symlink_to(ROOT / ".cache", target_is_directory=True)
    wanted = {path for path in ROOT.iterdir() if path.is_file()}
    wanted |= {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}
    known = {path.relative_to(ROOT) for path in wanted if "__pycache__" not in path.parts}
    known = {path for path in known if not is_built(path)}
    for path in known:
        source, copy = ROOT / path, tree / path
        if not copy.is_file() or copy.stat().st_mtime_ns != source.stat().st_mtime_ns:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    for folder in FOLDERS:
        for path in (tree / folder).rglob("*"):
            relative = path.relative_to(tree)
            if path.is_file() and relative not in known and not is_built(relative):
                path.unlink()


def is_built(path: Path) -> bool:
    return path.suffix in (".c", ".so") and path.parent == Path(COMPILED)


def build(name: str, tree: Path) -> None:
    """Compiles what has changed. A module that cannot be compiled is an error here."""
    flags = dict(BUILDS[name])
    if name == "coverage":
        flags["LDFLAGS"] += f" -Wl,-rpath,{libfuzzer().parent} {libfuzzer()}"
    log = tree / "build.log"
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace", f"-j{os.cpu_count() or 1}"],
            cwd=tree, env={**os.environ, **flags}, stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    missing = [path.name for path in (tree / COMPILED).glob("*.pyx") if not list(path.parent.glob(f"{path.stem}.*.so"))]
    if missing:
        sys.stderr.write(log.read_text())
        sys.exit(f"not compiled: {', '.join(missing)}; {flags['CC']} with its sanitizer libraries is needed")


def libfuzzer() -> Path:
    """The part of atheris that the modules report to. They name it as a library of theirs: then they find it."""
    found = importlib.util.find_spec("atheris.core_with_libfuzzer")
    if found is None or found.origin is None:
        sys.exit("atheris is not installed: make fuzz does it")
    return Path(found.origin)


def sanitizers_options() -> dict[str, str]:
    """What an interpreter that knows nothing of sanitizers needs, to load modules that were built with them."""
    if not (asan := library("libasan.so")):
        sys.exit("gcc's libasan is needed (on Debian it comes with gcc)")
    return {
        # C++ behind it, for modules of others: who throws must be known before who catches is loaded.
        "LD_PRELOAD": f"{asan} {library('libstdc++.so.6')}".strip(),
        # Python's own allocator would hide most of what is allocated from the sanitizer.
        "PYTHONMALLOC": "malloc",
        # Not leaks: the interpreter does not free everything at its end, and tests of ours count what is allocated.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


def library(name: str) -> str:
    """Where gcc has a library; empty if it has not."""
    found = Path(
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
    )
    return str(found.resolve()) if found.is_absolute() else ""


if __name__ == "__main__":
    sys.exit(main())
