"""Invoices as callers draft, change, finalize and pay them: amounts are worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine import cards, payments
from tests.unit.simulator.billing_cases import DAY, HOUR, misfits


def customer(account, **fields: Any) -> str:
    """A customer with a card that works."""
    client = account.client()
    made = client.v1.customers.create({"email": "ada@example.com", "address": {"country": "US"}, **fields})
    method = cards.card(account.world, account.world.the(made.id, "customer"))
    client.v1.customers.update(made.id, {"invoice_settings": {"default_payment_method": method["id"]}})
    return made.id


def bill(account, *amounts: int, of: str | None = None, **fields: Any) -> Any:
    """A draft with one item per amount."""
    client = account.client()
    of = of or customer(account)
    for amount in amounts:
        client.v1.invoice_items.create({"customer": of, "amount": amount, "currency": "usd"})
    return client.v1.invoices.create({"customer": of, "pending_invoice_items_behavior": "include", **fields})


def types(account) -> list[str]:
    return [each.type for each in account.client().v1.events.list({"limit": 100}).auto_paging_iter()][::-1]


def test_a_draft_takes_what_waits_and_is_paid(account):
    client = account.client()
    of = customer(account)
    price = client.v1.prices.create({"currency": "usd", "unit_amount": 250, "product_data": {"name": "Hour"}})
    first = client.v1.invoice_items.create({"customer": of, "amount": 1000, "currency": "usd", "description": "Fee"})
    second = client.v1.invoice_items.create({"customer": of, "pricing": {"price": price.id}, "quantity": 3})
    third = client.v1.invoice_items.create(
        {"customer": of, "currency": "usd", "unit_amount_decimal": "0.125", "quantity": 20}
    )
    assert [each.amount for each in (first, second, third)] == [1000, 750, 3]
    assert all(not misfits(each) for each in (first, second, third))
    invoice = client.v1.invoices.create(
        {"customer": of, "pending_invoice_items_behavior": "include", "description": "Work", "footer": "Thanks",
         "metadata": {"po": "7"}, "custom_fields": [{"name": "PO", "value": "7"}]}
    )  # fmt: skip
    assert not misfits(invoice)
    assert (invoice.status, invoice.total, invoice.amount_due, invoice.auto_advance) == ("draft", 1753, 1753, False)
    assert [line.amount for line in invoice.lines.data] == [1000, 750, 3]
    assert client.v1.invoice_items.retrieve(first.id).invoice == invoice.id
    assert client.v1.invoice_items.list({"pending": True}).data == []
    paid = client.v1.invoices.pay(invoice.id)
    assert not misfits(paid)
    assert (paid.status, paid.amount_paid, paid.amount_remaining, paid.attempt_count) == ("paid", 1753, 0, 1)
    payment = client.v1.invoice_payments.list({"invoice": invoice.id}).data[0]
    assert (payment.status, payment.amount_paid, payment.is_default) == ("paid", 1753, True) and not misfits(payment)
    assert client.v1.payment_intents.retrieve(payment.payment.payment_intent).amount_received == 1753
    told = [each for each in types(account) if each.startswith("invoice")]
    assert told == ["invoiceitem.created"] * 3 + [
        "invoice.created", "invoice.finalized", "invoice_payment.paid", "invoice.paid", "invoice.payment_succeeded",
    ]  # fmt: skip
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.pay(invoice.id)
    assert refused.value.code == "invoice_already_paid"


def test_a_price_that_is_not_offered_any_more_is_refused_but_stays_on_its_items(account):
    client = account.client()
    of = customer(account)
    price = client.v1.prices.create({"currency": "usd", "unit_amount": 250, "product_data": {"name": "Hour"}}).id
    item = client.v1.invoice_items.create({"customer": of, "pricing": {"price": price}, "quantity": 2})
    client.v1.prices.update(price, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        client.v1.invoice_items.create({"customer": of, "pricing": {"price": price}})
    assert client.v1.invoice_items.update(item.id, {"quantity": 4}).amount == 1000
    own: Any = {"currency": "usd", "product": client.v1.prices.retrieve(price).product, "unit_amount_decimal": "1.5"}
    made = client.v1.invoice_items.create({"customer": of, "price_data": own, "quantity": 3})
    assert made.amount == 5 and not misfits(made)  # 4.5
    inline = client.v1.prices.retrieve(made.pricing.price_details.price)
    assert (inline.active, inline.unit_amount, str(inline.unit_amount_decimal)) == (False, None, "1.5")


def test_items_wait_unless_they_are_asked_for(account):
    client = account.client()
    empty = bill(account, 500, pending_invoice_items_behavior="exclude")
    assert (empty.total, empty.lines.data) == (0, [])
    full = client.v1.invoices.create({"customer": empty.customer, "pending_invoice_items_behavior": "include"})
    assert full.total == 500


def test_a_draft_finalizes_by_itself_only_if_told(account):
    client = account.client()
    waits, goes = bill(account, 100), bill(account, 100, auto_advance=True)
    assert (waits.automatically_finalizes_at, goes.automatically_finalizes_at) == (None, account.store.now + HOUR)
    account.control("advance", {"seconds": HOUR + 1})
    assert client.v1.invoices.retrieve(waits.id).status == "draft"
    assert client.v1.invoices.retrieve(goes.id).status == "paid"
    later = client.v1.invoices.update(
        waits.id, {"auto_advance": True, "automatically_finalizes_at": account.store.now + 2 * DAY}
    )
    assert later.auto_advance
    account.control("advance", {"days": 1})
    assert client.v1.invoices.retrieve(waits.id).status == "draft"
    account.control("advance", {"days": 1.1})
    assert client.v1.invoices.retrieve(waits.id).status == "paid"


def test_a_draft_changes_with_its_items(account):
    client = account.client()
    invoice = bill(account, 1000, 500)
    one, two = client.v1.invoice_items.list({"invoice": invoice.id}).data[::-1]
    client.v1.invoice_items.update(one.id, {"amount": 1200, "description": "More", "metadata": {"a": "1"}})
    client.v1.invoice_items.delete(two.id)
    client.v1.invoice_items.create(
        {"customer": invoice.customer, "amount": 7, "invoice": invoice.id, "currency": "usd"}
    )
    client.v1.invoices.add_lines(invoice.id, {"lines": [{"amount": 30, "description": "Line"}]})
    now = client.v1.invoices.retrieve(invoice.id)
    assert (now.subtotal, now.total, now.amount_due, now.amount_remaining) == (1237, 1237, 1237, 1237)
    assert [(line.amount, line.description) for line in now.lines.data][::2] == [(1200, "More"), (30, "Line")]
    line = now.lines.data[0]
    client.v1.invoices.line_items.update(invoice.id, line.id, {"amount": 900})
    removed = client.v1.invoices.remove_lines(
        invoice.id, {"lines": [{"id": now.lines.data[1].id, "behavior": "unassign"}]}
    )
    assert (removed.total, len(removed.lines.data)) == (930, 2) and not misfits(removed)
    last = removed.lines.data[1].id
    both = client.v1.invoices.update_lines(
        invoice.id,
        {"lines": [{"id": line.id, "amount": 800}, {"id": last, "amount": 9}], "invoice_metadata": {"a": "b"}},
    )
    assert (both.total, both.metadata.to_dict()) == (809, {"a": "b"})
    assert [each.amount for each in client.v1.invoice_items.list({"pending": True}).data] == [7]
    client.v1.invoices.finalize_invoice(invoice.id)
    for change in (
        lambda: client.v1.invoice_items.update(one.id, {"amount": 1}),
        lambda: client.v1.invoice_items.delete(one.id),
        lambda: client.v1.invoices.update(invoice.id, {"description": "late"}),
        lambda: client.v1.invoices.finalize_invoice(invoice.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            change()
        assert refused.value.code == "invoice_not_editable"
    late = client.v1.invoices.update(invoice.id, {"metadata": {"late": "1", "a": ""}})
    assert late.metadata.to_dict() == {"late": "1"}


def test_every_change_of_a_draft_is_told_exactly(account):
    client = account.client()
    invoice = bill(account, 1000)
    client.v1.invoice_items.create(
        {"customer": invoice.customer, "amount": 5, "invoice": invoice.id, "currency": "usd"}
    )
    event = client.v1.events.list({"type": "invoice.updated"}).data[0]
    before = event.data.previous_attributes.to_dict()
    assert {name: value for name, value in before.items() if name != "lines"} == dict.fromkeys(
        ("amount_due", "amount_remaining", "subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"), 1000
    )
    assert [line["amount"] for line in before["lines"]["data"]] == [1000]


def test_a_draft_can_be_deleted_and_an_open_invoice_only_voided(account):
    client = account.client()
    draft = bill(account, 100)
    item = client.v1.invoice_items.list({"invoice": draft.id}).data[0]
    gone = client.v1.invoices.delete(draft.id)
    assert gone.deleted and not misfits(gone)
    for read in (lambda: client.v1.invoices.retrieve(draft.id), lambda: client.v1.invoice_items.retrieve(item.id)):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            read()
        assert refused.value.http_status == 404
    assert types(account)[-2:] == ["invoice.deleted", "invoiceitem.deleted"]
    open_one = client.v1.invoices.finalize_invoice(bill(account, 100).id)
    assert (open_one.status, open_one.amount_remaining) == ("open", 100)
    with pytest.raises(stripe.InvalidRequestError, match="draft"):
        client.v1.invoices.delete(open_one.id)
    lost = client.v1.invoices.mark_uncollectible(open_one.id)
    assert lost.status == "uncollectible" and lost.status_details.uncollectible.reason == "user_forgiven"
    void = client.v1.invoices.void_invoice(open_one.id)
    assert void.status == "void" and not misfits(void) and void.status_transitions.voided_at == account.store.now
    payment = client.v1.invoice_payments.list({"invoice": void.id}).data[0]
    assert (payment.status, client.v1.payment_intents.retrieve(payment.payment.payment_intent).status) == (
        "canceled",
        "canceled",
    )
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        client.v1.invoices.pay(void.id)


def test_an_invoice_that_is_sent_has_a_due_date_and_becomes_overdue(account):
    client = account.client()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        bill(account, 100, collection_method="send_invoice")
    assert refused.value.param == "days_until_due"
    with pytest.raises(stripe.InvalidRequestError, match="send_invoice"):
        bill(account, 100, days_until_due=5)
    invoice = bill(account, 100, collection_method="send_invoice", days_until_due=5)
    assert invoice.due_date == account.store.now + 5 * DAY
    sent = client.v1.invoices.send_invoice(invoice.id)
    assert (sent.status, sent.amount_remaining) == ("open", 100) and "invoice.sent" in types(account)
    account.control("advance", {"days": 6})
    assert "invoice.overdue" in types(account) and client.v1.invoices.retrieve(invoice.id).status == "open"
    assert client.v1.invoices.pay(invoice.id).status == "paid"


def test_an_invoice_paid_elsewhere_takes_no_money_here(account):
    client = account.client()
    paid = client.v1.invoices.pay(bill(account, 4200).id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 4200, 0) and not misfits(paid)
    shown = client.v1.invoices.retrieve(paid.id, {"expand": ["amount_paid_off_stripe", "payments"]})
    assert shown.amount_paid_off_stripe == 4200
    payment = shown.payments.data[0]
    assert (payment.payment.type, payment.amount_paid, payment.status) == ("payment_record", 4200, "paid")
    record = client.v1.payment_records.retrieve(payment.payment.payment_record)
    assert record.amount.value == 4200 and not misfits(record)
    assert client.v1.charges.list().data == [] and client.v1.balance_transactions.list().data == []
    assert "invoice.paid" in types(account) and "invoice.payment_succeeded" not in types(account)


def test_several_payments_pay_one_invoice(account):
    client = account.client()
    world = account.world
    invoice = client.v1.invoices.finalize_invoice(bill(account, 1000).id)
    of = world.the(invoice.customer, "customer")
    method = of["invoice_settings"]["default_payment_method"]

    def transfer(amount: int) -> str:
        made = payments.intent(world, of, amount, "usd", method, "Part")
        payments.charge(world, made, of, works=True)
        return str(made["id"])

    part = client.v1.invoices.attach_payment(invoice.id, {"payment_intent": transfer(300)})
    assert (part.status, part.amount_paid, part.amount_remaining) == ("open", 300, 700) and not misfits(part)
    with pytest.raises(stripe.InvalidRequestError, match="paid in part"):
        client.v1.invoices.void_invoice(invoice.id)
    part = client.v1.invoices.attach_payment(invoice.id, {"payment_intent": transfer(500)})
    assert (part.amount_paid, part.amount_remaining) == (800, 200)
    paid = client.v1.invoices.pay(invoice.id)
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 1000, 0)
    rows = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    assert [(row.amount_paid, row.is_default) for row in rows if row.status == "paid"] == [
        (500, False), (300, False), (200, True),
    ]  # fmt: skip
    assert client.v1.charges.list().data[0].amount == 200


def test_what_is_paid_too_much_becomes_credit(account):
    client = account.client()
    invoice = client.v1.invoices.finalize_invoice(bill(account, 1000).id)
    of = account.world.the(invoice.customer, "customer")
    made = payments.intent(account.world, of, 1500, "usd", of["invoice_settings"]["default_payment_method"], "Too much")
    payments.charge(account.world, made, of, works=True)
    paid = client.v1.invoices.attach_payment(invoice.id, {"payment_intent": made["id"]})
    assert (paid.status, paid.amount_overpaid, paid.amount_remaining) == ("paid", 500, 0)
    assert client.v1.customers.retrieve(invoice.customer).balance == -500
    moved = client.v1.customers.balance_transactions.list(invoice.customer).data[0]
    assert (moved.type, moved.amount, moved.invoice) == ("invoice_overpaid", -500, invoice.id)
    following = client.v1.invoices.pay(bill(account, 800, of=invoice.customer).id)
    assert (following.starting_balance, following.ending_balance, following.amount_due) == (-500, 0, 300)


def test_without_a_payment_method_nothing_can_be_paid(account):
    client = account.client()
    bare = client.v1.customers.create({"email": "bare@example.com"})
    invoice = bill(account, 100, of=bare.id)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        client.v1.invoices.pay(invoice.id)
    assert client.v1.invoices.retrieve(invoice.id).status == "draft"


# ---- discounts and tax ----------------------------------------------------------------------------------------
def test_discounts_of_lines_come_before_those_of_the_invoice(account):
    client = account.client()
    fixed = client.v1.coupons.create({"amount_off": 100, "currency": "usd", "duration": "once"})
    tenth = client.v1.coupons.create({"percent_off": 10, "duration": "once"})
    of = customer(account)
    client.v1.invoice_items.create(
        {"customer": of, "amount": 1001, "currency": "usd", "discounts": [{"coupon": tenth.id}]}
    )
    for amount in (333, 333):
        client.v1.invoice_items.create({"customer": of, "amount": amount, "currency": "usd"})
    client.v1.invoice_items.create({"customer": of, "amount": 50, "currency": "usd", "discountable": False})
    invoice = client.v1.invoices.create(
        {"customer": of, "pending_invoice_items_behavior": "include", "discounts": [{"coupon": fixed.id}]}
    )
    # 10 % of 1001 is 100.1; 100 are split over 901 : 333 : 333, the last line takes the rest.
    assert [sum(part.amount for part in line.discount_amounts) for line in invoice.lines.data] == [
        100 + 57, 21, 22, 0,
    ]  # fmt: skip
    assert (invoice.subtotal, invoice.total) == (1717, 1717 - 200)
    assert sorted(part.amount for part in invoice.total_discount_amounts) == [100, 100]
    assert client.v1.coupons.retrieve(tenth.id).times_redeemed == 1
    cleared = client.v1.invoices.update(invoice.id, {"discounts": ""})
    assert (cleared.total, cleared.discounts) == (1617, []) and not misfits(cleared)


def test_a_coupon_takes_off_its_products_only_and_its_currency_only(account):
    client = account.client()
    of = customer(account)
    prices = [client.v1.prices.create({"currency": "usd", "unit_amount": 1000, "product_data": {"name": name}})
              for name in ("In", "Out")]  # fmt: skip
    for price in prices:
        client.v1.invoice_items.create({"customer": of, "pricing": {"price": price.id}})
    coupon = client.v1.coupons.create(
        {"percent_off": 25, "duration": "once", "applies_to": {"products": [prices[0].product]}}
    )
    euros = client.v1.coupons.create({"amount_off": 500, "currency": "eur", "duration": "once",
                                      "currency_options": {"usd": {"amount_off": 600}}})  # fmt: skip
    invoice = client.v1.invoices.create(
        {"customer": of, "pending_invoice_items_behavior": "include",
         "discounts": [{"coupon": coupon.id}, {"coupon": euros.id}]}
    )  # fmt: skip
    assert [part.amount for part in invoice.total_discount_amounts] == [250, 600]
    assert invoice.total == 2000 - 250 - 600


def test_a_coupon_that_is_used_up_or_a_code_of_another_is_refused(account):
    client = account.client()
    once = client.v1.coupons.create({"percent_off": 10, "duration": "once", "max_redemptions": 1})
    bill(account, 100, discounts=[{"coupon": once.id}])
    assert client.v1.coupons.retrieve(once.id).valid is False
    before = len(client.v1.invoices.list().data)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be"):
        bill(account, 100, discounts=[{"coupon": once.id}])
    assert len(client.v1.invoices.list().data) == before
    coupon = client.v1.coupons.create({"percent_off": 10, "duration": "once"})
    mine = client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "customer": customer(account)}
    )
    with pytest.raises(stripe.InvalidRequestError, match="another customer"):
        bill(account, 100, discounts=[{"promotion_code": mine.id}])
    large = client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id},
         "restrictions": {"minimum_amount": 500, "minimum_amount_currency": "usd"}}
    )  # fmt: skip
    with pytest.raises(stripe.InvalidRequestError, match="minimum amount"):
        bill(account, 499, discounts=[{"promotion_code": large.id}])
    assert bill(account, 500, discounts=[{"promotion_code": large.id}]).total == 450
    first = client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "restrictions": {"first_time_transaction": True}}
    )
    new = customer(account)
    paid = client.v1.invoices.pay(bill(account, 500, of=new, discounts=[{"promotion_code": first.id}]).id)
    assert paid.amount_paid == 450 and client.v1.promotion_codes.retrieve(first.id).times_redeemed == 1
    with pytest.raises(stripe.InvalidRequestError, match="prior transactions"):
        bill(account, 500, of=new, discounts=[{"promotion_code": first.id}])


@pytest.mark.parametrize(
    ("rates", "tax", "total", "net"),
    [
        ([(False, 19)], [190], 1190, 1000),
        ([(True, 19)], [160], 1000, 840),  # 1000 x 19 / 119 = 159.66
        ([(False, 7.25), (False, 2.5)], [73, 25], 1098, 1000),  # 72.5 and 25
        ([(True, 10), (True, 5)], [87, 43], 1000, 870),  # 1000 x 10 / 115 = 86.96, x 5 = 43.48
        ([(True, 10), (False, 5)], [91, 45], 1045, 909),  # 90.91; 5 % of 909 is 45.45
    ],
)
def test_tax_comes_on_top_or_is_inside(account, rates, tax, total, net):
    client = account.client()
    ids = [client.v1.tax_rates.create({"display_name": "T", "inclusive": inside, "percentage": percent}).id
           for inside, percent in rates]  # fmt: skip
    invoice = bill(account, 1000, default_tax_rates=ids)
    assert not misfits(invoice)
    assert [row.amount for row in invoice.total_taxes] == tax
    assert (invoice.subtotal, invoice.total, invoice.total_excluding_tax) == (1000, total, net)
    assert {row.taxable_amount for row in invoice.total_taxes} == {net}
    assert invoice.amount_due == total
    assert [row.id for row in invoice.default_tax_rates] == ids


def test_the_rates_of_an_item_come_before_the_defaults_and_exempt_customers_pay_none(account):
    client = account.client()
    low, high = (client.v1.tax_rates.create({"display_name": "T", "inclusive": False, "percentage": percent}).id
                 for percent in (7, 20))  # fmt: skip
    of = customer(account)
    client.v1.invoice_items.create({"customer": of, "amount": 1000, "currency": "usd", "tax_rates": [low]})
    client.v1.invoice_items.create({"customer": of, "amount": 1000, "currency": "usd"})
    invoice = client.v1.invoices.create(
        {"customer": of, "pending_invoice_items_behavior": "include", "default_tax_rates": [high]}
    )
    assert [line.taxes[0].amount for line in invoice.lines.data] == [70, 200] and invoice.total == 2270
    for exempt, reason in (("exempt", "customer_exempt"), ("reverse", "reverse_charge")):
        free = bill(account, 1000, of=customer(account, tax_exempt=exempt), default_tax_rates=[high])
        assert (free.total, free.total_taxes[0].amount, free.total_taxes[0].taxability_reason) == (1000, 0, reason)


def test_a_long_invoice_embeds_ten_lines_and_lists_all_in_order(account):
    client = account.client()
    invoice = bill(account, *range(1, 24))
    assert (len(invoice.lines.data), invoice.lines.has_more, invoice.total) == (10, True, sum(range(1, 24)))
    assert [line.amount for line in invoice.lines.auto_paging_iter()] == [*range(1, 24)]
    pages = client.v1.invoices.line_items.list(invoice.id, {"limit": 7})
    assert [line.amount for line in pages.auto_paging_iter()] == [*range(1, 24)]
    coupon = client.v1.coupons.create({"amount_off": 50, "currency": "usd", "duration": "once"})
    less = client.v1.invoices.update(invoice.id, {"discounts": [{"coupon": coupon.id}]})
    assert less.total == sum(range(1, 24)) - 50
    assert sum(part.amount for line in less.lines.auto_paging_iter() for part in line.discount_amounts) == 50


def test_the_customer_s_own_discount_is_taken_when_there_is_no_other(account):
    from dagster_project.simulator.engine.discounts import apply_coupon

    client = account.client()
    coupon = client.v1.coupons.create({"percent_off": 20, "duration": "forever"})
    of = customer(account)
    world = account.world
    apply_coupon(world, world.the(coupon.id, "coupon"), customer=world.the(of, "customer"))
    assert client.v1.customers.retrieve(of).discount.source.coupon == coupon.id
    assert bill(account, 1000, of=of).total == 800
    gone = client.v1.customers.delete_discount(of)
    assert gone.deleted and not misfits(gone)
    assert bill(account, 1000, of=of).total == 1000
