"""What the connected server can do, and therefore which way each operation takes.

Decides nothing but that, and everything of it: no other module looks at a version. It must never ask the
server itself (``handshake`` does) and never guess more than the server has shown.
"""

from __future__ import annotations

from collections.abc import Collection

from chasquimq._dataclass import dataclass
from chasquimq.errors import UnsupportedServerError

__all__ = ["FALLBACK_PROFILE", "PROBED_COMMANDS", "ServerProfile", "check_supported", "profile_of"]

PROBED_COMMANDS = ("xackdel", "digest", "xcfgset")
"""Commands that came with the releases we tell apart: 8.2, 8.4 and 8.6."""

_SINCE = {"xackdel": (8, 2), "digest": (8, 4), "xcfgset": (8, 6)}
_OLDEST = {"redis": (7, 0), "valkey": (8, 0)}


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """The server's abilities; each picks one of two ways, in one atomic step either way.

    =============  =====  =======================================  ============================
    ability        Redis  newest path                              fallback
    =============  =====  =======================================  ============================
    has_xackdel    8.2    acknowledge and delete: ``XACKDEL``      ``XACK`` + ``XDEL``
    has_claim      8.4    take over idle entries while reading:    ``XAUTOCLAIM`` beside the
                          ``XREADGROUP … CLAIM``                   read
    has_idmp       8.6    lone add that may be sent again:         plain ``XADD``, not sent
                          ``XADD … IDMP``                          again
    =============  =====  =======================================  ============================

    ``server`` and ``version`` are for people; ``"unknown"`` and ``""`` where the server did not tell.
    """

    server: str
    version: str
    has_xackdel: bool = False
    has_claim: bool = False
    has_idmp: bool = False

    def describe(self) -> str:
        """One line for logs and the command line."""
        paths = (
            f"acknowledge by {'XACKDEL' if self.has_xackdel else 'script'}",
            f"take over by {'XREADGROUP CLAIM' if self.has_claim else 'XAUTOCLAIM'}",
            f"resend a lone add {'by XADD IDMP' if self.has_idmp else 'never'}",
        )
        return f"{self.server} {self.version or '(version unknown)'}: {', '.join(paths)}"


FALLBACK_PROFILE = ServerProfile("unknown", "")
"""For servers that tell nothing about themselves: everything takes the way that all of them know."""


def profile_of(server: str, version: str, commands: Collection[str] | None) -> ServerProfile:
    """The profile from the probed commands that exist, or from the version where probing was not allowed."""
    if commands is None:
        number = _version_number(version) if server == "redis" else None
        commands = [name for name, since in _SINCE.items() if number is not None and number >= since]
    return ServerProfile(
        server=server,
        version=version,
        has_xackdel="xackdel" in commands,
        has_claim="digest" in commands,
        has_idmp="xcfgset" in commands,
    )


def check_supported(server: str, version: str) -> None:
    """Refuses a server that is known to be too old; one that does not tell its version is given a try."""
    oldest = _OLDEST.get(server)
    number = _version_number(version)
    if oldest is None or number is None or number >= oldest:
        return
    needed = f"{server.capitalize()} {oldest[0]}.{oldest[1]}"
    raise UnsupportedServerError(
        f"The server is {server.capitalize()} {version}; chasquimq needs Redis 7.0 or Valkey 8.0 at least. "
        "Nothing was written. Upgrade the server or connect to another one.",
        version=version,
        missing=needed,
    )


def _version_number(version: str) -> tuple[int, int] | None:
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        return None
    return int(major), int(minor)
