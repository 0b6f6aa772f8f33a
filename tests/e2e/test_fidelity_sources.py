"""Any source that python runs is run as python does, and any other refused in python's words."""

from __future__ import annotations

import py_compile
import shlex
import subprocess
from pathlib import Path

import pytest
from fidelity import Both, Case, Outcome, Place, differences
from harness import PACKAGE, Project

from flor_trace._speedups import NATIVE

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not NATIVE, reason="without the C extension frames of ours are seen"),
]

SOURCES: dict[str, str | bytes] = {
    "empty": "",
    "one line without an end": "print(1)",
    "carriage returns": "for i in range(2):\r\n    print(i)\r\n1/0\r\n",
    "old carriage returns": "print(1)\rprint(2)\r",
    "form feeds": "\f\nprint(1)\n\f1/0",
    "a shebang": "#!/usr/bin/env python3\n# coding: utf-8\nprint('é', __file__[-7:])\n",
    "a byte order mark": b"\xef\xbb\xbfprint('bom')\n1/0\n",
    "a byte order mark and another encoding": b"\xef\xbb\xbf# coding: latin-1\nprint('bom')\n",
    "an encoding": b"# coding: latin-1\nprint(ascii('\xe9'))\nfor i in range(2): 1/0 # \xe9",
    "an unknown encoding": b"# -*- coding: nonsense -*-\nprint(1)\n",
    "bytes that are no UTF-8 in a comment": b"# \xe9\nprint(1)\n",
    "bytes that are no UTF-8 in a text": b"print(1)\nx = '\xe9'\n",
    "a null byte": b"print(1)\n\0print(2)\n",
    "no syntax": "def f(:\n  pass\n",
    "no syntax, in a loop": "print(1)\nfor i in range(3)\n    pass\n",
    "an indent missing": "if True:\nprint(1)\n",
    "tabs and spaces": "if True:\n\tx=1\n        y=2\n",
    "return outside of a function": "for i in range(2):\n    return i\n",
    "warnings": "x = '\\d'\nassert (1, 'x')\nfor i in range(2): print(i is 1)\n",
    "warnings, then no syntax": "x = '\\d'\nassert (1, 'x')\nfor in\n",
    "deep parentheses": "x = " + "(" * 150 + ")" * 150,
    "too deep parentheses": "x = " + "(" * 300 + ")" * 300,
    "an error in a nest": "for i in range(3):\n  while i:\n    for j in [1, 2]: [][j]",
    "a group": (
        "try:\n  raise ValueError(1)\nexcept ValueError as e:\n"
        "  raise ExceptionGroup('g', [e, KeyError('k'), ExceptionGroup('h', [OSError(2)])])"
    ),
    "a cause": "try:\n  1/0\nexcept Exception as e:\n  raise RuntimeError('r') from e",
    "a context": "try:\n  for i in [0]: 1/i\nexcept Exception:\n  raise RuntimeError('r')",
    "notes": "e = ValueError('x')\ne.add_note('one')\ne.add_note('two\\nlines')\nraise e",
    "no syntax in eval": "for i in range(2): eval('1 +')",
    "no syntax in exec": "exec('for x in y\\n  pass')",
    "no syntax in an import": "import bad",
    "an error in an import": "import worse",
    "no module": "import nope.nope",
    "a missing file": "open('/nonexistent')",
    "a name almost right": "foo_bar = 1\nfor i in range(2): print(foo_baz)",
    "the future": "from __future__ import annotations\nx: nope\nprint(__annotations__)",
    "the future, too late": "x = 1\nfrom __future__ import annotations\n",
    "assertions": "for i in range(2):\n    assert i == 0, f'{i=}'\n",
}
MODULES = {"bad.py": "x = (\n1/0\n", "worse.py": "for i in range(3):\n    1 / (1 - i)\n"}
TWO = (
    "import sys\nfor i in range(2): print(i, sys.argv, __name__, __spec__ and __spec__.name)\n1/0\n"
)
CASES = {
    **{name: Case(text, files=MODULES) for name, text in SOURCES.items()},
    **{
        f"{name}, as a command": Case(command=("-c", str(SOURCES[name])))
        for name in ("no syntax", "warnings, then no syntax", "an error in a nest", "a cause")
    },
    **{
        f"{name}, from stdin": Case(command=("-",), input=str(SOURCES[name]).encode())
        for name in ("no syntax", "warnings", "an error in a nest", "empty")
    },
    "warnings as errors": Case(SOURCES["warnings"], options=("-W", "error")),
    "stdin, of which the program reads the rest": Case(
        command=("-", "a"), input=b"import sys\nfor i in [1]: print([sys.stdin.read()])\n1/0\n"
    ),
    "the file of stdin": Case(command=("/dev/stdin", "a"), input=TWO.encode()),
    "no such module": Case(command=("-m", "nope")),
    "no such module in a module": Case(command=("-m", "os.nope")),
    "a package without a main": Case(command=("-m", "pkg"), files={"pkg/__init__.py": ""}),
    "a package that breaks": Case(command=("-m", "pkg.mod"), files={"pkg/__init__.py": "1/0"}),
    "a module that its package imports": Case(
        command=("-m", "pkg.mod"), files={"pkg/__init__.py": "from . import mod", "pkg/mod.py": TWO}
    ),
    "an indented command": Case(command=("-c", "  1")),
    "a command that is no UTF-8": Case(command=("-c", "print(ascii('\udce9'))")),
    "no compiled file": Case(command=("x.pyc",), files={"x.pyc": b"nothing"}),
    "a module that breaks": Case(command=("-m", "bad"), files=MODULES),
    "a package's main that breaks": Case(
        command=("-m", "pkg"), files={"pkg/__init__.py": TWO[:-4], "pkg/__main__.py": "for in\n"}
    ),
    "a directory's program": Case(command=("app", "a"), files={"app/__main__.py": TWO}),
    "a directory that breaks": Case(command=("app",), files={"app/__main__.py": "for i in\n"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_program_runs_as_under_plain_python(outcomes: dict[str, Both], case: str) -> None:
    plain, recorded = outcomes[case]

    assert differences(plain, recorded) == []


@pytest.mark.parametrize("name", ["x.pyc", "x.bin"])
def test_a_compiled_file_runs(interpreter: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "source.py").write_text("print(__file__, type(__loader__), __cached__)\n" + TWO)
    py_compile.compile(str(tmp_path / "source.py"), str(tmp_path / "x.pyc"), doraise=True)
    place = Place(interpreter, tmp_path)
    case = Case(command=(name, "a"), files={name: (tmp_path / "x.pyc").read_bytes()})

    plain = place.plain(case)

    assert plain.status == 1 and plain.stdout
    assert differences(plain, place.recorded(case)) == []


def test_a_program_in_a_pipe_runs(interpreter: Path, tmp_path: Path) -> None:
    found = []
    for flor in ("", f"-m flor_trace --store {shlex.quote(str(tmp_path / 'records'))}"):
        command = f"{shlex.quote(str(interpreter))} {flor} <(printf %s {shlex.quote(TWO)}) a"
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True)
        found.append(Outcome(done.returncode, done.stdout, done.stderr))

    assert found[0].status == 1 and found[0].stdout
    assert differences(*found) == []


# -- what a replay makes of it ---------------------------------------------------------------------

LOOP = "import time\ns = 0\nfor k in range(4):\n    s += k\n    time.sleep(0.002)\n"


@pytest.mark.parametrize("how", ["directory", "stdin", "command", "module", "pipe"])
def test_a_run_is_replayed_however_it_was_started(project: Project, how: str) -> None:
    project.write("app/__main__.py", LOOP)
    project.write("loop.py", LOOP)
    command, options = {
        "directory": (["app"], {}),
        "stdin": (["-"], {"input": LOOP}),
        "command": (["-c", LOOP], {}),
        "module": (["-m", "loop"], {}),
        "pipe": (["/dev/stdin"], {"input": LOOP}),
    }[how]
    project.record(*command, **options)

    (document,) = project.replay("twice=s * 2")

    assert document["results"][0]["failure"] is None
    assert document["results"][0]["exact"] == 4
    assert [row["twice"] for row in project.pivot("k", "twice")] == [0, 2, 6, 12]


def test_what_is_not_recorded_of_a_zip_file_is_said(project: Project) -> None:
    from test_fidelity import zipped

    project.write("loop.py", LOOP + "print(s)\n")
    (project.path / "app.pyz").write_bytes(zipped(__main____py=LOOP + "import loop\n"))

    done = project.record("app.pyz", env={"PYTHONPATH": f"{project.path}:{PACKAGE}"})

    assert done.stdout == "6\n"
    shown = project.flor("show", project.ls()[0]["run"], "--json").stdout
    assert "loops of the main program" in shown and "zip file" in shown
    assert [row["s"] for row in project.pivot("k", "s")] == [0, 1, 3, 6]
