"""Invoices: what their lines, discounts and taxes add up to, and by what they were paid."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

from tests.unit.simulator.ties.books import Books, Object, by, is_nearest


def findings(books: Books) -> Iterator[str]:
    payments = by(books.all("invoice_payment"), "invoice")
    numbers: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for invoice in books.all("invoice"):
        numbers[invoice["number"] or ""] += 1
        lines = books.children["line_item"][invoice["id"]]
        yield from _lines(books, invoice, lines)
        yield from _taxes(books, invoice, lines)
        yield from _discounts(books, invoice, lines, spent)
        yield from _due(books, invoice)
        yield from _payments(books, invoice, payments.get(invoice["id"], []))
    for number, count in numbers.items():
        if number and count > 1:
            yield f"invoice number {number} was given {count} times"
    for discount, count in spent.items():
        coupon = _coupon(books, discount)
        if coupon and coupon["duration"] == "once" and count > 1:
            yield f"{discount}: a coupon for once took something off {count} invoices"
    for item in books.all("invoiceitem"):
        yield from _item(books, item)


def _lines(books: Books, invoice: Object, lines: list[Object]) -> Iterator[str]:
    id, embedded = invoice["id"], invoice["lines"]
    shown = [line["id"] for line in embedded["data"]]
    if sorted(shown) != sorted(line["id"] for line in lines if line["id"] in shown) or len(shown) != min(
        10, len(lines)
    ):
        yield f"{id}: the embedded lines are not the first of its lines"
    if embedded["has_more"] != (len(lines) > 10):
        yield f"{id}: has_more is {embedded['has_more']} of {len(lines)} lines"
    taxes = [row for line in lines for row in line["taxes"] or []]
    off = sum(part["amount"] for line in lines for part in line["discount_amounts"])
    on_top = sum(row["amount"] for row in taxes if row["tax_behavior"] == "exclusive")
    inside = sum(row["amount"] for row in taxes if row["tax_behavior"] == "inclusive")
    subtotal = sum(line["amount"] for line in lines)
    before = sum(_held(books, line) for line in lines)  # what the lines hold before discounts
    expected = {
        "subtotal": subtotal, "subtotal_excluding_tax": subtotal - before, "total": subtotal - off + on_top,
        "total_excluding_tax": subtotal - off - inside,
    }  # fmt: skip
    for name, amount in expected.items():
        if invoice[name] != amount:
            yield f"{id}: {name} {invoice[name]} instead of {amount} by its lines"
    for line in lines:
        if line["invoice"] != id or line["currency"] != invoice["currency"]:
            yield f"{line['id']}: of another invoice or currency than {id}"


def _taxes(books: Books, invoice: Object, lines: list[Object]) -> Iterator[str]:
    sums: Counter[str] = Counter()
    for line in lines:
        rows = line["taxes"] or []
        left = line["amount"] - sum(part["amount"] for part in line["discount_amounts"])
        inside = [row for row in rows if row["tax_behavior"] == "inclusive"]
        shares = sum((_percent(books, row) for row in inside), Decimal(0))
        net = left - sum(row["amount"] for row in inside)
        for row in rows:
            sums[row["tax_rate_details"]["tax_rate"]] += row["amount"]
            if row["taxable_amount"] != net:
                yield f"{line['id']}: taxed on {row['taxable_amount']} instead of {net}"
            percent = _percent(books, row)
            exact = left * percent / (100 + shares) if row in inside else net * percent / 100
            untaxed = row["taxability_reason"] in ("customer_exempt", "reverse_charge")
            if row["amount"] != 0 if untaxed else not is_nearest(row["amount"], exact):
                yield f"{line['id']}: tax {row['amount']} instead of {exact}"
    shown = {row["tax_rate_details"]["tax_rate"]: row["amount"] for row in invoice["total_taxes"] or []}
    if shown != dict(sums):
        yield f"{invoice['id']}: total_taxes {shown} instead of {dict(sums)}"


def _held(books: Books, line: Object) -> int:
    """The inclusive tax of a line as if nothing had been taken off."""
    rows = [row for row in line["taxes"] or [] if row["tax_behavior"] == "inclusive" and row["amount"]]
    shares = sum((_percent(books, row) for row in rows), Decimal(0))
    exact = (line["amount"] * _percent(books, row) / (100 + shares) for row in rows)
    return sum(int(each.quantize(Decimal(1), ROUND_HALF_UP)) for each in exact)


def _percent(books: Books, row: Object) -> Decimal:
    return Decimal(str(books.the("tax_rate", row["tax_rate_details"]["tax_rate"])["percentage"]))


def _discounts(books: Books, invoice: Object, lines: list[Object], spent: Counter[str]) -> Iterator[str]:
    sums: Counter[str] = Counter()
    bases: dict[str, int] = defaultdict(int)
    for line in lines:
        left = line["amount"]
        for part in line["discount_amounts"]:
            coupon = _coupon(books, part["discount"])
            if coupon and coupon["percent_off"] is not None:
                exact = left * Decimal(str(coupon["percent_off"])) / 100
                if not is_nearest(part["amount"], exact):
                    yield f"{line['id']}: {part['amount']} off instead of {exact}"
            sums[part["discount"]] += part["amount"]
            bases[part["discount"]] += left
            left -= part["amount"]
        if line["discount_amounts"] and not 0 <= left <= line["amount"]:
            yield f"{line['id']}: discounts take off more than {line['amount']}"
    for id, off in sums.items():
        coupon, discount = _coupon(books, id), books.the("discount", id)
        # On a discount of a single line the amount counts per line.
        whole = not (discount["subscription_item"] or discount["invoice_item"])
        if whole and coupon and coupon["amount_off"] is not None and invoice["currency"] == coupon["currency"]:
            expected = min(coupon["amount_off"], bases[id])
            if off != expected:
                yield f"{invoice['id']}: {id} takes off {off} instead of {expected}"
        if discount["end"] is not None and invoice["created"] > discount["end"]:
            yield f"{invoice['id']}: {id} had ended before"
        if invoice["created"] < discount["start"]:
            yield f"{invoice['id']}: {id} had not begun"
        spent[id] += off > 0
    shown = {part["discount"]: part["amount"] for part in invoice["total_discount_amounts"] or [] if part["amount"]}
    if shown != {id: off for id, off in sums.items() if off}:
        yield f"{invoice['id']}: total_discount_amounts {shown} instead of {dict(sums)}"


def _coupon(books: Books, discount: str) -> Object | None:
    return books.find("coupon", books.the("discount", discount)["source"]["coupon"])


def _due(books: Books, invoice: Object) -> Iterator[str]:
    """What is asked for once the customer's credit is used; a draft only says what it comes to."""
    id, total = invoice["id"], invoice["total"]
    if invoice["status"] == "draft":
        return
    used = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    credited = invoice["pre_payment_credit_notes_amount"]
    expected = max(total + used - credited, 0) if total > 0 else 0
    if invoice["amount_due"] != expected:
        yield f"{id}: amount_due {invoice['amount_due']} instead of {expected}"
    moved = [row for row in books.all("customer_balance_transaction")
             if row["invoice"] == id and row["type"] == "applied_to_invoice"]  # fmt: skip
    if books.find("customer", invoice["customer"]) and sum(row["amount"] for row in moved) != -used:
        yield f"{id}: the customer's credit did not move by {-used}"
    left = max(invoice["amount_due"] - invoice["amount_paid"], 0)
    if invoice["amount_remaining"] != left:
        yield f"{id}: amount_remaining {invoice['amount_remaining']} instead of {left}"


