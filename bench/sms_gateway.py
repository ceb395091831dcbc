"""How does Landline compare with Kannel as an SMS gateway, from the HTTP request to the report at the webhook?

Run `python -m bench.sms_gateway --help` from the repository for its options. Both gateways are run in turn against the
project's SMSC and one webhook, which share the machine with them; without Kannel (Debian: `apt-get install kannel`)
Landline's figures stand alone.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing

from bench import machine, smsc_alone
from bench.gateway import backlog, crash, cycle, kannel
from bench.gateway.cycle import Shape
from bench.gateway.figures import OURS, Figures
from bench.gateway.gateways import Gateway
from bench.gateway.product import Landline
from bench.gateway.rig import Rig, rig

PARTS = ("cycle", "latency", "crash")
_ALONE = 100_000
_MILLION = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every figure with its load, then medians and ratios."""
    options = _options(arguments)
    version = None if options.without_kannel else kannel.installed()
    machine.header("Landline and Kannel: the whole cycle of a text")
    print(
        f"Kannel: {version or 'not run'} (store: {options.kannel_store}); receipts {options.receipt_delay} s after the"
    )
    print("answer; SMSC, webhook and load generator share the machine; rounds in turn, all runs kept", flush=True)
    if not options.without_smsc_alone:
        smsc_alone.run(_ALONE)
    figures = Figures()
    with rig(options.receipt_delay) as made:
        for number in range(options.rounds):
            print(f"\n### Round {number + 1} of {options.rounds}; load of the machine before it: {machine.load()}")
            _round(made, options, figures, with_kannel=version is not None)
        if options.million:
            with closing(Landline(made.smsc, made.webhook, per_post=100, lazily=True)) as landline:
                backlog.memory(made, landline, figures, options.million)
        if options.backlog:
            with closing(Landline(made.smsc, made.webhook, per_post=100, lazily=True)) as landline:
                backlog.drain(made, landline, figures, options.backlog)
    figures.summary()


def _round(rig: Rig, options: argparse.Namespace, figures: Figures, *, with_kannel: bool) -> None:
    window = options.window
    single, many = Shape(options.singles, 1), Shape(options.batches, 100)

    def ours(transport: str = machine.PLAIN, *, per_post: int = 1, policy: str = "resend") -> Landline:
        taken = "unknown" if policy == "unknown" else "resend"
        return Landline(rig.smsc, rig.webhook, transport=transport, window=window, per_post=per_post, policy=taken)

    def theirs() -> Gateway:
        return kannel.Kannel(rig.smsc, rig.webhook, window=window, store=options.kannel_store)

    def use(make: Callable[[], Gateway], measure: Callable[[Gateway], None]) -> None:
        gateway = make()
        try:
            measure(gateway)
        finally:
            gateway.close()

    if "cycle" in options.parts:
        each = "one report a post"
        use(ours, lambda gateway: cycle.run(rig, gateway, single, figures, each))
        if with_kannel:
            use(theirs, lambda gateway: cycle.run(rig, gateway, single, figures, each))
        several = "reports up to 100 a post (Kannel: one)"
        use(lambda: ours(per_post=100), lambda gateway: cycle.run(rig, gateway, many, figures, several))
        if with_kannel:
            use(theirs, lambda gateway: cycle.run(rig, gateway, many, figures, several))
        use(lambda: ours(machine.TLS), lambda gateway: cycle.run(rig, gateway, single, figures, each))
        use(lambda: ours(machine.TLS, per_post=100), lambda gateway: cycle.run(rig, gateway, many, figures, several))
    if "latency" in options.parts:
        for make in (ours, theirs)[: 1 + with_kannel]:
            use(make, lambda gateway: cycle.latency(rig, gateway, figures, rate_per_s=50, seconds=options.paced_s))
    if "crash" in options.parts:
        use(ours, lambda gateway: crash.run(rig, gateway, figures, gateway.name))
        if with_kannel:
            use(theirs, lambda gateway: crash.run(rig, gateway, figures, gateway.name))
        once = f"{OURS}, at most once"
        use(
            lambda: ours(policy="unknown"),
            lambda gateway: crash.run(rig, gateway, figures, once, at_most_once=True),
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--singles", type=int, default=20_000, help="requests of 1 recipient in each run")
    parser.add_argument("--batches", type=int, default=500, help="requests of 100 recipients in each run")
    parser.add_argument("--paced-s", type=float, default=10.0, help="seconds of 50 requests/s")
    parser.add_argument(
        "--receipt-delay", type=float, default=0.1, help="seconds from a message's answer to its receipt"
    )
    parser.add_argument("--window", type=int, default=200, help="submit_sm unanswered, for both")
    parser.add_argument("--kannel-store", choices=("file", "spool"), default="file")
    parser.add_argument("--without-kannel", action="store_true")
    parser.add_argument("--without-smsc-alone", action="store_true")
    parser.add_argument("--million", type=int, nargs="?", const=_MILLION, help="memory over so many messages")
    parser.add_argument("--backlog", type=int, nargs="?", const=_MILLION, help="drain of so many rows")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
