"""Versions of programs with known edits between them: statements keep their numbers."""

from __future__ import annotations

import ast
import copy
import random

FRESH = 1_000_000  #: numbers from here on are those of statements that an edit has added


def numbered(source: str) -> ast.Module:
    """Return the tree of a program whose statements are numbered."""
    tree = ast.parse(source)
    for number, node in enumerate(statements(tree)):
        node.number = number
    return tree


def statements(tree: ast.AST) -> list[ast.stmt]:
    """Return the statements of a tree in the order of the text."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    return sorted(
        found, key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
    )


def text_of(tree: ast.Module) -> tuple[str, list[int]]:
    """Return a program as text, and the numbers of its statements in the order of the text."""
    source = ast.unparse(tree)
    numbers = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                numbers.append(child.number)
            visit(child)

    visit(tree)
    return source, numbers


def in_order(tree: ast.AST) -> list[ast.stmt]:
    """Return statements as `text_of` numbers them."""
    found = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                found.append(child)
            visit(child)

    visit(tree)
    return found


class Edits:
    """Changes a program at random, as people do."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fresh = FRESH
        self.kinds = (
            self.rename_variable, self.rename_function, self.insert_statement,
            self.delete_statement, self.change_constant, self.move_into_function,
            self.wrap_in_with, self.wrap_in_if, self.swap_neighbours, self.change_loop_header,
            self.add_function, self.add_import,
        )  # fmt: skip

    def edit(self, tree: ast.Module, times: int) -> tuple[ast.Module, list[str]]:
        """Return a changed copy and the kinds of the edits."""
        tree = copy.deepcopy(tree)
        done = []
        while len(done) < times:
            kind = self.random.choice(self.kinds)
            if kind(tree):
                done.append(kind.__name__)
        return tree, done

    def new(self, source: str) -> list[ast.stmt]:
        found = ast.parse(source).body
        for node in found:
            for each in ast.walk(node):
                if isinstance(each, ast.stmt):
                    each.number = self.fresh
                    self.fresh += 1
        return found

    def bodies(self, tree: ast.AST) -> list[list[ast.stmt]]:
        found = []
        for node in ast.walk(tree):
            for field in ("body", "orelse", "finalbody"):
                body = getattr(node, field, None)
                if isinstance(body, list) and body and not isinstance(node, ast.ClassDef):
                    found.append(body)
        return found

    # -- edits --------------------------------------------------------------------------------

    def rename_variable(self, tree: ast.Module) -> bool:
        scopes = [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))]
        scope = self.random.choice(scopes)
        stored = sorted({n.id for n in ast.walk(scope) if isinstance(n, ast.Name)
                         and isinstance(n.ctx, ast.Store)})  # fmt: skip
        if not stored:
            return False
        name = self.random.choice(stored)
        taken = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        to = self.random.choice([f"{name}_new", f"my_{name}", name.upper(), name[0] + name])
        if to in taken or any(isinstance(n, ast.Global | ast.Nonlocal) for n in ast.walk(tree)):
            return False
        for n in ast.walk(scope if scope is not tree else tree):
            if isinstance(n, ast.Name) and n.id == name:
                n.id = to
            if isinstance(n, ast.arg) and n.arg == name:
                n.arg = to
        return True

    def rename_function(self, tree: ast.Module) -> bool:
        functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
        if not functions:
            return False
        function = self.random.choice(functions)
        name, to = function.name, function.name + "_v2"
        function.name = to
        for n in ast.walk(tree):
            if isinstance(n, ast.Name) and n.id == name:
                n.id = to
        return True

    def insert_statement(self, tree: ast.Module) -> bool:
        body = self.random.choice(self.bodies(tree))
        at = self.random.randrange(len(body) + 1)
        n = self.random.randrange(100)
        source = self.random.choice([
            f"print('step {n}')", f"extra_{n} = {n} * 2", f"assert {n} >= 0, 'never'",
            f"note_{n} = dict(a={n}, b='x')",
        ])  # fmt: skip
        body[at:at] = self.new(source)
        return True

    def delete_statement(self, tree: ast.Module) -> bool:
        body = self.random.choice(self.bodies(tree))
        simple = [s for s in body if isinstance(s, ast.Expr | ast.Assign)]
        if len(body) < 2 or not simple:
            return False
        body.remove(self.random.choice(simple))
        return True

    def change_constant(self, tree: ast.Module) -> bool:
        numbers = [n for n in ast.walk(tree) if isinstance(n, ast.Constant)
                   and type(n.value) in (int, float)]  # fmt: skip
        if not numbers:
            return False
        node = self.random.choice(numbers)
        node.value = node.value * 2 + 1
        return True

    def move_into_function(self, tree: ast.Module) -> bool:
        if any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree.body):
            return False
        loops = [k for k, n in enumerate(tree.body) if isinstance(n, ast.For | ast.While)]
        if not loops:
            return False
        first = self.random.randrange(loops[0] + 1)
        while first < len(tree.body) and isinstance(
            tree.body[first], ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
        ):
            first += 1
        moved = tree.body[first:]
        if not moved:
            return False
        main = self.new("def main():\n    pass\nif __name__ == '__main__':\n    main()")
        main[0].body = moved
        tree.body[first:] = main
        return True

    def wrap_in_with(self, tree: ast.Module) -> bool:
        return self._wrap(tree, "with contextlib.nullcontext():\n    pass")

    def wrap_in_if(self, tree: ast.Module) -> bool:
        return self._wrap(tree, "if enabled:\n    pass")

    def _wrap(self, tree: ast.Module, source: str) -> bool:
        body = self.random.choice(self.bodies(tree))
        at = self.random.randrange(len(body))
        until = min(len(body), at + self.random.randrange(1, 3))
        if any(
            isinstance(s, ast.FunctionDef | ast.ClassDef | ast.ImportFrom) for s in body[at:until]
        ):
            return False
        around = self.new(source)
        around[0].body = body[at:until]
        body[at:until] = around
        return True

    def swap_neighbours(self, tree: ast.Module) -> bool:
        body = self.random.choice(self.bodies(tree))
        plain = ast.Assign | ast.Expr | ast.Import
        simple = [k for k in range(len(body) - 1)
                  if all(isinstance(s, plain) for s in body[k : k + 2])]  # fmt: skip
        if not simple:
            return False
        k = self.random.choice(simple)
        body[k], body[k + 1] = body[k + 1], body[k]
        return True

    def change_loop_header(self, tree: ast.Module) -> bool:
        loops = [n for n in ast.walk(tree) if isinstance(n, ast.For)
                 and isinstance(n.target, ast.Name)]  # fmt: skip
        if not loops:
            return False
        loop = self.random.choice(loops)
        loop.target = ast.Tuple([ast.Name("step_no", ast.Store()), loop.target], ast.Store())
        loop.iter = ast.Call(ast.Name("enumerate", ast.Load()), [loop.iter], [])
        return True

    def add_function(self, tree: ast.Module) -> bool:
        n = self.random.randrange(1000)
        imports = ast.Import | ast.ImportFrom
        at = next((k for k, s in enumerate(tree.body) if not isinstance(s, imports)
                   and not (isinstance(s, ast.Expr) and k == 0)), 0)  # fmt: skip
        tree.body[at:at] = self.new(f"def helper_{n}(x, y={n}):\n    z = x + y\n    return z * {n}")
        return True

    def add_import(self, tree: ast.Module) -> bool:
        at = next((k for k, s in enumerate(tree.body) if isinstance(s, ast.Import)), None)
        if at is None:
            return False
        tree.body[at:at] = self.new(self.random.choice(["import math", "import contextlib"]))
        return True
