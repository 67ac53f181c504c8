"""What Stripe calls: the receiver and the endpoint that Stripe knows."""

from __future__ import annotations

import click

from dagster_project.settings import Settings
from dagster_project.terminal import say, table


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Default: LEDGERLINE_RECEIVER_PORT.")
def receive(port: int | None) -> int:
    """Serve the webhook receiver in the foreground."""
    from dagster_project.receiver.serve import serve

    settings = Settings.load()
    serve(settings, port=port or settings.port("LEDGERLINE_RECEIVER_PORT"))
    return 0


@click.group()
def webhooks() -> None:
    """The endpoint at Stripe."""


@webhooks.command()
@click.argument("url")
def register(url: str) -> int:
    """Make the endpoint URL known to Stripe, once; never deletes an endpoint."""
    from dagster_project.receiver.endpoint import register as make
    from dagster_project.stripe_api.target import reachable

    with reachable(Settings.load()) as target:
        make(target, url)
    say(f"{url} is registered. Its secret is kept in the data directory; the receiver reads it from there.")
    return 0


@webhooks.command(name="status")
def webhooks_status() -> int:
    """Endpoints that Stripe knows."""
    from dagster_project.receiver.endpoint import status as ask
    from dagster_project.stripe_api.target import reachable

    with reachable(Settings.load()) as target:
        rows = ask(target)
    if not rows:
        say("Stripe knows no endpoint. Next: `ledgerline webhooks register URL`.")
        return 1
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    return 0
