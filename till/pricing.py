"""Price a basket: from the basket itself, the till's own catalogue, and at last the box."""

from collections.abc import Callable

from appliance.domain.catalogue import Article
from till.box import Box
from till.catalogue import Catalogue
from till.errors import NoAnswer, Refused, UnknownArticle
from till.tickets import Basket, Priced, price

# The most articles that one basket may make us ask the box for: a customer waits.
ASK_MAX = 20


class Pricing:
    """Knows where prices come from."""

    def __init__(self, catalogue: Catalogue, box: Callable[[], Box | None]) -> None:
        self._catalogue = catalogue
        self._box = box

    async def price(self, basket: Basket) -> Priced:
        """The basket with amounts. Raises UnknownArticle, InvalidSale."""
        version = self._catalogue.version
        try:
            return price(basket, self._catalogue.find, catalogue_version=version)
        except UnknownArticle:
            fetched = await self._fetch(basket)
            return price(
                basket,
                lambda code: fetched.get(code) or self._catalogue.find(code),
                catalogue_version=version,
            )

    async def _fetch(self, basket: Basket) -> dict[str, Article]:
        """What our own catalogue lacks: the box's may be newer, or ours not there yet."""
        fetched: dict[str, Article] = {}
        box = self._box()
        codes = dict.fromkeys(item.article_id for item in basket.lines if item.needs_price)
        missing = [code for code in codes if self._catalogue.find(code) is None]
        if box is None:
            return fetched
        try:
            for code in missing[:ASK_MAX]:
                if (article := await box.article(code)) is not None:
                    fetched[code] = article
        except (NoAnswer, Refused):
            pass  # what is still missing is an unknown article
        return fetched
