"""Setup intents, and charges without a payment intent."""

from __future__ import annotations

import pytest
import stripe
from billing_cases import DAY, misfits
from test_payments import Till


@pytest.fixture
def till(account):
    return Till(account)


def set_up(till, method, **more):
    customer = till.api.customers.create({}).id
    params = {"customer": customer, "payment_method": method, "confirm": True, **more}
    return till.api.setup_intents.create(params)


def test_a_card_is_set_up_and_belongs_to_the_customer_then(till):
    wish = till.api.setup_intents.create({"customer": till.api.customers.create({}).id, "metadata": {"a": "1"}})
    assert (wish.status, wish.usage) == ("requires_payment_method", "off_session")
    till.api.setup_intents.update(wish.id, {"payment_method": "pm_card_visa", "metadata": {"b": "2"}})
    done = till.api.setup_intents.confirm(wish.id)
    assert (done.status, done.metadata.to_dict()) == ("succeeded", {"a": "1", "b": "2"})
    assert till.api.payment_methods.retrieve(done.payment_method).customer == wish.customer
    (attempt,) = till.api.setup_attempts.list({"setup_intent": wish.id}).data
    assert (attempt.id, attempt.status) == (done.latest_attempt, "succeeded")
    assert till.events("setup_intent") == ["setup_intent.created", "setup_intent.succeeded"]
    assert not misfits(done) + misfits(attempt)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.setup_intents.cancel(wish.id)
    assert refused.value.code == "setup_intent_unexpected_state"


def test_a_declined_card_is_not_set_up(till):
    with pytest.raises(stripe.CardError) as refused:
        set_up(till, "pm_card_chargeDeclined")
    setup = till.api.setup_intents.retrieve(refused.value.error.setup_intent.id)
    assert (setup.status, setup.last_setup_error.code) == ("requires_payment_method", "card_declined")
    (attempt,) = till.api.setup_attempts.list({"setup_intent": setup.id}).data
    assert (attempt.status, attempt.setup_error.decline_code) == ("failed", "generic_decline")
    assert till.events("setup_intent") == ["setup_intent.created", "setup_intent.setup_failed"]
    assert not misfits(setup) + misfits(attempt)
    assert till.api.setup_intents.confirm(setup.id, {"payment_method": "pm_card_visa"}).status == "succeeded"


def test_a_card_that_is_authenticated_once_works_without_its_holder_later(till):
    setup = set_up(till, "pm_card_authenticationRequiredOnSetup", return_url="https://example.com")
    assert (setup.status, setup.next_action.type) == ("requires_action", "redirect_to_url")
    assert not misfits(setup)
    till.wait(601)
    done = till.api.setup_intents.retrieve(setup.id, {"expand": ["latest_attempt"]})
    assert (done.status, done.latest_attempt.payment_method_details.card.three_d_secure.result) == (
        "succeeded", "authenticated",
    )  # fmt: skip
    assert not misfits(done.latest_attempt)
    assert till.pay(done.payment_method, customer=setup.customer, off_session=True).status == "succeeded"
    error = till.declined("pm_card_authenticationRequiredOnSetup", off_session=True).error
    assert error.decline_code == "authentication_required"


def test_a_setup_that_waits_is_canceled(till):
    setup = set_up(till, "pm_card_authenticationRequired")
    after = till.api.setup_intents.cancel(setup.id, {"cancellation_reason": "abandoned"})
    assert (after.status, after.cancellation_reason) == ("canceled", "abandoned")
    till.wait(DAY)
    assert till.api.setup_intents.retrieve(setup.id).status == "canceled"
    assert till.api.setup_attempts.list({"setup_intent": setup.id}).data[0].status == "abandoned"


# ---- charges without an intent ---------------------------------------------------------------------------------
def test_a_token_is_charged(till):
    made = till.api.charges.create({"amount": 3_000, "currency": "usd", "source": "tok_visa", "description": "Old"})
    assert (made.status, made.payment_intent, made.source.brand, made.source.last4) == (
        "succeeded", None, "Visa", "4242",
    )  # fmt: skip
    row = till.row(made.balance_transaction)
    assert (row.amount, row.fee) == (3_000, 87 + 30)
    assert not misfits(made)
    changed = till.api.charges.update(
        made.id, {"metadata": {"a": "1"}, "description": "New", "fraud_details": {"user_report": "safe"}}
    )
    assert (changed.description, changed.fraud_details.user_report) == ("New", "safe")
    assert till.api.refunds.create({"charge": made.id}).payment_intent is None
    assert till.events("charge") == ["charge.succeeded", "charge.updated", "charge.refunded"]


def test_a_token_is_declined_held_or_unknown(till):
    with pytest.raises(stripe.CardError) as refused:
        till.api.charges.create({"amount": 3_000, "currency": "usd", "source": "tok_chargeDeclined"})
    assert till.api.charges.retrieve(refused.value.error.charge).status == "failed"
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        till.api.charges.create({"amount": 3_000, "currency": "usd", "source": "tok_nothing"})
    assert (unknown.value.code, unknown.value.param) == ("resource_missing", "source")
    held = till.api.charges.create({"amount": 3_000, "currency": "usd", "source": "tok_visa", "capture": False})
    assert (held.captured, held.balance_transaction) == (False, None)
    taken = till.api.charges.capture(held.id, {"amount": 1_000})
    assert (taken.amount_captured, taken.amount_refunded) == (1_000, 2_000)
    with pytest.raises(stripe.InvalidRequestError) as refused_again:
        till.api.charges.capture(held.id)
    assert refused_again.value.code == "charge_already_captured"
    expired = till.api.charges.create({"amount": 3_000, "currency": "usd", "source": "tok_visa", "capture": False})
    till.wait(8 * DAY)
    assert till.api.charges.retrieve(expired.id).refunded
    assert till.api.charges.retrieve(taken.id).amount_refunded == 2_000
    assert not misfits(taken)


def test_a_disputed_token_is_disputed(till):
    made = till.api.charges.create({"amount": 3_000, "currency": "usd", "source": "tok_createDispute"})
    assert [case.charge for case in till.api.disputes.list({})] == [made.id]
