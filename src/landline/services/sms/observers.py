"""Who is told what becomes of messages, in the transaction in which it happens or right after it."""

from dataclasses import dataclass

from landline.services.events.service import Events
from landline.services.insights.service import Insights
from landline.services.sms.esme_out import EsmeOut
from landline.services.sms.metrics import Counts


@dataclass(frozen=True, slots=True)
class Observers:
    """All of them. What happens to a message is told to each, whoever finds it out: `Accepts`, `Inbound` or `News`."""

    events: Events
    """Applications, by webhooks."""
    insights: Insights
    """Operators, by figures of the hours and days."""
    customers: EsmeOut
    """ESMEs, by receipts."""
    counts: Counts
    """Prometheus."""
