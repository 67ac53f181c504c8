"""Bank debits: days under way, refused early or late, disputed for good."""

from __future__ import annotations

import pytest
import stripe
from billing_cases import DAY, misfits
from test_payments import Till

WEEK = 7 * DAY


@pytest.fixture
def till(account):
    return Till(account)


def debit(till, name="success", amount=20_000, **more):
    return till.pay(f"pm_usBankAccount_{name}", amount, **more)


def rows(till):
    return sorted(
        (row.type, row.reporting_category, row.amount, row.fee)
        for row in till.api.balance_transactions.list({"limit": 100})
        if row.type != "payout"
    )


def test_a_debit_is_under_way_for_four_working_days(till):
    intent = debit(till)
    assert (intent.status, intent.amount_received) == ("processing", 0)
    charge = till.api.charges.retrieve(intent.latest_charge)
    assert charge.id.startswith("py_")
    assert (charge.status, charge.paid, charge.payment_method_details.type) == ("pending", False, "us_bank_account")
    row = till.row(charge.balance_transaction)
    assert (row.type, row.reporting_category, row.fee, row.status) == ("payment", "charge", 160, "pending")
    assert not misfits(intent) + misfits(charge)
    till.wait(4 * DAY - 60)  # from a Sunday on: Monday is the first of the four
    assert till.api.payment_intents.retrieve(intent.id).status == "processing"
    till.wait(60)
    paid = till.api.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert (paid.status, paid.amount_received, paid.latest_charge.status) == ("succeeded", 20_000, "succeeded")
    assert till.events("payment_intent", "charge") == [
        "payment_intent.created", "payment_intent.processing", "charge.pending", "charge.succeeded",
        "payment_intent.succeeded",
    ]  # fmt: skip
    till.wait(WEEK)
    assert till.row(charge.balance_transaction).status == "available"


@pytest.mark.parametrize(
    ("name", "code"),
    [("insufficientFunds", "insufficient_funds"), ("accountClosed", "account_closed"), ("noAccount", "no_account")],
)
def test_a_debit_fails_before_it_succeeded(till, name, code):
    intent = debit(till, name)
    till.wait(WEEK)
    after = till.api.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert (after.status, after.last_payment_error.code) == ("requires_payment_method", code)
    charge = after.latest_charge
    assert (charge.status, charge.failure_code, charge.paid) == ("failed", code, False)
    assert till.row(charge.failure_balance_transaction).reporting_category == "charge_failure"
    assert rows(till) == [
        ("payment", "charge", 20_000, 160),
        ("payment_failure_refund", "charge_failure", -20_000, -160),
    ]
    assert "charge.succeeded" not in till.events("charge")
    assert not misfits(after) + misfits(charge)


def test_a_debit_fails_after_it_had_succeeded(till):
    intent = debit(till, "lateFailure")
    till.wait(WEEK)
    assert till.api.payment_intents.retrieve(intent.id).status == "succeeded"
    till.wait(WEEK)
    after = till.api.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert (after.status, after.amount_received) == ("requires_payment_method", 0)
    assert (after.latest_charge.status, after.latest_charge.failure_code) == ("failed", "insufficient_funds")
    assert rows(till) == [("payment", "charge", 20_000, 160), ("payment_failure_refund", "charge_failure", -20_000, 0)]
    assert till.events("charge") == ["charge.pending", "charge.succeeded", "charge.failed"]
    assert not misfits(after.latest_charge)


