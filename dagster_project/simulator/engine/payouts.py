"""The Stripe balance: every movement is a balance transaction; it becomes available, and daily payouts take it out."""

from __future__ import annotations

from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.ledger import balance_object, becomes_available, book
from dagster_project.simulator.engine.world import World, action

__all__ = ["balance_object", "billing_fee", "book", "day_ends"]


@action
def day_ends(world: World) -> None:
    """Shortly after midnight UTC: what is due becomes available; on weekdays each currency is paid out."""
    becomes_available(world)
    weekday = (world.now // DAY + 3) % 7  # 0 is Monday
    if weekday < 5:
        for currency in sorted(world.unpaid):
            _pay_out(world, currency, weekday)
    world.later(world.now + DAY, day_ends)


def _pay_out(world: World, currency: str, weekday: int) -> None:
    batch = world.unpaid[currency]
    amount = sum(net for _, net in batch)
    if amount <= 0:
        return
    account = world.the(world.store.meta["account"])
    bank = next(row for row in account["external_accounts"]["data"] if row["currency"] == currency)
    arrival = (world.now // DAY + (2 if weekday < 3 else 4)) * DAY
    payout = world.add(
        "payout", "po", amount=amount, currency=currency, arrival_date=arrival, automatic=True,
        method="standard", destination=bank["id"], source_type="card", status="in_transit", type="bank_account",
        reconciliation_status="in_progress", description="STRIPE PAYOUT",
        statement_descriptor="LEDGERLINE DEMO", trace_id={"status": "pending", "value": None},
    )  # fmt: skip
    row = book(world, "payout", "payout", payout["id"], -amount, currency, description="STRIPE PAYOUT")
    payout["balance_transaction"] = row["id"]
    world.store.save(payout)
    for id, _ in batch:
        world.store.save(world.the(id), payout=payout["id"])
    world.store.save(row, payout=payout["id"])
    world.unpaid[currency] = []
    world.emit("payout.created", payout)
    world.later(arrival + 8 * 3600, payout_arrives, payout["id"])


@action
def payout_arrives(world: World, id: str) -> None:
    payout = world.the(id)
    trace = {"status": "supported", "value": f"1210{world.number('trace'):08d}"}
    world.change(payout, "payout.paid", status="paid", trace_id=trace)
    world.change(payout, "payout.reconciliation_completed", reconciliation_status="completed")
    if world.chance("payout fails", id).random() < world.business.payout_fails:
        world.later(world.now + DAY, payout_fails, id)


@action
def payout_fails(world: World, id: str) -> None:
    """The bank sends the money back days later: the payout turns failed and its amount is in the balance again."""
    payout = world.the(id)
    back = book(
        world,
        "payout_failure",
        "payout_reversal",
        id,
        payout["amount"],
        payout["currency"],
        description="PAYOUT FAILURE",
    )
    world.change(
        payout, "payout.failed", status="failed", failure_balance_transaction=back["id"],
        failure_code="account_closed", failure_message="The bank account has been closed.",
    )  # fmt: skip


@action
def billing_fee(world: World) -> None:
    """Stripe's own monthly fee: its cost is in `amount`, not in `fee`."""
    for currency, amount in world.business.billing_fee.items():
        if currency in world.balance:
            book(world, "stripe_fee", "fee", "", -amount, currency, description="Billing - Usage Fee")["source"] = None
    world.later(world.now + 30 * DAY, billing_fee)
