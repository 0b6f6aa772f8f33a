"""Run the command line as ``python -m flor_trace``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that ``sys.argv`` asks for and return its exit status."""
    from flor_trace.cli import dispatch  # noqa: PLC0415 - imports nothing but what is asked for

    return dispatch.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
