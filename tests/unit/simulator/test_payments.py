"""Payment methods, payment intents and charges, through Stripe's own client."""

from __future__ import annotations

import pytest
import stripe
from billing_cases import DAY, NOW, misfits


class Till:
    """An account, its client, and its clock."""

    def __init__(self, account):
        self.account = account
        self.api = account.client().v1

    def pay(self, method="pm_card_visa", amount=2000, currency="usd", **more):
        params = {"amount": amount, "currency": currency, "payment_method": method, "confirm": True, **more}
        return self.api.payment_intents.create(params)

    def declined(self, method, **more):
        with pytest.raises(stripe.CardError) as refused:
            self.pay(method, **more)
        return refused.value

    def wait(self, seconds):
        self.account.control("advance", {"seconds": seconds}, "POST")

    def events(self, *prefixes):
        found = [each.type for each in self.api.events.list({"limit": 100}).auto_paging_iter()]
        return [each for each in found[::-1] if each.startswith(prefixes)]

    def row(self, id):
        return self.api.balance_transactions.retrieve(id)


@pytest.fixture
def till(account):
    return Till(account)


# ---- payment methods -------------------------------------------------------------------------------------------
def test_a_card_is_made_from_its_number_attached_changed_and_detached(till):
    made = till.api.payment_methods.create(
        {
            "type": "card",
            "card": {"number": "4242424242424242", "exp_month": 5, "exp_year": 2031, "cvc": "123"},
            "billing_details": {"name": "Ada", "address": {"country": "DE"}},
            "metadata": {"a": "1"},
        }
    )
    assert (made.card.brand, made.card.last4, made.card.exp_year, made.customer) == ("visa", "4242", 2031, None)
    assert made.billing_details.address.country == "DE"
    customer = till.api.customers.create({"name": "Ada"}).id
    assert till.api.payment_methods.attach(made.id, {"customer": customer}).customer == customer
    changed = till.api.payment_methods.update(made.id, {"card": {"exp_year": 2032}, "metadata": {"b": "2"}})
    assert (changed.card.exp_year, changed.metadata.to_dict()) == (2032, {"a": "1", "b": "2"})
    till.api.customers.update(customer, {"invoice_settings": {"default_payment_method": made.id}})
    gone = till.api.payment_methods.detach(made.id)
    assert gone.customer is None
    assert till.api.customers.retrieve(customer).invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        till.api.payment_methods.attach(made.id, {"customer": customer})
    assert not misfits(gone)
    assert till.events("payment_method") == [
        "payment_method.attached", "payment_method.updated", "payment_method.detached",
    ]  # fmt: skip


def test_the_same_card_number_has_the_same_fingerprint(till):
    card = {"number": "5555555555554444", "exp_month": 5, "exp_year": 2031}
    one, two = (till.api.payment_methods.create({"type": "card", "card": card}).card for _ in range(2))
    token = till.api.payment_methods.create({"type": "card", "card": {"token": "tok_mastercard"}}).card
    assert one.fingerprint == two.fingerprint == token.fingerprint
    assert one.brand == "mastercard"


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ({"number": "4242424242424241", "exp_month": 5, "exp_year": 2031}, "incorrect_number"),
        ({"number": "4242424242424242", "exp_month": 13, "exp_year": 2031}, "invalid_expiry_month"),
        ({"number": "4242424242424242", "exp_month": 5, "exp_year": 2020}, "invalid_expiry_year"),
        ({"number": "4242424242424242", "exp_month": 5, "exp_year": 2031, "cvc": "1"}, "invalid_cvc"),
    ],
)
def test_a_card_that_cannot_exist_is_refused(till, card, code):
    with pytest.raises(stripe.CardError) as refused:
        till.api.payment_methods.create({"type": "card", "card": card})
    assert refused.value.code == code


def test_a_declining_card_cannot_be_attached_but_one_that_fails_later_can(till):
    customer = till.api.customers.create({}).id
    with pytest.raises(stripe.CardError) as refused:
        till.api.payment_methods.attach("pm_card_chargeDeclined", {"customer": customer})
    assert refused.value.code == "card_declined"
    method = till.api.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer})
    assert till.declined(method.id, customer=customer).error.decline_code == "generic_decline"


