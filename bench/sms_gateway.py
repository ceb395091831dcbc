"""How does Landline compare with Kannel as an SMS gateway, from the HTTP request to the report at the webhook?

Run `python -m bench.sms_gateway --help` from the repository for its options. Both gateways are run in turn against the
project's SMSC and one webhook, which share the machine with them; without Kannel (Debian: `apt-get install kannel`)
Landline's figures stand alone.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from bench import machine, smsc_alone
from bench.gateway import backlog, crash, cycle, kannel, phones
from bench.gateway.cycle import Shape
from bench.gateway.figures import OURS, Figures
from bench.gateway.gateways import Gateway
from bench.gateway.kannel import Kannel
from bench.gateway.product import Landline
from bench.gateway.rig import Rig, rig

PARTS = ("cycle", "phones", "latency", "crash", "workers")
_ALONE = 100_000
_MILLION = 1_000_000
_PACED_PER_S = 50.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every figure with its load, then medians and ratios."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    version = None if options.without_kannel else kannel.installed()
    machine.header("Landline and Kannel: the whole cycle of a text")
    print(f"Kannel: {version or 'not run'} (store: {options.kannel_store}, log: {options.kannel_log}); receipts")
    print(f"{options.receipt_delay} s after the answer; SMSC, webhook and load generator share the machine; gateways")
    print("in turn, every second round backwards, all runs kept", flush=True)
    if not options.without_smsc_alone:
        smsc_alone.run(_ALONE)
    figures = Figures()
    try:
        with rig(options.receipt_delay) as made:
            _measure(made, options, figures, with_kannel=version is not None)
    finally:
        figures.summary()


def _measure(rig: Rig, options: argparse.Namespace, figures: Figures, *, with_kannel: bool) -> None:
    steps = _steps(rig, options, figures, with_kannel=with_kannel)
    for number in range(options.rounds):
        print(f"\n### Round {number + 1} of {options.rounds}; load of the machine before it: {machine.load()}")
        for step in steps if number % 2 == 0 else reversed(steps):
            step.take()
    if options.million:
        with closing(Landline(rig.smsc, rig.webhook, per_post=100, lazily=True)) as landline:
            backlog.memory(rig, landline, figures, options.million)
    if options.backlog:
        with closing(Landline(rig.smsc, rig.webhook, per_post=100, lazily=True)) as landline:
            backlog.drain(rig, landline, figures, options.backlog)


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of one gateway, started fresh for it."""

    make: Callable[[], Gateway]
    measure: Callable[[Gateway], None]

    def take(self) -> None:
        """Start, measure, end."""
        gateway = self.make()
        try:
            self.measure(gateway)
        finally:
            gateway.close()


def _steps(rig: Rig, options: argparse.Namespace, figures: Figures, *, with_kannel: bool) -> list[Step]:
    """The measurements of one round, the gateways in turn."""
    ours = partial(Landline, rig.smsc, rig.webhook, window=options.window, binds=options.binds)
    theirs = partial(
        Kannel,
        rig.smsc,
        rig.webhook,
        window=options.window,
        binds=options.binds,
        store=options.kannel_store,
        log=options.kannel_log,
    )
    steps: list[Step] = []

    def add(part: str, measure: Callable[[Gateway], None], *makes: Callable[[], Gateway]) -> None:
        if part in options.parts:
            steps.extend(Step(make, measure) for make in makes if with_kannel or make is not theirs)

    def loaded(shape: Shape, words: str) -> Callable[[Gateway], None]:
        return lambda gateway: cycle.run(rig, gateway, shape, figures, words)

    single, many = Shape(options.singles, 1), Shape(options.batches, 100)
    grouped = partial(ours, per_post=100)
    tls, tls_grouped = partial(ours, transport=machine.TLS), partial(ours, transport=machine.TLS, per_post=100)
    add("cycle", loaded(single, "one report a post"), ours, theirs, tls)
    add("cycle", loaded(single, "reports up to 100 a post"), grouped)
    add("cycle", loaded(many, "reports up to 100 a post (Kannel: one)"), grouped, theirs, tls_grouped)
    texts = partial(phones.run, rig, figures=figures, count=options.texts)
    add("phones", partial(texts, extra="one event a post"), ours, theirs)
    add("phones", partial(texts, extra="up to 100 events a post"), grouped)
    paced = partial(cycle.latency, rig, figures=figures, rate_per_s=_PACED_PER_S, seconds=options.paced_s)
    add("latency", paced, ours, theirs)
    add("crash", lambda gateway: crash.run(rig, gateway, figures, gateway.name), ours, theirs)
    once = partial(crash.run, rig, figures=figures, name=f"{OURS}, at most once", at_most_once=True)
    add("crash", once, partial(ours, policy="unknown"))
    shared = partial(Landline, rig.smsc, rig.webhook, window=options.window, binds=2, per_post=100)
    for shape in (single, many):
        add("workers", loaded(shape, "2 binds, reports up to 100 a post"), shared, partial(shared, workers=2))
    return steps


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--singles", type=int, default=50_000, help="requests of 1 recipient in each run")
    parser.add_argument("--batches", type=int, default=1_500, help="requests of 100 recipients in each run")
    parser.add_argument("--texts", type=int, default=30_000, help="phones' texts in each run")
    parser.add_argument("--paced-s", type=float, default=10.0, help="seconds of 50 requests/s")
    parser.add_argument(
        "--receipt-delay", type=float, default=0.5, help="seconds from a message's answer to its receipt"
    )
    parser.add_argument("--window", type=int, default=200, help="submit_sm unanswered, for both")
    parser.add_argument("--binds", type=int, default=1, help="connections to the SMSC, for both")
    parser.add_argument("--kannel-store", choices=("file", "spool"), default="file")
    parser.add_argument("--kannel-log", choices=("none", "debian"), default="none", help="debian: as it is installed")
    parser.add_argument("--without-kannel", action="store_true")
    parser.add_argument("--without-smsc-alone", action="store_true")
    parser.add_argument("--million", type=int, nargs="?", const=_MILLION, help="memory over so many messages")
    parser.add_argument("--backlog", type=int, nargs="?", const=_MILLION, help="drain of so many rows")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
