"""Payouts by schedule and on request, and top-ups, through Stripe's own client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine import accounts
from dagster_project.simulator.engine.business import DAY, HOUR
from dagster_project.simulator.engine.ledger import book
from tests.unit.simulator.conftest import Simulator
from tests.unit.simulator.money import batches, kept, summed

SUNDAY = 1_794_744_000  # where the empty account's clock stands: noon


@pytest.fixture
def funded(account: Simulator) -> Simulator:
    """An account with $1,000, of which $300 are available tomorrow, and $200 in Taiwan."""
    accounts.open_account(account.world, country="US", currencies=("usd", "twd", "eur"))
    book(account.world, "charge", "charge", "ch_1", 70_000, "usd")
    book(account.world, "charge", "charge", "ch_2", 30_000, "usd", available_on=SUNDAY // DAY * DAY + DAY)
    book(account.world, "charge", "charge", "ch_3", 20_050, "twd")
    return account


def refused(call: Callable[[], Any]) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call()
    return caught.value


def test_an_automatic_payout_equals_its_batch(funded: Simulator) -> None:
    client = funded.client()
    funded.control("advance", {"to": SUNDAY // DAY * DAY + DAY + HOUR})
    dollars, taiwan = sorted(client.v1.payouts.list().data, key=lambda row: row.currency, reverse=True)
    assert (dollars.amount, dollars.currency, dollars.status, dollars.automatic) == (100_000, "usd", "in_transit", True)
    assert (taiwan.amount, taiwan.currency) == (20_000, "twd")
    assert batches(funded.world) == {dollars.id: 100_000, taiwan.id: 20_000}
    rows = client.v1.balance_transactions.list({"payout": taiwan.id}).data
    assert [(row.type, row.net) for row in rows] == [
        ("payout", -20_000), ("payout_minimum_balance_hold", -50), ("charge", 20_050),
    ]  # fmt: skip
    assert summed(funded.world) == kept(funded.world) == {("available", "twd"): 50}
    funded.control("advance", {"days": 3})
    paid = client.v1.payouts.retrieve(dollars.id)
    assert (paid.status, paid.reconciliation_status) == ("paid", "completed")
    types = [event.type for event in client.v1.events.list({"limit": 100}).data if event.data.object["id"] == paid.id]
    assert types[::-1] == ["payout.created", "payout.paid", "payout.reconciliation_completed"]


def test_a_manual_payout_goes_through_its_states_and_is_not_itemised(funded: Simulator) -> None:
    client = funded.client()
    made = client.v1.payouts.create({"amount": 10_000, "currency": "usd", "metadata": {"why": "rent"}})
    assert (made.status, made.automatic, made.method, made.reconciliation_status) == (
        "pending", False, "standard", "not_applicable",
    )  # fmt: skip
    assert kept(funded.world)["available", "usd"] == 60_000
    error = refused(lambda: client.v1.balance_transactions.list({"payout": made.id}))
    assert str(error.user_message) == (
        "Balance transaction history can only be filtered on automatic transfers, not manual."
    )
    funded.control("advance", {"to": SUNDAY // DAY * DAY + DAY + HOUR // 2})
    assert client.v1.payouts.retrieve(made.id).status == "in_transit"
    assert set(batches(funded.world).values()) == {90_000, 20_000}  # what the manual one took is missing in it
    assert summed(funded.world) == kept(funded.world)
    funded.control("advance", {"days": 2})
    assert client.v1.payouts.retrieve(made.id).status == "paid"


def test_more_than_is_available_is_not_paid_out(funded: Simulator) -> None:
    error = refused(lambda: funded.client().v1.payouts.create({"amount": 70_001, "currency": "usd"}))
    assert (error.http_status, error.code) == (400, "balance_insufficient")
    assert not funded.client().v1.payouts.list().data


def test_a_payout_needs_a_bank_account_in_its_currency_and_whole_units(funded: Simulator) -> None:
    client = funded.client()
    error = refused(lambda: client.v1.payouts.create({"amount": 100, "currency": "gbp"}))
    assert "don't have any external accounts in that currency (gbp)" in str(error.user_message)
    assert refused(lambda: client.v1.payouts.create({"amount": 150, "currency": "twd"})).param == "amount"


def test_an_instant_payout_costs_a_fee_and_arrives_at_once(funded: Simulator) -> None:
    client = funded.client()
    most = {row.currency: row.amount for row in client.v1.balance.retrieve().instant_available}
    assert most["usd"] == 70_000
    made = client.v1.payouts.create({"amount": 10_000, "currency": "usd", "method": "instant"})
    row = client.v1.balance_transactions.retrieve(str(made.balance_transaction))
    assert (row.amount, row.fee, row.net) == (-10_000, 150, -10_150)
    assert kept(funded.world)["available", "usd"] == 59_850
    funded.control("advance", {"seconds": HOUR})
    assert client.v1.payouts.retrieve(made.id).status == "paid"
    error = refused(lambda: client.v1.payouts.create({"amount": 100, "currency": "twd", "method": "instant"}))
    assert error.code == "instant_payouts_currency_disabled"
    assert summed(funded.world) == kept(funded.world)


def test_a_pending_payout_can_be_canceled_once(funded: Simulator) -> None:
    client = funded.client()
    made = client.v1.payouts.create({"amount": 10_000, "currency": "usd"})
    canceled = client.v1.payouts.cancel(made.id)
    back = client.v1.balance_transactions.retrieve(str(canceled.failure_balance_transaction))
    assert (canceled.status, back.type, back.reporting_category, back.net) == (
        "canceled", "payout_cancel", "payout_reversal", 10_000,
    )  # fmt: skip
    assert kept(funded.world)["available", "usd"] == 70_000
    assert "pending" in str(refused(lambda: client.v1.payouts.cancel(made.id)).user_message)
    event = client.v1.events.list({"type": "payout.canceled"}).data[0]
    assert event.data.to_dict()["previous_attributes"] == {"status": "pending", "failure_balance_transaction": None}
    funded.control("advance", {"days": 3})
    assert client.v1.payouts.retrieve(made.id).status == "canceled"
    assert summed(funded.world) == kept(funded.world)


def test_a_payout_can_fail_after_it_was_paid(funded: Simulator) -> None:
    client = funded.client()
    made = client.v1.payouts.create({"amount": 10_000, "currency": "usd"})
    funded.world.meta["bank_fails"] = {made.destination: "account_closed"}
    funded.control("advance", {"days": 2})
    failed = client.v1.payouts.retrieve(made.id)
    back = client.v1.balance_transactions.retrieve(str(failed.failure_balance_transaction))
    assert (failed.status, failed.failure_code) == ("failed", "account_closed")
    assert (back.type, back.reporting_category, back.net, back.source) == (
        "payout_failure", "payout_reversal", 10_000, made.id,
    )  # fmt: skip
    types = [event.type for event in client.v1.events.list({"limit": 100}).data if event.data.object["id"] == made.id]
    assert types[::-1] == ["payout.created", "payout.updated", "payout.paid", "payout.failed"]
    assert summed(funded.world) == kept(funded.world)


def test_a_late_bank_moves_the_date_of_arrival(funded: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(funded.world.business, "payout_late", 1.0)
    client = funded.client()
    made = client.v1.payouts.create({"amount": 10_000, "currency": "usd"})
    funded.control("advance", {"to": made.arrival_date + 10 * HOUR})
    late = client.v1.payouts.retrieve(made.id)
    assert (late.status, late.arrival_date) == ("in_transit", made.arrival_date + 2 * DAY)
    funded.control("advance", {"days": 2})
    assert client.v1.payouts.retrieve(made.id).status == "paid"


def test_a_top_up_arrives_after_days_unless_it_is_canceled(funded: Simulator) -> None:
    client = funded.client()
    kept_one = client.v1.topups.create({"amount": 5_000, "currency": "usd", "description": "Float"})
    gone = client.v1.topups.create({"amount": 7_000, "currency": "usd"})
    assert client.v1.topups.cancel(gone.id).status == "canceled"
    assert (kept_one.status, kept_one.balance_transaction) == ("pending", None)
    funded.control("advance", {"days": 4})
    arrived = client.v1.topups.retrieve(kept_one.id)
    row = client.v1.balance_transactions.retrieve(str(arrived.balance_transaction))
    assert (arrived.status, row.type, row.net) == ("succeeded", "topup", 5_000)
    assert [row.status for row in client.v1.topups.list().data] == ["canceled", "succeeded"]
    assert summed(funded.world) == kept(funded.world)


def test_the_platform_s_own_schedule_and_minimum_balance(funded: Simulator) -> None:
    client = funded.client()
    assert client.v1.balance_settings.retrieve().to_dict()["payments"]["payouts"]["schedule"] == {"interval": "daily"}
    set_ = client.v1.balance_settings.update(
        {
            "payments": {
                "payouts": {
                    "statement_descriptor": "WEEKLY",
                    "minimum_balance_by_currency": {"usd": 25_000},
                    "schedule": {"interval": "weekly", "weekly_payout_days": ["tuesday", "thursday"]},
                }
            }
        }
    ).to_dict()["payments"]["payouts"]
    assert set_["minimum_balance_by_currency"] == {"usd": 25_000}
    assert set_["schedule"] == {"interval": "weekly", "weekly_payout_days": ["tuesday", "thursday"]}
    funded.control("advance", {"to": SUNDAY // DAY * DAY + DAY + HOUR})  # Monday
    assert not client.v1.payouts.list().data
    funded.control("advance", {"days": 1})
    dollars = next(row for row in client.v1.payouts.list().data if row.currency == "usd")
    assert (dollars.amount, dollars.statement_descriptor) == (75_000, "WEEKLY")
    assert batches(funded.world)[dollars.id] == 75_000
    assert kept(funded.world)["available", "usd"] == 25_000
    assert summed(funded.world) == kept(funded.world)
    off: Any = {"payments": {"payouts": {"schedule": {"interval": "manual"}}}}
    client.v1.balance_settings.update(off)
    book(funded.world, "charge", "charge", "ch_9", 90_000, "usd")
    funded.control("advance", {"days": 14})
    assert len([row for row in client.v1.payouts.list().data if row.currency == "usd"]) == 1
    error = refused(
        lambda: client.v1.balance_settings.update({"payments": {"payouts": {"schedule": {"interval": "weekly"}}}})
    )
    assert error.param == "payments[payouts][schedule][weekly_payout_days]"


def test_payouts_by_the_month_happen_on_its_days(funded: Simulator) -> None:
    client = funded.client()
    month: Any = {"payments": {"payouts": {"schedule": {"interval": "monthly", "monthly_payout_days": [31]}}}}
    client.v1.balance_settings.update(month)
    funded.control("advance", {"days": 14})
    assert not client.v1.payouts.list().data
    funded.control("advance", {"days": 3})  # 30 November 2026 is a Monday
    assert client.v1.payouts.list().data
