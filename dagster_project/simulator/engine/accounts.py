"""Accounts: the platform's own settings and the connected accounts, each a world of its own."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.world import Object, World

CURRENCIES = {
    "AT": "eur", "AU": "aud", "BE": "eur", "BR": "brl", "CA": "cad", "CH": "chf", "CZ": "czk", "DE": "eur", "DK": "dkk",
    "ES": "eur", "FI": "eur", "FR": "eur", "GB": "gbp", "GR": "eur", "HK": "hkd", "HU": "huf", "IE": "eur", "IN": "inr",
    "IT": "eur", "JP": "jpy", "LU": "eur", "MX": "mxn", "MY": "myr", "NL": "eur", "NO": "nok", "NZ": "nzd", "PL": "pln",
    "PT": "eur", "RO": "ron", "SE": "sek", "SG": "sgd", "TH": "thb", "US": "usd", "AE": "aed", "KW": "kwd", "TW": "twd",
    "IS": "isk", "KR": "krw",
}  # fmt: skip
INSTANT = ("AU", "CA", "GB", "SG", "US")  # https://docs.stripe.com/payouts/instant-payouts-banks
_NOTHING_DUE: Object = {
    "alternatives": [], "current_deadline": None, "currently_due": [], "disabled_reason": None, "errors": [],
    "eventually_due": [], "past_due": [], "pending_verification": [],
}  # fmt: skip
_PROFILE = dict.fromkeys(
    ("annual_revenue", "estimated_worker_count", "mcc", "minority_owned_business_designation", "name",
     "product_description", "specified_commercial_transactions_act_url", "support_address", "support_email",
     "support_phone", "support_url", "url")
)  # fmt: skip


def new_account(
    world: World, kind: str, country: str, *, currencies: tuple[str, ...] | None = None, email: str | None = None,
    name: str | None = None, capabilities: tuple[str, ...] = ("card_payments", "transfers"),
    metadata: dict[str, str] | None = None, business_type: str | None = "company", id: str | None = None,
) -> Object:  # fmt: skip
    """An account object with a bank account per currency, ready to be paid; not stored yet.

    `kind` is custom, express or standard; the first of `currencies` (default: the country's) is the default currency.
    """
    currencies = currencies or (CURRENCIES.get(country, "usd"),)
    account = shapes.new("account", id or world.id("acct")[:21], email=email, type=kind)
    account |= {
        "business_profile": {**_PROFILE, "name": name}, "business_type": business_type,
        "capabilities": dict.fromkeys(capabilities, "active"), "charges_enabled": "card_payments" in capabilities,
        "controller": _controller(kind), "country": country, "created": world.now, "default_currency": currencies[0],
        "details_submitted": True, "future_requirements": dict(_NOTHING_DUE), "metadata": metadata or {},
        "payouts_enabled": "transfers" in capabilities, "requirements": dict(_NOTHING_DUE), "settings": _settings(name),
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None} if kind == "custom" else {"date": None},
    }  # fmt: skip
    banks = [_bank(world, account["id"], country, currency, name) for currency in currencies]
    account["external_accounts"] = shapes.embedded(f"/v1/accounts/{account['id']}/external_accounts", banks)
    return account


def open_platform(world: World, country: str = "US", **more: Any) -> Object:
    """Give a world that has no account yet its own; `more` as for `new_account`."""
    account = new_account(world, "standard", country, **more)
    world.meta["account"] = account["id"]
    _store(world, account)
    return account


def _store(world: World, account: Object) -> None:
    world.store.insert(account)
    for bank in account["external_accounts"]["data"]:
        world.store.insert(bank, kind="external_account", parent=account["id"])


def create_connected(world: World, kind: str = "express", country: str = "US", **more: Any) -> World:
    """Connect an account to the platform and give its world; `more` as for `new_account`."""
    account = new_account(world, kind, country, **more)
    _store(world, account)
    world.meta.setdefault("accounts", []).append(account["id"])
    there = world.within(account["id"])
    there.emit("account.application.authorized", _application(world))
    return there


def _application(world: World) -> Object:
    from dagster_project.simulator.engine.ledger import application

    return {"id": application(world), "object": "application", "name": "Ledgerline Demo"}


def _controller(kind: str) -> Object:
    if kind == "standard":
        return {
            "fees": {"payer": "account"}, "is_controller": True, "losses": {"payments": "stripe"},
            "requirement_collection": "stripe", "stripe_dashboard": {"type": "full"}, "type": "application",
        }  # fmt: skip
    custom = kind == "custom"
    return {
        "fees": {"payer": f"application_{kind}"}, "is_controller": True, "losses": {"payments": "application"},
        "requirement_collection": "application" if custom else "stripe",
        "stripe_dashboard": {"type": "none" if custom else "express"}, "type": "application",
    }  # fmt: skip


def _settings(name: str | None) -> Object:
    return {
        "branding": dict.fromkeys(("icon", "logo", "primary_color", "secondary_color")),
        "card_payments": {
            "decline_on": {"avs_failure": False, "cvc_failure": False}, "statement_descriptor_prefix": None,
            "statement_descriptor_prefix_kana": None, "statement_descriptor_prefix_kanji": None,
        },
        "dashboard": {"display_name": name, "timezone": "Etc/UTC"},
        "payments": dict.fromkeys(
            ("statement_descriptor", "statement_descriptor_kana", "statement_descriptor_kanji",
             "statement_descriptor_prefix_kana", "statement_descriptor_prefix_kanji")
        ),
        "payouts": {
            "debit_negative_balances": False, "schedule": {"delay_days": 2, "interval": "daily"},
            "statement_descriptor": None,
        },
    }  # fmt: skip


def _bank(world: World, account: str, country: str, currency: str, holder: str | None) -> Object:
    return shapes.new(
        "bank_account", world.id("ba"), account=account, account_holder_name=holder, account_holder_type="company",
        bank_name="STRIPE TEST BANK", country=country, currency=currency, default_for_currency=True, last4="6789",
        fingerprint=f"bank{currency}", status="new", metadata={}, 
        available_payout_methods=["standard", "instant"] if country in INSTANT else ["standard"],
    )  # fmt: skip
