"""How fast does a chat message reach those who listen, what does each delivery cost, and what each idle socket?

Run `python -m bench.chat_fanout [--rounds N] [--seconds S] [--only WHAT ...] [--tls] [--processes N]
[--without-peer]` from the repository. Every message is stored and committed first. Members listen as the official
browser client does; a thread has 250 participants at most (ACS), so 1,000 sockets are 4 threads of 250 users, and
5,000 are 20.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench import machine
from bench.chat import ejabberd
from bench.chat.landline import Landline
from bench.chat.runs import delays, idle, idling, spread
from bench.chat.venues import Venue
from bench.gateway.figures import Aim, Figure, Figures, at_least, at_most

MEMBERS = 250
PACED_PER_S, PACED_ROOMS, PACED_MEMBERS = 500, 25, 20
ALONE = "one frame a write"
WARM_UP_S, IDLE_S = 0.5, 5.0
BURST = 16
"""Messages under way in each thread, so that several fall due for a socket in one turn of the server's loop."""
RUNS = ("1000", "5000", "burst", "latency", "answering")
Start = Callable[[], Venue]


def main() -> None:
    """Print the figures of each round, then their medians."""
    given = _arguments()
    machine.header("How fast do chat messages reach those who listen?")
    figures = Figures()
    starts: list[Start] = [lambda: Landline(machine.PLAIN)]
    if given.tls:
        starts.append(lambda: Landline(machine.TLS))
    if given.processes > 1:
        starts.append(lambda: Landline(machine.PLAIN, workers=given.processes))
    version = None if given.without_peer else ejabberd.installed()
    if version is not None:
        print(f"peer: ejabberd {version}, in memory, plain TCP")
        starts.append(ejabberd.Ejabberd)
    for _ in range(given.rounds):
        print(f"\n### Round; load averages {machine.load()}", flush=True)
        for run in (_thousand, _five_thousand, _paced):
            for start in starts:
                run(figures, start, given)
        if "answering" in given.only:
            with _venue(lambda: Landline(machine.PLAIN, answering=True), 4, MEMBERS) as venue:
                venue.listen()
                _spread(figures, venue, 4, given.seconds, "one frame a write, clients answer each as browsers do")
    figures.summary()


def _thousand(figures: Figures, start: Start, given: argparse.Namespace) -> None:
    if {"1000", "burst"}.isdisjoint(given.only):
        return
    with _venue(start, 4, MEMBERS) as venue:
        _memory(figures, venue)
        if "1000" in given.only:
            _spread(figures, venue, 4, given.seconds, ALONE, at_least(60_000))
        if "burst" in given.only:
            how = f"{BURST} messages under way in each"
            _spread(figures, venue, 4, given.seconds, how, at_least(200_000), under_way=BURST)


def _five_thousand(figures: Figures, start: Start, given: argparse.Namespace) -> None:
    if "5000" not in given.only:
        return
    with _venue(start, 20, MEMBERS) as venue:
        _memory(figures, venue)
        _spread(figures, venue, 20, given.seconds, ALONE, at_least(45_000))
        percent = idling(venue, IDLE_S)
        figures.add(Figure("processor while idle", "% of a core", "5,000 sockets", digits=1), venue.name, percent)


def _paced(figures: Figures, start: Start, given: argparse.Namespace) -> None:
    if "latency" not in given.only:
        return
    with _venue(start, PACED_ROOMS, PACED_MEMBERS) as venue:
        venue.listen()
        _latency(figures, venue, given.seconds)


@contextmanager
def _venue(start: Start, rooms: int, members: int) -> Iterator[Venue]:
    venue = start()
    try:
        venue.open(rooms, members)
        yield venue
    finally:
        venue.close()


def _memory(figures: Figures, venue: Venue) -> None:
    kib, took = idle(venue)
    sockets = len(venue.ears.every)
    figure = Figure("memory per idle socket", "KiB", f"{sockets:,} sockets", digits=1, aim=at_most(25))
    figures.add(figure, venue.name, kib)
    figures.add(Figure("sockets opened, one by one", "/s", f"{sockets:,} sockets"), venue.name, sockets / took)


def _spread(
    figures: Figures, venue: Venue, rooms: int, seconds: float, how: str, aim: Aim | None = None, *, under_way: int = 1
) -> None:
    spread(venue, rooms, MEMBERS, WARM_UP_S, under_way=under_way)
    found = spread(venue, rooms, MEMBERS, seconds, under_way=under_way)
    load = f"{rooms * MEMBERS:,} sockets, {rooms} threads of {MEMBERS}, {how}"
    figures.add(Figure("deliveries", "/s", load, aim=aim), venue.name, found.per_s)
    each = 1e6 / found.deliveries
    figures.add(Figure("server CPU", "us/delivery", load, digits=1), venue.name, found.used.server_s * each)
    figures.add(Figure("database CPU", "us/delivery", load, digits=1), venue.name, found.used.database_s * each)
    print(f"  {found.text()}", flush=True)


def _latency(figures: Figures, venue: Venue, seconds: float) -> None:
    delays(venue, PACED_ROOMS, PACED_MEMBERS, PACED_PER_S, 1.0)
    found = delays(venue, PACED_ROOMS, PACED_MEMBERS, PACED_PER_S, seconds)
    load = f"{PACED_PER_S} messages/s into {PACED_ROOMS} threads of {PACED_MEMBERS}"
    figures.add(Figure("send to delivery, p50", "ms", load, digits=1, aim=at_most(3)), venue.name, found.p50)
    figures.add(Figure("send to delivery, p99", "ms", load, digits=1, aim=at_most(15)), venue.name, found.p99)
    figures.add(Figure("send to delivery, max", "ms", load, digits=1), venue.name, found.most)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--tls", action="store_true", help="over TLS too")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="also with N processes over NATS")
    parser.add_argument("--without-peer", action="store_true", help="without ejabberd, though it is installed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
