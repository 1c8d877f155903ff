"""Packages of any Debian suite, unpacked into a private folder of the checkout.

Decides which mirror and which keys to use (those of the machine's own apt configuration, read at run time),
which package version serves, and which library packages it needs: all of them, down to its own C library, so
that a program built for a newer Debian runs on this one. Must never touch the system's packages, apt state or
configuration, and never name a mirror.
"""

import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# apt's own word for "signed with a key that I do not have".
MISSING_KEY = re.compile(r"NO_PUBKEY|not signed|couldn't be verified|Missing key")
SUITES = ("bookworm", "trixie", "testing", "sid", "experimental")
HOOKS = ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success")
LISTS_LAST_S = 3600
# Packages that carry shared objects, but no program needs them to start.
NOT_LIBRARIES = ("libc-gconv-modules-extra", "libc-bin", "libpam-modules", "libpam-modules-bin")


class NotAvailable(RuntimeError):
    """Something that the tests need could not be had; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """The machine's own Debian archive: where it is, its suite, and the keys it is trusted with."""

    uri: str
    suite: str
    keyrings: tuple[Path, ...]


def read_own_source() -> Source:
    """The machine's main Debian archive, from /etc/apt (both of apt's file formats)."""
    root = Path("/etc/apt")
    entries = [
        entry
        for file in sorted([root / "sources.list", *root.glob("sources.list.d/*")])
        if file.is_file() and file.suffix in {".list", ".sources"}
        for entry in (_read_deb822(file) if file.suffix == ".sources" else _read_one_line(file))
    ]
    # Security and third-party archives do not hold the whole distribution.
    for uri, suite, keyring in entries:
        if "security" not in uri and "security" not in suite and uri.rstrip("/").endswith("/debian"):
            return Source(uri, suite, (keyring,) if keyring else ())
    raise NotAvailable(
        "no Debian archive is configured in /etc/apt, so no server can be unpacked from it. "
        "On another system, put the servers there yourself: see 'python -m tests.servers list'."
    )


def _read_deb822(file: Path) -> list[tuple[str, str, Path | None]]:
    found = []
    for stanza in re.split(r"\n\s*\n", file.read_text(errors="replace")):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in lines)
            if colon and not name.startswith((" ", "\t"))
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        keyring = Path(fields["signed-by"]) if fields.get("signed-by", "").startswith("/") else None
        found += [
            (uri, suite, keyring)
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def _read_one_line(file: Path) -> list[tuple[str, str, Path | None]]:
    found = []
    for line in file.read_text(errors="replace").splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)", line)
        if match:
            signed = re.search(r"signed-by=(/\S+)", match[1] or "")
            found.append((match[2], match[3], Path(signed[1]) if signed else None))
    return found


def _is_library(package: str) -> bool:
    # lua-cjson and its like are shared objects that Debian's Redis 7 links to. Headers belong to no program.
    if package.endswith("-dev") or package in NOT_LIBRARIES:
        return False
    return package.startswith(("lib", "lua-")) or package == "zlib1g"


def unpack_newest(
    apt_root: Path, packages: tuple[str, ...], series: tuple[str, ...], suite: str, target: Path
) -> list[str]:
    """Unpack `packages` in the newest version of the first series on offer, with libraries of `suite`; what came."""
    apt = PrivateApt(apt_root)
    for refresh in (False, True):
        apt.prepare(refresh=refresh)
        try:
            version = _choose_version(apt, packages[0], series)
            return apt.fetch(list(packages), version, suite, target)
        except NotAvailable:
            # Lists grow stale: the archive drops a version as soon as a newer one is there.
            if refresh:
                raise
    raise AssertionError("the second attempt returns or raises")


