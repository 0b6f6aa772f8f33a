"""Match the syntax trees of two versions of a module, so that places in one are found in the other.

The scheme is that of GumTree (Falleri et al., Fine-grained and accurate source code differencing,
ASE 2014): equal subtrees first, the largest before all others; then nodes of one kind that have
many matched nodes below them; then what is left between them, in order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from flor_trace.replay.trees import Tree

#: Subtrees lower than this are too common to be matched by being equal: `x`, `f(x)`.
LEAST_HEIGHT = 2
#: The share of nodes below that two inner nodes must have in common.
LEAST_COMMON = 0.3
#: The same for what stands between matched neighbours, where little else comes into question.
LEAST_ALIKE = 0.5
#: Sequences longer than this are not compared pair by pair.
LONGEST = 400


class Matching:
    """Which nodes of two trees are the same node at different times."""

    def __init__(self, one: Tree, other: Tree) -> None:
        self.one = one
        self.other = other
        self._there: dict[Tree, Tree] = {}
        self._back: dict[Tree, Tree] = {}
        self._equal_subtrees()
        self._containers()

    def there(self, tree: Tree) -> Tree | None:
        """Return what a node of the first tree has become in the other."""
        return self._there.get(tree)

    def back(self, tree: Tree) -> Tree | None:
        """Return what a node of the other tree was in the first."""
        return self._back.get(tree)

    def common(self, one: Tree, other: Tree) -> float:
        """Return the share of the nodes below two nodes that are matched with each other."""
        below = set(other.below())
        shared = sum(self._there.get(each) in below for each in one.below())
        total = one.size + other.size - 2
        return 2 * shared / total if total else 0.0

    @property
    def likeness(self) -> float:
        """The share of all nodes that are matched."""
        return 2 * len(self._there) / (self.one.size + self.other.size)

    def renamed(self, within: Tree) -> dict[str, str]:
        """Return the variables below a node that are called otherwise in the other version.

        Each match of two names is a vote; a name stays what most say it is.
        """
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for tree in within.below():
            match = self._there.get(tree)
            if match is not None and tree.kind in ("Name", "arg") and match.kind in ("Name", "arg"):
                votes[_name(tree)][_name(match)] += 1
        best = {name: count.most_common(1)[0][0] for name, count in votes.items()}
        return {name: became for name, became in best.items() if name != became}

    # -- equal subtrees -----------------------------------------------------------------------

    def _equal_subtrees(self) -> None:
        """Match subtrees that are the same text, the highest first."""
        self._match(self.one, self.other)
        theirs: dict[bytes, list[Tree]] = defaultdict(list)
        for tree in self.other.below():
            theirs[tree.exact].append(tree)
        mine: dict[bytes, list[Tree]] = defaultdict(list)
        for tree in self.one.below():
            if tree.height >= LEAST_HEIGHT and tree.exact in theirs:
                mine[tree.exact].append(tree)
        doubtful = []
        for exact in sorted(mine, key=lambda each: -mine[each][0].height):
            ours = [tree for tree in mine[exact] if tree not in self._there]
            free = [tree for tree in theirs[exact] if tree not in self._back]
            if len(ours) == len(free) == 1:
                self._match_all(ours[0], free[0])
            elif ours and free:
                doubtful.append((ours, free))
        for ours, free in doubtful:
            self._choose(ours, free)

    def _choose(self, ours: Sequence[Tree], free: Sequence[Tree]) -> None:
        """Match equal subtrees of which there are several: those in places that are alike first."""
        pairs = [(self._nearness(a, b), i, j, a, b) for i, a in enumerate(ours[:LONGEST])
                 for j, b in enumerate(free[:LONGEST])]  # fmt: skip
        for _, _, _, a, b in sorted(pairs, key=lambda pair: (*(-x for x in pair[0]), *pair[1:3])):
            if a not in self._there and b not in self._back:
                self._match_all(a, b)

    def _nearness(self, a: Tree, b: Tree) -> tuple[float, float]:
        """How much the surroundings of two nodes are alike: those that are matched, then texts."""
        around = list(zip(a.above(), b.above(), strict=False))
        matched = sum(self._there.get(x) is y for x, y in around)
        alike = sum(x.kind == y.kind and x.label == y.label for x, y in around)
        siblings = _equal_siblings(a, b)
        return matched + siblings, alike / (1 + abs(_index(a) - _index(b)))

    # -- what contains them -------------------------------------------------------------------

    def _containers(self) -> None:
        """Match inner nodes by what is matched below them, then what is left in them, in order."""
        for tree in [*self.one.below(), self.one]:
            if tree not in self._there and tree.children:
                best = self._best_container(tree)
                if best is not None:
                    self._match(tree, best)
            if tree in self._there:
                self._between(tree, self._there[tree])

    def _best_container(self, tree: Tree) -> Tree | None:
        candidates: dict[Tree, None] = {}
        for each in tree.below():
            match = self._there.get(each)
            for above in match.above() if match is not None else ():
                if above.kind == tree.kind and above not in self._back:
                    candidates[above] = None
        scored = [(self.common(tree, each) + 0.1 * (each.label == tree.label), each)
                  for each in candidates]  # fmt: skip
        best = max(scored, key=lambda pair: pair[0], default=(0.0, tree))
        return best[1] if best[0] >= LEAST_COMMON else None

    def _between(self, one: Tree, other: Tree) -> None:
        """Match children that are not matched yet with children that follow on the same one."""
        ours = [child for child in one.children if child not in self._there]
        theirs = [child for child in other.children if child not in self._back]
        if not ours or not theirs:
            return
        for rule in (_same_text, _same_head, self._alike):
            ours = [child for child in ours if child not in self._there]
            theirs = [child for child in theirs if child not in self._back]
            for a, b in _longest_common(ours[:LONGEST], theirs[:LONGEST], rule):
                self._match(a, b)
                self._between(a, b)

    def _alike(self, a: Tree, b: Tree) -> bool:
        return a.kind == b.kind and (not a.is_statement or likeness(a, b) >= LEAST_ALIKE)

    # -- the matches --------------------------------------------------------------------------

    def _match(self, one: Tree, other: Tree) -> None:
        self._there[one] = other
        self._back[other] = one

    def _match_all(self, one: Tree, other: Tree) -> None:
        """Match two subtrees that are the same, node by node."""
        pairs = [(one, other)]
        while pairs:
            a, b = pairs.pop()
            if a not in self._there and b not in self._back:
                self._match(a, b)
            pairs.extend(zip(a.children, b.children, strict=True))


def likeness(one: Tree, other: Tree) -> float:
    """Return how much two trees are made of the same nodes, wherever these stand: 0 to 1."""
    if one.exact == other.exact:
        return 1.0
    ours = Counter((tree.kind, tree.label) for tree in (*one.below(), one))
    theirs = Counter((tree.kind, tree.label) for tree in (*other.below(), other))
    return 2 * (ours & theirs).total() / (one.size + other.size)


def _same_text(a: Tree, b: Tree) -> bool:
    return a.exact == b.exact


def _same_head(a: Tree, b: Tree) -> bool:
    """Whether two definitions have one name, or two compound statements begin in the same way."""
    if a.kind != b.kind or not a.is_statement:
        return False
    if a.label:
        return a.label == b.label
    compound = a.kind in ("For", "While", "With", "If", "Try")
    return (
        compound
        and bool(a.children)
        and bool(b.children)
        and (a.children[0].exact == b.children[0].exact)
    )


def _equal_siblings(a: Tree, b: Tree) -> int:
    if a.parent is None or b.parent is None:
        return 0
    ours = Counter(child.exact for child in a.parent.children)
    return (ours & Counter(child.exact for child in b.parent.children)).total()


def _index(tree: Tree) -> int:
    return tree.parent.children.index(tree) if tree.parent is not None else 0


def _name(tree: Tree) -> str:
    node = tree.node
    return str(getattr(node, "id", None) or getattr(node, "arg", ""))


def _longest_common(
    ours: Sequence[Tree], theirs: Sequence[Tree], same: Callable[[Tree, Tree], bool]
) -> Iterable[tuple[Tree, Tree]]:
    """Return the longest sequence of pairs that come in the same order in both."""
    rows, columns = len(ours), len(theirs)
    equal = [[same(a, b) for b in theirs] for a in ours]
    length = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            step = length[i + 1][j + 1] + 1 if equal[i][j] else 0
            length[i][j] = max(step, length[i + 1][j], length[i][j + 1])
    found = []
    i = j = 0
    while i < rows and j < columns:
        if equal[i][j] and length[i][j] == length[i + 1][j + 1] + 1:
            found.append((ours[i], theirs[j]))
            i, j = i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    return found
