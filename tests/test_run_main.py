from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flor_trace import _pure

try:
    from flor_trace import _native
except ImportError:
    _native = None

ROOT = Path(_pure.__file__).parents[1]
NATIVE = pytest.param(
    "_native",
    id="native",
    marks=[
        pytest.mark.native,
        pytest.mark.skipif(_native is None, reason="the C extension is not built"),
    ],
)
PURE = pytest.param("_pure", id="pure")

#: Runs argv[2] in the way argv[1] says, with the twin that argv[3] names.  Nested on purpose: what
#: lies below the program must not be seen.
LAUNCHER = """
import importlib.machinery, runpy, sys
from importlib import import_module
from types import ModuleType

mode, target, twin = sys.argv[1:4]
run_main = import_module("flor_trace." + twin).run_main
sys.path.remove(ROOT)

def note(error):
    if target.endswith("noted.py"):
        print("on_error", repr(error), file=sys.stderr)
    if target.endswith("unnoted.py"):
        raise LookupError("from on_error")

def start():
    if mode == "-m":
        sys.argv[:] = ["-m", *sys.argv[4:]]
        return run_main(runpy._run_module_as_main, (target,), note)
    main = sys.modules["__main__"] = ModuleType("__main__")
    names = main.__dict__
    names["__builtins__"] = sys.modules["builtins"]
    names["__annotations__"] = {}
    if mode == "-c":
        names["__loader__"] = importlib.machinery.BuiltinImporter
        source, filename = target, "<string>"
        sys.argv[:] = ["-c", *sys.argv[4:]]
        import linecache
        if hasattr(linecache, "_register_code"):  # what 3.13 does for its tracebacks
            linecache._register_code(filename, source, filename)
    else:
        names["__file__"] = filename = target
        names["__cached__"] = None
        names["__loader__"] = importlib.machinery.SourceFileLoader("__main__", target)
        source = open(target, "rb").read()
        sys.argv[:] = [target, *sys.argv[4:]]
    return run_main(compile(source, filename, "exec", dont_inherit=True), names, note)

def deeper(levels):
    return deeper(levels - 1) if levels else start()

status = deeper(20)
"""


@pytest.fixture
def launcher(tmp_path):
    """A module that ends with the program's status, as ``python -m flor_trace`` does."""
    folder = tmp_path / "launcher"
    folder.mkdir()
    text = LAUNCHER.replace("ROOT", repr(str(ROOT))) + "sys.exit(status)\n"
    (folder / "launcher.py").write_text(text)
    return folder


