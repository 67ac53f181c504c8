"""The business's own account at Stripe, and the bank accounts that its payouts go to."""

from __future__ import annotations

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.world import Object, World


def open_account(world: World) -> Object:
    """The account as it is on the first day."""
    account = shapes.new("account", world.id("acct")[:21], email="billing@example.com", type="standard")
    account |= {
        "business_profile": {
            "annual_revenue": None, "estimated_worker_count": None, "mcc": "5734", "name": "Ledgerline Demo",
            "minority_owned_business_designation": None, "product_description": None, "support_address": None,
            "support_email": None, "support_phone": None, "specified_commercial_transactions_act_url": None,
            "support_url": None, "url": "https://example.com",
        },
        "business_type": "company", "capabilities": {"card_payments": "active", "transfers": "active"},
        "country": world.business.country, "created": world.now, "charges_enabled": True,
        "default_currency": next(iter(world.business.settles)),
        "payouts_enabled": True, "details_submitted": True, "metadata": {},
    }  # fmt: skip
    world.meta["account"] = account["id"]
    banks = [
        shapes.new(
            "bank_account",
            world.id("ba"),
            account=account["id"],
            account_holder_name="Ledgerline Demo",
            bank_name="STRIPE TEST BANK",
            account_holder_type="company",
            country=country,
            currency=currency,
            default_for_currency=True,
            last4="6789",
            fingerprint=f"bank{currency}",
            status="new",
            metadata={},
            available_payout_methods=["instant", "standard"],
        )
        for currency, country in world.business.settles.items()
    ]
    account["external_accounts"] = shapes.embedded(f"/v1/accounts/{account['id']}/external_accounts", banks)
    world.store.insert(account)
    for bank in banks:
        world.store.insert(bank, kind="external_account", parent=account["id"])
    return account
