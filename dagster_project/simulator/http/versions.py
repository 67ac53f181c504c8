"""Which API versions a request may name.

Answers always have the shape of the newest one, and their `Stripe-Version` header says so. Versions since basil differ
from it in details that a client can live with, so they are taken; older ones differ in what a subscription and an
invoice are, and an answer in another shape than the one asked for would be worse than none.
"""

from __future__ import annotations

from dagster_project.simulator.engine.versions import PINNED, VERSIONS
from dagster_project.simulator.http.api_errors import ApiError

_OLDEST = "2025-03-31.basil"


def check(version: str) -> None:
    """Raises ApiError 400 for a version that does not exist or is older than basil."""
    if version not in VERSIONS:
        raise ApiError(400, f"Invalid Stripe API version: {version[:100]}")
    if version < _OLDEST:
        raise ApiError(
            400,
            f"Invalid Stripe API version: {version}. This simulator answers in the shape of {PINNED}; versions before "
            f"{_OLDEST} have another one.",
        )
