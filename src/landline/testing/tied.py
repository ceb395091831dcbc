"""What `Server` starts: the command `landline`, which is told to end when whoever started it is gone, however it went.

A test run is killed by an IDE, a cancelled build or a closed terminal, and cleans nothing up. Its end of the pipe that
is our standard input closes with it, on every system; nobody writes into that pipe.
"""

import os
import signal
import sys
import threading

from landline.app.cli import main


def _end_with_starter(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, args=(sys.stdin.fileno(),), daemon=True, name="landline-tied").start()
    main()
