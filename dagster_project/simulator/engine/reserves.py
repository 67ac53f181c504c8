"""Money that is held back: by Stripe as a reserve against risk, and on a platform for what its accounts owe.

Sources: https://docs.stripe.com/connect/connected-account-reserves,
https://docs.stripe.com/connect/account-balances#accounting-for-negative-balances
"""

from __future__ import annotations

from dagster_project.simulator.engine import settlement
from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.ledger import book
from dagster_project.simulator.engine.world import Object, World, action


def hold(world: World, amount: int, currency: str, until: int) -> Object:
    """Take `amount` out of what can be paid out; it comes back at `until`."""
    row = book(world, "reserve_hold", "risk_reserved_funds", None, -amount, currency, description="Reserve hold")
    world.later(until, release, -row["amount"], row["currency"])
    return row


@action
def release(world: World, amount: int, currency: str) -> None:
    book(world, "reserve_release", "risk_reserved_funds", None, amount, currency, description="Reserve release")


def hold_share(world: World, rows: list[Object]) -> None:
    """A rolling reserve: of the payments that are available today a share stays, for as long as the business says."""
    if world.business.reserve is None:
        return
    part, days = world.business.reserve
    taken: dict[str, int] = {}
    for row in rows:
        if row["reporting_category"] == "charge":
            taken[row["currency"]] = taken.get(row["currency"], 0) + row["net"]
    for currency, net in sorted(taken.items()):
        if (amount := settlement.share(net, part)) > 0:
            hold(world, amount, currency, (world.now // DAY + days) * DAY)


def reserve_for_accounts(world: World) -> None:
    """Hold on the platform what the accounts owe for which it is liable, and give back what they do not any more."""
    held = world.meta.setdefault("owed", {})
    for there in world.accounts()[1:]:
        id = there.id_of_account
        if not held.get(id) and all(money["available"] >= 0 for money in there.balance.values()):
            continue
        account = world.the(id, "account")
        if account["controller"]["requirement_collection"] != "application":
            continue
        for currency, money in there.balance.items():
            owed = max(0, -money["available"])
            before, kept = held.setdefault(id, {}).get(currency, (0, 0))
            if owed != before:
                held[id][currency] = [owed, _keep(world, owed, kept, currency, id)]


def _keep(world: World, owed: int, kept: int, currency: str, account: str) -> int:
    """Move the platform's reserve from `kept` to what is `owed`, in its own currency; the new reserve."""
    settled = settlement.currency_of(world, currency)
    wanted = owed
    if owed and settled != currency:
        wanted = settlement.convert(owed, currency, settled, settlement.rate(world, currency, settled))
    if wanted != kept:
        words = f"Reserve for the negative balance of {account}"
        made = world.add(
            "reserve_transaction", "rtx", amount=kept - wanted, currency=settled, description=words
        )  # fmt: skip
        book(
            world, "reserve_transaction", "connect_reserved_funds", made["id"], kept - wanted, settled,
            description=words,
        )  # fmt: skip
        reserved = world.meta.setdefault("connect_reserved", {})
        reserved[settled] = reserved.get(settled, 0) + wanted - kept
    return wanted
