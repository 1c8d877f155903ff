"""``python -m examples.demo [sync|asyncio|trio|all]``: the command line of the demo."""

import signal
import sys


def main() -> int:
    """Runs the demo; returns the exit code."""
    try:
        # Imported here, so that Ctrl-C during the imports is answered like any other.
        from examples.demo import story  # noqa: PLC0415

        return story.main(sys.argv[1:])
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C: running jobs were finished or given back, and the embedded server is shut down.")
        return 130
    except BrokenPipeError:  # the reader of our output has left, for example `| head`
        sys.stderr.close()
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the interpreter's own end is left


if __name__ == "__main__":
    sys.exit(main())
