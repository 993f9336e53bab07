"""One ticket after another: price it, keep it, bring it to the cloud or to the box, tell what came of it."""

from collections.abc import Callable

from appliance.domain.errors import BadInput
from appliance.domain.sale import parse_sale
from appliance.runtime.clock import Clock, rfc3339
from till.copy import Copies, Copy
from till.delivery import Delivered, Delivery
from till.errors import UnknownArticle
from till.pricing import Pricing
from till.refusals import tell_refusal
from till.report import RefusedLine, Sold, Tell
from till.sentences import Lang, sentence
from till.tickets import Basket, Stamp, make_sale
from till.ways import Ways


class Selling:
    """Sells. One ticket at a time; whoever comes second waits for the first. `sold` hears of each copy."""

    def __init__(
        self,
        till_id: str,
        copies: Copies,
        pricing: Pricing,
        delivery: Delivery,
        ways: Ways,
        new_id: Callable[[], str],
        sold: Callable[[Copy], None],
        tell: Tell,
        lang: Lang,
        clock: Clock,
    ) -> None:
        self._till_id = till_id
        self._copies = copies
        self._pricing = pricing
        self._delivery = delivery
        self._ways = ways
        self._new_id = new_id
        self._sold = sold
        self._tell = tell
        self._lang = lang
        self._clock = clock
        self.in_hand: str | None = None

    async def sell(self, basket: Basket) -> Sold | RefusedLine:
        """Sell a basket: on this till's own disk before anybody is asked, and told when that is over.

        A basket that makes no ticket (no price, an amount out of range) is refused and takes no number.
        """
        async with self._ways.ticket():
            try:
                return await self._sell(basket)
            except (UnknownArticle, BadInput) as error:
                line = RefusedLine(error.code, f"{sentence(error.code, {}, self._lang)} ({error})")
                self._tell(line)
                return line
            finally:
                self.in_hand = None

    async def _sell(self, basket: Basket) -> Sold | RefusedLine:
        began_at, began_s = self._clock.wall(), self._clock.monotonic()
        priced = await self._pricing.price(basket)
        ended_at = self._clock.wall()
        self.in_hand = self._new_id()
        stamp = Stamp(
            sale_id=self.in_hand,
            till_id=self._till_id,
            business_date=ended_at.astimezone().date().isoformat(),  # the day where the till stands
            started_at=rfc3339(began_at),
            ended_at=rfc3339(ended_at),
            mode=self._ways.mode,
        )
        order = self._ways.at_the_counter()
        copy = await self._copies.take(
            lambda number: make_sale(priced, stamp, number), ask_cloud=order[0] == "cloud"
        )
        result = await self._delivery.deliver(copy, order, first=True)
        copy = result.copy
        line = self._told(result, (self._clock.monotonic() - began_s) * 1000)
        await self._ways.learn(result)
        self._sold(copy)
        return line

    def _told(self, result: Delivered, took_ms: float) -> Sold | RefusedLine:
        copy = result.copy
        refusal = tell_refusal(copy, result.refusal_members, self._lang, self._tell)
        if refusal is not None:
            return refusal
        sale = parse_sale(copy.body)
        sold = Sold(
            sale_id=copy.sale_id,
            ticket_number=copy.ticket_number,
            status=copy.state,
            way=copy.way,
            mode=sale.mode,
            took_ms=round(took_ms, 3),
            total_minor=sale.total_minor,
            currency=sale.currency,
            epoch=copy.epoch,
            seq=copy.seq,
            code=copy.code,
        )
        self._tell(sold)
        return sold
