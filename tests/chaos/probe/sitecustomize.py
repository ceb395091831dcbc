"""Loaded by each Python process of Landline that is watched for growth (its PYTHONPATH begins with this directory): at
a SIGUSR2 it has written down what it holds, into the directory CHAOS_PROBE, where `ask` says what is wanted.

A fork of the process does that, a copy of all it has: it may collect garbage, and take memory for what it counts,
while the process itself stays as it was. Containers are compared here, from one question of a series to the next: there
are a hundred thousand of them.
"""

import asyncio
import gc
import json
import marshal
import os
import signal
import sys
from collections import Counter, OrderedDict, deque
from types import FunctionType
from typing import Any

_DIRECTORY = os.environ.get("CHAOS_PROBE", "")
_SIZED = (dict, list, set, deque, OrderedDict)
_NAMED = 12
_DEPTH = 3


def _answer(*_: object) -> None:
    """What a fork of a fork says, for whom nobody has to wait."""
    pid, young = os.getpid(), gc.get_count()[0]
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return
    try:
        if not os.fork():
            os.closerange(3, 4096)  # nothing that is let go of here may be felt at the other end
            _write(f"{pid}.json", _told(pid, young))
    except BaseException as error:
        _write(f"{pid}.json", {"asked": 0, "failed": repr(error)})
    finally:
        os._exit(0)


def _write(name: str, value: Any) -> None:
    path = f"{_DIRECTORY}/{name}"
    with open(f"{path}.new", "w") as file:
        json.dump(value, file)
    os.replace(f"{path}.new", path)


def _told(pid: int, young: int) -> dict[str, Any]:
    with open(f"{_DIRECTORY}/ask") as file:
        asked = json.load(file)
    gc.unfreeze()  # what the server froze when it had started is looked at, too
    gc.collect()
    every = gc.get_objects()
    tasks = [each for each in every if isinstance(each, asyncio.Task)]
    return {
        "asked": asked["number"],
        "young": young,
        "tasks": Counter(_running(each) for each in tasks if not each.done()),
        "objects": Counter(_name(type(each)) for each in every),
        "grown": _grown(every, f"{pid}.{asked['series']}", asked["least"]),
    }


def _running(task: "asyncio.Task[Any]") -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _grown(every: list[Any], series: str, least: int) -> dict[str, int]:
    """By how much whose containers have grown since the first question of a series, without ever shrinking; those that
    have grown by `least` and most of all, where that is asked for."""
    now = {id(each): len(each) for each in every if type(each) in _SIZED}
    try:
        with open(f"{_DIRECTORY}/{series}", "rb") as file:
            first, last = marshal.load(file)
    except FileNotFoundError:
        first = last = now
    last = {key: now[key] for key, before in last.items() if now.get(key, -1) >= before}
    with open(f"{_DIRECTORY}/{series}", "wb") as file:
        marshal.dump([first, last], file)
    by = {key: length - first[key] for key, length in last.items() if least and length - first[key] >= least}
    chosen = set(sorted(by, key=lambda key: -by[key])[:_NAMED])
    owned: Counter[str] = Counter()
    for each in every:
        if id(each) in chosen:
            owned[_owner(each)] += by[id(each)]
    return owned


def _owner(held: Any, depth: int = 0) -> str:
    """`module.Class.attribute` that has it, as far as it can be told."""
    indirect: list[Any] = []
    for each in gc.get_referrers(held):
        if type(each) is dict and "__name__" in each and "__builtins__" in each:
            names = [key for key, value in each.items() if value is held]
            return f"{each['__name__']}.{names[0] if names else '?'}"
        if type(each) in (dict, list, tuple, deque, OrderedDict) or type(each).__name__ == "cell":
            indirect.append(each)
        elif names := [name for name in _attributes(each) if getattr(each, name, None) is held]:
            return f"{_name(type(each))}.{names[0]}"
        elif isinstance(each, FunctionType):
            return f"a variable of {each.__module__}.{each.__qualname__}"
    for each in indirect if depth < _DEPTH else ():
        if (found := _owner(each, depth + 1)) != "?":
            return found if depth == 0 and type(each) is dict else f"{found} > {type(each).__name__}"
    return "?"


def _attributes(owner: Any) -> list[str]:
    slots = [getattr(each, "__slots__", ()) for each in type(owner).__mro__]
    named = [name for each in slots for name in ((each,) if isinstance(each, str) else each)]
    return [*named, *getattr(owner, "__dict__", ())]


if _DIRECTORY and "landline" in " ".join(sys.orig_argv):
    signal.signal(signal.SIGUSR2, _answer)
