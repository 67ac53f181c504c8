"""Money that an account adds to its balance from its bank."""

from __future__ import annotations

from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.ledger import book
from dagster_project.simulator.engine.world import Object, World, action

ARRIVES_AFTER = 3 * DAY


def top_up(
    world: World, amount: int, currency: str, *, description: str | None = None, descriptor: str | None = None,
    group: str | None = None, metadata: dict[str, str] | None = None,
) -> Object:  # fmt: skip
    """A top-up, pending until the bank has sent its money. Source: https://docs.stripe.com/get-started/account/add-funds"""
    made = world.add(
        "topup", "tu", amount=amount, currency=currency, description=description, statement_descriptor=descriptor,
        status="pending", metadata=metadata or {}, transfer_group=group, initiated_by="user",
        expected_availability_date=(world.now + ARRIVES_AFTER) // DAY * DAY,
    )  # fmt: skip
    world.emit("topup.created", made)
    world.later(made["expected_availability_date"] + DAY // 3, topup_arrives, made["id"])
    return made


@action
def topup_arrives(world: World, id: str) -> None:
    made = world.the(id, "topup")
    if made["status"] != "pending":
        return
    if world.chance("top-up", id).random() < world.business.topup_fails:
        world.change(
            made, "topup.failed", status="failed", failure_code="insufficient_funds",
            failure_message="Your bank account has insufficient funds to cover the top-up.",
        )  # fmt: skip
        return
    row = book(world, "topup", "topup", id, made["amount"], made["currency"], description=made["description"])
    world.change(made, "topup.succeeded", status="succeeded", balance_transaction=row["id"])


def cancel(world: World, made: Object) -> Object:
    """Take back a top-up that is pending."""
    return world.change(made, "topup.canceled", status="canceled")
