# ruff: noqa: E402
# A program that looks at its process in every way it can, and writes what it sees to $REPORT.
import sys

seen = {
    "names at the start": list(globals()),
    "main is itself": sys.modules["__main__"].__dict__ is globals(),
    "frames below": sys._getframe().f_back,
}

import gc
import json
import locale
import os
import resource
import signal
import subprocess
import threading
import time
import warnings

CHILD = """
import json, os, sys
seen = [dict(os.environ), sorted(os.listdir("/proc/self/fd")), sys.argv, sys.path, sys.orig_argv]
print(json.dumps([*seen, os.getppid() == int(sys.argv[1])]))
"""


def show(value):
    text = repr(value).split(" at 0x")[0]
    return value if isinstance(value, str | int | None) else text.split(" object")[0]


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


def depth(reached=0):
    try:
        return depth(reached + 1)
    except RecursionError:
        return reached


def lowest_free_descriptor():
    # The recorder's thread may be about to move one of its own out of the way.
    found = []
    for _ in range(3):
        fd = os.open(os.devnull, os.O_RDONLY)
        os.close(fd)
        found.append(fd)
        time.sleep(0.01)
    return min(found)


def descriptors():
    # The recorder keeps its files at numbers from 900 on, and closes them in other programs.
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            inherited = os.get_inheritable(int(name))
        except OSError:  # that of the listing
            continue
        if int(name) < 900:
            found[name] = inherited
        else:
            assert not inherited
    return found


def main_module():
    module = sys.modules["__main__"]
    spec, loader = module.__spec__, module.__loader__
    kind = loader if isinstance(loader, type) else type(loader)
    facts = ("name", "origin", "parent", "has_location", "cached", "submodule_search_locations")
    return {
        "dunders": {k: show(v) for k, v in vars(module).items() if k.startswith("__")},
        "spec": spec and [getattr(spec, fact) for fact in facts],
        "loader": [kind.__name__, kind.__module__, str(getattr(loader, "path", None))],
        "type": [str(type(module)), repr(module).split(" at 0x")[0]],
    }


def streams():
    facts = ("encoding", "errors", "line_buffering", "write_through", "name", "mode", "newlines")
    return {
        name: [type(stream).__name__, *(getattr(stream, fact, None) for fact in facts)]
        for name in ("stdin", "stdout", "stderr")
        for stream in [getattr(sys, name)]
    }


def interpreter():
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "flags": repr(sys.flags),
        "warnoptions": sys.warnoptions,
        "xoptions": sys._xoptions,
        "filters": [list(map(str, each)) for each in warnings.filters],
        "default action": warnings.defaultaction,
        "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable],
        "bytecode": [sys.dont_write_bytecode, sys.pycache_prefix],
        "path hooks": list(map(show, sys.path_hooks)),
        "meta path": [show(each) for each in sys.meta_path if "flor_trace" not in repr(each)],
        "names of sys": sorted(dir(sys)),
        "names of builtins": sorted(dir(__builtins__)),
        "hooks": [sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook],
        "tracing": [sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()],
        "async hooks": repr(sys.get_asyncgen_hooks()),
        "recursion": [sys.getrecursionlimit(), depth()],
        "settings": [sys.getswitchinterval(), sys.getdlopenflags(), sys.get_int_max_str_digits()],
        "collector": [gc.get_threshold(), gc.isenabled(), gc.get_debug(), len(gc.callbacks)],
        "exception": list(sys.exc_info()),
        "debug": __debug__,
        "hash": hash("text") if "PYTHONHASHSEED" in os.environ else None,
    }


def process():
    signals = [each for each in signal.valid_signals() if isinstance(each, signal.Signals)]
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "signals": {each.name: show(signal.getsignal(each)) for each in signals},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": signal.set_wakeup_fd(-1),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "threads": [each.name for each in threading.enumerate()],
        "free descriptor": lowest_free_descriptor(),
        "descriptors": descriptors(),
        "environment": dict(os.environ),
        "umask": umask(),
        "directory": os.getcwd(),
        "locale": [locale.setlocale(locale.LC_ALL), locale.getencoding()],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "group": [
            os.getpgrp() == os.getpgid(os.getppid()),
            os.getsid(0) == os.getsid(os.getppid()),
        ],
        "scheduling": [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))],
    }


def children():
    try:
        os.waitpid(-1, os.WNOHANG)
        before = "there are some"
    except ChildProcessError:
        before = "none"
    command = [sys.executable, "-c", CHILD, str(os.getpid())]
    done = subprocess.run(command, capture_output=True, close_fds=False, check=True)
    found = json.loads(done.stdout)
    found[2].pop()
    found[4].pop()
    return [before, *found]


for part in (main_module, streams, interpreter, process, children):
    seen[part.__name__] = part()
with open(os.environ["REPORT"], "w", encoding="utf-8") as file:
    file.write(json.dumps(seen, default=show))