def _run(command, folder, path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    environment.pop("PYTHONHASHSEED", None)
    environment["PYTHONHASHSEED"] = "1"
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def _masked(done):
    return done.returncode, re.sub(r"0x[0-9a-f]+", "0x", done.stdout).splitlines()


@pytest.fixture
def compare(tmp_path, launcher):
    """Run a program plainly and by `run_main`; give both (status, lines of output)."""
    folder = tmp_path / "program"
    folder.mkdir()

    def run(source, twin, mode="script", name="main.py"):
        (folder / name).write_text(source)
        target = {"script": str(folder / name), "-m": name.removesuffix(".py"), "-c": source}[mode]
        plain = _run([target] if mode == "script" else [mode, target], folder, [folder])
        ours = _run(["-m", "launcher", mode, target, twin], folder, [launcher, ROOT, folder])
        return _masked(plain), _masked(ours)

    return run


TORTURE = '''
import atexit, doctest, inspect, io, os, pickle, sys, threading, traceback, warnings

class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return self.x == other.x

def square(x):
    """
    >>> square(3)
    9
    """
    return x * x

class Late:
    def __del__(self):
        print("late", sys is not None)

if __name__ == "__main__":
    late = Late()
    atexit.register(print, "atexit")
    names = sorted(name for name in globals() if name.startswith("__"))
    print(names, __name__, __spec__, __package__, type(__loader__).__name__, sys.argv[1:])
    print(pickle.loads(pickle.dumps(Point(3))) == Point(3), sys.modules["__main__"].Point is Point)
    print(inspect.getsourcefile(square) == __file__, len(inspect.getsource(square)))
    print(doctest.testmod())
    try:
        sys._getframe(1)
    except ValueError as error:
        print("no frame below:", error)
    print(len(inspect.stack()), len(traceback.extract_stack()), sys._getframe().f_back)
    print([type(frame).__name__ for frame in sys._current_frames().values()])
    print(sys.exc_info(), sys.gettrace(), sys.getprofile(), threading.current_thread().name)
    warnings.warn("a warning")

    def descend(depth=0):
        global deepest
        deepest = depth
        descend(depth + 1)
    for limit in (1000, 700, 1500):
        sys.setrecursionlimit(limit)
        try:
            descend()
        except RecursionError as error:
            print(limit, deepest, error, len(traceback.extract_tb(error.__traceback__)))
    def nest(depth):
        return repr(eval("[" * depth + "]" * depth))
    class Deep:
        def __repr__(self):
            return repr([Deep()])
    try:
        repr(Deep())
    except RecursionError as error:
        print(error)
    seen = []
    sys.settrace(lambda frame, event, arg: seen.append((frame.f_code.co_name, event)))
    square(2)
    sys.settrace(None)
    print(seen)
    try:
        try:
            {}["key"]
        except KeyError:
            raise ValueError("second")
    except ValueError:
        traceback.print_exc()
    frame = None
    def where():
        return [each.name for each in traceback.extract_stack()]
    print(where())
    thread = threading.Thread(target=lambda: print(where()[-1:]))
    thread.start()
    thread.join()
    sys.stderr.write("last words on stderr\\n")
    with open(os.devnull) as file:
        for x in [1]:
            {1: 2}[x + square(1)]
'''


@pytest.mark.parametrize("twin", [NATIVE])
def test_a_program_that_looks_everywhere_sees_what_plain_python_shows(compare, twin):
    plain, ours = compare(TORTURE, twin)

    assert ours == plain
    assert plain[0] == 1
    assert "1 1 None" in plain[1]


ENDS = {
    "falls off the end": "print('done')",
    "an exception": "print('before')\ndef f():\n    raise ValueError('why')\nf()",
    "a chained exception": "try:\n    1/0\nexcept Exception as e:\n    raise KeyError(1) from e",
    "sys.exit()": "import sys\nprint('x')\nsys.exit()",
    "sys.exit(3)": "import sys\nprint('x')\nsys.exit(3)",
    "sys.exit of a text": "import sys\nprint('x')\nsys.exit('a message')",
    "an exit inside a function": "def f():\n    raise SystemExit(5)\nf()",
    "an interrupt": "print('x')\nraise KeyboardInterrupt",
    "an interrupt by signal": (
        "import os, signal, time\nprint('x')\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)"
    ),
    "a subclass of an interrupt": "class K(KeyboardInterrupt): pass\nraise K",
    "an interrupt, then work at exit": (
        "import atexit, threading\natexit.register(print, 'atexit')\n"
        "threading.Timer(0.4, print, ['timer']).start()\nraise KeyboardInterrupt"
    ),
    "os._exit": "import os\nos._exit(7)",
    "a hook for exceptions": (
        "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[2].tb_next)\n1/0"
    ),
    "a hook that fails": "import sys\nsys.excepthook = lambda *a: 1/0\n{}['x']",
    "a closed stream": "import sys\nprint('x')\nsys.stdout.close()\n1/0",
    "a lazy stream": (
        "import io, sys\nclass S(io.StringIO):\n    def flush(self):\n"
        "        sys.__stdout__.write('flushed\\n')\nsys.stdout = S()\n"
    ),
    "a group of exceptions": "raise ExceptionGroup('g', [ValueError(1), KeyError(2)])",
    "a group at exit": "raise BaseExceptionGroup('g', [KeyboardInterrupt()])",
    "an exception with notes": "e = ValueError(1)\ne.add_note('note')\nraise e",
    "a recursion error": "def f():\n    f()\nf()",
}


#: What the Python twin cannot do: give back the depth, and be no part of a failing hook's report.
NATIVE_ONLY = {"a recursion error", "a hook that fails"}

#: Enough for the other ways to start a program.
SOME = ("an exception", "sys.exit of a text", "an interrupt", "an interrupt by signal")


@pytest.mark.parametrize("twin", [NATIVE, PURE])
@pytest.mark.parametrize("end", ENDS)
def test_a_script_ends_as_under_plain_python(compare, end, twin):
    if twin == "_pure" and end in NATIVE_ONLY:
        pytest.skip("the Python twin cannot hide itself so far")
    plain, ours = compare(ENDS[end], twin)

    assert ours == plain


@pytest.mark.parametrize("mode", ["-c", "-m"])
@pytest.mark.parametrize("twin", [NATIVE, PURE])
@pytest.mark.parametrize("end", SOME)
def test_a_command_or_module_ends_as_under_plain_python(compare, end, twin, mode):
    plain, ours = compare(ENDS[end], twin, mode)

    assert ours == plain


@pytest.mark.parametrize("mode", ["-c", "-m"])
@pytest.mark.parametrize("twin", [NATIVE])
def test_a_command_or_module_has_the_whole_depth(compare, twin, mode):
    plain, ours = compare(ENDS["a recursion error"], twin, mode)

    assert ours == plain


@pytest.mark.parametrize("mode", ["script", "-c", "-m"])
def test_an_interrupted_program_dies_of_the_signal(compare, mode):
    plain, ours = compare("raise KeyboardInterrupt", _best(), mode)

    assert ours[0] == plain[0] == -signal.SIGINT


def _best():
    return "_pure" if _native is None else "_native"


@pytest.mark.parametrize("twin", [NATIVE, PURE])
@pytest.mark.parametrize("end", ["1 / 0", "raise SystemExit(3)"])
def test_on_error_hears_of_the_exception_before_it_is_printed(compare, twin, end):
    plain, ours = compare(f"print('x', flush=True)\n{end}\n", twin, name="noted.py")

    (told,) = [line for line in ours[1] if line not in plain[1]]
    assert told.startswith("on_error ")
    assert ours[1][1] == told
    assert ours[0] == plain[0]


@pytest.mark.parametrize("twin", [NATIVE, PURE])
def test_a_failing_on_error_does_not_change_how_the_program_ends(compare, twin):
    plain, ours = compare("raise SystemExit(4)", twin, name="unnoted.py")

    assert ours[0] == plain[0] == 4
    assert ours[1][-1] == "LookupError: from on_error"


# -- in this process ---------------------------------------------------------------------------


def test_run_main_gives_back_the_stack_and_the_recursion_depth(twin):
    def depth():
        return depth_of(sys._getframe())

    def depth_of(frame):
        return 0 if frame is None else 1 + depth_of(frame.f_back)

    before = (sys.getrecursionlimit(), depth())
    names = {}

    assert twin.run_main(compile("x = 1", "<p>", "exec"), names, print) == 0
    assert names["x"] == 1
    assert "__builtins__" in names
    assert (sys.getrecursionlimit(), depth()) == before


def test_run_main_returns_1_after_an_exception(twin, capsys):
    seen = []

    def program(text):
        raise ValueError(text)

    assert twin.run_main(program, ("no",), seen.append) == 1
    assert [str(error) for error in seen] == ["no"]
    assert capsys.readouterr().err.endswith("ValueError: no\n")


def test_run_main_checks_what_it_is_given(twin):
    code = compile("", "<p>", "exec")
    free = (lambda x: lambda: x)(1).__code__
    for arguments, words in [
        ((code, (), print), "code needs a dict"),
        ((print, {}, print), "a callable and a tuple"),
        ((3, (), print), "a callable and a tuple"),
        ((code, {}, None), "a callable to tell"),
        ((free, {}, print), "free variables"),
    ]:
        with pytest.raises(TypeError, match=words):
            twin.run_main(*arguments)
