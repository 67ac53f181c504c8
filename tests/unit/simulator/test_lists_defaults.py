"""What lists show and hide, at the edges of windows and of what exists."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
import stripe


def ids(page: Any) -> list[str]:
    return [each.id for each in page.data]


def refusal(call: Any, *arguments: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        call(*arguments)
    return refused.value


@pytest.fixture
def charges(account):
    """Nine charges, three in each of three seconds."""
    for number in range(9):
        account.store.insert({"id": f"ch_{number}", "object": "charge", "created": 1_700_000_000 + number // 3})
    return account


# ---- windows and cursors -------------------------------------------------------------------------------------
def test_a_cursor_older_than_the_window_leaves_nothing(charges):
    page = charges.client().v1.charges.list({"created": {"gte": 1_700_000_001}, "starting_after": "ch_2"})
    assert (ids(page), page.has_more) == ([], False)


def test_a_cursor_newer_than_the_window_shows_all_of_it(charges):
    page = charges.client().v1.charges.list({"created": {"lte": 1_700_000_000}, "starting_after": "ch_7"})
    assert ids(page) == ["ch_2", "ch_1", "ch_0"]


def test_a_cursor_may_split_a_second(charges):
    client = charges.client()
    assert ids(client.v1.charges.list({"created": 1_700_000_001, "starting_after": "ch_5"})) == ["ch_4", "ch_3"]
    assert ids(client.v1.charges.list({"created": 1_700_000_001, "starting_after": "ch_3"})) == []


def test_a_cursor_that_a_filter_leaves_out_still_names_its_place(account):
    for number, customer in enumerate(("cus_a", "cus_b", "cus_a", "cus_b")):
        account.store.insert({"id": f"ch_{number}", "object": "charge", "created": 5, "customer": customer})
    assert ids(account.client().v1.charges.list({"customer": "cus_a", "starting_after": "ch_1"})) == ["ch_0"]


def test_a_cursor_of_another_kind_does_not_exist_here(charges):
    charges.store.insert({"id": "re_1", "object": "refund", "created": 1})
    refused = refusal(charges.client().v1.charges.list, {"starting_after": "re_1"})
    assert (refused.http_status, refused.code, refused.param) == (400, "resource_missing", "starting_after")


def test_a_cursor_deleted_between_pages_ends_the_walk_with_400(business):
    client = business.client()
    walk = client.v1.customers.list({"limit": 5}).auto_paging_iter()
    first_page = [next(walk) for _ in range(5)]
    client.v1.customers.delete(first_page[-1].id)
    refused = refusal(lambda: next(walk))
    assert (refused.http_status, refused.code) == (400, "resource_missing")
    assert first_page[-1].id in str(refused)


def test_new_objects_do_not_disturb_a_walk(business):
    client = business.client()
    before = [each.id for each in client.v1.customers.list({"limit": 100}).auto_paging_iter()]
    seen = []
    for number, customer in enumerate(client.v1.customers.list({"limit": 7}).auto_paging_iter()):
        seen.append(customer.id)
        if number % 5 == 0:
            client.v1.customers.create({"name": "New"})
    assert seen == before


def test_the_number_of_all_objects_is_not_told(charges):
    client = charges.client()
    assert refusal(client.v1.charges.list, {"expand": ["total_count"]}).param == "expand"
    assert refusal(client.v1.charges.list, {"include": ["total_count"]}).code == "parameter_unknown"


# ---- filters -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "param", "code"),
    [
        ("/v1/prices?recurring[colour]=red", "recurring[colour]", "parameter_unknown"),
        ("/v1/prices?recurring[interval]=hour", "recurring[interval]", None),
        ("/v1/tax_ids?owner[customer]=cus_1", "owner[type]", "parameter_missing"),
        ("/v1/tax_ids?owner[type]=nobody", "owner[type]", None),
        ("/v1/invoices?status=gone", "status", None),
        ("/v1/invoices?due_date[gte]=soon", "due_date[gte]", "parameter_invalid_integer"),
        ("/v1/subscriptions?automatic_tax[enabled]=maybe", "automatic_tax[enabled]", None),
        ("/v1/products?active=1", "active", None),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(shared, path, param, code):
    status, _, body = shared.raw(path)
    assert (status, body["error"].get("param"), body["error"].get("code")) == (400, param, code)


def test_the_words_that_a_filter_takes_are_said(shared):
    _, _, body = shared.raw("/v1/invoices?collection_method=x")
    assert body["error"]["message"] == (
        "Invalid collection_method: must be one of charge_automatically or send_invoice"
    )
    _, _, body = shared.raw("/v1/invoice_payments?status=x")
    assert body["error"]["message"] == "Invalid status: must be one of canceled, open, or paid"


def test_a_subscription_is_found_by_the_first_end_and_the_last_start_of_its_items(account):
    def item(start: int, end: int) -> dict[str, int]:
        return {"current_period_start": start, "current_period_end": end}

    account.store.insert(
        {
            "id": "sub_1", "object": "subscription", "created": 1, "status": "active",
            "items": {"object": "list", "data": [item(10, 40), item(20, 30)], "has_more": False, "url": "/v1/x"},
        }
    )  # fmt: skip
    subscriptions = account.client().v1.subscriptions
    assert ids(subscriptions.list({"current_period_end": 30})) == ["sub_1"]
    assert ids(subscriptions.list({"current_period_end": {"gt": 30}})) == []
    assert ids(subscriptions.list({"current_period_start": {"gte": 20}})) == ["sub_1"]
    assert ids(subscriptions.list({"current_period_start": {"lt": 20}})) == []


# ---- hidden unless asked for ---------------------------------------------------------------------------------
def test_what_lives_on_a_test_clock_is_hidden_unless_its_customer_or_clock_is_named(account):
    store = account.store
    client = account.client()
    on_clock = client.v1.test_helpers.test_clocks.create({"frozen_time": store.now}).id
    for name, clock in (("real", None), ("test", on_clock)):
        customer = f"cus_{name}"
        store.insert({"id": customer, "object": "customer", "created": 1, "test_clock": clock})
        fields: dict[str, Any] = {"created": 1, "customer": customer, "status": "open"}
        for kind, prefix in (("subscription", "sub"), ("quote", "qt"), ("invoice", "in"), ("charge", "ch")):
            own = {"test_clock": clock} if kind in ("subscription", "quote") else {}
            store.insert({"id": f"{prefix}_{name}", "object": kind, **fields, **own})
    v1 = client.v1
    services = ((v1.subscriptions, "sub"), (v1.quotes, "qt"), (v1.invoices, "in"), (v1.charges, "ch"))
    for service, prefix in services:
        assert ids(service.list()) == [f"{prefix}_real"]
        assert ids(service.list({"customer": "cus_test"})) == [f"{prefix}_test"]
        assert service.retrieve(f"{prefix}_test").id == f"{prefix}_test"
    assert ids(client.v1.customers.list()) == ["cus_real"]
    assert ids(client.v1.customers.list({"test_clock": on_clock})) == ["cus_test"]
    assert ids(client.v1.subscriptions.list({"test_clock": on_clock})) == ["sub_test"]


def test_a_deleted_customer_is_in_no_list_but_leaves_a_tombstone_and_its_charges(business):
    client = business.client()
    charge = next(each for each in client.v1.charges.list({"limit": 100}).data if each.customer)
    client.v1.customers.delete(charge.customer)
    assert charge.customer not in [each.id for each in client.v1.customers.list({"limit": 100}).auto_paging_iter()]
    tombstone = client.v1.customers.retrieve(charge.customer).to_dict()
    assert tombstone == {"id": charge.customer, "object": "customer", "deleted": True}
    assert client.v1.charges.retrieve(charge.id).customer == charge.customer
    assert charge.id in ids(client.v1.charges.list({"customer": charge.customer}))


def test_a_deleted_product_is_404(account):
    client = account.client()
    made = client.v1.products.create({"name": "Plan"})
    client.v1.products.delete(made.id)
    assert refusal(client.v1.products.retrieve, made.id).http_status == 404
    assert client.v1.products.list().data == []


# ---- paths ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_a_path_does_not_have_is_an_unrecognized_url(shared, method):
    connection = http.client.HTTPConnection(shared.base_url.removeprefix("http://"), timeout=10)
    connection.request(method, "/v1/charges", headers={"Authorization": "Bearer sk_test_1"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    if method == "BREW":  # no HTTP server takes it for a request
        assert (answer.status, body["error"]["type"]) == (400, "invalid_request_error")
    else:
        assert (answer.status, body["error"]["type"]) == (404, "invalid_request_error")
        assert f"({method}: /v1/charges)" in body["error"]["message"]


def test_head_has_no_body_and_no_list(shared):
    connection = http.client.HTTPConnection(shared.base_url.removeprefix("http://"), timeout=10)
    connection.request("HEAD", "/v1/charges", headers={"Authorization": "Bearer sk_test_1"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    connection.close()


def test_a_trailing_slash_is_explained(shared):
    status, _, body = shared.raw("/v1/customers/")
    assert status == 404
    assert "remove the trailing slash" in body["error"]["message"]


def test_an_id_may_contain_a_slash(account):
    client = account.client()
    client.v1.products.create({"name": "Plan", "id": "plans/team 1"})
    assert account.raw("/v1/products/plans%2Fteam%201")[2]["id"] == "plans/team 1"
    assert account.raw("/v1/products/plans/team%201")[0] == 404


def test_a_customer_that_comes_to_a_test_clock_later_is_hidden_too(account):
    client = account.client()
    clock = client.v1.test_helpers.test_clocks.create({"frozen_time": account.store.now}).id
    for number in range(3):
        fields = {"test_clock": clock} if number != 1 else {}
        customer = client.v1.customers.create({"name": "Ada", **fields}).id
        client.v1.invoice_items.create({"customer": customer, "amount": 500, "currency": "usd"})
        assert {each.customer for each in client.v1.invoice_items.list().data} <= {customer} or number == 2
        assert client.v1.invoice_items.list({"customer": customer}).data
    shown = {each.customer for each in client.v1.invoice_items.list().data}
    assert shown == {each.id for each in client.v1.customers.list().data}
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("owner", "name", "row"),
    [
        ("charge", "refunds", {"object": "refund", "charge": "own_1"}),
        ("customer", "tax_ids", {"object": "tax_id", "customer": "own_1"}),
        ("customer", "subscriptions", {"object": "subscription", "customer": "own_1", "status": "active"}),
        ("invoice", "payments", {"object": "invoice_payment", "invoice": "own_1"}),
    ],
)
def test_an_embedded_list_has_ten_objects_and_continues_at_its_url(account, owner, name, row):
    account.store.insert({"id": "own_1", "object": owner, "created": 1, "customer": "own_1"})
    for number in range(23):
        account.store.insert({"id": f"x_{number:02d}", "created": 1, **row})
    service = getattr(account.client().v1, f"{owner}s")
    embedded = getattr(service.retrieve("own_1", {"expand": [name]}), name)
    assert (len(embedded.data), embedded.has_more) == (10, True)
    assert [each.id for each in embedded.auto_paging_iter()] == [f"x_{number:02d}" for number in reversed(range(23))]
