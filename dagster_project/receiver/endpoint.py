"""The webhook endpoint at Stripe: registered once by its URL, never deleted, its secret kept beside the data."""

from __future__ import annotations

from typing import Any

import stripe

from dagster_project.errors import (
    StripeAnswerError,
    StripeAuthError,
    StripePermissionError,
    StripeUnreachable,
    UsageError,
)
from dagster_project.receiver.secrets import keep, kept
from dagster_project.settings import Settings


def register(settings: Settings, url: str) -> str:
    """The signing secret of the endpoint `url`, which is made when Stripe does not know it.

    Stripe shows a secret only when it makes the endpoint. Raises UsageError when the endpoint exists and its secret
    is not here, and the StripeErrors.
    """
    client = _client(settings)
    try:
        known = next((each for each in _endpoints(client) if each.url == url), None)
        if known is not None:
            if secret := kept(settings).get(url) or next(iter(settings.webhook_secrets), None):
                return secret
            if not settings.uses_simulator:
                raise UsageError(
                    f"Stripe knows {url} already, and shows its secret only in the dashboard.",
                    "Set STRIPE_WEBHOOK_SECRET to the secret that the dashboard shows for this endpoint.",
                )
            client.v1.webhook_endpoints.delete(known.id)  # the simulator has no dashboard that would show it again
        made = client.v1.webhook_endpoints.create(
            params={
                "url": url,
                "enabled_events": ["*"],
                "api_version": stripe.api_version,  # type: ignore[typeddict-item]
                "description": "Ledgerline",
            }
        )
    except stripe.StripeError as error:
        raise _translated(error, settings.api_base) from error
    if not made.secret:
        raise StripeAnswerError(f"Stripe made {url} and gave no secret.", "Take it from the dashboard.")
    keep(settings, url, made.secret)
    return made.secret


def status(settings: Settings) -> list[dict[str, Any]]:
    """The endpoints that Stripe knows, a row each."""
    try:
        return [
            {
                "id": each.id,
                "url": each.url,
                "status": each.status,
                "events": "all" if "*" in each.enabled_events else len(each.enabled_events),
                "api_version": each.api_version,
                "secret": "here" if settings.webhook_secrets or each.url in kept(settings) else "missing",
            }
            for each in _endpoints(_client(settings))
        ]
    except stripe.StripeError as error:
        raise _translated(error, settings.api_base) from error


def _client(settings: Settings) -> stripe.StripeClient:
    account = settings.accounts()[0]
    return stripe.StripeClient(
        account.key,
        base_addresses={"api": account.api_base or settings.api_base},
        proxy=settings["HTTPS_PROXY"] if settings.api_base.startswith("https:") else None,
        max_network_retries=2,
    )


def _endpoints(client: stripe.StripeClient) -> list[stripe.WebhookEndpoint]:
    return list(client.v1.webhook_endpoints.list(params={"limit": 100}).auto_paging_iter())


def _translated(error: stripe.StripeError, base: str) -> Exception:
    if isinstance(error, stripe.APIConnectionError):
        return StripeUnreachable(f"Webhook endpoints: no connection to {base}.", "Check the network and the address.")
    step = "Give the key the right to write webhook endpoints, or make the endpoint in the dashboard."
    kinds = {401: StripeAuthError, 403: StripePermissionError}
    kind = kinds.get(error.http_status or 0, StripeAnswerError)
    text = error.user_message or type(error).__name__
    return kind(f"Webhook endpoints: {text}", step, status=error.http_status, request_id=error.request_id)
