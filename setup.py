"""Build the C extension: ``FLOR_TRACE_BUILD_NATIVE`` is ``auto`` (try), ``require`` or ``off``."""

import os
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

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

#: Asks, at the start of each Python below `flor_trace exec`, whether to record its program.
HOOK = "flor_trace_exec.pth"


class BuildWithHook(build_py):
    """Puts the .pth file at the top of the wheel, from where it gets beside the packages.

    That of an editable install has nothing else of ours in it: its content is gathered in the
    directory that `install` is told to install to.
    """

    def run(self):
        """Build the modules, and put the hook where they go."""
        super().run()
        if self.editable_mode:
            directory = self.distribution.get_command_obj("install").install_lib
            self.copy_file(HOOK, os.path.join(directory, HOOK))
        else:
            self.mkpath(self.build_lib)
            self.copy_file(HOOK, os.path.join(self.build_lib, HOOK))

    def get_outputs(self, include_bytecode=True):
        """Return the files that `run` makes."""
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, os.path.join(self.build_lib, HOOK)]

    def get_source_files(self):
        """Return what a source distribution must have for `run`."""
        return [*super().get_source_files(), HOOK]


setup(cmdclass={"build_py": BuildWithHook}, ext_modules=[] if MODE == "off" else [NATIVE])
