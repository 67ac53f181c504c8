"""Which Stripe is talked to: the account whose key is set, or the local simulator, started when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagster_project.settings import Settings


@contextmanager
def reachable(settings: Settings, on_line: Callable[[str], None] | None = None) -> Iterator[Settings]:
    """Settings whose STRIPE_API_BASE answers. A simulator that was not running is stopped again at the end."""
    if not settings.uses_simulator:
        yield settings
        return
    from dagster_project.simulator import process

    handle = process.ensure_running(
        settings.data_dir, port=settings.port("LEDGERLINE_SIMULATOR_PORT"), on_line=on_line or (lambda line: None)
    )
    try:
        yield settings.replaced(STRIPE_API_BASE=handle.base_url)
    finally:
        if handle.started_here:
            handle.stop()
