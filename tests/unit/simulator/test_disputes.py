"""Disputes: what is asked, taken, answered, given back or lost."""

from __future__ import annotations

import pytest
import stripe
from billing_cases import DAY, NOW, misfits
from test_payments import Till

FEE = 1500  # of a dispute in US dollars


@pytest.fixture
def till(account):
    return Till(account)


def disputed(till, token="pm_card_createDispute", amount=10_000):
    paid = till.pay(token, amount)
    return [till.api.disputes.retrieve(row.id) for row in till.api.disputes.list({"charge": paid.latest_charge})]


def answer(till, case, text, **more):
    return till.api.disputes.update(case.id, {"evidence": {"uncategorized_text": text}, **more})


def money(till):
    """Of everything but the charges themselves, and what was paid out."""
    rows = till.api.balance_transactions.list({"limit": 100}).data
    return sum(row.net for row in rows if row.type not in ("charge", "payout"))


def test_a_dispute_takes_the_money_and_a_fee_at_once(till):
    (case,) = disputed(till)
    assert (case.status, case.reason, case.amount, case.is_charge_refundable) == (
        "needs_response", "fraudulent", 10_000, False,
    )  # fmt: skip
    (row,) = case.balance_transactions
    assert (row.type, row.reporting_category, row.amount, row.fee, row.net) == (
        "adjustment", "dispute", -10_000, FEE, -10_000 - FEE,
    )  # fmt: skip
    assert till.api.charges.retrieve(case.charge).disputed
    assert case.payment_method_details.card.case_type == "chargeback"
    assert NOW + 13 * DAY < case.evidence_details.due_by < NOW + 15 * DAY
    assert till.events("charge.dispute") == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert not misfits(case)


def test_winning_evidence_brings_the_money_back(till):
    (case,) = disputed(till)
    sent = answer(till, case, "winning_evidence", metadata={"a": "1"})
    assert (sent.status, sent.evidence_details.submission_count, sent.evidence_details.has_evidence) == (
        "under_review", 1, True,
    )  # fmt: skip
    with pytest.raises(stripe.InvalidRequestError):
        answer(till, case, "more")
    till.wait(DAY + 1)
    won = till.api.disputes.retrieve(case.id)
    assert (won.status, won.metadata.to_dict()) == ("won", {"a": "1"})
    assert [row.reporting_category for row in won.balance_transactions] == ["dispute", "dispute_reversal"]
    assert money(till) == -FEE
    assert till.events("charge.dispute") == [
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated",
        "charge.dispute.funds_reinstated", "charge.dispute.closed",
    ]  # fmt: skip
    assert not misfits(won)


def test_losing_evidence_no_answer_and_acceptance_lose(till):
    (case,) = disputed(till)
    answer(till, case, "losing_evidence")
    till.wait(DAY + 1)
    assert till.api.disputes.retrieve(case.id).status == "lost"
    (case,) = disputed(till, "pm_card_createDisputeProductNotReceived")
    assert case.reason == "product_not_received"
    till.wait(16 * DAY)
    after = till.api.disputes.retrieve(case.id)
    assert (after.status, after.evidence_details.past_due) == ("lost", True)
    (case,) = disputed(till)
    closed = till.api.disputes.close(case.id)
    assert closed.status == "lost"
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        till.api.disputes.close(case.id)
    assert money(till) == 3 * (-10_000 - FEE)
    assert not misfits(after) + misfits(closed)


def test_evidence_is_kept_until_it_is_submitted(till):
    (case,) = disputed(till)
    kept = answer(till, case, "winning_evidence", submit=False)
    assert (kept.status, kept.evidence_details.submission_count) == ("needs_response", 0)
    sent = till.api.disputes.update(case.id, {"submit": True})
    assert (sent.status, sent.evidence.uncategorized_text) == ("under_review", "winning_evidence")
    till.wait(DAY + 1)
    assert till.api.disputes.retrieve(case.id).status == "won"


