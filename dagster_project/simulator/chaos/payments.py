"""Rare payments: test cards of every kind, bank debits, holds, refunds, disputes that are answered, payouts by hand."""

from __future__ import annotations

from random import Random

from dagster_project.simulator.chaos.deeds import currency_of, deed, one_of, post, then
from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.world import World, action

_CARDS = (
    "pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds", "pm_card_chargeDeclinedExpiredCard",
    "pm_card_radarBlock", "pm_card_authenticationRequired", "pm_card_threeDSecure2Required",
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "pm_card_createDispute",
    "pm_card_createDisputeProductNotReceived", "pm_card_createDisputeInquiry", "pm_card_createMultipleDisputes",
    "pm_card_createIssuerFraudRecord", "pm_card_pendingRefund", "pm_card_refundFail", "pm_card_bypassPending",
)  # fmt: skip
_BANKS = (
    "success", "accountClosed", "insufficientFunds", "debitNotAuthorized", "dispute", "lateFailure",
    "lateAccountClosed", "processing",
)  # fmt: skip


def _amount(dice: Random, currency: str) -> int:
    """In steps that every currency can be charged in."""
    return dice.randint(20, 400) * 100


@deed
def pays_with_a_rare_card(world: World, dice: Random, customer: str) -> None:
    currency = currency_of(world, customer)
    made = post(
        world, "/v1/payment_intents", amount=_amount(dice, currency), currency=currency, customer=customer,
        payment_method=dice.choice(_CARDS), confirm=True, description="Extra",
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
    )  # fmt: skip
    if made is None:
        return
    if made["status"] == "succeeded":
        reason = dice.choice(("requested_by_customer", "duplicate", "fraudulent"))
        part = dice.choice((made["amount"], made["amount"] // 3))
        then(world, dice.uniform(1, 9), "/v1/refunds", payment_intent=made["id"], amount=part, reason=reason)
        if part < made["amount"]:
            then(world, dice.uniform(10, 20), "/v1/refunds", payment_intent=made["id"])
    else:
        then(world, dice.uniform(0.1, 2), f"/v1/payment_intents/{made['id']}/{dice.choice(('confirm', 'cancel'))}")


@deed
def debits_a_bank(world: World, dice: Random, customer: str) -> None:
    if currency_of(world, customer) != "usd":
        return
    post(
        world, "/v1/payment_intents", amount=_amount(dice, "usd"), currency="usd", customer=customer,
        payment_method=f"pm_usBankAccount_{dice.choice(_BANKS)}", allowed_payment_method_types=["us_bank_account"],
        confirm=True, description="Bank debit",
    )  # fmt: skip


@deed
def holds_and_captures(world: World, dice: Random, customer: str) -> None:
    currency = currency_of(world, customer)
    made = post(
        world, "/v1/payment_intents", amount=_amount(dice, currency), currency=currency, customer=customer,
        payment_method="pm_card_visa", confirm=True, capture_method="manual",
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
    )  # fmt: skip
    if made is None:
        return
    path = f"/v1/payment_intents/{made['id']}"
    fate = dice.random()
    if fate < 0.6:
        then(world, dice.uniform(0.5, 5), f"{path}/capture", amount_to_capture=made["amount"] // dice.randint(1, 2))
    elif fate < 0.8:
        then(world, dice.uniform(0.5, 5), f"{path}/cancel", cancellation_reason="abandoned")


@deed
def asks_for_its_money_back(world: World, dice: Random, customer: str) -> None:
    charge = one_of(world, dice, "charge", customer=customer, status="succeeded")
    if charge is None or charge["disputed"]:
        return
    for days in (0.1, 3.0, 8.0):
        then(world, days, "/v1/refunds", charge=charge["id"], amount=max(1, charge["amount"] // 5))


@deed
def has_its_dispute_answered(world: World, dice: Random, customer: str) -> None:
    dispute = one_of(world, dice, "dispute", status=["needs_response", "warning_needs_response"])
    if dispute is None:
        return
    if dice.random() < 0.3:
        post(world, f"/v1/disputes/{dispute['id']}/close")
    else:
        text = dice.choice(("winning_evidence", "losing_evidence", "It was delivered."))
        post(world, f"/v1/disputes/{dispute['id']}", evidence={"uncategorized_text": text}, submit=True)


@deed
def sees_a_payout_by_hand(world: World, dice: Random, customer: str) -> None:
    """On a Sunday: on every working day all that is available leaves by itself."""
    days = 6 - (world.now // DAY + 3) % 7
    world.later((world.now // DAY + days) * DAY + DAY // 2, is_paid_out_by_hand, dice.randint(0, 10**9))


@action
def is_paid_out_by_hand(world: World, luck: int) -> None:
    dice = world.chance("by hand", luck)
    held = {currency: money["available"] for currency, money in world.balance.items() if money["available"] > 2_000}
    if not held:
        return
    how = dice.choice(("instant", "standard"))
    usable = sorted(set(held) & {"usd", "eur"} if how == "instant" else set(held))
    if not usable:
        return
    currency = dice.choice(usable)
    made = post(world, "/v1/payouts", amount=held[currency] // 200 * 100, currency=currency, method=how)
    if made and how == "standard" and dice.random() < 0.4:
        post(world, f"/v1/payouts/{made['id']}/cancel")


@deed
def sees_a_top_up(world: World, dice: Random, customer: str) -> None:
    made = post(world, "/v1/topups", amount=_amount(dice, "usd"), currency="usd", description="Top-up")
    if made and dice.random() < 0.3:
        post(world, f"/v1/topups/{made['id']}/cancel")
