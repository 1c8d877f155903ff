"""One target under atheris, with libFuzzer's arguments: ``python -m tests.fuzz.guided TARGET [OPTIONS] [FOLDERS]``.

The pure twins and all that decides in ``_core`` are instrumented, so that the fuzzer sees which branches an input
takes; the compiled twins run beside them and must agree.
"""

from __future__ import annotations

import sys

import atheris

# Nothing of ours may be imported before this.
with atheris.instrument_imports(include=["chasquimq", "urllib", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.verdict import complain, little_memory


def main() -> None:
    name = sys.argv.pop(1)
    target = TARGETS[name]

    def try_one(data: bytes) -> None:
        try:
            with little_memory(len(data)):
                target(data)
        except BaseException:
            complain(name, data)
            raise

    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
