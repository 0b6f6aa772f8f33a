CALLS = 0
BY_NAME = {}
_seen = []


def count(name):
    global CALLS
    CALLS += 1
    BY_NAME[name] = BY_NAME.get(name, 0) + 1
    _seen.append(name)


def describe():
    return f"{CALLS} calls, last {_seen[-1]}"
