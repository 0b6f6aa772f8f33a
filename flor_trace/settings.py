"""The only place that reads environment variables and project configuration files."""

from __future__ import annotations

import os

from flor_trace.errors import SettingError
from flor_trace.records import dataclass, replace

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

_PREFIX = "FLOR_TRACE_"
_SEED_NOTE = _PREFIX + "DRAWN_HASH_SEED"
_EXEC = _PREFIX + "EXEC"
_EXEC_PROCESS = _PREFIX + "EXEC_PID"

_drawn: int | None = None  #: the hash seed that a restart of this process brought

_OFF = ("", "0", "false", "no", "off")

#: Variables that change what a program computes, and hold no secrets.
RECORDED_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONPATH",
    "TORCH_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a recording or a replay can be told; the defaults are the product's."""

    enabled: bool = True
    name: str | None = None
    store: Path | None = None  #: None: ``.flor_trace`` in the project root
    overhead: float = 0.01  #: share of the run time that checkpoints may cost
    disk: float = 0.1  #: bytes that a run's checkpoints may take; below 1: of what is free
    include: tuple[str, ...] = ()  #: top-level names of libraries whose loops are recorded too
    log: tuple[str, ...] | None = None  #: only these names are logged; None: all scalars
    auto_log: bool = True
    branch: str = "flor.shadow"
    probe_file: Path | None = None
    quiet: bool = False
    engine: str = "auto"  #: how loops are made to report: see `flor_trace.instrument.engines`
    summary: str = "auto"  #: auto: on the page of a CI job, where there is one; or off


#: The settings that are one of some words.
_CHOICES = {"engine": ("auto", "bytecode", "ast", "trace"), "summary": ("auto", "off")}


def parse(name: str, value: Any) -> Any:
    """Turn a command line, environment or file value into that of the setting `name`."""
    if name in ("overhead", "disk"):
        return _share(value) if name == "overhead" else _disk(value)
    if name in ("store", "probe_file"):
        from pathlib import Path  # noqa: PLC0415 - this module is imported before the restart

        return Path(value).expanduser()
    if name in ("include", "log"):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise SettingError(f"{name} is {value!r}; write names, separated by commas")
        return tuple(str(part).strip() for part in parts if str(part).strip())
    if name in _CHOICES:
        return _choice(name, value, _CHOICES[name])
    if name in ("enabled", "auto_log", "quiet"):
        return _truth(name, value)
    return str(value)


