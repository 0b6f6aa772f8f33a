from __future__ import annotations

import ast
from pathlib import Path

from edit_histories import FRESH, Edits, numbered, text_of

from flor_trace.replay.matching import Matching, likeness
from flor_trace.replay.trees import tree_of

PROGRAMS = sorted(
    [
        *Path(__file__).parents[2].glob("examples/*.py"),
        *Path(__file__).parents[1].glob("zoo/programs/*.py"),
    ]
)


def statements(root):
    found = []

    def visit(tree):
        for child in tree.children:
            if child.is_statement:
                found.append(child)
            visit(child)

    visit(root)
    return found


def histories():
    for number, path in enumerate(PROGRAMS):
        old = numbered(path.read_text())
        for seed in range(10):
            new, kinds = Edits(1000 * number + seed).edit(old, 1 + seed)
            ast.fix_missing_locations(new)
            yield f"{path.name}, seed {seed}: {kinds}", old, new


def test_statements_are_found_again_through_histories_of_edits():
    right = wrong = lost = count = 0
    for what, old, new in histories():
        (new_text, new_numbers), (old_text, old_numbers) = text_of(new), text_of(old)
        ours, theirs = tree_of(new_text), tree_of(old_text)
        matching = Matching(ours, theirs)
        number_of = dict(zip(statements(theirs), old_numbers, strict=True))
        for tree, number in zip(statements(ours), new_numbers, strict=True):
            there = matching.there(tree)
            if there is not None and number_of.get(there) == number:
                right += 1
            elif there is not None:
                wrong += 1
            lost += number < FRESH and (there is None or number_of.get(there) != number)
        count += 1
        assert matching.likeness > 0.4, what
    assert count >= 300
    assert right / (right + wrong) > 0.99
    assert right / (right + lost) > 0.985


def test_a_tree_is_matched_with_itself_node_by_node():
    for path in PROGRAMS:
        one, other = tree_of(path.read_text()), tree_of(path.read_text())
        matching = Matching(one, other)
        pairs = list(zip(one.below(), other.below(), strict=True))
        assert all(matching.there(a) is b and matching.back(b) is a for a, b in pairs)
        assert likeness(one, other) == matching.likeness == 1


def test_renamed_variables_are_those_that_most_matches_say():
    today = tree_of(
        "def f(net):\n    for x in net:\n        loss = net(x)\n        print(loss, x)\n"
    )
    old = tree_of(
        "def f(model):\n    for x in model:\n        loss = model(x)\n        print(loss, x)\n"
    )
    assert Matching(today, old).renamed(today) == {"net": "model"}


def test_of_equal_statements_the_one_in_the_same_surroundings_is_found():
    text = "for a in one:\n    x = f(a)\n    g(x)\nfor b in two:\n    x = f(a)\n    h(x)\n"
    today, old = tree_of("import os\n" + text), tree_of(text)
    matching = Matching(today, old)
    lines = [
        (tree.node.lineno, matching.there(tree).node.lineno)
        for tree in statements(today)
        if tree.node.lineno > 1
    ]
    assert lines == [(n, n - 1) for n in range(2, 8)]


def test_programs_that_have_nothing_in_common_are_not_matched():
    today, old = tree_of("def f(x):\n    return x + 1\n"), tree_of("class A:\n    b = 'c'\n")
    assert Matching(today, old).likeness < 0.3
