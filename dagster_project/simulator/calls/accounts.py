"""Connected accounts, as a platform creates, changes and deletes them, and the bank accounts they are paid to."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import accounts, settlement, shapes
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
# Stripe's numbers for tests: https://docs.stripe.com/connect/testing#account-numbers
_FAILING = {
    "000111111113": "account_closed",
    "000111111116": "no_account",
    "000222222227": "insufficient_funds",
    "000333333335": "debit_not_authorized",
    "000444444440": "invalid_currency",
}


def create(world: World, params: Params) -> Object:
    """Without a type an account is as the parts of `controller` say, in Stripe's words: of type `none`."""
    if world is not world.platform:
        raise ApiError(400, "Only a platform can create connected accounts.")
    if "type" in params and "controller" in params:
        raise ApiError(400, "You may only specify one of these parameters: type, controller.")
    kind = params.get("type") or "standard"
    country = params.get("country") or _own(world).get("country", "US")
    if country not in accounts.CURRENCIES:
        raise invalid_parameter(
            "country", f"Country '{country}' is unknown. Try using a 2-character alphanumeric code."
        )
    bank = params.get("external_account")
    there = accounts.create_connected(
        world, kind, country, currencies=(), email=params.get("email"),
        capabilities=_capabilities(params, kind), business_type=params.get("business_type"),
        metadata=merged({}, params.get("metadata", {})),
    )  # fmt: skip
    account = world.the(there.id_of_account, "account")
    changes = _changes(account, params)
    if "controller" in params:
        changes |= {"type": "none", "controller": _merged(account["controller"], params["controller"] or {})}
    account |= changes
    if bank:
        accounts.keep_bank(world, account, _bank(world, account, bank))
    world.store.save(account)
    return account


def update(world: World, params: Params, account: Object) -> Object:
    if params.get("capabilities"):
        wanted = {name: bool((asked or {}).get("requested")) for name, asked in params["capabilities"].items()}
        accounts.request(world, account, wanted)
    return accounts.change(world, account, **_changes(account, params))


def delete(world: World, params: Params, account: Object) -> Object:
    """Source: https://docs.stripe.com/api/accounts/delete"""
    if account["id"] not in world.meta.get("accounts", ()):
        raise ApiError(400, "You cannot delete your own account.")
    there = world.within(account["id"])
    if any(amount for money in there.balance.values() for amount in money.values()):
        raise ApiError(400, "This account has a non-zero balance, so it cannot be deleted.")
    return accounts.disconnect(world, account)


def add_bank(world: World, params: Params, account: Object) -> Object:
    bank = _bank(world, account, params["external_account"])
    bank["default_for_currency"] = params.get("default_for_currency", False)
    bank["metadata"] = merged({}, params.get("metadata", {}))
    accounts.keep_bank(world, account, bank)
    return bank


def update_bank(world: World, params: Params, account: Object, bank: Object) -> Object:
    _check_owner(account, bank)
    before = shapes.frozen(bank)
    bank["metadata"] = merged(bank["metadata"], params.get("metadata", {}))
    bank["default_for_currency"] = params.get("default_for_currency", bank["default_for_currency"])
    accounts.keep_bank(world, account, bank, before)
    return bank


def delete_bank(world: World, params: Params, account: Object, bank: Object) -> Object:
    _check_owner(account, bank)
    others = [row for row in account["external_accounts"]["data"] if row["id"] != bank["id"]]
    if bank["default_for_currency"] and any(row["currency"] == bank["currency"] for row in others):
        raise ApiError(
            400, "You cannot delete the default external account for your default currency. Please make another "
            "external account the default using the `default_for_currency` param, and then delete this one.",
        )  # fmt: skip
    return accounts.forget_bank(world, account, bank)


def _own(world: World) -> Object:
    return world.store.get(world.id_of_account, "account") or {}


def _capabilities(params: Params, kind: str) -> tuple[str, ...]:
    if "capabilities" not in params:
        return ("card_payments", "transfers") if kind == "standard" else ()
    return tuple(name for name, asked in (params["capabilities"] or {}).items() if asked and asked.get("requested"))


def _changes(account: Object, params: Params) -> Object:
    changes: Object = {name: params[name] for name in ("email", "business_type") if name in params}
    if params.get("default_currency"):
        changes["default_currency"] = _known(params["default_currency"], "default_currency")
    if "metadata" in params:
        changes["metadata"] = merged(account["metadata"], params["metadata"])
    for name in ("business_profile", "tos_acceptance"):
        if params.get(name):
            changes[name] = {**(account.get(name) or {}), **params[name]}
    if params.get("settings"):
        if "settings" not in account:
            raise ApiError(
                400, "The settings of your own account are changed by POST /v1/balance_settings.", param="settings"
            )
        changes["settings"] = _merged(account["settings"], {"payouts": _payouts(params["settings"].get("payouts"))})
    return changes


def _payouts(given: Object | None) -> Object:
    given = dict(given or {})
    schedule = given.get("schedule")
    if not schedule:
        given.pop("schedule", None)
        return given
    schedule = {name: value for name, value in schedule.items() if value is not None}
    if "delay_days" in schedule:
        days = schedule["delay_days"]
        schedule["delay_days"] = 2 if days == "minimum" else int(days) if days.isdecimal() else -1
        if not 0 <= schedule["delay_days"] <= 31:
            raise invalid_parameter("settings[payouts][schedule][delay_days]", "Invalid delay_days: must be 0 to 31.")
    interval, anchors = schedule.get("interval"), {"weekly": "weekly_anchor", "monthly": "monthly_anchor"}
    if interval in anchors and anchors[interval] not in schedule:
        param = f"settings[payouts][schedule][{anchors[interval]}]"
        raise invalid_parameter(param, f"Missing required param: {param}.", "parameter_missing")
    return given | {"schedule": schedule}


def _merged(old: Object, new: Object) -> Object:
    """Hash into hash; a payout schedule is replaced as a whole but for its delay."""
    merged = dict(old)
    for name, value in new.items():
        if name == "schedule":
            merged[name] = {"delay_days": old[name]["delay_days"], "interval": old[name]["interval"], **value}
        elif isinstance(value, dict) and isinstance(old.get(name), dict):
            merged[name] = _merged(old[name], value)
        else:
            merged[name] = value
    return merged


def _bank(world: World, account: Object, given: Object) -> Object:
    country = given["country"].upper()
    currency = given.get("currency") or accounts.CURRENCIES.get(country)
    if currency is None:
        raise invalid_parameter("external_account[country]", f"Country '{country}' is unknown.")
    _known(currency, "external_account[currency]")
    number = given["account_number"]
    bank = accounts.new_bank(
        world, account["id"], country, currency, given.get("account_holder_name"), number[-4:],
        routing_number=given.get("routing_number"), account_holder_type=given.get("account_holder_type"),
    )  # fmt: skip
    if number in _FAILING:
        world.meta.setdefault("bank_fails", {})[bank["id"]] = _FAILING[number]
    return bank


def _known(currency: str, param: str) -> str:
    if currency not in settlement.PER_DOLLAR:
        raise invalid_parameter(param, f"Invalid currency: {currency}.")
    return currency


def _check_owner(account: Object, bank: Object) -> None:
    if bank["account"] != account["id"]:
        raise ApiError(404, f"No such external account: '{bank['id']}'", code="resource_missing", param="id")