def _choose_version(apt: "PrivateApt", package: str, series: tuple[str, ...]) -> str:
    offered = apt.versions(package)
    for wanted in series:
        for version in offered:
            if re.match(rf"(?:\d+:)?{re.escape(wanted)}\b", version):
                return version
    raise NotAvailable(
        f"the archive has no {package} {series[0]}, only {', '.join(offered) or 'none'} "
        f"(apt's own words are in {apt.root / 'update.log'})"
    )


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An unpacked program, and what it has to be started with: its own loader and its own libraries."""

    loader: Path
    libraries: tuple[Path, ...]
    executable: Path

    @classmethod
    def find(cls, program: str, folder: Path) -> "Unpacked":
        """`program` in the packages that were unpacked into ``folder/root``."""
        loaders = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
        name = loaders.get(platform.machine())
        if name is None:
            raise NotAvailable(f"the dynamic loader's name on {platform.machine()} is not known here")
        # Suites differ in whether it is below /lib or /usr/lib; a link would lead to the system's own loader.
        loader = next((path for path in sorted(folder.rglob(name)) if not path.is_symlink()), None)
        executable = next(iter(sorted(folder.glob(f"root/**/bin/{program}"))), None)
        if loader is None or executable is None:
            raise NotAvailable(f"the unpacked packages hold no {name if loader is None else program}")
        parents = [path for path in (folder / "root/lib", folder / "root/usr/lib") if path.is_dir()]
        return cls(loader, tuple(path for parent in parents for path in sorted(parent.glob("*-linux-gnu"))), executable)


class PrivateApt:
    """An apt of our own: its lists, state, cache and keys live under `root`; it finds nothing installed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._configuration = root / "apt.conf"

    def prepare(self, *, refresh: bool = False) -> None:
        """Fetch the package lists of all suites, unless they are fresh."""
        stamp = self.root / "updated"
        if not refresh and stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_LAST_S:
            return
        source = read_own_source()
        for folder in ("state/lists/partial", "cache/archives/partial", "keys", "parts", "work"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "state/status").touch()
        for keyring in [*Path("/etc/apt/trusted.gpg.d").glob("*"), *source.keyrings]:
            self._trust(keyring)
        suites = tuple(dict.fromkeys((source.suite, *SUITES)))
        self._write_configuration(source.uri, suites)
        said = self._run("apt-get", "update", check=False)
        if MISSING_KEY.search(said):
            # A newer suite is signed with a newer key. The archive's keyring package, verified with the keys
            # that are here, brings it.
            self._download(["debian-archive-keyring"], self.root / "work" / "keys")
            for keyring in (self.root / "work" / "keys").glob("usr/share/keyrings/*archive-keyring*"):
                self._trust(keyring)
            said = self._run("apt-get", "update", check=False)
        # One suite out of reach is no error as long as the package wanted is in another one.
        (self.root / "update.log").write_text(said)
        stamp.touch()

    def _trust(self, keyring: Path) -> None:
        if keyring.is_file():
            suffix = ".asc" if keyring.suffix == ".asc" else ".gpg"
            shutil.copyfile(keyring, self.root / "keys" / (keyring.stem + suffix))

    def _write_configuration(self, uri: str, suites: tuple[str, ...]) -> None:
        root = self.root
        (root / "sources.list").write_text("".join(f"deb {uri} {suite} main\n" for suite in suites))
        # apt reads $APT_CONFIG, then /etc/apt/apt.conf.d (proxies must go on working), then the main file.
        # Ours takes the main file's place, so that it has the last word.
        self._configuration.write_text(f'Dir::Etc::main "{root}/main.conf";\n')
        machines = Path("/etc/apt/apt.conf")
        settings = {
            "Dir::State": root / "state",
            "Dir::State::status": root / "state/status",
            "Dir::Cache": root / "cache",
            # Container images switch the binary caches off: every look-up would read all lists anew.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::sourcelist": root / "sources.list",
            "Dir::Etc::sourceparts": root / "parts",
            "Dir::Etc::preferences": root / "none",
            "Dir::Etc::preferencesparts": root / "parts",
            "Dir::Etc::trusted": root / "none.gpg",
            "Dir::Etc::trustedparts": root / "keys",
            "Acquire::Languages": "none",
            # Fetching needs no user of its own in a folder that belongs to whoever runs the tests.
            "APT::Sandbox::User": "",
        }
        (root / "main.conf").write_text(
            (f"#include {machines}\n" if machines.is_file() else "")
            # The machine's hooks would clean or index the system's own caches.
            + "".join(f"#clear {hooks};\n" for hooks in HOOKS)
            + "".join(f'{name} "{value}";\n' for name, value in settings.items())
        )

    def versions(self, package: str) -> list[str]:
        """The versions of `package` on offer, newest first."""
        lines = self._run("apt-cache", "madison", package).splitlines()
        rows = [[column.strip() for column in line.split("|")] for line in lines]
        return list(dict.fromkeys(row[1] for row in rows if len(row) == 3 and row[0] == package))

    def fetch(self, packages: list[str], version: str, libraries_from: str, target: Path) -> list[str]:
        """Unpack `packages` of `version` and every library they need into `target`; what was unpacked."""
        wanted = [f"{package}={version}" for package in packages]
        libraries = self._libraries(wanted, libraries_from)
        self._download([*wanted, *libraries], target, release=libraries_from)
        return [*wanted, *libraries]

    def _libraries(self, packages: list[str], suite: str) -> list[str]:
        """The library packages that `packages` depend on, however deeply. apt's own resolver is not asked:
        it would also bring (or stumble over) system users, init systems and their whole world."""
        seen: set[str] = set()
        found: set[str] = set()
        pending = packages
        while pending:
            # Names in a Depends line may be alternatives or virtual: those that are no package are not shown.
            shown = self._run(
                *("apt-cache", "-o", f"APT::Default-Release={suite}", "show", "--no-all-versions", *pending),
                check=False,
            )
            seen.update(pending)
            found.update(re.findall(r"^Package: (\S+)", shown, re.MULTILINE))
            depends = " ".join(re.findall(r"^(?:Pre-)?Depends: (.*)", shown, re.MULTILINE))
            names = re.findall(r"[a-z0-9][a-z0-9.+-]+", re.sub(r"\([^)]*\)|:any", "", depends))
            pending = sorted({name for name in names if _is_library(name)} - seen)
        return sorted(name for name in found if _is_library(name))

    def _download(self, packages: list[str], target: Path, release: str | None = None) -> None:
        work = self.root / "work" / f"deb-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        options = ["-o", f"APT::Default-Release={release}"] if release else []
        try:
            self._run("apt-get", "-q", *options, "download", *packages, cwd=work)
            target.mkdir(parents=True, exist_ok=True)
            for file in sorted(work.glob("*.deb")):
                self._run("dpkg-deb", "-x", str(file), str(target))
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _run(self, *command: str, check: bool = True, cwd: Path | None = None) -> str:
        if shutil.which(command[0]) is None:
            raise NotAvailable(f"{command[0]} is not on this machine: Debian packages cannot be unpacked here.")
        ran = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if check or "update" in command else subprocess.DEVNULL,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, "APT_CONFIG": str(self._configuration), "LC_ALL": "C"},
            check=False,
        )
        if check and ran.returncode:
            raise NotAvailable(f"{' '.join(command)} failed (exit {ran.returncode}):\n{ran.stdout[-2000:]}")
        return ran.stdout
