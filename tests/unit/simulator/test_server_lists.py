from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
import stripe

from dagster_project.simulator.http.endpoints import listings
from dagster_project.stripe_api.catalog import CATALOGUE


def charge(number: int, created: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"ch_{number:03d}", "object": "charge", "created": created, "customer": "cus_1", **fields}


def ids(page: Any) -> list[str]:
    return [each.id for each in page.data]


@pytest.fixture
def charges(account):
    """25 charges, of which 6 share each second."""
    for number in range(25):
        account.store.insert(charge(number, 1_700_000_000 + number // 6))
    return account


NEWEST_FIRST = [f"ch_{number:03d}" for number in reversed(range(25))]


@pytest.mark.parametrize("limit", [1, 4, 7, 100])
def test_auto_paging_gives_every_object_once_and_newest_first_though_seconds_are_shared(charges, limit):
    found = charges.client().v1.charges.list({"limit": limit}).auto_paging_iter()
    assert [each.id for each in found] == NEWEST_FIRST


def test_a_page_has_ten_objects_unless_asked_and_says_whether_more_follow(charges):
    client = charges.client()
    first = client.v1.charges.list()
    assert ids(first) == NEWEST_FIRST[:10]
    assert (first.has_more, first.url) == (True, "/v1/charges")
    assert not client.v1.charges.list({"limit": 25}).has_more


def test_ending_before_gives_the_page_next_to_the_cursor(charges):
    page = charges.client().v1.charges.list({"limit": 3, "ending_before": "ch_004"})
    assert ids(page) == ["ch_007", "ch_006", "ch_005"]
    assert page.has_more
    head = charges.client().v1.charges.list({"limit": 3, "ending_before": "ch_023"})
    assert (ids(head), head.has_more) == (["ch_024"], False)


@pytest.mark.parametrize(
    ("params", "param", "code"),
    [
        ({"limit": 0}, "limit", "parameter_invalid_integer"),
        ({"limit": 101}, "limit", "parameter_invalid_integer"),
        ({"limit": "ten"}, "limit", "parameter_invalid_integer"),
        ({"starting_after": "ch_gone"}, "starting_after", "resource_missing"),
        ({"ending_before": "ch_gone"}, "ending_before", "resource_missing"),
        ({"colour": "red"}, "colour", "parameter_unknown"),
        ({"created": {"after": 1}}, "created[after]", "parameter_unknown"),
        ({"expand": ["customer"]}, "expand", None),
        ({"expand": ["data.amount"]}, "expand", None),
        ({"expand": ["data.payment_intent.latest_charge.customer.default_source.owner"]}, "expand", None),
    ],
)
def test_a_parameter_that_stripe_would_refuse_is_refused(charges, params, param, code):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        charges.client().v1.charges.list(params)
    assert (refused.value.http_status, refused.value.param, refused.value.code) == (400, param, code)


def test_both_cursors_at_once_are_refused(charges):
    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        charges.client().v1.charges.list({"starting_after": "ch_001", "ending_before": "ch_002"})


@pytest.mark.parametrize(
    ("created", "numbers"),
    [
        (1_700_000_001, range(6, 12)),
        ({"gt": 1_700_000_003}, range(24, 25)),
        ({"gte": 1_700_000_003}, range(18, 25)),
        ({"gte": 1_700_000_001, "lt": 1_700_000_002}, range(6, 12)),
        ({"lte": 1_700_000_000}, range(6)),
        ({"lt": 1_700_000_000}, range(0)),
    ],
)
def test_created_is_exact_or_a_range(charges, created, numbers):
    found = charges.client().v1.charges.list({"created": created, "limit": 2}).auto_paging_iter()
    assert [each.id for each in found] == [f"ch_{number:03d}" for number in reversed(numbers)]


def test_a_filter_narrows_every_page(account):
    for number in range(30):
        account.store.insert(charge(number, 1_700_000_000 + number, customer=f"cus_{number % 3}", transfer_group="a"))
    client = account.client()
    for params in ({"customer": "cus_2"}, {"customer": "cus_2", "transfer_group": "a"}):
        found = [each.id for each in client.v1.charges.list({**params, "limit": 4}).auto_paging_iter()]
        assert found == [f"ch_{number:03d}" for number in reversed(range(2, 30, 3))]
    assert client.v1.charges.list({"transfer_group": "b"}).data == []


def test_paging_backwards_through_a_filter_that_reads_on_keeps_the_order(account):
    for number in range(30):
        account.store.insert(
            charge(number, 1_700_000_000 + number, transfer_group="even" if number % 2 == 0 else "odd")
        )
    page = account.client().v1.charges.list({"transfer_group": "even", "ending_before": "ch_004", "limit": 2})
    assert (ids(page), page.has_more) == (["ch_008", "ch_006"], True)


def test_a_cursor_that_was_deleted_is_refused(business):
    client = business.client()
    first = client.v1.customers.list({"limit": 1}).data[0]
    client.v1.customers.delete(first.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.list({"starting_after": first.id})
    assert refused.value.code == "resource_missing"


def get(business, path: str) -> dict[str, Any]:
    request = urllib.request.Request(business.base_url + path, headers={"Authorization": "Bearer sk_simulator"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_every_list_of_the_catalogue_is_answered():
    paths = {listing.path for listing in listings().values()}
    for stripe_object in CATALOGUE.values():
        if stripe_object.path and stripe_object.strategy != "singleton":
            assert stripe_object.path.replace("{parent}", "{id}").partition("?")[0] in paths, stripe_object.name


def test_every_listed_object_can_be_read_by_its_id(business):
    for listing in listings().values():
        if listing.parent or not listing.retrieve or listing.required:
            continue
        for row in get(business, f"{listing.path}?limit=3")["data"]:
            assert get(business, f"{listing.path}/{row['id']}") == row


def test_subscriptions_hide_canceled_ones_unless_asked(business):
    client = business.client()
    default = {each.status for each in client.v1.subscriptions.list({"limit": 100}).auto_paging_iter()}
    everything = [each.status for each in client.v1.subscriptions.list({"status": "all"}).auto_paging_iter()]
    ended = {each.status for each in client.v1.subscriptions.list({"status": "ended"}).auto_paging_iter()}
    assert "canceled" not in default
    assert "canceled" in everything
    assert ended == {"canceled"}
    with pytest.raises(stripe.InvalidRequestError, match="Invalid status"):
        client.v1.subscriptions.list({"status": "gone"})


def test_reviews_show_open_ones_only(account):
    for number, opened in enumerate((True, False)):
        account.store.insert({"id": f"prv_{number}", "object": "review", "created": 1, "open": opened})
    assert ids(account.client().v1.reviews.list()) == ["prv_0"]


def test_prices_hide_inactive_and_inline_ones_unless_asked(account):
    for number, active in enumerate((True, False)):
        account.store.insert({"id": f"price_{number}", "object": "price", "created": 1, "active": active})
    account.store.insert({"id": "price_2", "object": "price", "created": 1, "active": True}, source="inline")
    client = account.client()
    assert ids(client.v1.prices.list()) == ["price_0"]
    assert ids(client.v1.prices.list({"active": True})) == ["price_0"]
    assert client.v1.prices.retrieve("price_2").active
    assert ids(client.v1.prices.list({"active": False})) == ["price_1"]


def test_tax_ids_are_the_accounts_own_unless_a_customers_are_asked_for(business):
    client = business.client()
    assert client.v1.tax_ids.list().data == []
    owner = next(each.customer for each in _tax_ids(business))
    asked = client.v1.tax_ids.list({"owner": {"type": "customer", "customer": owner}})
    assert {each.customer for each in asked.data} == {owner}
    assert ids(client.v1.customers.tax_ids.list(owner)) == ids(asked)


def _tax_ids(business) -> list[Any]:
    return business.client().v1.tax_ids.list({"owner": {"type": "customer"}}).data


def test_embedded_lists_continue_at_their_url(business):
    store = business.store
    lines = [{"id": f"il_{number:02d}", "object": "line_item", "invoice": "in_long"} for number in range(23)]
    store.insert(
        {
            "id": "in_long", "object": "invoice", "created": 1, "customer": "cus_1",
            "lines": {"object": "list", "data": lines[:10], "has_more": True, "url": "/v1/invoices/in_long/lines"},
        }
    )  # fmt: skip
    for line in lines:
        store.insert(line, parent="in_long")
    invoice = business.client().v1.invoices.retrieve("in_long")
    assert [each.id for each in invoice.lines.auto_paging_iter()] == [line["id"] for line in lines]


def test_further_pages_of_an_embedded_list_stay_with_their_owner(account):
    store = account.store
    items = [{"id": f"si_{number:02d}", "object": "subscription_item", "subscription": "sub_1"} for number in range(33)]
    url = "/v1/subscription_items?subscription=sub_1"
    embedded = {"object": "list", "data": items[:10], "has_more": True, "url": url}
    store.insert({"id": "sub_1", "object": "subscription", "created": 1, "status": "active", "items": embedded})
    for item in [*items, {"id": "si_other", "object": "subscription_item", "subscription": "sub_2"}]:
        store.insert(item, parent=item["subscription"])
    subscription = account.client().v1.subscriptions.retrieve("sub_1")
    assert [each.id for each in subscription["items"].auto_paging_iter()] == [item["id"] for item in items]


def test_lists_that_are_left_out_appear_when_expanded_and_their_urls_work(business):
    client = business.client()
    paid = next(each for each in client.v1.invoices.list({"limit": 100}).data if each.amount_paid)
    assert "payments" not in paid
    payments = client.v1.invoices.retrieve(paid.id, {"expand": ["payments.data.payment.payment_intent"]}).payments
    assert payments.data[0].payment.payment_intent.object == "payment_intent"
    assert [each.id for each in payments.auto_paging_iter()] == ids(
        client.v1.invoice_payments.list({"invoice": paid.id})
    )
    customers = client.v1.customers.list({"limit": 100, "expand": ["data.subscriptions", "data.tax_ids"]}).data
    assert any(each.subscriptions.data for each in customers)
    assert any(each.tax_ids.data for each in customers)
    assert all(each.tax_ids.url == f"/v1/customers/{each.id}/tax_ids" for each in customers)


def test_expand_reaches_four_levels_and_changes_nothing_stored(business):
    client = business.client()
    before = business.store.page("refund", limit=1)[0]
    refund = client.v1.refunds.list(
        {"limit": 1, "expand": ["data.charge.payment_intent.latest_charge.balance_transaction"]}
    ).data[0]
    transaction = refund.charge.payment_intent.latest_charge.balance_transaction
    assert (transaction.object, transaction.source) == ("balance_transaction", refund.charge.id)
    assert business.store.page("refund", limit=1)[0] == before
    assert isinstance(client.v1.refunds.retrieve(refund.id).charge, str)


def test_a_price_expands_to_a_price_though_its_plan_has_the_same_id(business):
    item = business.client().v1.invoices.list({"limit": 1, "expand": ["data.lines.data.pricing.price_details.price"]})
    assert item.data[0].lines.data[0].pricing.price_details.price.object == "price"


def test_events_are_found_by_type_wildcard_and_list_of_types(business):
    client = business.client()
    everything = [each.type for each in client.v1.events.list({"limit": 100}).auto_paging_iter()]
    invoice = [each.type for each in client.v1.events.list({"type": "invoice.*", "limit": 100}).auto_paging_iter()]
    assert invoice == [each for each in everything if each.startswith("invoice.")]
    two = client.v1.events.list({"types": ["invoice.paid", "charge.succeeded"], "limit": 100}).auto_paging_iter()
    assert [each.type for each in two] == [each for each in everything if each in ("invoice.paid", "charge.succeeded")]
    for params in ({"type": "a", "types": ["b"]}, {"types": ["a"] * 21}, {"expand": ["data.data.object"]}):
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.events.list(params)


def test_the_account_and_its_balance_are_there(business):
    client = business.client()
    own = client.v1.accounts.retrieve_current()
    assert own.id.startswith("acct_")
    assert client.v1.accounts.list().data == []  # connected accounts only
    assert client.v1.accounts.retrieve(own.id).id == own.id
    assert {each.currency for each in client.v1.balance.retrieve().available}
    assert client.v1.accounts.external_accounts.list(own.id).data
