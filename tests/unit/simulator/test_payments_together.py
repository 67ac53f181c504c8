"""Payments with what surrounds them: invoices, connected accounts, other currencies, test clocks."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
import stripe
from billing_cases import DAY, Shop, misfits
from test_payments import Till

from dagster_project.simulator.engine import accounts


@pytest.fixture
def till(account):
    return Till(account)


# ---- invoices --------------------------------------------------------------------------------------------------
def subscribed(account, token):
    shop = Shop(account)
    customer = shop.customer(card=False)
    method = shop.api.payment_methods.attach(token, {"customer": customer}).id
    shop.api.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
    sub = shop.api.subscriptions.create(
        {"customer": customer, "items": [{"price": shop.price(5_000)}], "payment_behavior": "allow_incomplete"}
    )
    return shop, shop.api.subscriptions.retrieve(sub.id)


def test_an_invoice_is_paid_when_the_debit_succeeds(account):
    shop, sub = subscribed(account, "pm_usBankAccount_success")
    assert sub.status == "active"
    assert shop.api.invoices.retrieve(sub.latest_invoice).status == "open"
    shop.advance(shop.now + 5 * DAY)
    invoice = shop.api.invoices.retrieve(sub.latest_invoice, {"expand": ["payments.data.payment.payment_intent"]})
    assert (invoice.status, invoice.amount_paid) == ("paid", 5_000)
    intent = invoice.payments.data[0].payment.payment_intent
    assert (intent.status, intent.payment_method_types) == ("succeeded", ["us_bank_account"])
    assert shop.api.subscriptions.retrieve(sub.id).status == "active"


def test_an_invoice_is_not_paid_when_the_debit_fails(account):
    shop, sub = subscribed(account, "pm_usBankAccount_insufficientFunds")
    shop.advance(shop.now + 4 * DAY)
    invoice = shop.api.invoices.retrieve(sub.latest_invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    assert [each.type for each in shop.events("invoice.payment_failed")] == ["invoice.payment_failed"]
    assert shop.api.subscriptions.retrieve(sub.id).status == "past_due"


def test_an_invoice_waits_for_authentication(account):
    shop, sub = subscribed(account, "pm_card_authenticationRequired")
    assert sub.status == "incomplete"
    assert [each.type for each in shop.events("invoice.payment_action_required")] != []
    shop.advance(shop.now + 700)
    assert shop.api.invoices.retrieve(sub.latest_invoice).status == "paid"
    assert shop.api.subscriptions.retrieve(sub.id).status == "active"


def test_a_card_that_fails_after_it_was_attached_does_not_pay_the_invoice(account):
    shop, sub = subscribed(account, "pm_card_chargeCustomerFail")
    assert sub.status == "incomplete"
    (charge,) = shop.api.charges.list({"customer": sub.customer}).data
    assert (charge.status, charge.outcome.reason) == ("failed", "generic_decline")


def test_on_a_test_clock_time_is_that_of_the_clock(account):
    shop = Shop(account)
    shop.advance(shop.now + 10 * DAY)
    customer = shop.customer(card=False)
    intent = shop.api.payment_intents.create(
        {"amount": 900, "currency": "usd", "customer": customer, "payment_method": "pm_card_visa", "confirm": True,
         "capture_method": "manual"}
    )  # fmt: skip
    assert intent.created == shop.now
    shop.advance(shop.now + 8 * DAY)
    assert shop.api.payment_intents.retrieve(intent.id).status == "canceled"


# ---- connected accounts ----------------------------------------------------------------------------------------
@pytest.fixture
def market(till):
    accounts.open_account(till.account.world, name="Market", currencies=("usd",))
    bank = {"object": "bank_account", "country": "US", "account_number": "000123456789"}
    wanted = {"card_payments": {"requested": True}, "transfers": {"requested": True}}
    seller = till.api.accounts.create(
        {"type": "express", "country": "US", "external_account": bank, "capabilities": wanted}
    )
    return till, seller.id


def test_a_destination_charge_passes_its_money_on_and_takes_it_back(market):
    till, seller = market
    paid = till.pay(amount=10_000, transfer_data={"destination": seller}, application_fee_amount=1_000)
    charge = till.api.charges.retrieve(paid.latest_charge)
    assert (charge.transfer_data.destination, charge.application_fee_amount) == (seller, 1_000)
    transfer = till.api.transfers.retrieve(charge.transfer)
    assert (transfer.amount, transfer.destination, transfer.source_transaction) == (10_000, seller, charge.id)
    assert till.api.application_fees.retrieve(charge.application_fee).amount == 1_000
    for more in ({"application_fee_amount": 10_001}, {"transfer_data": {"destination": seller, "amount": 10_001}}):
        with pytest.raises(stripe.InvalidRequestError, match="must not be more"):
            till.pay(**{"amount": 10_000, "transfer_data": {"destination": seller}, **more})
    refund = till.api.refunds.create(
        {"charge": charge.id, "amount": 5_000, "reverse_transfer": True, "refund_application_fee": True}
    )
    assert till.api.transfers.retrieve(charge.transfer).amount_reversed == 5_000
    assert till.api.application_fees.retrieve(charge.application_fee).amount_refunded == 500
    assert refund.transfer_reversal
    assert not misfits(paid) + misfits(charge) + misfits(refund)


def test_a_direct_charge_belongs_to_the_connected_account(market):
    till, seller = market
    there = {"stripe_account": seller}
    params = {"amount": 10_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True,
              "application_fee_amount": 700}  # fmt: skip
    paid = till.api.payment_intents.create(params, there)
    charge = till.api.charges.retrieve(paid.latest_charge, options=there)
    row = till.api.balance_transactions.retrieve(charge.balance_transaction, options=there)
    kinds = {each.type: each.amount for each in row.fee_details}
    assert kinds["application_fee"] == 700
    assert row.net == row.amount - row.fee
    assert till.api.application_fees.retrieve(charge.application_fee).account == seller
    assert till.api.charges.list({}).data == []
    with pytest.raises(Exception, match="application_fee_amount"):
        till.pay(application_fee_amount=100)
    assert not misfits(paid) + misfits(charge)


# ---- other currencies ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("currency", "amount"), [("gbp", 10_000), ("jpy", 10_000), ("kwd", 12_340), ("huf", 500_000)])
def test_money_of_another_currency_settles_at_the_days_rate(market, currency, amount):
    till, _ = market
    paid = till.pay(amount=amount, currency=currency)
    charge = till.api.charges.retrieve(paid.latest_charge)
    row = till.row(charge.balance_transaction)
    assert (charge.amount, charge.currency, row.currency) == (amount, currency, "usd")
    digits = {"jpy": 0, "kwd": 3}.get(currency, 2)
    dollars = Decimal(amount).scaleb(-digits) * Decimal(str(row.exchange_rate))
    assert row.amount == int((dollars * 100).to_integral_value(ROUND_HALF_UP))
    refund = till.api.refunds.create({"charge": charge.id})
    assert till.row(refund.balance_transaction).amount == -row.amount
    disputed = till.pay("pm_card_createDispute", amount, currency)
    (case,) = till.api.disputes.list({"charge": disputed.latest_charge}).data
    assert (case.currency, case.balance_transactions[0].currency) == (currency, "usd")
    assert case.balance_transactions[0].amount == -row.amount


def test_a_part_captured_in_another_currency_costs_what_the_part_costs(market):
    till, _ = market
    held = till.pay(amount=10_000, currency="gbp", capture_method="manual")
    till.api.payment_intents.capture(held.id, {"amount_to_capture": 4_000})
    charge = till.api.charges.retrieve(till.api.payment_intents.retrieve(held.id).latest_charge)
    taken = till.row(charge.balance_transaction)
    (rest,) = till.api.refunds.list({"charge": charge.id}).data
    given = till.row(rest.balance_transaction)
    cents = (4_000 * Decimal(str(taken.exchange_rate))).to_integral_value(ROUND_HALF_UP)
    price = int((cents * Decimal("0.029")).to_integral_value(ROUND_HALF_UP)) + 30
    processing = [
        part.amount
        for row in (taken, given)
        for part in row.fee_details
        if part.description == "Stripe processing fees"
    ]
    assert len(processing) == 2
    assert sum(processing) == price


def test_the_balance_is_the_sum_of_its_rows_whatever_happened(market):
    till, seller = market
    for token in ("pm_card_visa", "pm_card_createDispute", "pm_card_refundFail", "pm_usBankAccount_lateFailure",
                  "pm_usBankAccount_insufficientFunds", "pm_usBankAccount_dispute"):  # fmt: skip
        paid = till.pay(token, 30_000)
        if token == "pm_card_refundFail":
            till.api.refunds.create({"payment_intent": paid.id, "amount": 1_234})
    held = till.pay(amount=30_000, capture_method="manual")
    till.api.payment_intents.capture(held.id, {"amount_to_capture": 12_345})
    till.pay(amount=30_000, currency="eur", transfer_data={"destination": seller, "amount": 10_000})
    till.wait(30 * DAY)
    rows = list(till.api.balance_transactions.list({"limit": 100}).auto_paging_iter())
    assert all(row.net == row.amount - row.fee for row in rows)
    balance = till.api.balance.retrieve()
    for part, status in ((balance.available, "available"), (balance.pending, "pending")):
        for shown in part:
            kept = [row.net for row in rows if (row.status, row.currency) == (status, shown.currency)]
            assert shown.amount == sum(kept)
