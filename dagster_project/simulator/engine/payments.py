"""Taking money: payment intents and charges."""

from __future__ import annotations

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.cards import card, charged
from dagster_project.simulator.engine.disputes import dispute_opens
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.refunds import refund, refund_by_chance
from dagster_project.simulator.engine.world import Object, World

__all__ = ["card", "charge", "dispute_opens", "intent", "refund"]


def intent(world: World, customer: Object, amount: int, currency: str, method: str, description: str) -> Object:
    made = world.add(
        "payment_intent", "pi", amount=amount, currency=currency, customer=customer["id"],
        description=description, payment_method=method, payment_method_types=["card"],
        status="requires_confirmation", capture_method="automatic",
        payment_method_options={"card": {"installments": None, "mandate_options": None, "network": None,
                                         "request_three_d_secure": "automatic"}},
    )  # fmt: skip
    made["client_secret"] = f"{made['id']}_secret_simulated"
    world.emit("payment_intent.created", made)
    return made


def charge(world: World, payment: Object, customer: Object, *, works: bool) -> Object:
    """One attempt to collect a payment intent; books the money when it works."""
    method = world.the(payment["payment_method"])
    seller = {
        "advice_code": None, "network_advice_code": None, "network_decline_code": None, "reason": None,
        "risk_level": "normal", "seller_message": "Payment complete.", "type": "authorized",
        "network_status": "approved_by_network",
    }  # fmt: skip
    if not works:
        seller |= {"network_status": "declined_by_network", "reason": "insufficient_funds",
        "type": "issuer_declined",
                   "seller_message": "The bank returned the decline code `insufficient_funds`."}  # fmt: skip
    made = world.add(
        "charge", "ch", amount=payment["amount"], amount_captured=payment["amount"] if works else 0,
        currency=payment["currency"], customer=customer["id"], description=payment["description"],
        billing_details=method["billing_details"], captured=works, paid=works,
        status="succeeded" if works else "failed", payment_intent=payment["id"], payment_method=method["id"],
        outcome=seller, fraud_details={}, payment_method_details={"type": "card",
        "card": charged(method["card"], payment["amount"])},
        calculated_statement_descriptor="LEDGERLINE DEMO", receipt_email=customer["email"],
    )  # fmt: skip
    if works:
        rate, fixed = world.business.fees[made["currency"]]
        fee = int(made["amount"] * rate + 0.5) + fixed
        row = book(
            world, "charge", "charge", made["id"], made["amount"], made["currency"], fee=fee,
            available_on=(world.now + world.business.available_after) // b.DAY * b.DAY, description=made["description"],
        )  # fmt: skip
        made["balance_transaction"] = row["id"]
        made["receipt_url"] = f"https://pay.example.com/receipts/{made['id']}"
        world.store.save(made)
        world.emit("charge.succeeded", made)
        world.change(
            payment, "payment_intent.succeeded", status="succeeded", amount_received=payment["amount"],
            latest_charge=made["id"], last_payment_error=None,
        )  # fmt: skip
        _what_may_follow(world, made)
    else:
        made |= {"failure_code": "card_declined", "failure_message": "Your card has insufficient funds."}
        world.store.save(made)
        world.emit("charge.failed", made)
        error = {
            "charge": made["id"], "code": "card_declined", "decline_code": "insufficient_funds",
            "doc_url": "https://docs.stripe.com/error-codes/card-declined", "type": "card_error",
            "message": "Your card has insufficient funds.",
        }  # fmt: skip
        world.change(
            payment, "payment_intent.payment_failed", status="requires_payment_method",
            latest_charge=made["id"], last_payment_error=error,
        )  # fmt: skip
    return made


def _what_may_follow(world: World, made: Object) -> None:
    dice = world.chance("after charge", made["id"])
    fate = dice.random()
    if fate < world.business.refund:
        world.later(world.now + int(dice.uniform(1, 12) * b.DAY), refund_by_chance, made["id"])
    elif fate < world.business.refund + world.business.dispute:
        world.later(world.now + int(dice.uniform(4, 40) * b.DAY), dispute_opens, made["id"])
