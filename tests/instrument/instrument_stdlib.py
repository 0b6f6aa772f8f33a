"""A sample of the standard library that takes seconds and holds most forms of loops."""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType

LIBRARY = Path(ast.__file__).parent
NAMES = (
    *("_pydecimal", "argparse", "ast", "asyncio/base_events", "asyncio/streams", "calendar"),
    *("codecs", "collections/__init__", "configparser", "contextlib", "csv", "dataclasses"),
    *("difflib", "doctest", "email/_header_value_parser", "fractions", "functools", "gzip"),
    *("heapq", "http/client", "inspect", "json/scanner", "linecache", "mailbox", "pdb"),
    *("pickle", "pickletools", "pprint", "pydoc", "random", "re/_parser", "shutil", "smtplib"),
    *("statistics", "subprocess", "tarfile", "textwrap", "threading", "tokenize", "traceback"),
    *("turtle", "typing", "unittest/mock", "urllib/request", "uuid", "zipfile/__init__"),
)
SAMPLE = [path for name in NAMES if (path := LIBRARY / f"{name}.py").is_file()]


def codes(code: CodeType):
    """Yield a code object and all nested ones."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)
