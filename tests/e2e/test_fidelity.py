"""A recorded program sees the process that plain python would give it, however it is started."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from fidelity import Both, Case, Place, differences

from flor_trace._speedups import NATIVE

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not NATIVE, reason="without the C extension frames of ours are seen"),
]

LOOK = (Path(__file__).parent / "fidelity_look.py").read_text()


def zipped(**files: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__py", ".py"), text)
    return data.getvalue()


TARGETS = {
    "a script": Case(LOOK, ("main.py", "a", "-b")),
    "a script elsewhere": Case(LOOK, ("../project/./main.py",)),
    "a script far away": Case(command=("a/b/c/x.py",), files={"a/b/c/x.py": LOOK}),
    "a script without suffix": Case(command=("./tool", "-q"), files={"tool": LOOK}),
    "a directory": Case(command=("app", "a"), files={"app/__main__.py": LOOK}),
    "a package's directory": Case(
        command=("app/",), files={"app/__main__.py": LOOK, "app/__init__.py": "1/0"}
    ),
    "the current directory": Case(command=(".",), files={"__main__.py": LOOK}),
    "a zip file": Case(command=("app.pyz", "a"), files={"app.pyz": zipped(__main____py=LOOK)}),
    "a module": Case(command=("-m", "mod", "a"), files={"mod.py": LOOK}),
    "a package": Case(
        command=("-m", "pkg"), files={"pkg/__main__.py": LOOK, "pkg/__init__.py": ""}
    ),
    "a module of a package": Case(
        command=("-m", "pkg.mod", "-m"), files={"pkg/mod.py": LOOK, "pkg/__init__.py": ""}
    ),
    "a module of a namespace": Case(command=("-m", "space.mod"), files={"space/mod.py": LOOK}),
    "a command": Case(command=("-c", LOOK, "a", "-c")),
    "standard input": Case(command=("-", "a"), input=LOOK.encode()),
}
OPTIONS = (
    "-O", "-OO", "-I", "-P", "-E", "-s", "-W error", "-X dev", "-X utf8", "-u", "-B", "-b", "-bbqR",
    "-X no_debug_ranges", "-X frozen_modules=off", "-X tracemalloc=5 -X faulthandler",
    "-X warn_default_encoding -W error", "-IO -W ignore::UserWarning -X mine=yes",
)  # fmt: skip
SOME_OPTIONS = ("-I", "-P", "-OO -X dev -W error")
CASES = {
    **TARGETS,
    **{f"a script, {o}": Case(LOOK, options=tuple(o.split())) for o in OPTIONS},
    **{
        f"{name}, {o}": Case(**{**vars(case), "options": tuple(o.split())})
        for name, case in TARGETS.items()
        if name in ("a directory", "a zip file", "a package", "a command", "standard input")
        for o in SOME_OPTIONS
        if name != "a package" or o not in ("-I", "-P")  # python would not find it
    },
    "a script, its hash seed given": Case(LOOK, env={"PYTHONHASHSEED": "7"}),
    "a script, its environment full": Case(
        LOOK, env={"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore", "PYTHONOPTIMIZE": "1"}
    ),
    "a script without input": Case(LOOK, close=(0,)),
}
#: Said at the start because loops are then recorded in another way.
ANNOUNCED = ("flor_trace: Python runs without column positions .*\n",)


@pytest.mark.parametrize("case", CASES)
def test_the_process_is_the_one_that_plain_python_gives(
    outcomes: dict[str, Both], case: str
) -> None:
    plain, recorded = outcomes[case]

    assert plain.status == 0 and plain.report is not None, plain.stderr.decode()
    assert differences(plain, recorded, ANNOUNCED if "no_debug" in case else ()) == []


SHADOWS = {name + ".py": "mine = True" for name in ("random", "copy", "token", "bytecode", "enum")}


def test_modules_beside_the_script_win_over_those_that_the_recorder_imported(
    interpreter: Path, tmp_path: Path
) -> None:
    names = [name.removesuffix(".py") for name in SHADOWS]
    text = f"for name in {names}:\n    print(name, __import__(name).mine)\nimport time\n"
    text += "for i in range(40):\n    time.sleep(0.002)\n"
    place = Place(interpreter, tmp_path)
    for case in (
        Case(text, files=SHADOWS),
        Case(command=("-m", "start"), files={**SHADOWS, "start.py": text}),
        Case(command=("-c", text), files=SHADOWS),
    ):
        plain = place.plain(case)
        assert plain.stdout.count(b"True") == len(names)
        assert differences(plain, place.recorded(case)) == []


def test_modules_of_the_current_directory_are_not_taken_for_the_recorders_own(
    interpreter: Path, tmp_path: Path
) -> None:
    place = Place(interpreter, tmp_path)
    broken = dict.fromkeys(SHADOWS, "raise SystemExit('imported')")
    case = Case(command=("sub/x.py",), files={**broken, "sub/x.py": "import random; print(random)"})

    plain = place.plain(case)

    assert plain.status == 0
    assert differences(plain, place.recorded(case)) == []
