"""However a program ends, it ends so when it is recorded: status, output, tracebacks, order."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fidelity import Both, Case, Place, differences, programs

from flor_trace._speedups import NATIVE

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not NATIVE, reason="without the C extension frames of ours are seen"),
]

CASES = {name: Case(text) for name, text in programs("fidelity_ends.txt").items()}
CASES |= {
    "stdout closed before": Case("print('x')\nfor i in range(3): print(i)", close=(1,)),
    "stderr closed before": Case("for i in range(3): print(i)\n1 / 0", close=(2,)),
    "everything closed before": Case("open('f', 'w').write('x')\n1 / 0", close=(0, 1, 2)),
    "checkpoints while it ends": Case(
        "import time\nstate = []\nfor i in range(20):\n"
        "    state.append(bytes(10_000))\n    time.sleep(0.002)\nraise KeyError(i)",
        ours=("--overhead", "10000%"),
    ),
}

#: Other extension modules are loaded, and a fault lists them.
LOADED = ("\nExtension modules: .*\n",)


@pytest.mark.parametrize("case", CASES)
def test_a_program_ends_as_under_plain_python(outcomes: dict[str, Both], case: str) -> None:
    plain, recorded = outcomes[case]

    assert differences(plain, recorded, LOADED) == []


#: What the cases are there for: the outcome that plain python has, too.
KNOWN = {
    "sys.exit of 256": 0,
    "sys.exit of 300": 44,
    "sys.exit of -1": 255,
    "sys.exit of a tuple": 1,
    "an exit whose status is a property": 4,
    "an exit within an exit": 2,
    "a KeyboardInterrupt": -signal.SIGINT,
    "SIGTERM": -signal.SIGTERM,
    "SIGKILL": -signal.SIGKILL,
    "os.abort": -signal.SIGABRT,
    "a segmentation fault": -signal.SIGSEGV,
    "another program in our place": 4,
    "the same program in its own place": 6,
    "a daemon closes all descriptors": 0,
}


@pytest.mark.parametrize("case", KNOWN)
def test_the_cases_do_what_their_names_say(outcomes: dict[str, Both], case: str) -> None:
    assert outcomes[case][1].status == KNOWN[case]


COMMANDS = {
    "falls off the end": "print(1)",
    "an exit": "import sys\nsys.exit(5)",
    "a text": "import sys\nsys.exit('no')",
    "an exception": "for i in range(2): 1 / 0",
    "an interrupt": (
        "import atexit, sys\nhook = sys.excepthook\n"
        "atexit.register(lambda: print(repr(sys.last_value), sys.excepthook is hook))\n"
        "for i in range(2): raise KeyboardInterrupt(3)"
    ),
    "a syntax error": "for i in\n",
    "a look at the process": (Path(__file__).parent / "fidelity_look.py").read_text(),
}


@pytest.mark.parametrize("end", COMMANDS)
def test_the_console_command_does_the_same(interpreter: Path, tmp_path: Path, end: str) -> None:
    place, case = Place(interpreter, tmp_path), Case(COMMANDS[end], ("main.py", "a"))

    plain = place.plain(case)
    ours = place.run(
        case, str(interpreter.parent / "flor_trace"), "--store", str(tmp_path / "records"),
        "main.py", "a",
    )  # fmt: skip

    assert differences(plain, ours) == []


@pytest.mark.parametrize("end", ["an exit", "an exception", "falls off the end"])
def test_with_dash_i_there_is_a_dialogue_after_the_program(
    interpreter: Path, tmp_path: Path, end: str
) -> None:
    case = Case(COMMANDS[end], options=("-i",), input=b"print(__name__, dir())\nexit(4)\n")
    place = Place(interpreter, tmp_path)

    plain = place.plain(case)

    assert plain.status == 4
    assert differences(plain, place.recorded(case)) == []
