"""Fetch the pinned source archives with pip, once, and unpack them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PINS = Path(__file__).with_name("soak_sdists.txt")


def pinned(name):
    """Return the requirement line of a package and the hash in it."""
    lines = [line for line in PINS.read_text().splitlines() if line.startswith(f"{name}==")]
    assert len(lines) == 1, f"{PINS.name} has {len(lines)} lines for {name}"
    return lines[0], lines[0].partition("--hash=sha256:")[2]


def fetched(name, folder):
    """Return the archive, from the folder or through pip."""
    line, expected = pinned(name)
    archives = folder / "sdists"
    archives.mkdir(parents=True, exist_ok=True)
    wanted = f"{name.replace('-', '_')}-{line.split('==')[1].split()[0]}.tar.gz"
    archive = archives / wanted
    if not archive.exists():
        request = archives / f"{name}.txt"
        request.write_text(line + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--require-hashes", "--dest", str(archives)]
        subprocess.run([*command, "-r", str(request)], check=True, timeout=300)
    actual = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert actual == expected, f"{archive} is not the pinned one: remove it"
    return archive


def unpacked(name, folder):
    """Return the folder of a package's sources, unpacked anew if it is not there."""
    archive = fetched(name, folder)
    target = folder / "src" / archive.name.removesuffix(".tar.gz")
    target.parent.mkdir(exist_ok=True)
    # Stops pytest's search for a configuration: it would come to that of this project.
    (target.parent / "pytest.ini").touch()
    if not target.exists():
        fresh = target.with_name(f"{target.name}.unpacking")
        shutil.rmtree(fresh, ignore_errors=True)
        with tarfile.open(archive) as packed:
            packed.extractall(fresh, filter="data")
        (fresh / target.name).rename(target)
        fresh.rmdir()
    return target


if __name__ == "__main__":
    for package in sys.argv[1:]:
        print(unpacked(package, Path(__file__).parents[2] / ".soak"))
