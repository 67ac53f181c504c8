"""Credit notes: what was billed is taken back, in whole or in part, line by line.

Rules: https://docs.stripe.com/invoicing/dashboard/credit-notes and https://docs.stripe.com/api/credit_notes/create (of
an open invoice less is asked for; of a paid one the money goes back, becomes the customer's credit or was given
elsewhere).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.credit import credit, payment_id
from dagster_project.simulator.engine.meters import plain
from dagster_project.simulator.engine.pricing import rounded
from dagster_project.simulator.engine.tax import summed, taxes
from dagster_project.simulator.engine.world import ACTIONS, Object, World


def billed_line(world: World, line: Object, amount: int, quantity: int | None, metadata: Any = None) -> Object:
    """A part of an invoice line, `amount` before discounts and tax, which are taken back in proportion."""
    whole = line["amount"]
    off = [
        {"amount": rounded(Decimal(part["amount"]) * amount / whole), "discount": part["discount"]}
        for part in line["discount_amounts"]
    ]
    left = amount - sum(part["amount"] for part in off)
    rates = [world.the(row["tax_rate_details"]["tax_rate"], "tax_rate") for row in line["taxes"]]
    exempt = {"customer_exempt": "exempt", "reverse_charge": "reverse"}
    reason = line["taxes"][0]["taxability_reason"] if line["taxes"] else ""
    rows = line["taxes"] if amount == whole else taxes(rates, left, exempt.get(reason))
    unit = Decimal(amount) / quantity if quantity else Decimal(amount)
    return shapes.new(
        "credit_note_line_item", world.id("cnli"), amount=amount, description=line["description"],
        type="invoice_line_item", invoice_line_item=line["id"], pretax_credit_amounts=_pretax(off),
        quantity=quantity, discount_amounts=off,
        discount_amount=sum(part["amount"] for part in off), taxes=shapes.frozen({"rows": rows})["rows"],
        unit_amount=int(unit) if unit == unit.to_integral_value() else None, unit_amount_decimal=_decimal(unit),
        metadata={**(metadata or {})},
    )  # fmt: skip


def _pretax(off: list[Object]) -> list[Object]:
    return [{**part, "type": "discount"} for part in off]


def custom_line(
    world: World, description: str | None, unit: Decimal, quantity: int, rates: list[Object], metadata: Any = None
) -> Object:  # fmt: skip
    """A line that no invoice line stands behind; its amount is before tax."""
    amount = rounded(unit * quantity)
    return shapes.new(
        "credit_note_line_item", world.id("cnli"), amount=amount, description=description, type="custom_line_item",
        quantity=quantity, unit_amount=int(unit) if unit == unit.to_integral_value() else None, tax_rates=rates,
        unit_amount_decimal=_decimal(unit), taxes=taxes(rates, amount, None), metadata={**(metadata or {})},
    )  # fmt: skip


def _decimal(number: Decimal) -> str:
    return plain(round(number, 12))


def total_of(lines: list[Object]) -> int:
    """What lines come to after discounts and with tax, in minor units."""
    on_top = sum(row["amount"] for line in lines for row in line["taxes"] if row["tax_behavior"] == "exclusive")
    return int(sum(line["amount"] - line["discount_amount"] for line in lines) + on_top)


def creditable(invoice: Object) -> int:
    """What can still be credited of an invoice, in minor units."""
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    return max(int(invoice["total"]) - int(credited), 0)


def before_payment(invoice: Object, total: int) -> int:
    """The part of a credit note that lessens what is still to be paid."""
    return 0 if invoice["status"] == "paid" else min(total, int(invoice["amount_remaining"]))


def issue(
    world: World, invoice: Object, lines: list[Object], *, refunds: list[Object], credit_amount: int = 0,
    out_of_band_amount: int | None = None, **fields: Any,
) -> Object:  # fmt: skip
    """Issue a credit note. `refunds` are {refund, amount_refunded} that were made for it.

    Raises ValueError, in Stripe's words, when it credits more than was billed, or when what happens with money that was
    paid does not add up.
    """
    total = total_of(lines)
    if not 0 < total <= creditable(invoice):
        raise ValueError(
            f"The credit note amount ({total}) must be positive and at most what can still be credited of the invoice "
            f"({creditable(invoice)})."
        )
    before = before_payment(invoice, total)
    given = sum(part["amount_refunded"] for part in refunds) + credit_amount + (out_of_band_amount or 0)
    if given != total - before:
        raise ValueError(
            f"The sum of credit amount, refund amount and out of band amount ({given}) must equal the post-payment "
            f"amount of the credit note ({total - before})."
        )
    rows = [row for line in lines for row in line["taxes"]]
    subtotal, off = (sum(line[name] for line in lines) for name in ("amount", "discount_amount"))
    tax = sum(row["amount"] for row in rows)
    inside = sum(row["amount"] for row in rows if row["tax_behavior"] == "inclusive")
    counted = world.meta.setdefault("credit_notes", {})
    counted[invoice["id"]] = counted.get(invoice["id"], 0) + 1
    note = world.add(
        "credit_note", "cn", amount=total, total=total, subtotal=subtotal, subtotal_excluding_tax=subtotal - inside,
        total_excluding_tax=total - tax, total_taxes=summed(rows), discount_amount=off, discount_amounts=_off(lines),
        pretax_credit_amounts=_pretax(_off(lines)),
        currency=invoice["currency"], customer=invoice["customer"], invoice=invoice["id"],
        number=f"{invoice['number']}-CN-{counted[invoice['id']]:02d}", status="issued", pre_payment_amount=before,
        post_payment_amount=total - before, out_of_band_amount=out_of_band_amount,
        type="mixed" if 0 < before < total else "pre_payment" if before else "post_payment",
        pdf=f"https://invoice.example.com/cn/{invoice['id']}/{counted[invoice['id']]}",
        refunds=[{"payment_record_refund": None, "type": "refund", **part} for part in refunds],
        **{"effective_at": world.now, "metadata": {}, **fields},
    )  # fmt: skip
    for line in lines:
        world.store.insert(line, parent=note["id"])
    note["lines"] = shapes.embedded(f"/v1/credit_notes/{note['id']}/lines", lines)
    if credit_amount:
        customer = world.the(invoice["customer"], "customer")
        moved = credit(
            world, customer, -credit_amount, "credit_note", invoice["id"], invoice["currency"], credit_note=note["id"]
        )
        note["customer_balance_transaction"] = moved["id"]
    world.store.save(note)
    world.emit("credit_note.created", note)
    _move(world, invoice, before, total - before)
    return note


def _off(lines: list[Object]) -> list[Object]:
    total: dict[str, int] = {}
    for line in lines:
        for part in line["discount_amounts"]:
            total[part["discount"]] = total.get(part["discount"], 0) + part["amount"]
    return [{"amount": amount, "discount": id} for id, amount in total.items()]


def _move(world: World, invoice: Object, before: int, after: int) -> None:
    """What was credited before payment is not asked for any more; nothing left means paid."""
    changes = {"post_payment_credit_notes_amount": invoice["post_payment_credit_notes_amount"] + after}
    if before:
        changes |= {
            "pre_payment_credit_notes_amount": invoice["pre_payment_credit_notes_amount"] + before,
            "amount_due": invoice["amount_due"] - before, "amount_remaining": invoice["amount_remaining"] - before,
        }  # fmt: skip
    world.change(invoice, "invoice.updated", **changes)
    if before:
        ACTIONS["less_is_asked_for"](world, invoice["id"])


def void(world: World, note: Object) -> Object:
    """Take back a credit note of an invoice that is still open. Raises ValueError for any other."""
    invoice = world.the(note["invoice"], "invoice")
    if note["status"] == "void" or note["post_payment_amount"] or invoice["status"] != "open":
        raise ValueError("You can only void an issued credit note before its invoice is paid.")
    world.change(note, "credit_note.voided", status="void", voided_at=world.now)
    _move(world, invoice, -note["pre_payment_amount"], 0)
    return note


def credit_note_for_refund(world: World, refund: Object) -> None:
    """The correction of the invoice that belongs to a refund of its payment."""
    paid = world.store.get(payment_id(refund["payment_intent"]), "invoice_payment")
    if paid is None:
        return
    invoice = world.the(paid["invoice"], "invoice")
    line = custom_line(world, "Goodwill", Decimal(refund["amount"]), 1, [])
    given = [{"amount_refunded": refund["amount"], "refund": refund["id"]}]
    if 0 < refund["amount"] <= creditable(invoice):
        issue(world, invoice, [line], refunds=given, reason="order_change")
