"""Sites in plain Python that write down what rewritten code tells them."""

from __future__ import annotations

from flor_trace.instrument.bind import Source, bind
from flor_trace.instrument.compile import compile_module


class Running:
    """What a site puts in the place of an iterable, or on the stack of a ``while``."""

    def __init__(self, recorder, loop, inner):
        self.recorder, self.loop, self.inner = recorder, loop, inner
        self.count = 0
        self.started = False
        self.over = False

    def begin(self):
        self.started = True
        self.recorder.events.append(("enter", self.loop.key))

    def tick(self):
        self.recorder.events.append(("iteration", self.loop.key, self.count))
        self.count += 1

    def end(self, how):
        if self.started and not self.over:
            self.over = True
            self.recorder.events.append((how, self.loop.key, self.count))

    def __iter__(self):
        if not self.started:
            self.inner = iter(self.inner)
            self.begin()
        return self

    def __next__(self):
        try:
            value = next(self.inner)
        except StopIteration:
            self.end("exhausted")
            raise
        self.tick()
        return value

    def __invert__(self):
        self.tick()

    def __neg__(self):
        self.end("exhausted")

    def __del__(self):
        self.end("left")


class Site:
    def __init__(self, recorder, loop):
        self.recorder, self.loop = recorder, loop

    def __getitem__(self, iterable):
        return Running(self.recorder, self.loop, iterable)

    def __iter__(self):
        running = Running(self.recorder, self.loop, None)
        running.begin()
        return running


class Recorder:
    """Hooks whose events are a list."""

    def __init__(self, controls=None):
        self.events = []
        self.modules = []
        self.paths = []
        self.controls = controls or {}

    def module(self, info, path):
        self.modules.append(info)
        self.paths.append(path)

    def site(self, loop):
        return Site(self, loop)

    def control(self, loop):
        return self.controls.get(loop.key)


def compiled(source, hooks, *, path="<program>", module="program.py", **options):
    """Return bound code and its description."""
    text = source.encode() if isinstance(source, str) else source
    rewritten = compile_module(text, path, module, **options)
    code = bind(rewritten.code, rewritten.info, hooks, source=Source(text, path))
    return code, rewritten.info
