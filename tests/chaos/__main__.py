"""Real processes, real traffic, and everything going wrong, for as long as is asked for: `make chaos`.

Prints its seed, what it did, and every promise that was broken with the history of the message; the logs of all
programs stay in the run's directory when one was.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.chaos.run import Run


def main() -> None:
    """Exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier run's choices")
    parser.add_argument("--pace", type=float, default=1.0, help="1 is some 40 messages a second")
    parser.add_argument("--only", nargs="*", default=[], help="only these (faults.py, acts.py, repeated.py)")
    parser.add_argument("--alone", action="store_true", help="one machine, with its own PostgreSQL and NATS")
    parser.add_argument(
        "--ahead", type=float, default=0.0, help="seconds that one machine's clock is ahead of the others"
    )
    parser.add_argument("--back", action="store_true", help="all machines' clocks are set back now and then")
    parser.add_argument("--older", default=None, help="the commit that all machines begin with, and are upgraded from")
    parser.add_argument(
        "--growth", action="store_true", help="no chaos: equal acts again and again, and what grows with them"
    )
    parser.add_argument("--directory", type=Path, default=None, help="where everything is kept; else a temporary one")
    parser.add_argument("--keep", action="store_true", help="keep the directory of a good run, too")
    options = parser.parse_args()
    seed = Random().randrange(10**6) if options.seed is None else options.seed
    directory = options.directory or Path(tempfile.mkdtemp(prefix="landline-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    os.nice(5)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that what was started is ended
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(f"seed {seed}, {options.seconds:.0f} s, {directory}", flush=True)
    began = time.monotonic()
    clocks = {"ahead_s": options.ahead, "back": options.back}
    run = Run(directory, seed, options.pace, alone=options.alone, older=options.older, **clocks)
    playing = run.grow(options.only) if options.growth else run.play(options.seconds, options.only)
    broken = asyncio.run(playing)
    print(f"seed {seed}: {len(broken)} broken promises after {time.monotonic() - began:.0f} s", flush=True)
    if not broken and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
