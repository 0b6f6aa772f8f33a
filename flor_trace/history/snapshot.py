"""Save the project's files, as they are, as a commit on the shadow branch."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from flor_trace.errors import SnapshotError
from flor_trace.history.commits import (
    State,
    Tip,
    branch_ref,
    create_repository,
    make_commit,
    read_state,
    read_tip,
)
from flor_trace.history.git import Git
from flor_trace.history.listing import (
    LeftOut,
    Listing,
    list_plain,
    list_work_tree,
    new_listing,
)
from flor_trace.history.objects import Gathered, Limits, gather, read_entry
from flor_trace.history.statcache import StatCache
from flor_trace.records import dataclass

__all__ = ["LeftOut", "Snapshot", "project_root", "take_snapshot"]

_MARKERS = ("pyproject.toml", "setup.py", ".flor_trace")
_ATTEMPTS = 100  #: to advance a branch that others advance, too
_ATTEMPTS_ALONE = 8  #: to advance one that stays where it is


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The code of a run, saved."""

    vid: str  #: the commit
    tree: str
    repository: Path  #: the top of the work tree, or the store's own repository
    in_git: bool  #: whether it is in the user's repository
    head: str | None  #: the commit that was checked out, if any
    files: int
    left_out: tuple[LeftOut, ...]
    note: str | None = None  #: why it is not in the user's repository although there is one


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked of `take_snapshot`, in one piece."""

    root: Path
    store: Path
    message: str
    branch: str
    limits: Limits
    cache: Path
    extra: tuple[Path, ...]
    env: Mapping[str, str] | None


def project_root(script: Path) -> tuple[Path, bool]:
    """The directory of the project that `script` belongs to, and whether git tracks it.

    That is the top of the git work tree around it; else the nearest directory upwards with a
    pyproject.toml, a setup.py or a store; else the directory of the script.  A work tree that is
    the home directory itself holds settings, not a project, and does not count.
    """
    start = script.resolve().parent if not script.is_dir() else script.resolve()
    home = Path("~").expanduser().resolve()
    for directory in (start, *start.parents):
        if _is_work_tree(directory) and directory not in (home, Path(directory.anchor)):
            return directory, True
    for directory in (start, *start.parents):
        if directory != home and any((directory / name).exists() for name in _MARKERS):
            return directory, False
    return start, False


def _is_work_tree(directory: Path) -> bool:
    mark = directory / ".git"
    return mark.is_file() or (mark / "HEAD").is_file()


def take_snapshot(  # noqa: PLR0913 - one call, each argument a promise of its own
    root: Path,
    store_code: Path,
    *,
    message: str,
    cache: Path,
    branch: str = "flor.shadow",
    max_file: int = 1 << 20,
    max_total: int = 20 << 20,
    extra: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> Snapshot:
    """Commit the files of the project as they are now.

    Args:
        root: the project's directory; in its own repository if it is a git work tree.
        store_code: the store's own repository, used (and made) where git cannot be.
        message: of the commit.
        cache: a file that remembers what unchanged files were.
        branch: the shadow branch.
        max_file: larger files are left out.
        max_total: bytes that one snapshot may add.
        extra: files that belong to it even if git ignores them, such as the script.
        env: the environment for git; by default that of this process.

    Raises:
        SnapshotError: if the code could not be saved anywhere; it says why.

    """
    limits = Limits(max_file, max_total)
    asked = _Request(
        Path(os.path.realpath(root)), Path(os.path.realpath(store_code)), message, branch, limits,
        cache, tuple(extra), env,
    )  # fmt: skip
    branch_ref(branch)
    if not _is_work_tree(asked.root):
        return _in_store(asked, None)
    try:
        return _in_git(asked)
    except SnapshotError as error:
        return _instead(asked, error)


def _instead(asked: _Request, why: SnapshotError) -> Snapshot:
    try:
        return _in_store(asked, str(why))
    except SnapshotError as error:
        if str(error) == str(why):
            raise
        raise SnapshotError(f"{why}; and in the store: {error}") from why


def _in_git(asked: _Request) -> Snapshot:
    git = Git(asked.root, env=asked.env)
    state = read_state(git, branch_ref(asked.branch))
    if state.tip is not None and state.tip.checked_out:
        raise SnapshotError(
            f"the branch {asked.branch} is checked out in {state.tip.checked_out}, and moving it "
            "would change what git shows there; check out another branch"
        )
    listing = new_listing(asked.root, asked.store.parent)
    list_work_tree(listing, git)
    return _save(asked, git, state, listing, None)


def _in_store(asked: _Request, note: str | None) -> Snapshot:
    git = Git(asked.store, bare=True, env=asked.env)
    _prepare(asked)
    state = read_state(git, branch_ref(asked.branch))
    listing = new_listing(asked.root, asked.store.parent)
    list_plain(listing)
    return _save(asked, git, State(state.algorithm, None, state.tip), listing, note)


def _prepare(asked: _Request) -> None:
    """Make the store's repository, whole or not at all, however many runs start at once."""
    if (asked.store / "HEAD").exists():
        return
    import shutil  # noqa: PLC0415 - only the first run outside git needs these two
    import tempfile  # noqa: PLC0415

    try:
        asked.store.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix="code-", suffix=".git", dir=asked.store.parent))
    except OSError as error:
        raise SnapshotError(
            f"{asked.store.parent} cannot be written: {error.strerror}; choose another store"
        ) from error
    try:
        create_repository(Git(half, bare=True, env=asked.env), half, asked.branch)
        half.chmod(0o755)
        half.rename(asked.store)
    except OSError as error:
        if not (asked.store / "HEAD").exists():
            raise SnapshotError(f"{asked.store} cannot be made: {error.strerror}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _save(asked: _Request, git: Git, state: State, listing: Listing, note: str | None) -> Snapshot:
    for path in asked.extra:
        _add_extra(listing, path)
    cache = StatCache(asked.cache, f"{git.directory}:{state.algorithm}:{asked.limits.file}")
    gathered = gather(listing, state.algorithm, asked.limits, cache)
    tree = gathered.tree()
    vid = _commit(asked, git, state, listing, gathered, tree)
    cache.save()
    count = len(gathered.entries)
    repository = asked.store if git.bare else asked.root
    return Snapshot(vid, tree, repository, not git.bare, state.head, count, listing.finish(), note)


def _add_extra(listing: Listing, path: Path) -> None:
    whole = Path(os.path.realpath(path.parent)) / path.name
    if whole.is_relative_to(listing.root):
        name = os.fsencode(whole.relative_to(listing.root).as_posix())
        if name not in listing.found:
            listing.consider(name)


def _commit(
    asked: _Request, git: Git, state: State, listing: Listing, gathered: Gathered, tree: str
) -> str:
    """The tip if it already is this snapshot, else a new commit after the tip."""
    ref = branch_ref(asked.branch)
    tip = state.tip
    contents = gathered.contents
    alone = 0
    for attempt in range(_ATTEMPTS):
        if tip is not None and _is_snapshot(tip, tree, state.head):
            return tip.commit
        parents = _parents(tip, state.head)
        vid = make_commit(git, ref, parents, gathered.entries, contents, asked.message)
        if vid is not None:
            return vid
        before, tip = tip, read_tip(git, ref)
        if _commit_of(before) == _commit_of(tip):
            # Either the branch is locked, or an object is gone that index or cache promised.
            contents = _all_contents(asked, listing, gathered)
            alone += 1
            if alone > _ATTEMPTS_ALONE:
                break
        time.sleep(0.002 * min(attempt, 20))
    raise SnapshotError(
        f"the branch {asked.branch} in {git.directory} could not be advanced; look there for a "
        "stale .lock file, or for another branch whose name begins with this one"
    )


def _commit_of(tip: Tip | None) -> str | None:
    return None if tip is None else tip.commit


def _is_snapshot(tip: Tip, tree: str, head: str | None) -> bool:
    return tip.tree == tree and (head is None or head in tip.parents)


def _parents(tip: Tip | None, head: str | None) -> list[str]:
    first = [tip.commit] if tip is not None else []
    return first + [name for name in (head,) if name is not None and name not in first]


def _all_contents(asked: _Request, listing: Listing, gathered: Gathered) -> dict[str, bytes]:
    contents = dict(gathered.contents)
    for entry in gathered.entries:
        if entry.blob not in contents:
            data = read_entry(listing, entry, asked.limits, gathered.algorithm)
            if data is not None:
                contents[entry.blob] = data
    return contents
