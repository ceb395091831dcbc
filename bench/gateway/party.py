"""A part of the measuring rig in a process of its own: its processor time is its own, and can be told apart."""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import uvloop

Answers = dict[str, Callable[..., Any]]
Start = Callable[[], Awaitable[Answers]]
"""Starts the party in its own process; what it answers, by the name of the question."""

_ANSWER_S = 120.0
_END_S = 5.0


class Party:
    """A process that answers questions. Ended by `close`, and by the end of its parent."""

    def __init__(self, start: Start) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(start, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid
        return self._process.pid

    def ask(self, question: str, *arguments: object) -> Any:
        """Its answer. Raises `TimeoutError`, `EOFError` when it has ended."""
        self._pipe.send((question, arguments))
        if not self._pipe.poll(_ANSWER_S):
            raise TimeoutError(f"no answer to {question}")
        return self._pipe.recv()

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()


def _run(start: Start, pipe: Connection) -> None:
    uvloop.run(_answer(start, pipe))


async def _answer(start: Start, pipe: Connection) -> None:
    answers = await start()
    with suppress(EOFError, OSError):  # the parent has closed its end, or is gone
        while True:
            question, arguments = await asyncio.to_thread(pipe.recv)
            answer = answers[question](*arguments)
            await asyncio.to_thread(pipe.send, answer)
