"""What can go wrong for a technician, beside misuse: each has an exit code of its own."""

from appliance.domain.errors import StoreboxError

FINE, FAILED, MISUSE, REFUSED, NO_ANSWER = range(5)


class Failed(StoreboxError):
    """It was tried, and did not come out well."""

    code, title = "failed", "That did not work"


class Refused(StoreboxError):
    """Head office, or the box, answered no: `fields['problem']` is its code."""

    code, title = "refused", "Refused"


class NoAnswer(StoreboxError):
    """Nobody answers there, or nobody who can prove who he is."""

    code, title = "no-answer", "Nobody answers"
