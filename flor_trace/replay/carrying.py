"""Carry the statements of today's code that define a name to their place in an old version."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from flor_trace.errors import ProbeError
from flor_trace.replay.bindings import bound_by, bound_in, read_by
from flor_trace.replay.matching import Matching
from flor_trace.replay.surroundings import (
    FUNCTIONS,
    SCOPES,
    before,
    binds,
    block_of,
    has_history,
    head_of,
    line_of,
    loop_of,
    same_loop,
    scope_of,
    shown_at_end,
    span_of,
)
from flor_trace.replay.trees import Tree
from flor_trace.types import Span


class UndefinedToday(ProbeError):
    """No statement of today's module gives the name a value."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Statements of today's code as they can be asked of an old version."""

    name: str
    today: str  #: the statements as they are today
    text: str  #: the same with the names of the old version; they bind `name`
    span: Span  #: in the old module, of the statement that the place is next to
    before: bool  #: whether the place is before that statement and not after it
    at_end: bool  #: whether the end of the loop's iteration shows them the same
    renamed: Mapping[str, str]  #: today's names to the old version's
    brought: tuple[str, ...]  #: imports and functions that the old version does not have
    confidence: float  #: 0 to 1
    notes: tuple[str, ...]  #: why it is not more


def carry(name: str, matching: Matching, renamed: Mapping[str, str] | None = None) -> Carried:
    """Carry what defines `name` in the first tree of `matching` to its other tree.

    `renamed` maps names to those of the other tree, where a person knows better.

    Raises:
        UndefinedToday: if the first does not define it.
        ProbeError: if it does so at a place that the other does not have, or needs what the other
            has not.

    """
    definitions = [tree for tree in matching.one.below() if name in bound_by(tree.node)]
    inner = [tree for tree in definitions if scope_of(tree).kind != "Module" or loop_of(tree)]
    if not definitions:
        raise UndefinedToday(f"today's code does not define {name!r}")
    if not inner:
        raise ProbeError(
            f"today's code defines {name!r} only outside of loops and functions, so that it has no "
            "place in an iteration"
        )
    problems = []
    for tree in reversed(inner):
        try:
            return _Carrying(name, tree, matching, renamed or {}).carried()
        except ProbeError as problem:
            problems.append(problem)
    raise problems[0]


@dataclass(slots=True)
class _Carrying:
    """One definition on its way."""

    name: str
    definition: Tree
    matching: Matching
    mapped: Mapping[str, str]
    chosen: dict[Tree, None] = field(default_factory=dict)  #: statements that come along
    renamed: dict[str, str] = field(default_factory=dict)
    brought: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    confidence: float = 1.0

    def carried(self) -> Carried:
        top = self._lifted()
        block = self._block(top)
        self._trust(block)
        anchor, before = self._anchor(top, block)
        self.chosen[top] = None
        scope = self.matching.there(scope_of(top))
        assert scope is not None  # it contains the block
        names = _Names(self.matching, scope_of(top), scope, self.mapped)
        self._resolve(top, top, names)
        reads = {names.renamed(each) for tree in self.chosen for each in _reads(tree)}
        return Carried(
            self.name,
            self._text({}),
            self._text(self.renamed),
            span_of(anchor),
            before,
            shown_at_end(anchor, before, reads),
            dict(self.renamed),
            tuple(self.brought),
            round(self.confidence, 2),
            tuple(self.notes),
        )

    def _lifted(self) -> Tree:
        """The definition with the statements around it that are as new as itself."""
        found = self.definition
        for above in self.definition.above():
            if above.kind in SCOPES or self.matching.there(above) is not None:
                break
            if above.is_statement:
                found = above
        return found

    def _block(self, top: Tree) -> Tree:
        """What the old version has of the statement, or scope, whose body the definition is in."""
        owner = top.parent
        assert owner is not None
        while not (owner.is_statement or owner.kind == "Module"):
            assert owner.parent is not None
            owner = owner.parent  # a clause of a `try` or `match`
        there = self.matching.there(owner)
        if there is None:
            raise ProbeError(
                f"today's code defines {self.name!r} in line {line_of(top)}, inside of "
                f"`{head_of(owner)}`, which the old version does not have"
            )
        if self.matching.there(scope_of(top)) is None:
            raise ProbeError(
                f"today's code defines {self.name!r} in {head_of(scope_of(top))}, which the old "
                "version does not have"
            )
        return there

    def _trust(self, block: Tree) -> None:
        back = self.matching.back(block)
        assert back is not None
        common = self.matching.common(back, block)
        if common < 0.5:
            self._doubt(0.5 + common, f"`{head_of(block)}` has changed a lot since")

    def _anchor(self, top: Tree, block: Tree) -> tuple[Tree, bool]:
        """The old statement next to the place, and whether the place is before it."""
        siblings = [each for each in block_of(top) if each.is_statement]
        at = siblings.index(top)
        behind = self._nearest(reversed(siblings[:at]), block)
        ahead = self._nearest(siblings[at + 1 :], block)
        if behind is None and ahead is None:
            self._doubt(0.6, f"nothing next to it is left in `{head_of(block)}`")
            first = next(each for each in block.children if each.is_statement)
            return first, True
        if behind is None:
            assert ahead is not None
            return ahead, True
        if ahead is not None and line_of(ahead) < line_of(behind):
            self._doubt(0.7, "the statements around it stood in another order")
        return behind, False

    def _nearest(self, siblings: Iterable[Tree], block: Tree) -> Tree | None:
        for each in siblings:
            there = self.matching.there(each)
            if there is not None and there.is_statement:
                for above in (there, *there.above()):
                    if above.parent is block:
                        return above
        return None

    # -- what it needs ------------------------------------------------------------------------

    def _resolve(self, tree: Tree, top: Tree, names: _Names) -> None:
        """See to every name that a chosen statement reads."""
        for name in _reads(tree):
            if names.has(name):
                self._note_rename(name, names)
            elif not (self._bring_helper(name, top, names) or self._bring_global(name, top, names)):
                raise ProbeError(
                    f"what defines {self.name!r} today needs {name!r}, which the old version does "
                    "not have; give its old name with --map, or write NAME=EXPRESSION"
                )

    def _note_rename(self, name: str, names: _Names) -> None:
        was = names.renamed(name)
        if was != name:
            self.renamed[name] = was
        changed = names.changed_function(name)
        if changed and changed not in self.notes:
            self._doubt(0.9, changed)

    def _bring_helper(self, name: str, top: Tree, names: _Names) -> bool:
        """Take the new statements before it in the same function along that define a name."""
        found = False
        for each in before(top):
            if each in self.chosen or self.matching.there(each) is not None:
                continue
            if binds(each, name):
                found = True
                self._bring(name, each, top, names)
        return found or any(binds(each, name) for each in self.chosen)

    def _bring_global(self, name: str, top: Tree, names: _Names) -> bool:
        """Take an import, function or constant of the module along that is new."""
        for each in self.matching.one.children:
            if name in bound_by(each.node) and each is not top and each not in self.chosen:
                self.brought.append(name)
                self._bring(name, each, top, names)
                return True
        return False

    def _bring(self, name: str, tree: Tree, top: Tree, names: _Names) -> None:
        self.chosen[tree] = None
        if not same_loop(tree, top) and has_history(tree):
            self._doubt(0.6, f"{name!r} is made anew for each value: `{head_of(tree)}`")
        self._resolve(tree, top, names)

    def _text(self, renamed: Mapping[str, str]) -> str:
        """The chosen statements in the order of the text, some of their names changed."""
        renamed = {k: v for k, v in renamed.items() if k != self.name}
        ordered = sorted(self.chosen, key=line_of)
        return "\n".join(
            ast.unparse(_Rename(renamed).visit(ast.parse(ast.unparse(tree.node))))
            for tree in ordered
        )

    def _doubt(self, factor: float, note: str) -> None:
        self.confidence *= factor
        self.notes.append(note)


class _Names:
    """What the names of today's scope are called in the old version's."""

    def __init__(
        self, matching: Matching, today: Tree, old: Tree, mapped: Mapping[str, str]
    ) -> None:
        self._mapped = mapped
        self._matching = matching
        self._local = matching.renamed(today)
        self._module = matching.renamed(matching.one)
        self._definitions = {
            each.label.strip("'"): each
            for each in matching.one.children
            if each.kind in (*FUNCTIONS, "ClassDef")
        }
        # What it reads it has, wherever that comes from: `from module import *`, an exec.
        read = {_id(each) for each in matching.other.below() if each.kind == "Name"}
        self._old = bound_in(old.node) | bound_in(matching.other.node) | read
        self._today = bound_in(today.node)

    def renamed(self, name: str) -> str:
        """The old name; the same where it is not known to have been another."""
        if name in self._mapped:
            return self._mapped[name]
        definition = self._definitions.get(name)
        there = self._matching.there(definition) if definition is not None else None
        if there is not None and name not in self._today:
            return there.label.split()[0].strip("'")
        was = self._local.get(name) or self._module.get(name, name)
        return was if was in self._old else name

    def has(self, name: str) -> bool:
        """Whether the old version has the name at that place, under whatever name."""
        return self.renamed(name) in self._old or hasattr(builtins, name)

    def changed_function(self, name: str) -> str | None:
        """What to say of a function that the old version defines in another way."""
        definition = self._definitions.get(name)
        there = self._matching.there(definition) if definition is not None else None
        if definition is None or there is None or definition.exact == there.exact:
            return None
        return f"{self.renamed(name)} was defined in another way; the old one is used"


class _Rename(ast.NodeTransformer):
    def __init__(self, renamed: Mapping[str, str]) -> None:
        self._renamed = renamed

    def visit(self, node: ast.AST) -> ast.AST:
        """Leave what functions call their own as it is."""
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return cast(ast.AST, super().visit(node))
        own = bound_in(node)
        inner = _Rename({k: v for k, v in self._renamed.items() if k not in own})
        return inner.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Give the name that the old version has."""
        return ast.copy_location(ast.Name(self._renamed.get(node.id, node.id), node.ctx), node)


def _id(tree: Tree) -> str:
    return str(getattr(tree.node, "id", ""))


def _reads(tree: Tree) -> list[str]:
    node = tree.node
    assert isinstance(node, ast.stmt)
    return read_by([node])
