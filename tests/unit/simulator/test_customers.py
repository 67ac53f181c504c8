from __future__ import annotations

import pytest
import stripe
from billing_cases import NOW, Shop, misfits


def test_a_customer_keeps_what_it_was_created_with(account):
    api = account.client().v1
    made = api.customers.create(
        {
            "name": "Ada", "business_name": "Ada Ltd", "email": "ada@example.com", "preferred_locales": ["de", "en"],
            "shipping": {"name": "Ada", "address": {"city": "Bonn", "country": "DE"}}, "tax_exempt": "reverse",
            "invoice_prefix": "ADA123", "next_invoice_sequence": 7,
            "invoice_settings": {"footer": "Thanks", "custom_fields": [{"name": "PO", "value": "12"}]},
            "tax_id_data": [{"type": "eu_vat", "value": "DE123456789"}],
        }
    )  # fmt: skip
    assert misfits(made) == []
    assert (made.business_name, made.preferred_locales, made.tax_exempt) == ("Ada Ltd", ["de", "en"], "reverse")
    assert (made.shipping.name, made.shipping.phone, made.shipping.address.city) == ("Ada", None, "Bonn")
    assert (made.invoice_settings.footer, made.invoice_settings.custom_fields[0].value) == ("Thanks", "12")
    [tax_id] = api.customers.tax_ids.list(made.id).data
    assert (tax_id.country, tax_id.verification.status, misfits(tax_id)) == ("DE", "pending", [])
    changed = api.customers.update(made.id, {"shipping": "", "business_name": ""})
    assert (changed.shipping, "business_name" in changed) == (None, False)
    assert misfits(changed) == []


def test_a_new_customer_can_bring_a_payment_method(account):
    shop = Shop(account)
    owner = shop.customer()
    method = shop.api.customers.retrieve(owner).invoice_settings.default_payment_method
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.api.customers.create({"payment_method": method})
    assert refused.value.param == "payment_method"
    account.world.change(account.world.the(method, "payment_method"), "payment_method.detached", customer=None)
    made = shop.api.customers.create({"payment_method": method, "invoice_settings": {"default_payment_method": method}})
    assert made.invoice_settings.default_payment_method == method
    assert [each.id for each in shop.api.customers.payment_methods.list(made.id).data] == [method]
    other = shop.api.customers.create({"name": "Ben"})
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        shop.api.customers.update(other.id, {"invoice_settings": {"default_payment_method": method}})


def test_a_balance_that_is_set_is_a_transaction(account):
    api = account.client().v1
    made = api.customers.create({"name": "Ada", "balance": -500})
    assert made.balance == -500
    api.customers.update(made.id, {"balance": 200})
    rows = api.customers.balance_transactions.list(made.id).data
    assert [(row.amount, row.ending_balance, row.type) for row in rows] == [
        (700, 200, "adjustment"),
        (-500, -500, "adjustment"),
    ]
    assert [misfits(row) for row in rows] == [[], []]


def test_tax_ids_are_added_verified_and_removed(account):
    api = account.client().v1
    customer = api.customers.create({"name": "Ada"})
    good, unknown, pending = (
        api.customers.tax_ids.create(customer.id, {"type": "eu_vat", "value": value})
        for value in ("FR12345678901", "DE111111111", "DE222222222")
    )
    owner = {"type": "customer", "customer": customer.id}
    other = api.tax_ids.create({"type": "us_ein", "value": "12-3456789", "owner": owner})
    own = api.tax_ids.create({"type": "us_ein", "value": "98-7654321"})
    assert [misfits(each) for each in (good, other, own)] == [[], [], []]
    account.control("advance", {"seconds": 3600})
    status = {each.id: each.verification.status for each in api.customers.tax_ids.list(customer.id).data}
    assert status == {good.id: "verified", unknown.id: "unverified", pending.id: "pending", other.id: "unavailable"}
    assert [each.id for each in api.tax_ids.list().data] == [own.id]
    assert api.customers.tax_ids.retrieve(customer.id, good.id).country == "FR"
    assert misfits(api.customers.tax_ids.delete(customer.id, good.id)) == []
    api.tax_ids.delete(own.id)
    assert api.tax_ids.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        api.customers.tax_ids.create(customer.id, {"type": "nonsense", "value": "1"})
    types = [each.type for each in api.events.list({"type": "customer.tax_id.*"}).data]
    assert sorted(set(types)) == ["customer.tax_id.created", "customer.tax_id.deleted", "customer.tax_id.updated"]


def test_a_customer_without_a_coupon_has_no_discount_to_remove(account):
    api = account.client().v1
    customer = api.customers.create({"name": "Ada"})
    assert customer.created == NOW
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.customers.delete_discount(customer.id)
    assert refused.value.http_status == 404


def test_a_test_card_can_be_the_default_of_a_new_customer(account):
    api = account.client().v1
    token = "pm_card_visa"
    made = api.customers.create({"payment_method": token, "invoice_settings": {"default_payment_method": token}})
    [method] = api.customers.payment_methods.list(made.id).data
    assert (method.card.last4, made.invoice_settings.default_payment_method) == ("4242", method.id)
    with pytest.raises(stripe.CardError):
        api.customers.create({"payment_method": "pm_card_chargeDeclined"})
    assert len(api.customers.list().data) == 1