def test_a_disputed_debit_is_lost_for_good(till):
    intent = debit(till, "dispute")
    till.wait(2 * WEEK)
    (case,) = till.api.disputes.list({"charge": intent.latest_charge}).data
    assert (case.status, case.reason) == ("lost", "debit_not_authorized")
    with pytest.raises(stripe.InvalidRequestError):
        till.api.disputes.update(case.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    assert ("adjustment", "dispute", -20_000, 1500) in rows(till)
    assert not misfits(case)


def test_a_debit_that_stays_under_way_is_canceled(till):
    intent = debit(till, "processing")
    till.wait(3 * WEEK)
    assert till.api.payment_intents.retrieve(intent.id).status == "processing"
    after = till.api.payment_intents.cancel(intent.id)
    assert after.status == "canceled"
    assert sum(row[2] - row[3] for row in rows(till)) == 0


def test_a_debit_is_refused_at_once(till):
    error = till.declined("pm_usBankAccount_weeklyLimitExceeded")
    assert error.code == "charge_exceeds_source_limit"
    assert rows(till) == []


def test_a_bank_account_is_made_from_its_numbers(till):
    account = {"account_number": "000111111113", "routing_number": "110000000", "account_holder_type": "company"}
    made = till.api.payment_methods.create(
        {"type": "us_bank_account", "us_bank_account": account, "billing_details": {"name": "Ada"}}
    )
    assert (made.us_bank_account.last4, made.us_bank_account.account_holder_type) == ("1113", "company")
    assert not misfits(made)
    intent = till.pay(made.id)
    till.wait(WEEK)
    assert till.api.payment_intents.retrieve(intent.id).last_payment_error.code == "account_closed"
    with pytest.raises(stripe.InvalidRequestError):
        till.pay(made.id, currency="eur")


def test_a_sepa_debit_is_in_euros(till):
    made = till.api.payment_methods.create(
        {"type": "sepa_debit", "sepa_debit": {"iban": "DE89370400440532013000"}, "billing_details": {"name": "Ada"}}
    )
    assert (made.sepa_debit.country, made.sepa_debit.last4) == ("DE", "3000")
    intent = till.pay(made.id, currency="eur")
    assert intent.status == "processing"
    till.wait(WEEK)
    after = till.api.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert (after.status, after.latest_charge.payment_method_details.type) == ("succeeded", "sepa_debit")
    assert not misfits(made) + misfits(after) + misfits(after.latest_charge)


def test_a_customer_permits_debits_with_a_mandate(till):
    customer = till.api.customers.create({}).id
    method = till.api.payment_methods.attach("pm_usBankAccount_success", {"customer": customer}).id
    online = {"ip_address": "192.0.2.1", "user_agent": "curl"}
    first = till.pay(
        method, customer=customer, mandate_data={"customer_acceptance": {"type": "online", "online": online}}
    )
    second = till.pay(method, customer=customer)
    ids = {
        till.api.charges.retrieve(each.latest_charge).payment_method_details.us_bank_account.mandate
        for each in (first, second)
    }
    assert len(ids) == 1
    mandate = till.api.mandates.retrieve(ids.pop())
    assert (mandate.status, mandate.payment_method, mandate.customer_acceptance.online.user_agent) == (
        "active", method, "curl",
    )  # fmt: skip
    assert not misfits(mandate)


def test_a_bank_account_is_given_with_the_payment(till):
    data = {
        "type": "sepa_debit",
        "sepa_debit": {"iban": "AT611904300234573201"},
        "billing_details": {"name": "Ada", "email": "ada@example.com"},
    }
    params = {"amount": 900, "currency": "eur", "payment_method_data": data}
    made = till.api.payment_intents.create({**params, "confirm": True})
    assert made.status == "processing"
    assert till.api.payment_methods.retrieve(made.payment_method).sepa_debit.country == "AT"
    assert till.api.payment_intents.create(params).status == "requires_confirmation"
    setup = till.api.setup_intents.create({"payment_method_data": data, "confirm": True})
    assert setup.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        till.api.payment_intents.create({**params, "payment_method": made.payment_method})


def test_a_disputed_debit_withdraws_the_mandate(till):
    customer = till.api.customers.create({}).id
    method = till.api.payment_methods.attach("pm_usBankAccount_dispute", {"customer": customer}).id
    online = {"ip_address": "192.0.2.1", "user_agent": "curl"}
    setup = till.api.setup_intents.create(
        {
            "customer": customer,
            "payment_method": method,
            "confirm": True,
            "mandate_data": {"customer_acceptance": {"type": "online", "online": online}},
        }
    )
    assert till.api.mandates.retrieve(setup.mandate).status == "active"
    till.pay(method, customer=customer)
    till.wait(2 * WEEK)
    after = till.api.mandates.retrieve(setup.mandate)
    assert after.status == "inactive"
    assert till.events("mandate") == ["mandate.updated"]
    assert not misfits(after) + misfits(setup)
