"""`make demo`: a Stripe business from nothing to MRR, reconciliation, checks and an outbox, with what to try next."""

from __future__ import annotations

import resource
import time

from dagster_project.bars import Bars
from dagster_project.errors import UsageError
from dagster_project.settings import Settings
from dagster_project.terminal import errors, say


def run(settings: Settings) -> int:
    """Backfill, build, check, publish and deliver against the local simulator; 0 when everything ties.

    Raises UsageError when a Stripe key is set: the demo must never touch a real account.
    """
    from dagster_project import summary

    if not settings.uses_simulator:
        raise UsageError(
            "A Stripe key is set, and the demo only ever uses the local simulator.",
            "Unset STRIPE_API_KEY and LEDGERLINE_ACCOUNTS, or run `ledgerline refresh` for your own account.",
        )
    began = time.monotonic()
    say("Ledgerline demo: a made-up business of 1,500 customers over 24 months on a local Stripe simulator.")
    say("1. Stripe: starting the simulator, reading every object, loading the warehouse, modelling, publishing …")
    from dagster_project.orchestration.runs import run_pipeline

    with Bars() as bars:
        outcome = run_pipeline(settings, "refresh", mode="incremental", progress=bars)
    for line in outcome.lines:
        say(line)
    for problem in outcome.problems:
        errors.print(f"Error: {problem}")
    say("2. What finance asks first")
    ties = summary.show_headline(settings)
    summary.show_effects(settings)
    say(f"  {settings.data_dir / 'outbox'}")
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    say(f"\nDone in {time.monotonic() - began:.0f} s; the largest process used {peak:,.0f} MB.")
    say("3. Next")
    say("   make dev                                                         the Dagster UI on http://127.0.0.1:3000")
    say(
        "   .venv/bin/python -c \"import duckdb; print(duckdb.connect('data/warehouse.duckdb', read_only=True)"
        ".sql('select basis, month, currency, opening, closing from marts.rpt_mrr_rollforward order by all desc'))\""
    )
    say("   .venv/bin/ledgerline simulator advance --days 1 && .venv/bin/ledgerline refresh")
    return 0 if ties and not outcome.problems else 1
