"""Rate limits: every request counts, whatever the response."""

from ..access import RateLimit
from .auth import caller_of, is_public
from .context import RequestContext


def is_counted(method: str, route: str) -> bool:
    """Return whether a request counts: all do, except those that read a probe or information."""
    return method not in ("GET", "HEAD") or not is_public(method, route)


async def count(rate: RateLimit, context: RequestContext, texts: int, *, counted: int = 0) -> None:
    """Count the texts of a request, of which `counted` have been counted before.

    Raises `RateLimited` if the client is over its limit, and `TextTooLong` for a list that is longer than the limit.
    """
    context.quota = await rate.take(caller_of(context), texts, counted=counted)
    if context.quota and not context.quota.passed:
        raise rate.refusal(context.quota)
