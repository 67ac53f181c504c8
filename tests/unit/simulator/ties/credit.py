"""Customers' credit and credit notes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.unit.simulator.ties.books import Books, Object, by


def findings(books: Books) -> Iterator[str]:
    moved = by(books.all("customer_balance_transaction"), "customer")
    for customer in books.all("customer"):
        total = 0
        for row in moved.get(customer["id"], []):
            total += row["amount"]
            if row["ending_balance"] != total:
                yield f"{row['id']}: ending_balance {row['ending_balance']} instead of {total}"
        if customer["balance"] != total:
            yield f"{customer['id']}: balance {customer['balance']} is not the sum {total} of its transactions"
    notes = by(books.all("credit_note"), "invoice")
    for note in books.all("credit_note"):
        yield from _note(books, note)
    for invoice in books.all("invoice"):
        issued = [note for note in notes.get(invoice["id"], []) if note["status"] == "issued"]
        for when in ("pre", "post"):
            total = sum(note[f"{when}_payment_amount"] for note in issued)
            if invoice[f"{when}_payment_credit_notes_amount"] != total:
                yield f"{invoice['id']}: {when}-payment credit notes are {total}"
        if sum(note["total"] for note in issued) > max(invoice["total"], 0):
            yield f"{invoice['id']}: more credited than billed"


def _note(books: Books, note: Object) -> Iterator[str]:
    id, lines = note["id"], books.children["credit_note_line_item"][note["id"]]
    if note["subtotal"] != sum(line["amount"] for line in lines):
        yield f"{id}: subtotal {note['subtotal']} is not the sum of its lines"
    off = sum(part["amount"] for part in note["discount_amounts"])
    added = sum(part["amount"] for part in note["total_taxes"] or [] if part["tax_behavior"] == "exclusive")
    if note["total"] != note["subtotal"] - off + added:
        yield f"{id}: total {note['total']} is not subtotal - discounts + tax"
    if note["amount"] != note["pre_payment_amount"] + note["post_payment_amount"]:
        yield f"{id}: amount {note['amount']} is not what it takes before and after payment"
    for part in note["refunds"]:
        refund = books.find("refund", part["refund"])
        if refund is not None and part["amount_refunded"] > refund["amount"]:
            yield f"{id}: refunds more than {refund['id']} gave back"
    back = sum(part["amount_refunded"] for part in note["refunds"])
    credited = -(books.find("customer_balance_transaction", note["customer_balance_transaction"]) or {"amount": 0})[
        "amount"
    ]
    if note["post_payment_amount"] != back + credited + (note["out_of_band_amount"] or 0):
        yield f"{id}: post-payment {note['post_payment_amount']} is not refunds {back} and credit {credited}"
