"""Credit notes and customer balances: what was billed is taken back, to the minor unit."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.unit.simulator.billing_cases import misfits
from tests.unit.simulator.test_invoices import bill, customer, types


def paid(account, *amounts: int, **fields: Any) -> Any:
    return account.client().v1.invoices.pay(bill(account, *amounts, **fields).id)


def test_a_credit_note_before_payment_lessens_what_is_asked_for(account):
    client = account.client()
    invoice = client.v1.invoices.finalize_invoice(bill(account, 1000).id)
    note = client.v1.credit_notes.create({"invoice": invoice.id, "amount": 300, "reason": "duplicate", "memo": "Sorry"})
    assert not misfits(note)
    assert (note.type, note.pre_payment_amount, note.post_payment_amount, note.total) == ("pre_payment", 300, 0, 300)
    assert note.number == f"{invoice.number}-CN-01" and len(note.lines.data) == 1 and not misfits(note.lines.data[0])
    now = client.v1.invoices.retrieve(invoice.id)
    assert (now.total, now.amount_due, now.amount_remaining) == (1000, 700, 700)
    assert now.pre_payment_credit_notes_amount == 300
    second = client.v1.credit_notes.create({"invoice": invoice.id, "amount": 100})
    assert second.number == f"{invoice.number}-CN-02"
    void = client.v1.credit_notes.void_credit_note(second.id)
    assert (void.status, void.voided_at) == ("void", account.store.now) and not misfits(void)
    done = client.v1.invoices.pay(invoice.id)
    assert (done.amount_paid, done.status) == (700, "paid")
    with pytest.raises(stripe.InvalidRequestError, match="before its invoice is paid"):
        client.v1.credit_notes.void_credit_note(note.id)


def test_an_invoice_that_is_credited_in_full_is_paid_without_money(account):
    client = account.client()
    invoice = client.v1.invoices.finalize_invoice(bill(account, 1000).id)
    client.v1.credit_notes.create({"invoice": invoice.id, "amount": 1000})
    now = client.v1.invoices.retrieve(invoice.id)
    assert (now.status, now.amount_due, now.amount_paid, now.amount_remaining) == ("paid", 0, 0, 0)
    assert types(account)[-4:] == ["credit_note.created", "invoice.updated", "payment_intent.canceled", "invoice.paid"]
    assert client.v1.charges.list().data == []


def test_a_credit_note_after_payment_refunds_credits_or_was_settled_elsewhere(account):
    client = account.client()
    invoice = paid(account, 1000)
    note = client.v1.credit_notes.create(
        {"invoice": invoice.id, "amount": 600, "refund_amount": 300, "credit_amount": 200, "out_of_band_amount": 100}
    )
    assert not misfits(note)
    assert (note.type, note.post_payment_amount, note.out_of_band_amount) == ("post_payment", 600, 100)
    refund = client.v1.refunds.retrieve(note.refunds[0].refund)
    assert (refund.amount, note.refunds[0].amount_refunded) == (300, 300)
    moved = client.v1.customers.balance_transactions.retrieve(invoice.customer, note.customer_balance_transaction)
    assert (moved.amount, moved.type, moved.credit_note) == (-200, "credit_note", note.id) and not misfits(moved)
    assert client.v1.customers.retrieve(invoice.customer).balance == -200
    now = client.v1.invoices.retrieve(invoice.id)
    assert (now.post_payment_credit_notes_amount, now.amount_paid, now.status) == (600, 1000, "paid")
    for amounts in ({"amount": 401, "refund_amount": 401}, {"amount": 300, "refund_amount": 299}, {"amount": 10}):
        before = len(client.v1.refunds.list().data)
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.credit_notes.create({"invoice": invoice.id, **amounts})
        assert len(client.v1.refunds.list().data) == before
    known = client.v1.refunds.create({"charge": refund.charge, "amount": 50})
    by_refund = client.v1.credit_notes.create(
        {"invoice": invoice.id, "amount": 50, "refunds": [{"refund": known.id, "amount_refunded": 50}]}
    )
    assert by_refund.refunds[0].refund == known.id


def test_lines_are_credited_with_their_discounts_and_tax(account):
    client = account.client()
    rate = client.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19}).id
    inside = client.v1.tax_rates.create({"display_name": "VAT", "inclusive": True, "percentage": 7}).id
    coupon = client.v1.coupons.create({"percent_off": 10, "duration": "once"}).id
    of = customer(account)
    client.v1.invoice_items.create({"customer": of, "unit_amount_decimal": "500", "quantity": 4, "currency": "usd"})
    client.v1.invoice_items.create({"customer": of, "amount": 999, "currency": "usd", "tax_rates": [inside]})
    invoice = paid(account, of=of, default_tax_rates=[rate], discounts=[{"coupon": coupon}])
    # 2000 - 200 = 1800, tax 342; 999 - 100 = 899, of which 59 are tax
    assert invoice.total == 1800 + 342 + 899
    first, second = invoice.lines.data
    asked: Any = {
        "invoice": invoice.id, "out_of_band_amount": 450 + 86 + 899 + 119,
        "lines": [{"type": "invoice_line_item", "invoice_line_item": first.id, "quantity": 1},
                  {"type": "invoice_line_item", "invoice_line_item": second.id, "amount": 999},
                  {"type": "custom_line_item", "description": "Goodwill", "unit_amount": 50, "quantity": 2,
                   "tax_rates": [rate]}],
    }  # fmt: skip
    shown = client.v1.credit_notes.preview(asked)
    assert client.v1.credit_notes.list().data == []
    rows = client.v1.credit_notes.preview_lines.list({**asked, "limit": 2})
    assert [line.amount for line in rows.auto_paging_iter()] == [500, 999, 100]
    note = client.v1.credit_notes.create(asked)
    for each in (shown, note):
        assert not misfits(each)
        rows = [(line.amount, line.discount_amount, [row.amount for row in line.taxes]) for line in each.lines.data]
        assert rows == [(500, 50, [86]), (999, 100, [59]), (100, 0, [19])]
        assert (each.subtotal, each.discount_amount, each.total) == (1599, 150, 450 + 86 + 899 + 119)
        assert each.total_excluding_tax == each.total - 86 - 59 - 19
    assert [line.id for line in client.v1.credit_notes.line_items.list(note.id).data] == [
        line.id for line in note.lines.data
    ]
    changed = client.v1.credit_notes.update(note.id, {"memo": "New", "metadata": {"a": "1"}})
    assert (changed.memo, changed.metadata.to_dict()) == ("New", {"a": "1"})


def test_a_draft_cannot_be_credited(account):
    with pytest.raises(stripe.InvalidRequestError, match="finalized"):
        account.client().v1.credit_notes.create({"invoice": bill(account, 10).id, "amount": 5})


def test_a_balance_is_adjusted_and_used_with_the_next_invoice(account):
    client = account.client()
    of = customer(account)
    row = client.v1.customers.balance_transactions.create(
        of, {"amount": -700, "currency": "usd", "description": "Gift", "metadata": {"a": "1"}}
    )
    assert not misfits(row)
    assert (row.type, row.ending_balance, client.v1.customers.retrieve(of).currency) == ("adjustment", -700, "usd")
    with pytest.raises(stripe.InvalidRequestError, match="currency is usd"):
        client.v1.customers.balance_transactions.create(of, {"amount": 1, "currency": "eur"})
    changed = client.v1.customers.balance_transactions.update(of, row.id, {"description": "Present"})
    assert (changed.description, changed.metadata.to_dict()) == ("Present", {"a": "1"})
    invoice = paid(account, 500, of=of)
    assert (invoice.amount_due, invoice.status, invoice.ending_balance) == (0, "paid", -200)
    client.v1.customers.balance_transactions.create(of, {"amount": 350, "currency": "usd"})
    owed = paid(account, 100, of=of)
    assert (owed.starting_balance, owed.amount_due, owed.amount_paid, owed.ending_balance) == (150, 250, 250, 0)
    used = client.v1.customers.balance_transactions.list(of)
    assert [(each.type, each.amount) for each in used.data] == [
        ("applied_to_invoice", -150), ("adjustment", 350), ("applied_to_invoice", 500), ("adjustment", -700),
    ]  # fmt: skip


def test_a_negative_invoice_becomes_credit_and_a_voided_one_gives_its_credit_back(account):
    client = account.client()
    of = customer(account)
    negative = paid(account, 100, -400, of=of)
    assert (negative.total, negative.amount_due, negative.status) == (-300, 0, "paid")
    assert client.v1.customers.retrieve(of).balance == -300
    invoice = client.v1.invoices.finalize_invoice(bill(account, 1000, of=of).id)
    assert (invoice.amount_due, client.v1.customers.retrieve(of).balance) == (700, 0)
    client.v1.invoices.void_invoice(invoice.id)
    assert client.v1.customers.retrieve(of).balance == -300
    last = client.v1.customers.balance_transactions.list(of).data[0]
    assert (last.type, last.amount, last.invoice) == ("unapplied_from_invoice", -300, invoice.id)
