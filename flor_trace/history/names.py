"""What the name of a file says: code, binary, secret, or no business of ours."""

from __future__ import annotations

import os
from fnmatch import fnmatch


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: What names of files that hold secrets look like; these are never stored.
SECRET_NAMES = _words(
    """
    .env* *.env *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx id_rsa* id_dsa* id_ecdsa*
    id_ed25519* *_rsa .netrc _netrc .pypirc .npmrc .pgpass .htpasswd .git-credentials credentials*
    secrets.* secret.* kubeconfig* service-account*.json service_account*.json
    .aws .ssh .gnupg .azure .kube .docker
    """
)

#: Suffixes of the files that are taken where no git says what belongs to the project.
CODE_SUFFIXES = _words(
    """
    py pyi pyx pxd toml yaml yml json jsonl cfg ini conf txt md rst sh bash ipynb csv tsv sql
    c cc cpp h hpp cu cuh jinja j2 proto r jl gin
    """
)
CODE_NAMES = _words("Makefile Dockerfile Snakefile Pipfile LICENSE")

#: Suffixes that are binary without a look inside.
BINARY_SUFFIXES = _words(
    """
    png jpg jpeg gif bmp tif tiff webp pdf npy npz pt pth ckpt pkl pickle bin h5 hdf5 parquet
    feather arrow zip gz bz2 xz zst tar whl so o a dll exe db sqlite safetensors onnx mp4 wav
    mp3 pack idx
    """
)

#: Directories that hold no code of the project, and no inputs of its programs.
SKIPPED_DIRECTORIES = _words(
    """
    .git .hg .svn .flor_trace __pycache__ node_modules .tox .nox .venv venv .mypy_cache
    .ruff_cache .pytest_cache .ipynb_checkpoints .hypothesis .eggs site-packages
    """
)


def is_secret(path: bytes) -> bool:
    """Whether a part of `path` looks like the name of a file with secrets."""
    parts = os.fsdecode(path).lower().split("/")
    return any(fnmatch(part, pattern) for part in parts for pattern in SECRET_NAMES)


def is_code(path: bytes) -> bool:
    """Whether the name of `path` is that of source text or configuration."""
    name = os.fsdecode(path).rpartition("/")[2]
    return name in CODE_NAMES or suffix(path) in CODE_SUFFIXES


def suffix(path: bytes) -> str:
    """The part of the name after its last dot, in lower case."""
    return os.fsdecode(path).rpartition("/")[2].rpartition(".")[2].lower()
