"""Payouts: what is available leaves for the bank, by a schedule or on request, and sometimes comes back.

Sources: https://docs.stripe.com/payouts, https://docs.stripe.com/payouts/instant-payouts,
https://support.stripe.com/questions/what-happens-when-i-have-a-negative-balance
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import reserves, settlement
from dagster_project.simulator.engine.business import DAY, HOUR
from dagster_project.simulator.engine.ledger import balance_object, becomes_available, book
from dagster_project.simulator.engine.payout_settings import DEBITED, is_due, settings
from dagster_project.simulator.engine.world import Object, World, action

__all__ = ["balance_object", "billing_fee", "book", "day_ends"]

_DESCRIPTOR = "LEDGERLINE DEMO"  # of accounts that have not chosen one
_FAILURES = {
    "account_closed": "The bank account has been closed.",
    "could_not_process": "The bank could not process this payout.",
    "debit_not_authorized": "Debit transactions are not approved on the bank account.",
    "insufficient_funds": "The bank account has insufficient funds.",
    "invalid_currency": "The bank was unable to process this payout because of its currency.",
    "no_account": "The bank account details on file are probably incorrect. No bank account exists for these details.",
}


@action
def day_ends(world: World) -> None:
    """Shortly after midnight UTC: what is due becomes available and is paid out, here and on connected accounts."""
    today = world.now // DAY
    if world.meta.get("day_ended") == today:
        return
    world.meta["day_ended"] = today
    for each in world.accounts():
        reserves.hold_share(each, becomes_available(each))
        if each.unpaid:
            _pay_out_due(each)
    reserves.reserve_for_accounts(world)
    world.later(world.now + DAY, day_ends)


def _pay_out_due(world: World) -> None:
    weekday = (world.now // DAY + 3) % 7  # 0 is Monday
    if weekday >= 5:
        return
    chosen = settings(world)
    due = is_due(chosen["schedule"], world.now, weekday)
    debits = chosen["debit_negative_balances"] and settlement.of(world)["country"] in DEBITED
    for currency in sorted(world.unpaid):
        amount = sum(net for _, net in world.unpaid[currency])
        if (amount > 0 and due) or (amount < 0 and debits):
            _pay_out(world, currency, amount, weekday, chosen["minimum_balance"].get(currency, 0))


def _pay_out(world: World, currency: str, amount: int, weekday: int, least: int) -> None:
    """Pay out the batch of everything that is available in a currency; of a negative one, debit the bank account.

    What must stay is held back within the batch and released after it:
    https://docs.stripe.com/payouts/minimum-balances-for-automatic-payouts
    """
    bank = bank_of(world, currency)
    step = settlement.WHOLE_PAYOUTS.get(currency, 1)
    paid = max(0, amount - least) // step * step if amount > 0 else -(-amount // step * step)
    if bank is None or not paid:
        return
    held = amount - paid
    if held:
        book(
            world, "payout_minimum_balance_hold", "payout_minimum_balance_hold", None, -held, currency,
            description="Payout minimum balance hold",
        )  # fmt: skip
    batch = world.unpaid[currency]
    payout = _payout(
        world, paid, currency, bank, arrival=(world.now // DAY + (2 if weekday < 3 else 4)) * DAY,
        automatic=True, status="in_transit", reconciliation_status="in_progress", description="STRIPE PAYOUT",
        statement_descriptor=settings(world)["statement_descriptor"] or _DESCRIPTOR,
    )  # fmt: skip
    row = book(world, "payout", "payout", payout["id"], -paid, currency, description="STRIPE PAYOUT")
    payout["balance_transaction"] = row["id"]
    world.store.save(payout)
    for id, _ in batch:
        world.store.save(world.the(id), payout=payout["id"])
    world.store.save(row, payout=payout["id"])
    world.unpaid[currency] = []
    if held:
        book(
            world, "payout_minimum_balance_release", "payout_minimum_balance_release", None, held, currency,
            description="Payout minimum balance release",
        )  # fmt: skip
    world.emit("payout.created", payout)
    world.later(payout["arrival_date"] + 8 * HOUR, payout_arrives, payout["id"])


def _payout(world: World, amount: int, currency: str, bank: Object, *, arrival: int, **more: Any) -> Object:
    return world.add(
        "payout", "po", amount=amount, currency=currency, arrival_date=arrival, destination=bank["id"],
        trace_id={"status": "pending", "value": None},
        **{"method": "standard", "source_type": "card", "type": "bank_account",
           "statement_descriptor": None, **more},
    )  # fmt: skip


def bank_of(world: World, currency: str) -> Object | None:
    """The bank account to which a currency is paid out."""
    account = world.platform.store.get(world.id_of_account, "account") or {}
    banks: list[Object] = account.get("external_accounts", {}).get("data", [])
    fitting = [row for row in banks if row["currency"] == currency]
    return next((row for row in fitting if row.get("default_for_currency")), fitting[0] if fitting else None)


# ---- on request ---------------------------------------------------------------------------------------------
def pay_now(
    world: World, amount: int, currency: str, bank: Object, *, instant: bool = False, description: str | None = None,
    descriptor: str | None = None, metadata: dict[str, str] | None = None,
) -> Object:  # fmt: skip
    """A manual payout: Stripe does not say what it consists of. The caller checks what is available.

    An instant one arrives within half an hour and costs a fee on top of its amount.
    """
    day = world.now // DAY
    weekday = (day + 3) % 7
    standard = (day + (1 if weekday < 4 else 7 - weekday)) * DAY
    payout = _payout(
        world, amount, currency, bank, arrival=world.now + HOUR // 2 if instant else standard, automatic=False,
        status="in_transit" if instant else "pending", reconciliation_status="not_applicable",
        method="instant" if instant else "standard", description=description, statement_descriptor=descriptor,
        metadata=metadata or {},
    )  # fmt: skip
    row = book(
        world, "payout", "payout", payout["id"], -amount, currency, processing="instant_payout" if instant else None,
        description=description or "STRIPE PAYOUT",
    )  # fmt: skip
    # It lies in no batch of its own, so it is part of the next automatic one.
    world.unpaid.setdefault(currency, []).append([row["id"], row["net"]])
    world.change(payout, None, balance_transaction=row["id"])
    world.emit("payout.created", payout)
    if instant:
        world.later(payout["arrival_date"], payout_arrives, payout["id"])
    else:
        world.later((day + 1) * DAY, payout_leaves, payout["id"])
        world.later(payout["arrival_date"] + 8 * HOUR, payout_arrives, payout["id"])
    return payout


def reverse(world: World, payout: Object, *, metadata: dict[str, str] | None = None) -> Object:
    """Debit the bank account that a payout went to: a payout of the negative amount, whose money arrives later.

    Source: https://docs.stripe.com/connect/payout-reversals
    """
    bank = {"id": payout["destination"]}
    arrival = (world.now // DAY + 4) * DAY
    made = _payout(
        world, -payout["amount"], payout["currency"], bank, arrival=arrival, automatic=False, status="pending",
        reconciliation_status="not_applicable", original_payout=payout["id"], metadata=metadata or {},
    )  # fmt: skip
    row = book(
        world, "payout", "payout_reversal", made["id"], payout["amount"], payout["currency"], available_on=arrival,
        description="Payout reversal",
    )  # fmt: skip
    world.change(made, None, balance_transaction=row["id"])
    world.change(payout, "payout.updated", reversed_by=made["id"])
    world.emit("payout.created", made)
    world.later((world.now // DAY + 1) * DAY, payout_leaves, made["id"])
    world.later(arrival + 8 * HOUR, payout_arrives, made["id"])
    return made


def cancel(world: World, payout: Object) -> Object:
    """Take a pending payout back; its amount is available again."""
    row = book(
        world, "payout_cancel", "payout_reversal", payout["id"], payout["amount"], payout["currency"],
        description="PAYOUT CANCELED",
    )  # fmt: skip
    return world.change(payout, "payout.canceled", status="canceled", failure_balance_transaction=row["id"])


# ---- on the way ---------------------------------------------------------------------------------------------
@action
def payout_leaves(world: World, id: str) -> None:
    payout = world.the(id, "payout")
    if payout["status"] == "pending":
        world.change(payout, "payout.updated", status="in_transit")


@action
def payout_arrives(world: World, id: str, again: bool = False) -> None:
    """Paid, unless the bank needs two days more: then the date of arrival moves, once."""
    payout = world.the(id, "payout")
    if payout["status"] != "in_transit":
        return
    late = payout["method"] == "standard" and world.chance("payout late", id).random() < world.business.payout_late
    if late and not again:
        world.change(payout, "payout.updated", arrival_date=payout["arrival_date"] + 2 * DAY)
        world.later(world.now + 2 * DAY, payout_arrives, id, True)
    else:
        _paid(world, payout)


def _paid(world: World, payout: Object) -> None:
    trace = {"status": "supported", "value": f"1210{world.number('trace'):08d}"}
    world.change(payout, "payout.paid", status="paid", trace_id=trace)
    if payout["automatic"]:
        world.change(payout, "payout.reconciliation_completed", reconciliation_status="completed")
    code = world.platform.meta.get("bank_fails", {}).get(payout["destination"])
    if code:
        world.later(world.now + DAY, payout_fails, payout["id"], code)
    elif world.chance("payout fails", payout["id"]).random() < world.business.payout_fails:
        world.later(world.now + DAY, payout_fails, payout["id"])


@action
def payout_fails(world: World, id: str, code: str = "account_closed") -> None:
    """The bank sends the money back days later: the payout turns failed and its amount is in the balance again."""
    payout = world.the(id, "payout")
    back = book(
        world, "payout_failure", "payout_reversal", id, payout["amount"], payout["currency"],
        description="PAYOUT FAILURE",
    )  # fmt: skip
    world.change(
        payout, "payout.failed", status="failed", failure_balance_transaction=back["id"],
        failure_code=code, failure_message=_FAILURES[code],
    )  # fmt: skip


@action
def billing_fee(world: World) -> None:
    """Stripe's own monthly fee: its cost is in `amount`, not in `fee`."""
    for currency, amount in world.business.billing_fee.items():
        if currency in world.balance:
            book(world, "stripe_fee", "fee", None, -amount, currency, description="Billing - Usage Fee")
    world.later(world.now + 30 * DAY, billing_fee)
