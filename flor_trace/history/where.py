"""Evaluate a ``where`` text over a table."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flor_trace.errors import WhereError

if TYPE_CHECKING:
    import pandas as pd

#: What pandas itself defines in such texts.
_PREDEFINED = frozenset({"index", "inf", "Inf", "Timestamp", "datetime", "list", "tuple"})

#: Asking these of a column that does not exist yet makes sense.
_ABOUT_MISSING = frozenset({"isna", "isnull", "notna", "notnull"})

#: Methods that do more than compute a condition, or run a function of their own.
_FORBIDDEN = re.compile(r"_.*|to_.*|pipe|apply|map|agg|aggregate|transform|eval|query|plot|hist")

_BACKTICKS = re.compile(r"`([^`\n]+)`")


def select(table: pd.DataFrame, where: str, *, also: Collection[str] = ()) -> pd.DataFrame:
    """The rows of `table` that meet a condition, written as for `pandas.DataFrame.query`.

    A column that the condition names and the table lacks is missing everywhere, as one is that
    only a replay will give.  A name that looks like a misspelt column is refused, unless it is in
    `also` or the condition asks whether it is missing.

    Returns:
        The rows, with the columns of `table`.

    Raises:
        WhereError: if it is not a condition; it says where, and which columns there are.

    """
    text = " ".join(where.split())
    columns = [str(column) for column in table.columns]
    tree = _parsed(text, columns)
    names = _names(tree, _quoted(text))
    _refuse_misspelt(text, names, columns, frozenset(also) | _asked_if_missing(tree, text))
    missing = [name for name in names if name not in columns]
    wide = table.assign(**dict.fromkeys(missing, float("nan"))) if missing else table
    selected: pd.DataFrame = table.loc[_mask(wide, text, columns)]
    return selected


def names_in(where: str) -> tuple[str, ...]:
    """The columns that a condition names; raises `WhereError` if it is not an expression."""
    text = " ".join(where.split())
    return tuple(_names(_parsed(text, ()), _quoted(text)))


def _parsed(text: str, columns: Iterable[str]) -> ast.Expression:
    placeheld = _placeheld(text)
    if "@" in placeheld:
        raise _error(text, "there are no @ names here", columns, placeheld.index("@"))
    try:
        tree = ast.parse(placeheld, mode="eval")
    except SyntaxError as error:
        at = error.offset - 1 if error.offset else len(text)
        raise _error(text, error.msg, columns, at) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _error(text, str(error) or "it is nested too deeply", columns) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _FORBIDDEN.fullmatch(node.attr):
            at = (node.end_col_offset or 0) - len(node.attr)
            raise _error(text, f".{node.attr} is not available here", columns, at)
    return tree


def _placeheld(text: str) -> str:
    """The text with each `quoted name` replaced by a plain one of the same length."""
    numbers = iter(range(len(text)))
    return _BACKTICKS.sub(lambda match: f"_{next(numbers)}".ljust(len(match[0]), "_"), text)


def _quoted(text: str) -> dict[str, str]:
    """The quoted names by what stands for them."""
    found = list(_BACKTICKS.finditer(text))
    return {f"_{number}".ljust(len(match[0]), "_"): match[1] for number, match in enumerate(found)}


def _names(tree: ast.AST, quoted: dict[str, str]) -> dict[str, int]:
    """The columns that are named, each with its first position."""
    functions = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in functions and node.id not in _PREDEFINED:
            found.setdefault(quoted.get(node.id, node.id), node.col_offset)
    return found


def _asked_if_missing(tree: ast.AST, text: str) -> frozenset[str]:
    quoted = _quoted(text)
    return frozenset(
        quoted.get(node.value.id, node.value.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in _ABOUT_MISSING
        and isinstance(node.value, ast.Name)
    )


def _refuse_misspelt(
    text: str, names: dict[str, int], columns: Collection[str], expected: Collection[str]
) -> None:
    for name, at in names.items():
        if name not in columns and name not in expected:
            near = get_close_matches(name, columns, 1, 0.8)
            if near:
                why = f"there is no column {name}; did you mean {near[0]}?"
                raise _error(text, why, columns, at, near=name)


def _mask(table: pd.DataFrame, text: str, columns: Collection[str]) -> Any:
    try:
        result = table.eval(text, engine="python", local_dict={}, global_dict={})
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NameError,
        NotImplementedError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise _error(text, f"{type(error).__name__}: {error}", columns) from error
    return _as_mask(table, result, text, columns)


def _as_mask(table: pd.DataFrame, result: Any, text: str, columns: Collection[str]) -> Any:
    import pandas as pd  # noqa: PLC0415 - not while recording

    if isinstance(result, bool) or type(result).__name__ in ("bool", "bool_"):
        return pd.Series(bool(result), index=table.index)
    if not isinstance(result, pd.Series):
        raise _error(text, f"it gives a {type(result).__name__}, not a condition", columns)
    if result.dtype == object:
        result = result.astype("boolean") if _all_bool(result) else result
    if not pd.api.types.is_bool_dtype(result.dtype):
        raise _error(text, f"it gives values of type {result.dtype}, not a condition", columns)
    return result.fillna(value=False).astype(bool)


def _all_bool(values: pd.Series[Any]) -> bool:
    return all(isinstance(value, bool) for value in values.dropna())


def _error(
    text: str, why: str, columns: Iterable[str], at: int | None = None, *, near: str | None = None
) -> WhereError:
    """The error with the place in the text and the columns, those with a similar name first."""
    known = list(columns)
    first = get_close_matches(near, known, 5, 0.4) if near else []
    ordered = first + [name for name in known if name not in first]
    place = "" if at is None else f"\n  {text}\n  {' ' * at}^ at character {at + 1}"
    return WhereError(
        f"where {text!r} cannot be evaluated: {why}{place}\ncolumns: {', '.join(ordered)}"
    )