def _payments(books: Books, invoice: Object, payments: list[Object]) -> Iterator[str]:
    id = invoice["id"]
    paid = [payment for payment in payments if payment["status"] == "paid"]
    if invoice["amount_paid"] != sum(payment["amount_paid"] for payment in paid):
        yield f"{id}: amount_paid {invoice['amount_paid']} is not the sum of its payments"
    if (invoice["status"] == "paid") != (invoice["status_transitions"]["paid_at"] is not None):
        yield f"{id}: {invoice['status']}, and when it was paid says otherwise"
    if invoice["status"] == "paid" and invoice["amount_remaining"]:
        yield f"{id}: paid with {invoice['amount_remaining']} remaining"
    if invoice["status"] == "open" and not invoice["amount_remaining"]:
        yield f"{id}: open with nothing remaining"
    for payment in paid:
        intent = books.find("payment_intent", payment["payment"].get("payment_intent"))
        if intent is None:
            continue  # paid outside of Stripe
        charge = books.the("charge", intent["latest_charge"])
        if not intent["amount_received"] == charge["amount_captured"] >= payment["amount_paid"]:
            yield f"{payment['id']}: {payment['amount_paid']} paid, {charge['amount_captured']} captured"
        if (intent["currency"], intent["customer"]) != (invoice["currency"], invoice["customer"]):
            yield f"{payment['id']}: paid by another customer or in another currency"


def _item(books: Books, item: Object) -> Iterator[str]:
    """An invoice item is on the invoice that it names, once; and on none while it waits."""
    lines = books.children["line_item"].get(item["invoice"] or "", [])
    on = [line for line in lines if line["parent"][line["parent"]["type"]]["invoice_item"] == item["id"]]
    if len(on) != (1 if item["invoice"] else 0):
        yield f"{item['id']}: {len(on)} lines of {item['invoice']}"
    for line in on:
        if line["amount"] != item["amount"] or line["period"] != item["period"]:
            yield f"{line['id']}: not what {item['id']} says"
