"""``flor_trace pivot``: print logged and replayed values as a table."""

from __future__ import annotations

from collections.abc import Sequence

from flor_trace import api
from flor_trace.cli.options import parser
from flor_trace.cli.output import print_rows
from flor_trace.history import frames


def main(arguments: Sequence[str]) -> int:
    """Print the pivot of the named columns."""
    command = parser("pivot", "Print values as a table: one row per run and iteration.")
    command.add_argument(
        "names", nargs="*", metavar="NAME", help="values and dimensions; all if none"
    )
    command.add_argument("--where", metavar="CONDITION", help="pandas query text over the columns")
    command.add_argument("--full", action="store_true", help="also projid, tstamp and vid")
    options = command.parse_args(arguments)
    named = frames.names_in(options.where) if options.where and options.names else ()
    table = api.pivot(*options.names, *named, store=options.store)
    if options.where:
        table = frames.select(table, options.where)
    hidden = set(named) - set(options.names) - set(api.open_catalog(options.store).dimensions())
    columns = [str(c) for c in table.columns if c not in hidden]
    if not options.full:
        columns = [c for c in columns if c not in ("projid", "tstamp", "vid")]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]
    print_rows(rows, columns, as_json=options.json)
    return 0
