"""Whose data a key reads: the account's id, its mode, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from dagster_project.errors import StripeAnswerError, StripeError, StripePermissionError, StripeUnreachable
from dagster_project.settings import Account
from dagster_project.stripe_api.client import StripeClient


@dataclass(frozen=True)
class Identity:
    """`account` and `balance` are the objects as read, where the API has them; `balance_error` says why it has not."""

    account_id: str
    livemode: bool
    account: bytes | None
    balance: bytes | None
    balance_error: StripeError | None
    name: str
    country: str | None
    currency: str | None
    created: int


async def identify(client: StripeClient, account: Account, connected: str | None) -> Identity:
    """Ask for the account and its balance, whose `livemode` is the only place that tells the mode.

    LEDGERLINE_ACCOUNTS tells what the API cannot, and the key's own prefix the mode when the balance may not be read.
    Raises StripeUnreachable when nothing tells the account's id.
    """
    fields = dict[str, Any]()
    own = balance = problem = None
    try:
        own = msgspec.json.format((await client.get("/v1/account")).body, indent=-1)
        fields = msgspec.json.decode(own)
    except (StripePermissionError, StripeAnswerError) as error:
        stranger = error.status is None and account.account_id is not None  # no Stripe, and the settings say who it is
        if error.status not in (400, 403, 404) and not stranger:  # an outage tells nothing of the account
            raise
        if account.account_id is None and connected is None:
            raise StripeUnreachable(
                f"Account {account.name!r}: {error.message}", "Give account_id and livemode in LEDGERLINE_ACCOUNTS."
            ) from error
    livemode = bool(account.says_livemode)
    try:
        balance = msgspec.json.format((await client.get("/v1/balance")).body, indent=-1)
        livemode = bool(msgspec.json.decode(balance).get("livemode", livemode))
    except (StripePermissionError, StripeAnswerError) as error:
        problem = error
        if account.says_livemode is None:
            raise StripeUnreachable(
                f"Account {account.name!r}: nothing tells whether this is live or test mode. {error.message}",
                "Give livemode in LEDGERLINE_ACCOUNTS.",
            ) from error
    account_id = fields.get("id") or connected or account.account_id
    if not isinstance(account_id, str):
        raise StripeUnreachable(f"{client.api_base} answers, but not as Stripe does.", "Check STRIPE_API_BASE.")
    profile = fields.get("business_profile") or {}
    return Identity(
        account_id=account_id,
        livemode=livemode,
        account=own,
        balance=balance,
        balance_error=problem,
        name=profile.get("name") or account.name,
        country=fields.get("country"),
        currency=fields.get("default_currency"),
        created=int(fields.get("created") or 0),
    )
