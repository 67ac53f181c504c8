"""Invoices that would come: what is asked for is done for real, looked at, and taken back.

Rule: https://docs.stripe.com/api/invoices/create_preview (a preview is never stored; its id begins with `upcoming_in`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.collection import finalize
from dagster_project.simulator.engine.subscriptions import ENDED, period_end
from dagster_project.simulator.engine.world import ACTIONS, Object, World

_AFTER_THE_FACT = ("hosted_invoice_url", "invoice_pdf", "confirmation_secret", "payments", "status_details")


def preview(world: World, happens: Callable[[], Object | None]) -> Object | None:
    """The invoice that `happens` leads to, as it would be drafted; nothing of it stays. None when it leads to none."""
    with world.tentatively():
        invoice = happens()
        if invoice is None:
            return None
        if invoice["status"] == "draft":
            finalize(world, invoice, advance=False)
        rows = world.store.page("line_item", parent=invoice["id"], limit=1_000)[0]
        lines = {line["id"]: line for line in map(msgspec.json.decode, rows)}
        first = [line["id"] for line in invoice["lines"]["data"]]
        order = first + [id for id in lines if id not in first]
        return _as_drafted(shapes.frozen(invoice), [lines[id] for id in order])


def _as_drafted(invoice: Object, lines: list[Any]) -> Object:
    id = f"upcoming_{invoice['id']}"
    for line in lines:
        line |= {"id": f"il_tmp_{line['id'][3:]}", "invoice": id}
    for name in _AFTER_THE_FACT:
        invoice.pop(name, None)
    due = invoice["amount_due"]
    return invoice | {
        "id": id, "status": "draft", "number": None, "amount_paid": 0, "amount_remaining": due, "attempted": False,
        "attempt_count": 0, "effective_at": None, "automatically_finalizes_at": None, "webhooks_delivered_at": None,
        "status_transitions": dict.fromkeys(invoice["status_transitions"]), "next_payment_attempt": None,
        "amount_overpaid": 0, "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0,
        "lines": {"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{id}/lines"},
    }  # fmt: skip


def next_invoice(world: World, sub: Object) -> Object | None:
    """Live on, within a preview, until the subscription's next invoice; None when there will be none."""
    before = sub["latest_invoice"]
    while sub["status"] not in (*ENDED, "paused", "incomplete") and sub["latest_invoice"] == before:
        if not _next_thing(world, sub, period_end(sub)):
            return None
    return world.the(sub["latest_invoice"], "invoice") if sub["latest_invoice"] != before else None


def first_invoice(world: World, schedule: Object) -> Object | None:
    """Live on, within a preview, until the schedule starts its subscription."""
    begin = schedule["phases"][0]["start_date"]
    _set_now(world, begin)
    ACTIONS["schedule_starts"](world, schedule["id"], begin)
    sub = world.the(schedule["subscription"], "subscription")
    return world.the(sub["latest_invoice"], "invoice")


def _next_thing(world: World, sub: Object, until: int) -> bool:
    """Let the next thing happen that is due for the subscription; False when nothing is due until then."""
    where = {"customer": sub["customer"], "status": ["draft", "open"]}
    unpaid = [msgspec.json.decode(body)["id"] for body in world.store.page("invoice", where=where, limit=100)[0]]
    held = [*sub["discounts"], *(id for item in sub["items"]["data"] for id in item["discounts"])]
    concerned = {sub["id"], sub["customer"], sub["schedule"], *held, *unpaid}
    heap = world.due()
    account = "" if world is world.platform else world.id_of_account
    due = [row for row in heap if row[0] <= until and row[4] == account and concerned.intersection(_texts(row[3]))]
    if not due:
        return False
    first = min(due)
    heap.remove(first)
    heapq.heapify(heap)
    _set_now(world, max(world.now, first[0]))
    ACTIONS[first[2]](world, *first[3])
    return True


def _texts(arguments: list[Any]) -> list[str]:
    return [argument for argument in arguments if isinstance(argument, str)]


def _set_now(world: World, at: int) -> None:
    if world.clock:
        world.meta["clocks"][world.clock]["now"] = at
    else:
        world.store.now = at
