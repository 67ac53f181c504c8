"""What refers to something that was deleted meanwhile: refused, or let be, and never the end of the clock."""

from __future__ import annotations

import pytest
import stripe

DAY = 86_400


def recurring(client) -> str:
    return client.v1.prices.create(
        {"currency": "usd", "unit_amount": 900, "recurring": {"interval": "month"}, "product_data": {"name": "Plan"}}
    ).id


def test_a_schedule_whose_price_was_deleted_does_not_start(account):
    client = account.client()
    customer, price = client.v1.customers.create({"name": "Ada"}).id, recurring(client)
    schedule = client.v1.subscription_schedules.create(
        {"customer": customer, "start_date": account.store.now + DAY, "phases": [{"items": [{"price": price}]}]}
    )
    client.v1.plans.delete(price)
    account.control("advance", {"days": 2})
    ended = client.v1.subscription_schedules.retrieve(schedule.id)
    assert (ended.status, ended.subscription) == ("canceled", None)
    assert client.v1.subscriptions.list({"customer": customer, "status": "all"}).data == []


def test_a_schedule_whose_next_price_was_deleted_lets_its_subscription_go(account):
    client = account.client()
    customer, price, following = client.v1.customers.create({"name": "Ada"}).id, recurring(client), recurring(client)
    day = account.store.now + DAY
    schedule = client.v1.subscription_schedules.create(
        {
            "customer": customer,
            "start_date": day,
            "default_settings": {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 30}},
            "phases": [
                {"items": [{"price": price}], "end_date": day + 10 * DAY},
                {"items": [{"price": following}], "end_date": day + 60 * DAY},
            ],
        }
    )
    account.control("advance", {"days": 3})
    client.v1.plans.delete(following)
    account.control("advance", {"days": 20})
    ended = client.v1.subscription_schedules.retrieve(schedule.id)
    assert ended.status == "released"
    subscription = client.v1.subscriptions.retrieve(str(ended.released_subscription))
    assert [each.price.id for each in subscription["items"].data] == [price]


def test_the_draft_of_a_deleted_customer_stays_one(account):
    client = account.client()
    customer = client.v1.customers.create({"name": "Ada"}).id
    client.v1.invoice_items.create({"customer": customer, "amount": 500, "currency": "usd"})
    draft = client.v1.invoices.create(
        {"customer": customer, "collection_method": "send_invoice", "days_until_due": 30, "auto_advance": True}
    ).id
    client.v1.customers.delete(customer)
    account.control("advance", {"days": 2})
    assert client.v1.invoices.retrieve(draft).status == "draft"
    with pytest.raises(stripe.InvalidRequestError, match="its customer was deleted"):
        client.v1.invoices.finalize_invoice(draft)


def test_what_lies_in_a_disconnected_account_is_out_of_reach(account):
    account.store.insert(
        {
            "id": "tr_1", "object": "transfer", "created": 1, "amount": 100, "amount_reversed": 0, "currency": "usd",
            "destination": "acct_gone", "destination_payment": "py_1", "metadata": {},
        }
    )  # fmt: skip
    with pytest.raises(stripe.PermissionError) as refused:
        account.client().v1.transfers.reversals.create("tr_1")
    assert refused.value.json_body["error"]["code"] == "account_invalid"


def test_a_control_call_that_fails_says_so_in_json(account, monkeypatch):
    def fail(to: int) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(account.world, "advance", fail)
    status, headers, body = account.raw("/_ledgerline/advance", "POST", b'{"days": 1}')
    assert (status, headers["Content-Type"], body["error"]["type"]) == (500, "application/json", "api_error")
    assert account.raw("/v1/charges")[0] == 200
    assert account.raw("/_ledgerline/status", "PUT")[0] == 405