def _share(value: Any) -> float:
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise SettingError(
            f"overhead is {text!r}, which is not a share; write it as 1% or 0.01"
        ) from None
    if not 0 <= share <= 100:
        raise SettingError(f"overhead is {text!r}; it must lie between 0 and 10000%")
    return share


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _disk(value: Any) -> float:
    """Bytes, or a share below 1 of what is free."""
    text = str(value).strip().upper()
    if text.endswith("%"):
        share = _share(text)
        if not 0 < share < 1:
            raise SettingError(f"disk is {text!r}; a share of what is free lies below 100%")
        return share
    number = text.removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = float(number.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        size = 0.0
    if size < 1:
        raise SettingError(f"disk is {str(value)!r}; write it as 10GB, or as a share of what is "
                           "free: 10%")  # fmt: skip
    return size


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    text = str(value).strip().lower()
    if text not in choices:
        raise SettingError(f"{name} is {value!r}; write {' or '.join(choices)}")
    return text


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in _OFF:
        return False
    raise SettingError(f"{name} is {value!r}; write 1 or 0")


def load(start: Path, command_line: Mapping[str, Any]) -> Settings:
    """Combine defaults, ``[tool.flor_trace]`` above `start`, environment and command line.

    Raises:
        SettingError: for an unknown name or an impossible value, with near names.

    """
    settings = Settings()
    for origin, values in (
        ("pyproject.toml", _project_values(start)),
        ("the environment", _environment_values()),
        ("the command line", command_line),
    ):
        settings = replace(settings, **{k: _parsed(k, v, origin) for k, v in values.items()})
    return settings


def _parsed(name: str, value: Any, origin: str) -> Any:
    known = Settings.__match_args__
    if name not in known:
        from difflib import get_close_matches  # noqa: PLC0415 - only for the message

        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
        raise SettingError(f"{origin} sets {name!r}, which is not a setting{hint}")
    return parse(name, value)


def _environment_values() -> dict[str, str]:
    """``FLOR_TRACE_STORE`` and its like; ``FLOR_TRACE`` itself switches everything on or off."""
    values: dict[str, str] = {}
    for name in Settings.__match_args__:
        text = os.environ.get(_PREFIX + name.upper())
        if text is not None and name != "enabled":
            values[name] = text
    if "FLOR_TRACE" in os.environ:
        values["enabled"] = os.environ["FLOR_TRACE"]
    return values


def _project_values(start: Path) -> dict[str, Any]:
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            return _read_table(file)
        if (folder / ".git").exists():
            break
    return {}


def _read_table(file: Path) -> dict[str, Any]:
    text = file.read_bytes()
    if b"flor_trace" not in text:
        return {}
    import tomllib  # noqa: PLC0415 - only projects that configure us pay for it

    try:
        table = tomllib.loads(text.decode()).get("tool", {}).get("flor_trace", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{file} cannot be read: {error}; mend the file") from error
    if not isinstance(table, dict):
        raise SettingError(f"{file} sets tool.flor_trace to {table!r}; make it a table of settings")
    values = {str(key).replace("-", "_"): value for key, value in table.items()}
    for key in ("store", "probe_file"):
        if key in values:
            values[key] = file.parent / parse(key, str(values[key]))
    return values


def environment() -> dict[str, str]:
    """A copy of the process environment."""
    return dict(os.environ)


def recorded_environment() -> dict[str, str]:
    """The variables of `RECORDED_VARIABLES` that are set."""
    return {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ}


def clean_git_environment() -> dict[str, str]:
    """The environment for git commands, without what a surrounding git process left in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}


def hash_seed() -> int | None:
    """The hash seed that this process was started with, or None when it drew one itself."""
    if _drawn is not None:
        return _drawn
    text = os.environ.get("PYTHONHASHSEED", "random")
    return int(text) if text.isdigit() else None


def environment_with_hash_seed(seed: int) -> dict[str, str]:
    """The environment for a restart of this process with a hash seed that we know."""
    before = os.environ.get("PYTHONHASHSEED", "")
    return {**os.environ, "PYTHONHASHSEED": str(seed), _SEED_NOTE: f"{seed}:{before}"}


def take_drawn_hash_seed() -> int | None:
    """Undo `environment_with_hash_seed`: the seed if this is the restart, else None."""
    global _drawn
    note = os.environ.pop(_SEED_NOTE, None)
    if note is None:
        return None
    seed, _, before = note.partition(":")
    if before:
        os.environ["PYTHONHASHSEED"] = before
    else:
        os.environ.pop("PYTHONHASHSEED", None)
    _drawn = int(seed)
    return _drawn


def switched_off() -> bool:
    """Whether ``FLOR_TRACE`` says that nothing is to be recorded."""
    text = os.environ.get("FLOR_TRACE")
    return text is not None and text.strip().lower() in _OFF


def environment_for_exec(root: Path, values: Mapping[str, str]) -> dict[str, str]:
    """The environment in which Python programs are recorded, with `values` of settings.

    Programs below `root` are, and those in projects, see ``flor_trace_exec.py``.
    """
    kept = {name: value for name, value in os.environ.items() if name != _EXEC_PROCESS}
    given = {_PREFIX + name.upper(): value for name, value in values.items()}
    return {**kept, **given, _EXEC: str(root)}


def environment_for_plain_run() -> dict[str, str]:
    """The environment for a Python in the place of this one that is not recorded."""
    mark = {_EXEC_PROCESS: str(os.getpid())} if os.environ.get(_EXEC) else {}
    return {**os.environ, **mark}


def environment_for_replay() -> dict[str, str]:
    """The environment without what would record the programs that a replay starts."""
    return {k: v for k, v in os.environ.items() if k not in (_EXEC, _EXEC_PROCESS)}


def forget_restart() -> None:
    """Take away the mark of ``flor_trace_exec``: what the program becomes is recorded anew."""
    os.environ.pop(_EXEC_PROCESS, None)


#: What is written down of a program that is one of several, and where launchers say it.
_LAUNCH = {
    "job": ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "OMPI_MCA_ess_base_jobid", "PMIX_NAMESPACE"),
    "rank": ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"),
    "local_rank": ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "world_size": ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"),
    "group": ("GROUP_RANK", "SLURM_NODEID"),
    "restart": ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"),
}


def launch() -> dict[str, int | str]:
    """Which of the processes of a job this is, as torchrun, Slurm or MPI say; empty for none."""
    found: dict[str, int | str] = {}
    for name, variables in _LAUNCH.items():
        text = next((os.environ[each] for each in variables if os.environ.get(each)), None)
        if text is not None:
            found[name] = int(text) if name != "job" and text.isdecimal() else text
    return found if "rank" in found else {}


def summary_file() -> str | None:
    """Where a job of GitHub Actions collects what it shows of its steps, None elsewhere."""
    return os.environ.get("GITHUB_STEP_SUMMARY") or None


def strict() -> bool:
    """Whether our own faults stop the program: only ever set by our tests."""
    return os.environ.get(_PREFIX + "STRICT", "") == "1"
