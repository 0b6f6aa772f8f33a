"""Every code object of the standard library: rewritten, verified, and nothing else changed."""

from __future__ import annotations

import collections
import sysconfig
import warnings
from pathlib import Path

import pytest
from soak_cage import ELSE_JUMPS_OUT
from soak_streams import codes, stream, work

from flor_trace.instrument.compile import compile_module
from flor_trace.instrument.markers import Marks
from flor_trace.instrument.verify import verify

LIBRARY = Path(sysconfig.get_path("stdlib"))


def files():
    return [p for p in sorted(LIBRARY.rglob("*.py")) if "site-packages" not in p.parts]


class Check:
    """Compares what Python and the rewriter make of files, and counts."""

    def __init__(self):
        self.counts = collections.Counter()
        self.reasons = collections.Counter()
        self.wrong = []

    def file(self, path):
        source = path.read_bytes()
        self.counts["files"] += 1
        try:
            plain = compile(source, str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            with pytest.raises(type(error)):
                compile_module(source, str(path), path.name)
            self.counts["files that do not compile"] += 1
            return
        made = compile_module(source, str(path), path.name)
        marks = Marks(made.info.digest)
        self.counts["loops"] += len(made.info.loops)
        self.reasons.update(loop.left_alone for loop in made.info.loops if loop.left_alone)
        self.wrong += [f"{path}: {name}: {reason}" for name, reason in made.info.left_alone]

        def kind(step):
            marker = marks.read(step.argval)
            return None if marker is None else made.info.loops[marker.loop].kind

        for old, new in zip(codes(plain), codes(made.code), strict=True):
            self.counts["code objects"] += 1
            kinds = self.kinds_in(made.info, marks, new)
            if kinds:
                self.counts["code objects with loops"] += 1
                self.code(path, old, new, kinds, kind)
            elif not same_apart_from_nested(old, new):
                self.wrong.append(f"{path}: {old.co_qualname} was touched without a loop in it")

    def kinds_in(self, info, marks, code):
        found = [marks.read(constant) for constant in code.co_consts]
        loops = {marker.loop for marker in found if marker is not None}
        self.counts["loops rewritten"] += len(loops)
        return {info.loops[loop].kind for loop in loops}

    def code(self, path, old, new, kinds, kind):
        where = f"{path}: {old.co_qualname}, line {old.co_firstlineno}"
        verify(new)
        for part in ("co_varnames", "co_names", "co_cellvars", "co_freevars", "co_flags"):
            if getattr(old, part) != getattr(new, part):
                self.wrong.append(f"{where}: {part}")
        if kinds == {"for"}:
            if stream(new, lambda step: kind(step) is not None) != stream(old):
                self.wrong.append(f"{where}: another stream")
            return
        before, after = work(old), work(new, kind)
        if before - after:
            self.wrong.append(f"{where}: lacks {sorted(before - after, key=str)[:3]}")
        # What stands behind an endless loop is dropped by the compiler, but not behind ours.
        self.counts["code objects with dead code kept"] += bool(after - before)

    def lines(self):
        counted = [f"  {number:9,} {what}" for what, number in self.counts.items()]
        left = [f"  {number:9,} loops left alone: {why}" for why, number in self.reasons.items()]
        return ["the standard library", *counted, *left]


def same_apart_from_nested(old, new):
    """Tell whether two code objects agree in everything but the code objects in them."""
    parts = ("co_code", "co_names", "co_varnames", "co_exceptiontable", "co_stacksize")
    if any(getattr(old, part) != getattr(new, part) for part in parts):
        return False
    return list(old.co_positions()) == list(new.co_positions())


def check_all(cage, paths):
    check = Check()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            check.file(path)
    cage.rows += check.lines()
    assert check.wrong == []
    assert set(check.reasons) <= {ELSE_JUMPS_OUT}
    assert check.counts["code objects with dead code kept"] < check.counts["loops"] / 100
    unreachable = check.counts["loops"] - check.reasons.total() - check.counts["loops rewritten"]
    assert 0 <= unreachable <= check.counts["loops"] / 500
    return check


@pytest.mark.soak_slice
def test_a_slice_of_the_standard_library_is_rewritten_and_can_be_given_back(cage):
    check = check_all(cage, files()[::15])
    assert check.counts["code objects"] > 3_000


def test_the_whole_standard_library_is_rewritten_and_can_be_given_back(cage):
    check = check_all(cage, files())
    assert check.counts["code objects"] >= 70_000
