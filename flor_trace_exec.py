"""Below ``flor_trace exec`` each Python asks here, as it starts, whether to record its program.

``flor_trace_exec.pth`` calls `check` where the environment variable is set, before anything of the
program has run.  If the program is to be recorded, the process starts over with this file as its
script, which does what ``flor_trace run`` does: unlike with ``-m``, nothing in the working
directory can then be taken for a module of Python's.  Otherwise no trace of this is left.
"""

import os
import sys

#: 1, or a directory whose programs are recorded although nothing marks it as a project.
VARIABLE = "FLOR_TRACE_EXEC"
#: The process that has started over: its program is not to be recorded once more.
PROCESS = "FLOR_TRACE_EXEC_PID"

_OFF = ("0", "false", "no", "off")
_MARKERS = (".git", "pyproject.toml", "setup.py", ".flor_trace")

#: Programs that do no work of the user's: installers, builders, checkers, launchers, consoles.
_TOOLS = {
    "flor_trace", "flor-trace", "flor_trace_exec", "setup",
    "pip", "pipx", "ensurepip", "venv", "virtualenv", "uv", "conda", "mamba", "poetry", "hatch",
    "flit", "pdm", "build", "pyproject-build", "setuptools", "wheel", "twine", "easy_install",
    "cython", "cythonize", "meson", "cmake", "ninja", "tox", "nox", "pre-commit", "pre_commit",
    "black", "ruff", "isort", "flake8", "mypy", "dmypy", "stubgen", "pylint", "pyright",
    "pyflakes", "pycodestyle", "lint-imports",
    "torchrun", "accelerate", "deepspeed", "horovodrun", "ray", "dask",
    "ipython", "jupyter", "jupyter-lab", "jupyter-notebook", "ipykernel", "ipykernel_launcher",
}  # fmt: skip
#: Modules below a library that only start programs or serve one.
_TOOL_MODULES = (
    "torch.distributed.", "accelerate.commands.", "deepspeed.launcher.", "joblib.externals.",
)  # fmt: skip
#: How the processes begin that belong to a running program, or to a build.
_HELPERS = (
    "from multiprocess",  # multiprocessing, and the package of dill
    "from joblib.externals", "from loky",
    "import sys;exec(eval(sys.stdin.readline()))", "from ipykernel",
)  # fmt: skip
_BUILDING = ("PIP_BUILD_TRACKER", "PEP517_BUILD_BACKEND", "_PYPROJECT_HOOKS_BUILD_BACKEND")


def check() -> None:
    """Start over as ``flor_trace run`` if the program is to be recorded; else do nothing."""
    sys.modules.pop(__name__, None)
    environ = dict(os.environ)  # noqa: TID251 - before anything of flor_trace may be imported
    root = environ.get(VARIABLE, "")
    if environ.get(PROCESS) == str(os.getpid()) or not _asked(root, environ):
        return
    found = split(sys.orig_argv)
    if found is None or not is_wanted(found[1], root):
        return
    options, program = found
    words = [sys.executable, *options, __file__, "--below-exec", *program]
    try:
        os.execve(sys.executable, words, {**environ, **_additions(environ)})
    except OSError:
        return  # the program is more important than its record


def _asked(root: str, environ: dict[str, str]) -> bool:
    if root.lower() in ("", *_OFF) or environ.get("FLOR_TRACE", "1").lower() in ("", *_OFF):
        return False
    return not any(name in environ for name in _BUILDING) and _is_python()


def _is_python() -> bool:
    """Whether this is an interpreter of its own, rather than one inside another program."""
    if not sys.executable or not sys.orig_argv:
        return False
    try:
        return os.path.samefile("/proc/self/exe", sys.executable)
    except OSError:
        return os.path.basename(sys.orig_argv[0]).lower().startswith("python")


def split(words: list[str]) -> tuple[list[str], list[str]] | None:
    """The interpreter's options, and the program with its arguments; None for a console.

    The program begins with ``-c CODE``, ``-m MODULE``, a path, or ``-``.
    """
    at = 1
    while at < len(words):
        word = words[at]
        if word == "--check-hash-based-pycs":
            at += 2
        elif word == "--":
            return (words[1:at], words[at + 1 :]) if words[at + 1 :] else None
        elif word == "-" or not word.startswith("-"):
            return words[1:at], words[at:]
        elif word.startswith("--"):
            return None
        else:
            end = _in_cluster(word)
            if end is None:
                return None
            if word[end : end + 1] in ("c", "m"):
                return _command(words, at, end)
            at += 2 if end == len(word) - 1 and word[end] in "WX" else 1
    return None