def test_a_method_of_one_customer_is_not_charged_for_another(till):
    mine, other = (till.api.customers.create({}).id for _ in range(2))
    method = till.api.payment_methods.attach("pm_card_visa", {"customer": mine}).id
    for customer in ({}, {"customer": other}):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            till.pay(method, **customer)
        assert refused.value.param == "payment_method"
    assert till.pay(method, customer=mine).status == "succeeded"


# ---- cards -----------------------------------------------------------------------------------------------------
def test_a_payment_succeeds_and_its_money_is_booked_with_the_fee(till):
    paid = till.pay(amount=12_345, description="Order 1", metadata={"order": "1"}, receipt_email="a@example.com")
    assert (paid.status, paid.amount_received) == ("succeeded", 12_345)
    charge = till.api.charges.retrieve(paid.latest_charge)
    assert (charge.amount_captured, charge.paid, charge.captured, charge.receipt_email) == (
        12_345, True, True, "a@example.com",
    )  # fmt: skip
    assert charge.metadata.to_dict() == {"order": "1"}
    row = till.row(charge.balance_transaction)
    fee = (12_345 * 29 + 500) // 1000 + 30
    assert (row.amount, row.fee, row.net, row.status) == (12_345, fee, 12_345 - fee, "pending")
    assert till.events("payment_intent", "charge") == [
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated",
    ]  # fmt: skip
    assert not misfits(paid) + misfits(charge) + misfits(row)


def test_the_balance_transaction_is_told_after_the_success_unless_capture_is_synchronous(till):
    paid = till.pay()
    assert paid.capture_method == "automatic_async"
    told = {each.type: each.data for each in till.api.events.list({"types": ["charge.succeeded", "charge.updated"]})}
    assert told["charge.succeeded"].object.balance_transaction is None
    updated = told["charge.updated"]
    assert updated.previous_attributes.to_dict() == {"balance_transaction": None}
    assert updated.object.balance_transaction
    till.pay(capture_method="automatic")
    assert till.events("charge.updated") == ["charge.updated"]
    assert till.api.events.list({"type": "charge.succeeded"}).data[0].data.object.balance_transaction


def test_a_payment_method_without_a_customer_works_once(till):
    method = till.api.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}}).id
    till.pay(method)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        till.pay(method)


def test_a_method_is_kept_for_later_on_request(till):
    customer = till.api.customers.create({}).id
    paid = till.pay(customer=customer, setup_future_usage="off_session")
    assert till.api.payment_methods.retrieve(paid.payment_method).customer == customer


@pytest.mark.parametrize(
    ("token", "code", "decline"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
        ("pm_card_radarBlock", "card_declined", "fraudulent"),
    ],
)
def test_a_declined_card_answers_402_and_leaves_the_attempt_on_record(till, token, code, decline):
    error = till.declined(token).error
    assert (error.code, error.decline_code) == (code, decline)
    intent = till.api.payment_intents.retrieve(error.payment_intent.id)
    assert (intent.status, intent.payment_method, intent.latest_charge) == (
        "requires_payment_method", None, error.charge,
    )  # fmt: skip
    assert intent.last_payment_error.payment_method.type == "card"
    charge = till.api.charges.retrieve(error.charge)
    assert (charge.status, charge.failure_code, charge.balance_transaction, charge.amount_captured) == (
        "failed", code, None, 0,
    )  # fmt: skip
    assert charge.outcome.type == ("blocked" if decline == "fraudulent" else "issuer_declined")
    assert not misfits(intent) + misfits(charge)
    paid = till.api.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)