def test_an_inquiry_moves_no_money_and_can_be_settled_with_a_refund(till):
    (case,) = disputed(till, "pm_card_createDisputeInquiry")
    assert (case.status, case.balance_transactions, case.is_charge_refundable) == ("warning_needs_response", [], True)
    assert case.payment_method_details.card.case_type == "inquiry"
    till.api.refunds.create({"charge": case.charge})
    after = till.api.disputes.retrieve(case.id)
    assert after.status == "warning_closed"
    assert money(till) == -10_000
    assert not misfits(case) + misfits(after)


def test_an_inquiry_becomes_a_chargeback(till):
    (case,) = disputed(till, "pm_card_createDisputeInquiry")
    assert answer(till, case, "escalate_inquiry_evidence").status == "warning_under_review"
    till.wait(DAY + 1)
    grown = till.api.disputes.retrieve(case.id)
    assert (grown.status, len(grown.balance_transactions)) == ("needs_response", 1)
    assert grown.payment_method_details.card.case_type == "chargeback"
    assert money(till) == -10_000 - FEE
    assert not misfits(grown)
    answer(till, case, "winning_evidence")
    till.wait(DAY + 1)
    assert till.api.disputes.retrieve(case.id).status == "won"
    assert money(till) == -FEE


def test_an_inquiry_that_is_not_escalated_is_closed(till):
    (case,) = disputed(till, "pm_card_createDisputeInquiry")
    answer(till, case, "losing_evidence")
    till.wait(DAY + 1)
    assert till.api.disputes.retrieve(case.id).status == "warning_closed"
    assert money(till) == 0


def test_several_disputes_of_one_charge_are_about_its_parts(till):
    cases = disputed(till, "pm_card_createMultipleDisputes", 10_001)
    assert sorted(case.amount for case in cases) == [5_000, 5_001]
    answer(till, cases[0], "winning_evidence")
    till.wait(DAY + 1)
    till.api.disputes.close(cases[1].id)
    assert [till.api.disputes.retrieve(case.id).status for case in cases] == ["won", "lost"]
    assert money(till) == -cases[1].amount - 2 * FEE


def test_an_issuer_warns_of_fraud(till):
    paid = till.pay("pm_card_createIssuerFraudRecord")
    (warning,) = till.api.radar.early_fraud_warnings.list({"charge": paid.latest_charge}).data
    assert (warning.fraud_type, warning.actionable) == ("unauthorized_use_of_card", True)
    till.api.refunds.create({"charge": paid.latest_charge})
    assert till.api.radar.early_fraud_warnings.retrieve(warning.id).actionable is False
    assert till.events("radar") == ["radar.early_fraud_warning.created", "radar.early_fraud_warning.updated"]
    assert not misfits(warning)


def test_partial_repeated_and_announced_disputes_come_by_chance(account, monkeypatch):
    till = Till(account)
    paid = till.pay(amount=10_000)
    for name, value in (
        ("dispute_partial", 1.0), ("dispute_again", 1.0), ("fraud_warning", 1.0), ("dispute_inquiry", 0.0),
        ("dispute_fee_returned", True), ("dispute_won", 1.0), ("dispute_reasons", ("fraudulent",)),
    ):  # fmt: skip
        monkeypatch.setattr(account.world.business, name, value)
    account.control("dispute", {"charge": paid.latest_charge}, "POST")
    cases = till.api.disputes.list({"charge": paid.latest_charge}).data
    assert len(cases) == 2
    assert sum(case.amount for case in cases) == 10_000
    assert len(till.api.radar.early_fraud_warnings.list({}).data) == 1
    till.wait(61 * DAY)
    assert {case.status for case in till.api.disputes.list({}).data} == {"won"}
    assert money(till) == 0


def test_a_dispute_is_prevented_by_a_refund(account, monkeypatch):
    till = Till(account)
    paid = till.pay(amount=10_000)
    monkeypatch.setattr(account.world.business, "dispute_prevented", 1.0)
    account.control("dispute", {"charge": paid.latest_charge}, "POST")
    (case,) = till.api.disputes.list({}).data
    assert (case.status, case.balance_transactions, case.payment_method_details.card.case_type) == (
        "prevented", [], "resolution",
    )  # fmt: skip
    assert till.api.charges.retrieve(paid.latest_charge).refunded
    assert money(till) == -10_000
    assert not misfits(case)
