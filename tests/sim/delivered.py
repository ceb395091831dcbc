"""What must be true of events when a run has come to its end."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from tests.sim.events_world import EventsRun, Told
from tests.sim.hooks import FINAL, Post

from landline.services.events.model import retry_delay
from landline.store.database import Record

_STATEMENTS = 80
"""Of one process in one second without a database, at most."""
_LATE_S = 20.0
"""After which nothing comes any more of what happened to a process: its statements and their answers may be slow."""
Key = tuple[UUID, str]
"""An event, and the name of a subscription."""


async def broken(run: EventsRun) -> list[str]:
    """Every promise that the run broke."""
    await run.look_at_blocks()
    wrong = run.wrong + [f"left over: {each}" for each in await run.left()]
    rows = await run.arena.look(
        "SELECT d.*, s.name FROM events_deliveries d"
        " LEFT JOIN events_subscriptions s ON s.subscription_id = d.subscription_id ORDER BY event_id"
    )
    posts: dict[Key, list[Post]] = defaultdict(list)
    for post in sorted((post for hook in run.hooks.values() for post in hook.posts), key=lambda post: post.at):
        for event in post.events:
            posts[event, post.subscription].append(post)
    wrong += await written(run, rows)
    for row in rows:
        if row["name"] is not None:
            wrong += ended(run, row, posts[row["event_id"], row["name"]])
            wrong += tried(run, row, posts[row["event_id"], row["name"]])
    wrong += repeated(run, posts)
    busy = [
        f"{count} statements of {name} in second {at}"
        for (name, at), count in run.statements.items()
        if count > _STATEMENTS
    ]
    return wrong + busy


async def written(run: EventsRun, rows: Sequence[Record]) -> list[str]:
    """What was committed while a subscription wanted it is there, as long as that subscription is."""
    there = {(row["event_id"], row["subscription_id"]) for row in rows}
    kept = {row["subscription_id"] for row in await run.arena.look("SELECT subscription_id FROM events_subscriptions")}
    wanted = {each for told in run.told for each in told.wanted}
    return [f"{event} was told and is lost for {to}" for event, to in wanted if to in kept and (event, to) not in there]


def ended(run: EventsRun, row: Record, posts: Sequence[Post]) -> list[str]:
    """It was delivered to an endpoint that took it, or was given up by the rules."""
    about = f"{row['event_id']} for {row['name']}"
    settings = run.history[row["name"]]
    if row["delivered_at"] is not None:
        if row["dead_at"] is not None or row["next_at"] is not None:
            return [f"{about} is delivered, and is not"]
        return [] if any(post.taken for post in posts) else [f"{about} was never taken"]
    if row["dead_at"] is None:
        return []  # left over
    reason, attempts = row["reason"], row["attempts"]
    if reason in FINAL.values():
        good = any(post.status is not None and FINAL.get(post.status) == reason for post in posts)
    elif reason == "MaxDeliveryAttemptsExceeded":
        good = any(attempts >= each.max_attempts for each in settings)
    elif reason == "TimeToLiveExceeded":
        life = timedelta(minutes=min(each.ttl_minutes for each in settings))
        step = retry_delay(max(attempts, 1), row["event_id"], row["subscription_id"])
        good = row["dead_at"] + step >= row["since"] + life
    else:
        good = False
    return [] if good else [f"{about} was given up for {reason} after {attempts}"]


def tried(run: EventsRun, row: Record, posts: Sequence[Post]) -> list[str]:
    """Where nothing but webhooks failed, every try was made once and is counted."""
    if not run.peaceful:
        return []
    most = max(each.max_attempts for each in run.history[row["name"]])
    about = f"{row['event_id']} for {row['name']}"
    wrong = [] if row["attempts"] == len(posts) else [f"{about} was tried {len(posts)} times, not {row['attempts']}"]
    return wrong if len(posts) <= most else [*wrong, f"{about} was tried more than {most} times"]


def repeated(run: EventsRun, posts: dict[Key, list[Post]]) -> list[str]:
    """Nothing is posted again that a process was told is taken, or is to be tried no more, but where something happened
    to that process, or to the one that posts it again."""
    told_of: dict[UUID, Told] = {event.event_id: told for told in run.told for event in told.events}
    wrong: list[str] = []
    for (event, name), all_ in posts.items():
        told = told_of[event]
        heard = [
            post
            for post in all_
            if post.told_at is not None and (post.taken or (post.status in FINAL and not run.replayed))
        ]
        for first in heard[:1]:
            for again in all_:
                if again is first or again.at < first.at or told.times > 1:
                    continue
                if not any(
                    process in (None, first.process, again.process) and told.at - _LATE_S <= at <= again.at
                    for process, at in run.troubles
                ):
                    seen = [(post.process.name, post.at, post.status, post.told_at) for post in all_]
                    wrong.append(f"{event} for {name}, told of at {told.at}, was posted again at {again.at}: {seen}")
    return wrong
