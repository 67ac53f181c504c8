"""Payouts on request: created, canceled while they are pending, reversed on connected accounts."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import payouts, settlement
from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.ledger import INSTANT, available
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    amount, currency = params["amount"], params["currency"]
    instant = params.get("method") == "instant"
    bank = _bank(world, currency, params.get("destination"))
    if (step := settlement.WHOLE_PAYOUTS.get(currency, 1)) > 1 and amount % step:
        raise invalid_parameter("amount", f"Payouts in {currency} must be in whole units: divisible by {step}.")
    if instant and currency not in INSTANT:
        raise ApiError(
            400, f"Instant payouts are not supported in {currency}.", code="instant_payouts_currency_disabled"
        )
    if instant and "instant" not in (bank.get("available_payout_methods") or ()):
        raise ApiError(
            400, "This bank account does not support instant payouts.", code="instant_payouts_unsupported",
            param="destination",
        )  # fmt: skip
    fee = settlement.instant_fee(world, amount) if instant and world is world.platform else 0
    if params.get("source_type", "card") != "card" or amount + fee > available(world, currency):
        raise ApiError(
            400,
            "You have insufficient funds in your Stripe account for this transfer. Your "
            f"{params.get('source_type') or 'card'} balance is too low. You can use the the /v1/balance endpoint to "
            "view your Stripe balance (for more details, see stripe.com/docs/api#balance).",
            code="balance_insufficient",
        )
    return payouts.pay_now(
        world, amount, currency, bank, instant=instant, description=params.get("description"),
        descriptor=params.get("statement_descriptor"), metadata=merged({}, params.get("metadata", {})),
    )  # fmt: skip


def _bank(world: World, currency: str, named: str | None) -> Object:
    if named is None:
        bank = payouts.bank_of(world, currency)
        if bank is None:
            raise ApiError(400, f"Sorry, you don't have any external accounts in that currency ({currency}).")
        return bank
    bank = world.platform.store.get(named, "external_account")
    if bank is None or bank.get("deleted") or bank["account"] != world.id_of_account:
        raise missing("external_account", named, param="destination")
    if bank["currency"] != currency:
        raise invalid_parameter("destination", f"The external account {named} is not in that currency ({currency}).")
    return bank


def update(world: World, params: Params, payout: Object) -> Object:
    return world.change(payout, "payout.updated", metadata=merged(payout["metadata"], params.get("metadata", {})))


def cancel(world: World, params: Params, payout: Object) -> Object:
    if payout["automatic"]:
        raise ApiError(400, "You cannot cancel automatic payouts.")
    if payout["status"] != "pending":
        raise ApiError(
            400, f"Payouts can only be canceled while they are pending. This payout has the status {payout['status']}."
        )
    return payouts.cancel(world, payout)


def reverse(world: World, params: Params, payout: Object) -> Object:
    bank = world.platform.store.get(payout["destination"], "external_account") or {}
    if world is world.platform or bank.get("country") != "US":
        raise ApiError(400, "Only payouts of connected accounts to US bank accounts can be reversed.")
    if payout["status"] not in ("in_transit", "paid"):
        raise ApiError(400, f"A payout with the status {payout['status']} cannot be reversed.")
    if payout["method"] == "instant" or payout["amount"] < 0 or payout["reversed_by"]:
        raise ApiError(400, "Instant payouts, debits and payouts that were reversed before cannot be reversed.")
    if world.now - payout["arrival_date"] > 90 * DAY:
        raise ApiError(400, "Payouts that arrived more than 90 days ago cannot be reversed.")
    return payouts.reverse(world, payout, metadata=merged({}, params.get("metadata", {})))
