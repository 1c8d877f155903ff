"""``python -m benchmarks.peers``: installs the peers and says which versions there are, or why there is none."""

from __future__ import annotations

import sys

from benchmarks.peers import PEERS
from benchmarks.peers.environments import ensure_peer, peer_versions
from tests.servers import NotAvailable


def main() -> int:
    names = sys.argv[1:] or list(PEERS)
    for name in names:
        peer = PEERS.get(name)
        if peer is None:
            sys.exit(f"there is no peer {name!r}; the peers are {', '.join(PEERS)}")
        try:
            ensure_peer(peer)
        except NotAvailable as error:
            print(f"{name}: {error}", file=sys.stderr)
        else:
            print(f"{name}: {peer_versions(peer)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
