"""Refunds in every state, and what they move in the balance."""

from __future__ import annotations

import pytest
import stripe
from billing_cases import DAY, misfits
from test_payments import Till


@pytest.fixture
def till(account):
    return Till(account)


def charge_of(till, intent):
    return till.api.charges.retrieve(intent.latest_charge)


def test_refunds_of_one_charge_add_up_to_it_and_no_further(till):
    paid = till.pay(amount=10_000)
    first = till.api.refunds.create({"payment_intent": paid.id, "amount": 3_000, "reason": "duplicate"})
    second = till.api.refunds.create({"charge": paid.latest_charge, "amount": 2_000, "metadata": {"a": "1"}})
    assert charge_of(till, paid).amount_refunded == 5_000
    assert not charge_of(till, paid).refunded
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.refunds.create({"charge": paid.latest_charge, "amount": 5_001})
    assert refused.value.param == "amount"
    rest = till.api.refunds.create({"charge": paid.latest_charge})
    assert (rest.amount, charge_of(till, paid).refunded) == (5_000, True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.refunds.create({"charge": paid.latest_charge})
    assert refused.value.code == "charge_already_refunded"
    assert [row.amount for row in till.api.charges.retrieve(paid.latest_charge, {"expand": ["refunds"]}).refunds] == [
        5_000, 2_000, 3_000,
    ]  # fmt: skip
    assert till.events("refund", "charge.refund") == ["refund.created", "charge.refunded"] * 3
    rows = till.api.balance_transactions.list({"type": "refund"}).data
    assert sum(row.net for row in rows) == -10_000
    assert not misfits(first) + misfits(second) + misfits(rest)


def test_a_refund_is_pending_first(till):
    paid = till.pay("pm_card_pendingRefund")
    refund = till.api.refunds.create({"charge": paid.latest_charge})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    assert not misfits(refund)
    till.wait(DAY)
    after = till.api.refunds.retrieve(refund.id)
    assert after.status == "succeeded"
    assert "pending_reason" not in after
    assert till.events("refund", "charge.refund.") == ["refund.created", "refund.updated", "charge.refund.updated"]
    assert not misfits(after)


def test_a_refund_fails_later_and_its_money_comes_back(till):
    paid = till.pay("pm_card_refundFail", amount=4_000)
    refund = till.api.refunds.create({"charge": paid.latest_charge})
    assert (refund.status, charge_of(till, paid).refunded) == ("succeeded", True)
    till.wait(DAY)
    after = till.api.refunds.retrieve(refund.id)
    assert (after.status, after.failure_reason) == ("failed", "expired_or_canceled_card")
    back = till.row(after.failure_balance_transaction)
    assert (back.type, back.reporting_category, back.amount, back.source) == (
        "refund_failure", "refund_failure", 4_000, refund.id,
    )  # fmt: skip
    assert (charge_of(till, paid).amount_refunded, charge_of(till, paid).refunded) == (0, False)
    assert till.events("refund.") == ["refund.created", "refund.failed"]
    assert not misfits(after) + misfits(back)
    assert till.api.refunds.create({"charge": paid.latest_charge, "amount": 4_000}).status == "succeeded"


def test_what_was_not_taken_is_not_refunded(till):
    held = till.pay(capture_method="manual")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.refunds.create({"payment_intent": held.id})
    assert refused.value.code == "charge_not_refundable"
    failed = till.declined("pm_card_chargeDeclined").error.charge
    with pytest.raises(stripe.InvalidRequestError, match="not paid"):
        till.api.refunds.create({"charge": failed})
    wish = till.api.payment_intents.create({"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        till.api.refunds.create({"payment_intent": wish.id})
    disputed = till.pay("pm_card_createDispute")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.refunds.create({"charge": disputed.latest_charge})
    assert refused.value.code == "charge_disputed"
    paid = till.pay()
    for name in ("reverse_transfer", "refund_application_fee"):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            till.api.refunds.create({"charge": paid.latest_charge, name: True})
        assert refused.value.param == name


def bank_payment(till, amount=20_000):
    customer = till.api.customers.create({}).id
    method = till.api.payment_methods.attach("pm_usBankAccount_success", {"customer": customer}).id
    paid = till.pay(method, amount, customer=customer)
    till.wait(8 * DAY)
    return till.api.payment_intents.retrieve(paid.id)


def waiting(till):
    paid = bank_payment(till)
    refund = till.api.refunds.create({"payment_intent": paid.id, "instructions_email": "ada@example.com"})
    assert refund.status == "requires_action"
    assert refund.next_action.display_details.email_sent.email_sent_to == "ada@example.com"
    assert not misfits(refund)
    return paid, refund


def test_a_refund_of_a_bank_debit_takes_days(till):
    paid = bank_payment(till)
    refund = till.api.refunds.create({"payment_intent": paid.id})
    assert refund.id.startswith("pyr_")
    assert (refund.status, refund.destination_details.type) == ("pending", "us_bank_transfer")
    assert till.row(refund.balance_transaction).type == "payment_refund"
    till.wait(4 * DAY)
    assert till.api.refunds.retrieve(refund.id).status == "succeeded"


def test_a_refund_waits_for_the_customer_who_answers(till):
    _, refund = waiting(till)
    till.wait(2 * DAY + 1)
    assert till.api.refunds.retrieve(refund.id).status == "pending"
    till.wait(4 * DAY)
    after = till.api.refunds.retrieve(refund.id)
    assert (after.status, "next_action" in after) == ("succeeded", False)
    with pytest.raises(stripe.InvalidRequestError, match="status of succeeded"):
        till.api.refunds.cancel(refund.id)


@pytest.mark.parametrize(("call", "status"), [("cancel", "canceled"), ("expire", "failed")])
def test_a_refund_that_waits_is_called_off_and_its_money_comes_back(till, call, status):
    paid, refund = waiting(till)
    api = till.api.refunds if call == "cancel" else till.api.test_helpers.refunds
    after = getattr(api, call)(refund.id)
    assert after.status == status
    assert not misfits(after)
    rows = [till.row(after.balance_transaction), till.row(after.failure_balance_transaction)]
    assert sum(row.amount for row in rows) == 0
    assert charge_of(till, paid).amount_refunded == 0
    till.wait(10 * DAY)
    assert till.api.refunds.retrieve(refund.id).status == status
    assert till.api.refunds.create({"payment_intent": paid.id}).amount == 20_000
