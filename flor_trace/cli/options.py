"""The options that several commands share."""

from __future__ import annotations

import argparse
from typing import NoReturn

from flor_trace.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are our errors, with our exit status."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of leaving the process."""
        raise UsageError(f"{message}; {self.prog} --help tells more")


def parser(command: str, description: str) -> Parser:
    """A parser with ``--store`` and ``--json``."""
    made = Parser(prog=f"flor_trace {command}", description=description, allow_abbrev=False)
    made.add_argument("--store", metavar="DIR", help="the store (default: that of the project)")
    made.add_argument("--json", action="store_true", help="print one JSON document")
    return made
