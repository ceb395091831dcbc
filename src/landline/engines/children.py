"""What every program that we run as a child needs: what it says is read, its end is told, and it can be ended."""

import asyncio
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress

_KILL_S = 5.0


def followed(process: "subprocess.Popen[bytes]", said: deque[str], name: str) -> "asyncio.Future[int]":
    """The future of its exit status. Meanwhile what it says (its stdout, a pipe) is read into `said`; `name` is the
    reading thread's."""
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()

    def report(status: int) -> None:
        if not exited.done():
            exited.set_result(status)

    def follow() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            said.extend(line.decode("utf-8", "replace").strip() for line in lines)
        status = process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            loop.call_soon_threadsafe(report, status)

    threading.Thread(target=follow, name=name, daemon=True).start()
    return exited


def stop(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """Ask it to end, and end it after `patience_s`. Blocks; for a thread."""
    for told, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, _KILL_S)):
        process.send_signal(told)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
        return
