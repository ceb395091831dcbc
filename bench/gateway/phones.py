"""Texts of phones: from the SMSC's deliver_sm to the event at the webhook."""

from bench.gateway import messages, usage
from bench.gateway.figures import Figure, Figures
from bench.gateway.gateways import Gateway
from bench.gateway.rig import Rig

TEXT = "Yes please, any time after three."
_PATIENCE_S = 15.0


def run(rig: Rig, gateway: Gateway, figures: Figures, count: int, extra: str) -> None:
    """`count` phones text the number that the load is sent from, as fast as the SMSC's window allows."""
    rig.warm(gateway)
    before, acknowledged = rig.cpu_s(gateway), rig.smsc.ask("acknowledged")
    began = rig.smsc.ask("say", rig.take(count), count, messages.SENDER, TEXT)
    told = rig.settle(count, patience_s=_PATIENCE_S)
    after = rig.cpu_s(gateway)
    seconds = rig.webhook.ask("last_s") - began
    said = f"{count:,} texts, {extra}"
    figures.add(Figure("phones' texts at the webhook", "texts/s", said), gateway.name, told / seconds)
    cpu_ms = {part: (after[part] - before[part]) / count * 1000 for part in after}
    figures.add(Figure("phones' texts: CPU of the gateway", "ms/text", said, 3), gateway.name, cpu_ms["gateway"])
    if gateway.pids()["database"]:
        total = cpu_ms["gateway"] + cpu_ms["database"]
        figures.add(Figure("... with its PostgreSQL's", "ms/text", said, 3), gateway.name, total)
    figures.add(
        Figure("phones' texts: resident", "MiB", said), gateway.name, usage.resident_mib(gateway.pids()["gateway"])
    )
    counted = rig.reports()
    twice = sum(counted.values()) - len(counted)
    print(
        f"  told {told:,} of {count:,} in {rig.webhook.ask('posts'):,} posts, {twice:,} twice; acknowledged"
        f" {rig.smsc.ask('acknowledged') - acknowledged:,}",
        flush=True,
    )