def test_intents_refuse_what_does_not_fit_their_status(till):
    wish = till.api.payment_intents.create({"amount": 500, "currency": "usd"})
    assert wish.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        till.api.payment_intents.confirm(wish.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.payment_intents.capture(wish.id)
    assert refused.value.code == "payment_intent_unexpected_state"
    changed = till.api.payment_intents.update(wish.id, {"payment_method": "pm_card_visa", "amount": 700})
    assert (changed.status, changed.amount) == ("requires_confirmation", 700)
    paid = till.api.payment_intents.confirm(wish.id)
    assert paid.amount_received == 700
    for call in (till.api.payment_intents.cancel, till.api.payment_intents.confirm):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            call(wish.id)
        assert refused.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError):
        till.api.payment_intents.update(wish.id, {"amount": 900})
    assert till.api.payment_intents.update(wish.id, {"description": "x"}).description == "x"


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "amount_too_small"),
        (29, "gbp", "amount_too_small"),
        (100_000_000, "usd", "amount_too_large"),
        (1005, "kwd", "invalid_charge_amount"),
        (10_050, "isk", "invalid_charge_amount"),
        (1000, "xyz", None),
    ],
)
def test_amounts_that_stripe_does_not_charge_are_refused(till, amount, currency, code):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.pay(amount=amount, currency=currency)
    assert refused.value.code == code


# ---- 3-D Secure ------------------------------------------------------------------------------------------------
def test_a_customer_authenticates_some_minutes_later(till):
    waiting = till.pay("pm_card_authenticationRequired", return_url="https://example.com/back")
    assert (waiting.status, waiting.latest_charge) == ("requires_action", None)
    assert waiting.next_action.redirect_to_url.return_url == "https://example.com/back"
    assert not misfits(waiting)
    till.wait(601)
    paid = till.api.payment_intents.retrieve(waiting.id, {"expand": ["latest_charge"]})
    assert (paid.status, paid.next_action) == ("succeeded", None)
    assert paid.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"
    assert till.events("payment_intent") == [
        "payment_intent.created", "payment_intent.requires_action", "payment_intent.succeeded",
    ]  # fmt: skip


