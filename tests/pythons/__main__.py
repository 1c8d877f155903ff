"""``python -m tests.pythons``: another Python for the tests; prints its path."""

import argparse
import sys

from tests.pythons.provision import SERIES, cache_folder, ensure, ensure_newest, override_variable
from tests.servers import NotAvailable


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ensuring = commands.add_parser("ensure", help="find or unpack one and print where it is")
    ensuring.add_argument("series", choices=[*SERIES, "newest"])
    commands.add_parser("list", help="the series, and how to name an interpreter of one's own")
    arguments = parser.parse_args()
    if arguments.command == "list":
        for series in SERIES:
            state = "unpacked" if (cache_folder() / series).exists() else "not unpacked"
            print(f"{series:5}  {state:13}  own: {override_variable(series)}=PATH")
        return 0
    try:
        print(ensure_newest()[1] if arguments.series == "newest" else ensure(arguments.series))
    except NotAvailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