def _in_cluster(word: str) -> int | None:
    """Where ``-uBm`` stops being letters: at an option with a value, or its end; None: no program.

    ``-i`` is a console, and ``-x`` reads the script in a way of its own.
    """
    for at, letter in enumerate(word[1:], 1):
        if letter in "cmWX":
            return at
        if letter in "ixhV?":
            return None
    return len(word)


def _command(words: list[str], at: int, end: int) -> tuple[list[str], list[str]] | None:
    word = words[at]
    before = words[1:at] + ([word[:end]] if end > 1 else [])
    rest = words[at + 1 :] if end == len(word) - 1 else [word[end + 1 :], *words[at + 1 :]]
    return (before, [f"-{word[end]}", *rest]) if rest else None


def is_wanted(program: list[str], root: str) -> bool:
    """Whether a program is the user's own work and lies in a project, or below `root`."""
    what = program[0]
    if what == "-":
        return not _is_terminal(0) and _in_project(os.getcwd(), root)
    if what == "-c":
        return not program[1].lstrip().startswith(_HELPERS) and _in_project(os.getcwd(), root)
    if what == "-m":
        return _is_wanted_module(program[1]) and _in_project(os.getcwd(), root)
    return _is_wanted_script(what, root)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return True


def _is_wanted_module(name: str) -> bool:
    top = name.partition(".")[0]
    if top == "unittest":
        return True
    known = top in sys.stdlib_module_names or top in _TOOLS
    return not known and not f"{name}.".startswith(_TOOL_MODULES)


def _is_wanted_script(path: str, root: str) -> bool:
    name = os.path.basename(path).removesuffix(".py").rstrip("0123456789.")
    if name in _TOOLS or not _is_source(path):
        return False
    real = os.path.realpath(path)
    libraries = (os.path.dirname(os.__file__), f"{sys.prefix}/lib", f"{sys.base_prefix}/lib")
    if "/site-packages/" in real or "/dist-packages/" in real:
        return False
    if real.startswith(tuple(f"{library}/" for library in libraries)):
        return False
    directory = os.path.dirname(os.path.abspath(path))
    # Installed commands, such as pytest, are at work on the project that they are called in.
    installed = directory == os.path.dirname(sys.executable)
    return _in_project(os.getcwd() if installed else os.path.dirname(real), root)


def _is_source(path: str) -> bool:
    """Whether it is a text, or a directory with one: no archive, not compiled, not missing."""
    if os.path.isdir(path):
        path = os.path.join(path, "__main__.py")
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return b"\0" not in file.read(512)
    except OSError:
        return False


def _in_project(directory: str, root: str) -> bool:
    here = os.path.realpath(directory)
    if os.path.isabs(root) and f"{here}/".startswith(os.path.realpath(root).rstrip("/") + "/"):
        return True
    home = os.path.realpath(os.path.expanduser("~"))
    while here not in (home, os.path.dirname(here)):
        if any(os.path.exists(os.path.join(here, marker)) for marker in _MARKERS):
            return True
        here = os.path.dirname(here)
    return False


def _additions(environ: dict[str, str]) -> dict[str, str]:
    """What the new start is told: that it is one, and a hash seed if there is none."""
    told = {PROCESS: str(os.getpid())}
    if environ.get("PYTHONHASHSEED", "random") in ("", "random") and not _ignores_environment():
        seed = int.from_bytes(os.urandom(4), "big")
        told["PYTHONHASHSEED"] = str(seed)
        # As settings.environment_with_hash_seed writes it: the run restores what there was.
        told["FLOR_TRACE_DRAWN_HASH_SEED"] = f"{seed}:{environ.get('PYTHONHASHSEED', '')}"
    return told


def _ignores_environment() -> bool:
    return bool(sys.flags.ignore_environment)


if __name__ == "__main__":
    from flor_trace.__main__ import console

    sys.exit(console())
