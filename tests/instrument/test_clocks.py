from __future__ import annotations

import ast

import pytest

from flor_trace.instrument.clocks import clock_names

TABLE = {
    "import time\nt0 = time.time()\n": {"t0"},
    "import time as t\nstart = t.perf_counter()\n": {"start"},
    "from time import monotonic as now\na = b = now()\n": {"a", "b"},
    "from datetime import datetime\nx, y = 1, datetime.now()\n": {"y"},
    "import datetime as dt\nstamp = dt.datetime.now().strftime('%Y')\nrun = f'{stamp}-x'\n": {
        "stamp",
        "run",
    },
    "from timeit import default_timer\ns = default_timer()\n": {"s"},
    "import time\nt = time.time()\nd = time.time() - t\nd2 = d * 2\nd2 += 1\n": {"t", "d", "d2"},
    "import time\nn = 0\nn += time.time_ns()\n": {"n"},
    "import time\nx = round(time.time(), 2)\ny = str(int(x))\nz = max(y, 3)\n": {"x", "y", "z"},
    "import time\ntimes = []\ntimes.append(time.time())\nmean = sum(times) / 2\n": {
        "times",
        "mean",
    },
    "import time\nself.took.append(time.time())\n": {"took"},
    "import time\nrow = {'loss': loss, 'seconds': time.time()}\nd['ms'] = time.time() * 1000\n": {
        "seconds",
        "ms",
    },
    "import time\nself.began = time.time()\nage = time.time() - self.began\n": {"began", "age"},
    "import time\ndef since(t):\n    return time.time() - t\ntook = since(0)\n": {"took"},
    "import time\nclass T:\n    @property\n    def age(self):\n        return time.time()\n"
    "x = t.age\n": {
        "age",
        "x",
    },
    "import time\nwhile (now := time.time()) < 3:\n    pass\n": {"now"},
    "import time\nx: float = time.time()\ny: float\n": {"x"},
    # what is made from a duration is a reading too, but not what merely goes on from a start
    "import time\nt0 = time.time()\ndt = time.time() - t0\nrate = model.rate(64, dt)\n"
    "loss = train(model, t0)\nmean = rate if not mean else 0.9 * mean + 0.1 * rate\n"
    "result = Result(loss, seconds=dt)\nrow = dict(loss=loss, dt=dt)\n": {
        "t0",
        "dt",
        "rate",
        "mean",
    },
    # what merely stands beside a reading is none
    "import time\nt0 = time.time()\nfor epoch in range(3):\n    model.fit(epoch, t0)\n"
    "    n = 1\n": {"t0"},
    "import time\nself.time = time.time()\ntime.sleep(1)\nzone = time.tzname\n": {"time"},
    "import time\ntime.sleep(1)\nloss = model(time)\n": set(),
    "import time\nt = time.time\n": set(),
    "x = other.time()\ntime = 3\ny = time\n": set(),
}


@pytest.mark.parametrize("source", TABLE)
def test_names_that_hold_readings_of_a_clock_are_found_and_no_others(source):
    assert clock_names(ast.parse(source)) == TABLE[source]
