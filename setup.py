"""Build the C extension: ``FLOR_TRACE_BUILD_NATIVE`` is ``auto`` (try), ``require`` or ``off``."""

import os
from glob import glob

from setuptools import Extension, setup

MODE = os.environ.get("FLOR_TRACE_BUILD_NATIVE", "auto")  # noqa: TID251 - before settings exist
if MODE not in ("auto", "require", "off"):
    raise SystemExit(f"FLOR_TRACE_BUILD_NATIVE is {MODE!r}; write auto, require or off")

FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra"]

NATIVE = Extension(
    "flor_trace._native",
    sources=sorted(glob("native/*.c")),
    depends=sorted(glob("native/*.h")),
    include_dirs=["native"],
    extra_compile_args=FLAGS + (["-Werror"] if MODE == "require" else []),
    optional=MODE == "auto",
)

setup(ext_modules=[] if MODE == "off" else [NATIVE])