def test_authentication_can_end_in_a_decline_or_be_avoided_with_another_card(till):
    waiting = till.pay("pm_card_threeDSecureRequiredChargeDeclined")
    till.wait(601)
    after = till.api.payment_intents.retrieve(waiting.id)
    assert (after.status, after.last_payment_error.decline_code) == ("requires_payment_method", "generic_decline")
    waiting = till.pay("pm_card_threeDSecure2Required")
    assert till.api.payment_intents.confirm(waiting.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
    till.wait(601)
    assert len(till.api.charges.list({"payment_intent": waiting.id}).data) == 1


def test_without_the_customer_a_card_that_needs_authentication_is_declined(till):
    error = till.declined("pm_card_authenticationRequired", off_session=True).error
    assert (error.code, error.decline_code) == ("authentication_required", "authentication_required")
    refused = till.declined("pm_card_authenticationRequired", error_on_requires_action=True).error
    assert (refused.code, getattr(refused, "charge", None)) == ("authentication_required", None)


def test_authentication_is_asked_for(till):
    asked = {"card": {"request_three_d_secure": "any"}}
    waiting = till.pay("pm_card_visa", payment_method_options=asked)
    assert (waiting.status, waiting.payment_method_options.card.request_three_d_secure) == ("requires_action", "any")
    till.wait(601)
    assert till.api.payment_intents.retrieve(waiting.id).status == "succeeded"
    assert not misfits(waiting)


def test_a_customer_who_is_deleted_in_the_meantime_still_pays(till):
    customer = till.api.customers.create({"email": "ada@example.com"}).id
    waiting = till.pay("pm_card_authenticationRequired", customer=customer, setup_future_usage="off_session")
    debit = till.pay("pm_usBankAccount_success", customer=customer)
    setup = till.api.setup_intents.create(
        {"customer": customer, "payment_method": "pm_card_authenticationRequired", "confirm": True}
    )
    till.api.customers.delete(customer)
    till.wait(8 * DAY)
    assert till.api.payment_intents.retrieve(waiting.id).status == "succeeded"
    assert till.api.payment_intents.retrieve(debit.id).status == "succeeded"
    assert till.api.setup_intents.retrieve(setup.id).status == "succeeded"
    assert till.api.payment_methods.retrieve(waiting.payment_method).customer is None


def test_a_decline_is_told_in_the_published_envelope(till):
    for token in ("pm_card_chargeDeclined", "pm_card_radarBlock", "pm_usBankAccount_weeklyLimitExceeded"):
        body = till.declined(token).json_body
        if misfits({"object": "error"}):  # without the published schemas nothing is checked
            assert misfits({"object": "error", **body}) == ["unknown key object"]  # an error has no such field
        assert body["error"].keys() <= {
            "advice_code", "charge", "code", "decline_code", "doc_url", "message", "payment_intent", "payment_method",
            "type",
        }  # fmt: skip


# ---- holds -----------------------------------------------------------------------------------------------------
def held(till, amount=10_000):
    return till.pay(amount=amount, capture_method="manual")


def test_a_held_payment_is_captured_in_full(till):
    intent = held(till)
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("requires_capture", 10_000, 0)
    charge = till.api.charges.retrieve(intent.latest_charge)
    assert (charge.captured, charge.paid, charge.balance_transaction) == (False, True, None)
    assert charge.payment_method_details.card.capture_before == charge.created + 7 * DAY
    assert not misfits(intent) + misfits(charge)
    paid = till.api.payment_intents.capture(intent.id)
    assert (paid.status, paid.amount_capturable, paid.amount_received) == ("succeeded", 0, 10_000)
    till.wait(8 * DAY)
    assert till.api.charges.retrieve(intent.latest_charge).refunded is False


def test_a_part_is_captured_and_the_rest_released(till):
    intent = held(till)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.payment_intents.capture(intent.id, {"amount_to_capture": 10_001})
    assert refused.value.param == "amount_to_capture"
    paid = till.api.payment_intents.capture(intent.id, {"amount_to_capture": 6_000})
    charge = till.api.charges.retrieve(intent.latest_charge, {"expand": ["refunds"]})
    assert (paid.amount_received, charge.amount_captured, charge.amount_refunded, charge.refunded) == (
        6_000, 6_000, 4_000, False,
    )  # fmt: skip
    rows = till.api.balance_transactions.list({}).data
    assert sorted((row.reporting_category, row.amount, row.fee) for row in rows) == [
        ("charge", 10_000, 320), ("partial_capture_reversal", -4_000, -116),
    ]  # fmt: skip
    assert sum(row.net for row in rows) == 6_000 - (174 + 30)
    refund = charge.refunds.data[0]
    assert (refund.amount, refund.destination_details.card.type) == (4_000, "reversal")
    assert not misfits(charge) + misfits(refund)


def test_a_hold_expires_after_seven_days(till):
    intent = held(till)
    till.wait(7 * DAY + 1)
    after = till.api.payment_intents.retrieve(intent.id, {"expand": ["latest_charge.refunds"]})
    assert (after.status, after.amount_capturable) == ("canceled", 0)
    assert (after.latest_charge.refunded, after.latest_charge.amount_refunded) == (True, 10_000)
    refund = after.latest_charge.refunds.data[0]
    assert (refund.reason, refund.balance_transaction) == ("expired_uncaptured_charge", None)
    assert till.api.balance_transactions.list({}).data == []
    assert "charge.expired" in till.events("charge")


def test_a_hold_is_canceled(till):
    intent = held(till)
    after = till.api.payment_intents.cancel(intent.id, {"cancellation_reason": "requested_by_customer"})
    assert (after.status, after.cancellation_reason) == ("canceled", "requested_by_customer")
    assert till.api.charges.retrieve(intent.latest_charge).refunded
    assert till.events("charge", "payment_intent.canceled") == [
        "charge.succeeded", "charge.refunded", "payment_intent.canceled",
    ]  # fmt: skip


def test_money_of_a_bypass_card_is_available_at_once(till):
    paid = till.pay("pm_card_bypassPending", amount=5_000)
    row = till.row(till.api.charges.retrieve(paid.latest_charge).balance_transaction)
    assert (row.status, row.available_on) == ("available", NOW)
    assert till.api.balance.retrieve().available[0].amount == row.net
