"""``python -m tests.servers``: provision the servers by hand, or see what is there."""

import argparse
import shlex
import sys

from .debian import NotAvailable
from .provision import RECIPES, cache_folder, ensure, override_variable
from .reference import ensure_reference


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ensuring = commands.add_parser("ensure", help="provision servers and print how to start each one")
    ensuring.add_argument("names", nargs="+", metavar="NAME", choices=[*RECIPES, "reference", "all"])
    ensuring.add_argument("-q", "--quiet", action="store_true", help="print only what went wrong")
    commands.add_parser("list", help="the names, and where one's own server goes")
    arguments = parser.parse_args()
    if arguments.command == "list":
        for name, recipe in RECIPES.items():
            state = "ready" if (cache_folder() / name).exists() else "not provisioned"
            print(f"{name:10}  {recipe.program:14}  {state:15}  own: {override_variable(name)}=PATH")
        return 0
    names = [*RECIPES, "reference"] if "all" in arguments.names else arguments.names
    failed = 0
    for name in names:
        try:
            if name == "reference":
                line = str(ensure_reference())
            else:
                server = ensure(name)
                line = f"{server.version}  {shlex.join(server.command)}"
        except NotAvailable as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
        else:
            if not arguments.quiet:
                print(f"{name}  {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
