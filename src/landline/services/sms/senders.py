"""Who a text is from: a number, code or name of the resource, or for each recipient one of a pool's."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from landline.core import phone
from landline.core.errors import Forbidden, Invalid, Unauthorized
from landline.core.ids import ResourceId
from landline.services.numbers.model import OwnedNumber
from landline.services.numbers.service import Numbers
from landline.services.sms.model.messages import Recipient
from landline.services.sms.model.pools import pool_name
from landline.services.sms.model.routing import Router
from landline.services.sms.pools import Pools
from landline.services.sms.settings import Settings

NO_SENDER = "The sender is neither a phone number in E.164 format, such as +18005550100, nor a short code nor a name."
_PARTNER = "smsSendOptions.messagingConnect.partner"
RouterNow = Callable[[], Awaitable[Router]]
"""The routing rules in force."""


class Senders:
    """What each resource may send from."""

    def __init__(self, numbers: Numbers, pools: Pools, settings: Settings, router: RouterNow) -> None:
        self._numbers = numbers
        self._pools = pools
        self._settings = settings
        self._router = router

    async def shares(
        self, resource: ResourceId, sender: str, recipients: list[Recipient], partner: str | None = None
    ) -> list[tuple[OwnedNumber, list[Recipient]]]:
        """The senders for `recipients`: `sender`, or those of the pool it names; all of them `partner`'s, if given.
        Raises as `owned` does, `NotFound` for a pool, and `Invalid` for a partner."""
        pool = pool_name(sender)
        if pool is None:
            found = [(await self.owned(resource, sender), recipients)]
        else:
            shares: dict[str, list[Recipient]] = {}
            chosen = await self._pools.choose(resource, pool, [recipient.to for recipient in recipients])
            for recipient, by in zip(recipients, chosen, strict=True):
                shares.setdefault(by, []).append(recipient)
            found = [(await self.owned(resource, by), share) for by, share in shares.items()]
        if partner is not None:
            await self._check_partner(resource, partner, [owned for owned, _ in found])
        return found

    async def owned(self, resource: ResourceId, sender: str) -> OwnedNumber:
        """`sender` as the resource owns it. Raises `Invalid` for what can be no sender, `Unauthorized` where it is not
        the resource's, `Forbidden` where it cannot send texts."""
        if phone.sender_kind(sender) is None:
            raise Invalid(NO_SENDER, target="from")
        owned = await self._numbers.sender(resource, sender)
        if owned is None:
            raise Unauthorized("The sender does not belong to this resource.", target="from")
        if not owned.sms_outbound:
            raise Forbidden("The sender cannot send text messages.", target="from")
        return owned

    async def _check_partner(self, resource: ResourceId, partner: str, senders: Sequence[OwnedNumber]) -> None:
        """Raises `Invalid` for a carrier of ours that is not the senders' (Azure: Messaging Connect, synchronous
        validation), and for a name that the resource does not want. Others pass: applications written for Azure name
        its partners, and its SDKs' live tests one that there is none of. The name decides nothing else."""
        if not _names(partner, (await self._router()).carriers):
            partners = (await self._settings.of(resource)).messaging_connect_partners
            if "*" not in partners and not _names(partner, partners):
                raise Invalid(
                    f"{partner!r} is neither a carrier of this server nor one of the resource's"
                    " messagingConnectPartners.",
                    target=_PARTNER,
                )
        elif any(owned.carrier is not None and not _names(partner, (owned.carrier,)) for owned in senders):
            raise Invalid(f"The number is bound to another carrier than {partner!r}.", target=_PARTNER)


def _names(name: str, known: Iterable[str]) -> bool:
    """Whether `name` is one of `known`, in capital or small letters."""
    return any(each.casefold() == name.casefold() for each in known)
