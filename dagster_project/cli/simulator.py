"""`ledgerline simulator`: the local Stripe, and its clock."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from dagster_project.cli.moments import unix_seconds
from dagster_project.errors import UsageError
from dagster_project.settings import Settings
from dagster_project.terminal import say


@click.group(invoke_without_command=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Default: LEDGERLINE_SIMULATOR_PORT.")
@click.option("--scenario", metavar="NAME", help="saas (default), marketplace, usage, global, chaos or flat.")
@click.option("--customers", type=int, help="10 to 20,000; default: 1500, or the business that is there.")
@click.option("--objects", type=int, help="Of flat, which has volume alone; default: 1,000,000.")
@click.option("--months", type=int, help="1 to 120; default: 24, or the business that is there.")
@click.option("--seed", type=int, help="Default: 7, or the business that is there.")
@click.option("--rate-limit", type=click.IntRange(1), help="Requests per second in all; default: none.")
@click.option("--latency-ms", type=click.IntRange(0), default=0, show_default=True)
@click.option("--faults", multiple=True, metavar="NAME=VALUE|JSON", help="Trouble, e.g. error_rate=0.01; repeatable.")
@click.option("--api-version", metavar="VERSION", help="The account's, e.g. 2022-11-15: how its events look.")
@click.option("--reset", is_flag=True, help="Forget the business and make it anew.")
@click.pass_context
def simulator(
    context: click.Context,
    port: int | None,
    scenario: str | None,
    customers: int | None,
    objects: int | None,
    months: int | None,
    seed: int | None,
    rate_limit: int | None,
    latency_ms: int,
    faults: tuple[str, ...],
    api_version: str | None,
    reset: bool,
) -> int:
    """Serve the local Stripe in the foreground."""
    if context.invoked_subcommand:
        return 0
    from dagster_project.simulator.http.server import serve

    settings = Settings.load()
    serve(
        settings.data_dir,
        port=port or settings.port("LEDGERLINE_SIMULATOR_PORT"),
        business={
            "scenario": scenario,
            "customers": customers,
            "objects": objects,
            "months": months,
            "seed": seed,
        },
        rate_limit=rate_limit,
        latency_ms=latency_ms,
        faults=faults,
        api_version=api_version,
        reset=reset,
    )
    return 0


@simulator.command()
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="How far.")
@click.option("--to", metavar="TIME", help="Until this instant (ISO, UTC).")
@click.pass_context
def advance(context: click.Context, days: float | None, to: str | None) -> int:
    """Move the simulator's clock; what is due happens."""
    from dagster_project.simulator import process
    from dagster_project.stripe_api.target import reachable

    if (days is None) == (to is None):
        raise UsageError("Say either --days or --to.", "For example `ledgerline simulator advance --days 1`.")
    settings = Settings.load()
    if not settings.uses_simulator:
        raise UsageError("A Stripe key is set: there is no simulator to advance.", "Unset STRIPE_API_KEY.")
    port = context.parent.params["port"] if context.parent else None
    if port:
        result = process.advance(f"http://127.0.0.1:{port}", days=days, to=unix_seconds("--to", to))
    elif not process.has_business(settings.data_dir):
        raise UsageError(
            f"There is no simulated business in {settings.data_dir}.",
            "Set LEDGERLINE_DATA_DIR as where the simulator runs, or start one with `ledgerline simulator`.",
        )
    else:
        with reachable(settings) as target:
            result = process.advance(target.api_base, days=days, to=unix_seconds("--to", to))
    say(f"The simulator's clock is at {datetime.fromtimestamp(result['now'], UTC):%Y-%m-%d %H:%M} UTC.")
    say("Next: `ledgerline refresh` brings what happened.")
    return 0
