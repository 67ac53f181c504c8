"""Which API versions a request may name.

Answers always have the shape of API_VERSION, and their `Stripe-Version` header says so. Versions since basil differ
from it in details that a client can live with, so they are taken; older ones differ in what a subscription and an
invoice are, and an answer in another shape than the one asked for would be worse than none.
"""

from __future__ import annotations

import re

from dagster_project.simulator.engine.world import API_VERSION
from dagster_project.simulator.http.api_errors import ApiError

# Releases by their first version, newest first: https://docs.stripe.com/changelog
_RELEASES = {"endive": "2026-09-30", "dahlia": "2026-03-25", "clover": "2025-09-30", "basil": "2025-03-31"}
_VERSION = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([a-z]+))?", re.ASCII)


def check(version: str) -> None:
    """Raises ApiError 400 for a version that is none, is not out yet, or is older than basil."""
    match = _VERSION.fullmatch(version)
    if match is None or match[1] > API_VERSION[:10]:
        raise ApiError(400, f"Invalid Stripe API version: {version[:100]}")
    if match[1] < _RELEASES["basil"]:
        raise ApiError(
            400,
            f"Invalid Stripe API version: {version}. This simulator answers in the shape of {API_VERSION}; versions "
            f"before {_RELEASES['basil']}.basil have another one.",
        )
    release = next(name for name, first in _RELEASES.items() if match[1] >= first)
    if match[2] != release:
        raise ApiError(400, f"Invalid Stripe API version: {version}")
