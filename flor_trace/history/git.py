"""Run git without its hooks, filters, prompts, background work or inherited environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from flor_trace import settings
from flor_trace.errors import SnapshotError
from flor_trace.history import spawn
from flor_trace.records import dataclass

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    import subprocess
    from typing import IO

#: Who makes the commits of the shadow branch, whatever identity the user has or lacks.
IDENTITY = "flor_trace <flor_trace@localhost>"

#: Seconds after which a git command is given up.
TIMEOUT = 60.0

_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.logAllRefUpdates", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
)

_FIXED = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_AUTHOR_NAME": "flor_trace",
    "GIT_AUTHOR_EMAIL": "flor_trace@localhost",
    "GIT_COMMITTER_NAME": "flor_trace",
    "GIT_COMMITTER_EMAIL": "flor_trace@localhost",
    "LC_ALL": "C",
    "LANGUAGE": "",
}


@dataclass(frozen=True, slots=True)
class Finished:
    """What a git command gave back."""

    status: int
    out: bytes
    err: str
    pid: int


class Git:
    """Git commands on one repository: a work tree, or a bare repository's directory.

    Args:
        directory: the top of the work tree, or the repository itself when `bare`.
        bare: name the repository to git instead of letting git find (and check) it.
        env: the environment to start from; variables of git itself in it are dropped.

    """

    def __init__(
        self, directory: Path, *, bare: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.bare = bare
        self._given = settings.clean_git_environment() if env is None else env
        self._env = _environment(directory, self._given)
        self._program: str | None = None

    def at(self, directory: Path) -> Git:
        """Git on another work tree, with the same environment."""
        return Git(directory, env=self._given)

    def finish(self, *args: str, stdin: bytes = b"", timeout: float = TIMEOUT) -> Finished:
        """Run a command and return what it gave back, whatever its exit status.

        Raises:
            SnapshotError: if git is missing, cannot be started, or takes longer than `timeout`.

        """
        return self.collect(self.start(*args, stdin=stdin), args, timeout)

    def run(self, *args: str, stdin: bytes = b"", timeout: float = TIMEOUT) -> bytes:
        """Run a command and return its output.

        Raises:
            SnapshotError: if it cannot be run or fails, with what git said.

        """
        done = self.finish(*args, stdin=stdin, timeout=timeout)
        if done.status:
            raise self.failure(args, done)
        return done.out

    def start(self, *args: str, stdin: bytes = b"") -> spawn.Running:
        """Start a command, for `collect`.

        Raises:
            SnapshotError: if git is missing or cannot be started.

        """
        program, *words = self._command(args)
        if not self.bare:
            words[:0] = ["-C", str(self.directory)]
        try:
            return spawn.start(program, words, self._env, stdin)
        except OSError as error:
            raise self._not_started(error) from error

    def collect(
        self, running: spawn.Running, args: Sequence[str], timeout: float = TIMEOUT
    ) -> Finished:
        """Wait for a started command and return what it gave back.

        Raises:
            SnapshotError: if it takes longer than `timeout`.

        """
        try:
            status, out, err = running.collect(timeout)
        except spawn.TooSlow as error:
            raise GitTooSlowError(
                f"git {args[0]} in {self.directory} took longer than {timeout:g} s and was "
                "stopped; run it by hand to see what holds it up"
            ) from error
        return Finished(status, out, err.decode("utf-8", "replace"), running.pid)

    def stream(self, *args: str, stdin: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command whose output is read while it runs.

        Raises:
            SnapshotError: if git is missing or cannot be started.

        """
        import subprocess  # noqa: PLC0415 - not while recording

        try:
            return subprocess.Popen(
                self._command(args),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._env,
                cwd=self.directory if not self.bare else None,
            )
        except OSError as error:
            raise self._not_started(error) from error

    def failure(self, args: Sequence[str], done: Finished) -> SnapshotError:
        """The error for a command that failed."""
        said = done.err.strip() or "it said nothing"
        return SnapshotError(
            f"git {args[0]} failed in {self.directory} with status {done.status}: {said}"
            f"{_advice(said)}"
        )

    def _not_started(self, error: OSError) -> SnapshotError:
        return SnapshotError(
            f"git could not be started in {self.directory}: {error}; "
            "check that the directory exists and that git can be run"
        )

    def _command(self, args: Sequence[str]) -> list[str]:
        return [self._executable(), *self._options(), *args]

    def _executable(self) -> str:
        if self._program is None:
            self._program = _on_path("git", self._env.get("PATH", os.defpath))
        if self._program is None:
            raise SnapshotError(
                "git was not found on PATH, so the code cannot be saved; install git, or record "
                "without code (the values are recorded all the same)"
            )
        return self._program

    def _options(self) -> list[str]:
        options = [part for name, value in _CONFIG for part in ("-c", f"{name}={value}")]
        return [*options, f"--git-dir={self.directory}"] if self.bare else options


class GitTooSlowError(SnapshotError):
    """A git command was stopped because it took too long."""


def open_repository(repository: Path, env: Mapping[str, str] | None = None) -> Git:
    """Git on `repository`, which is a work tree with a ``.git``, or a bare repository."""
    bare = not (repository / ".git").exists()
    return Git(repository, bare=bare, env=env)


def _on_path(name: str, folders: str) -> str | None:
    """The program of that name, as `shutil.which` finds it."""
    for folder in folders.split(os.pathsep):
        file = os.path.join(folder, name)
        if folder and os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    return None


def _environment(directory: Path, given: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if not name.startswith("GIT_")}
    # Without a ceiling, a damaged .git would let git find the repository around this one.
    return {**kept, **_FIXED, "GIT_CEILING_DIRECTORIES": str(directory.resolve().parent)}


def _advice(said: str) -> str:
    if "cannot change to" in said:
        return "; check that the directory exists and may be entered"
    if "dubious ownership" in said:
        return "; the repository belongs to another user: see safe.directory in git's manual"
    if "not a git repository" in said:
        return "; its .git is damaged or missing: git fsck and git status tell more"
    if "Permission denied" in said or "Read-only file system" in said:
        return "; make the repository writable for this user"
    if "No space left" in said:
        return "; free some disk space"
    return "; run git fsck there if this goes on"
