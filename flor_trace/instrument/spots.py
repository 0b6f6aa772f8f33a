"""Make a program tell when it comes to places between its statements."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from flor_trace.errors import RewriteError
from flor_trace.instrument.loops import span
from flor_trace.instrument.mark import NOWHERE
from flor_trace.instrument.markers import Marks
from flor_trace.types import Spot


def mark_spots(tree: ast.Module, spots: Iterable[Spot], marks: Marks) -> None:
    """Put a mark into the tree at each of the spots, in place.

    Raises `RewriteError` if there is no statement where a spot says.
    """
    wanted = {(spot.span, spot.before): spot for spot in spots}
    for block in list(_blocks(tree)):
        for k in range(len(block) - 1, -1, -1):
            at = span(block[k])
            for before in (False, True):
                spot = wanted.pop((at, before), None)
                if spot is not None:
                    block.insert(k + (not before), _mark(spot, marks))
    if wanted:
        lines = ", ".join(str(at[0]) for at, _ in wanted)
        raise RewriteError(f"no statement stands at the place that is asked for: line {lines}")


def read_spot(module: str, name: str) -> Spot:
    """Return the spot that the name of a marker stands for."""
    first, last, start, end, before = map(int, name.split(","))
    return Spot(module, (first, last, start, end), bool(before))


def _mark(spot: Spot, marks: Marks) -> ast.Expr:
    name = ",".join(str(int(each)) for each in (*spot.span, spot.before))
    constant = ast.Constant(marks.write("spot", 0, name), **NOWHERE)
    return ast.Expr(ast.UnaryOp(ast.Invert(), constant, **NOWHERE), **NOWHERE)


def _blocks(tree: ast.AST) -> Iterable[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block
