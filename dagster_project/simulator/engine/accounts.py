"""Accounts: the platform's own settings and the connected accounts, each a world of its own."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.ledger import application
from dagster_project.simulator.engine.world import Object, World, previous_attributes

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
_OWN_PROFILE: Object = dict.fromkeys(
    ("annual_revenue", "estimated_worker_count", "mcc", "name", "minority_owned_business_designation",
     "product_description", "support_address", "support_email", "support_phone",
     "specified_commercial_transactions_act_url", "support_url", "url")
) | {"mcc": "5734", "url": "https://example.com"}  # fmt: skip


def new_account(
    world: World, kind: str, country: str, *, currencies: tuple[str, ...] | None = None, email: str | None = None,
    name: str | None = None, capabilities: tuple[str, ...] = ("card_payments", "transfers"),
    metadata: dict[str, str] | None = None, business_type: str | None = "company",
) -> Object:  # fmt: skip
    """An account object with a bank account per currency; not stored yet.

    `kind` is custom, express or standard; the first of `currencies` (default: the country's) is the default currency.
    Onboarding is not simulated: whatever was asked for is active at once.
    """
    default = currencies[0] if currencies else CURRENCIES.get(country, "usd")
    currencies = (default,) if currencies is None else currencies
    account = shapes.new("account", world.id("acct")[:21], email=email, type=kind)
    account |= {
        "business_profile": {**_PROFILE, "name": name}, "business_type": business_type,
        "capabilities": dict.fromkeys(capabilities, "active"), "charges_enabled": "card_payments" in capabilities,
        "controller": _controller(kind), "country": country, "created": world.now, "default_currency": default,
        "details_submitted": True, "future_requirements": dict(_NOTHING_DUE), "metadata": metadata or {},
        "payouts_enabled": bool(currencies), "requirements": dict(_NOTHING_DUE), "settings": _settings(name),
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None} if kind == "custom" else {"date": None},
    }  # fmt: skip
    banks = [new_bank(world, account["id"], country, currency, name) for currency in currencies]
    account["external_accounts"] = shapes.embedded(f"/v1/accounts/{account['id']}/external_accounts", banks)
    return account


def open_account(
    world: World, *, id: str | None = None, name: str = "Ledgerline Demo", country: str | None = None,
    currencies: tuple[str, ...] = (),
) -> Object:  # fmt: skip
    """Give a world its own account, with a bank account for each of `currencies` (default: as the business settles).

    Unlike a connected account it does not show its `controller`, and its payout settings are balance settings.
    """
    country = country or world.business.country
    settles = dict.fromkeys(currencies, country) if currencies else world.business.settles
    account = shapes.new("account", id or world.id("acct")[:21], email="billing@example.com", type="standard")
    account |= {
        "business_profile": {**_OWN_PROFILE, "name": name}, "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"}, "country": country, "created": world.now,
        "charges_enabled": True, "default_currency": next(iter(settles)), "payouts_enabled": True,
        "details_submitted": True, "metadata": {},
    }  # fmt: skip
    world.meta["account"] = account["id"]
    banks = [
        shapes.new(
            "bank_account", world.id("ba"), account=account["id"], account_holder_name=name,
            bank_name="STRIPE TEST BANK", account_holder_type="company", country=where, currency=currency,
            default_for_currency=True, last4="6789", fingerprint=f"bank{currency}", status="new", metadata={},
            available_payout_methods=["instant", "standard"],
        )
        for currency, where in settles.items()
    ]  # fmt: skip
    account["external_accounts"] = shapes.embedded(f"/v1/accounts/{account['id']}/external_accounts", banks)
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


def new_bank(
    world: World, account: str, country: str, currency: str, holder: str | None = None, last4: str = "6789",
    **more: Any,
) -> Object:  # fmt: skip
    bank = shapes.new(
        "bank_account", world.id("ba"), account=account, account_holder_name=holder, account_holder_type="company",
        bank_name="STRIPE TEST BANK", country=country, currency=currency, default_for_currency=True, last4=last4,
        fingerprint=f"bank{currency}", status="new", metadata={},
        available_payout_methods=["standard", "instant"] if country in INSTANT else ["standard"],
    )  # fmt: skip
    return bank | more


def keep_bank(world: World, account: Object, bank: Object, before: Object | None = None) -> None:
    """Store a new or a changed bank account of an account: the newest default for a currency is the only one.

    `before` is what a changed one was; nothing is told when it is the same.
    """
    rows = [row for row in account["external_accounts"]["data"] if row["id"] != bank["id"]]
    alone = all(row["currency"] != bank["currency"] for row in rows)
    bank["default_for_currency"] = bank["default_for_currency"] or alone
    there = world.within(account["id"])
    for row in rows:
        if bank["default_for_currency"] and row["currency"] == bank["currency"] and row["default_for_currency"]:
            row["default_for_currency"] = False
            world.store.save(row, kind="external_account")
            there.emit("account.external_account.updated", row, {"default_for_currency": True})
    known = world.store.get(bank["id"], "external_account") is not None
    if known:
        world.store.save(bank, kind="external_account")
    else:
        world.store.insert(bank, kind="external_account", parent=account["id"])
    _banks(world, account, [bank, *rows])
    if before is None:
        there.emit("account.external_account.created", bank)
    elif previous := previous_attributes(before, bank):
        there.emit("account.external_account.updated", bank, previous)


def forget_bank(world: World, account: Object, bank: Object) -> Object:
    tombstone = {"id": bank["id"], "object": "bank_account", "currency": bank["currency"], "deleted": True}
    world.store.delete(bank["id"], tombstone, kind="external_account")
    _banks(world, account, [row for row in account["external_accounts"]["data"] if row["id"] != bank["id"]])
    world.within(account["id"]).emit("account.external_account.deleted", bank)
    return tombstone


def _banks(world: World, account: Object, rows: list[Object]) -> None:
    """All bank accounts lie in the account, for its settlement; lists of them show one page at a time."""
    listed = {**account["external_accounts"], "data": rows}
    change(world, account, external_accounts=listed, payouts_enabled=bool(rows))


def change(world: World, account: Object, **changes: Any) -> Object:
    """Change an account and tell so within it."""
    previous = shapes.frozen(previous_attributes(account, changes))
    if previous:
        world.change(account, None, **changes)
        there = world.within(account["id"])
        there.meta.pop("settlement", None)  # follows from what may have changed
        there.emit("account.updated", account, previous)
    return account


def request(world: World, account: Object, capabilities: dict[str, bool]) -> None:
    """Capabilities are active once they are requested, and go once they are not."""
    there = world.within(account["id"])
    now = {**account["capabilities"], **{name: "active" for name, wanted in capabilities.items() if wanted}}
    for name, wanted in capabilities.items():
        if not wanted:
            now.pop(name, None)
        told = shapes.new(
            "capability", name, account=account["id"], requested=wanted, requested_at=world.now if wanted else None,
            status="active" if wanted else "unrequested",
        )  # fmt: skip
        there.emit("capability.updated", told, {"requested": not wanted})
    change(world, account, capabilities=now, charges_enabled="card_payments" in now)


def disconnect(world: World, account: Object) -> Object:
    """Delete a connected account: requests for it are refused from now on, and nothing happens there any more."""
    there = world.within(account["id"])
    there.emit("account.application.deauthorized", _application(world))
    world.disconnect(account["id"])
    tombstone = {"id": account["id"], "object": "account", "deleted": True}
    world.store.delete(account["id"], tombstone, kind="account")
    return tombstone
