"""Search, by Stripe's query language: https://docs.stripe.com/search"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import stripe

from dagster_project.simulator.http.search import searchable

PEOPLE: list[dict[str, Any]] = [
    {"name": "Ada Lovelace", "email": "ada@example.com", "metadata": {"tier": "gold", "donation-id": "7"}},
    {"name": "Bob Stone", "email": "Bob@Example.com", "metadata": {"tier": "silver"}},
    {"name": "Zoë \"Z\" Straße", "email": None, "metadata": {}},
    {"name": "Ada Byron", "email": "byron@example.org", "metadata": {"tier": "Gold"}},
]  # fmt: skip


@pytest.fixture(scope="module")
def people(shared):
    """Four customers, oldest first, a day apart."""
    made = []
    for number, person in enumerate(PEOPLE):
        fields = {"object": "customer", "created": 1_700_000_000 + number * 86_400, "phone": None}
        made.append(shared.store.insert({"id": f"cus_search{number}", **fields, **person}))
    yield shared
    for customer in made:
        shared.store.delete(customer["id"], None)


def searched(simulator, query: str, name: str = "customers", **params: Any) -> list[str]:
    service = getattr(simulator.client().v1, name)
    return [each.id for each in service.search({"query": query, **params}).data]


def numbers(simulator, query: str) -> list[int]:
    """The people found, in the order of the answer."""
    return [int(id.removeprefix("cus_search")) for id in searched(simulator, query)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('email:"ada@example.com"', [0]),
        ('email:"ADA@EXAMPLE.COM"', [0]),
        ("email:'bob@example.com'", [1]),
        ('email:"example.com"', []),
        ('email~"example.com"', [1, 0]),
        ('name~"ADA"', [3, 0]),
        ('-name~"ada"', [2, 1]),
        ('email:null', [2]),
        ('-email:null', [3, 1, 0]),
        ('name:"zoë \\"z\\" straße"', [2]),
        ('name~"STRASSE"', [2]),
        ('metadata["tier"]:"gold"', [3, 0]),
        ("metadata['tier']:'silver'", [1]),
        ('-metadata["tier"]:"gold"', [2, 1]),
        ('metadata["tier"]:null', [2]),
        ('-metadata["donation-id"]:null', [0]),
        ('metadata["donation-id"]:7', [0]),
        ("created>1700000000", [3, 2, 1]),
        ("created>=1700000000 created<1700086400", [0]),
        ("created:1700172800", [2]),
        ('created<="1700086400"', [1, 0]),
        ('name~"ada" AND metadata["tier"]:"gold" AND created>1700000000', [3]),
        ('name~"ada" email~"example.com"', [0]),
        ('email~"org" OR name:"bob stone"', [3, 1]),
        ('name~"bob" or -metadata["tier"]:"gold"', [2, 1]),
        ('  name~"ada"   and\temail~"org"  ', [3]),
        ('name~"AND"', []),
    ],
)  # fmt: skip
def test_a_query_finds_newest_first(people, query, expected):
    assert numbers(people, query) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ada", "unable to parse"),
        ("   ", "unable to parse"),
        ('name:"ada', "unable to parse"),
        ('name="ada"', "unable to parse"),
        ("name:ada", "unable to parse"),
        ('name:"a"email:"b"', "unable to parse"),
        ('(name:"a")', "unable to parse"),
        ('name:"a" AND', "unable to parse"),
        ('name:"a" NOT email:"b"', "unable to parse"),
        ('AND name:"a"', "unable to parse"),
        ('name:"a" AND email:"b" OR phone:"c"', "cannot combine AND and OR"),
        ('name:"a" email:"b" OR phone:"c"', "cannot combine AND and OR"),
        ('colour:"red"', "Field `colour` is an unsupported search field for resource `customers`"),
        ('metadata:"red"', "Field `metadata` is an unsupported search field"),
        ('name["x"]:"red"', "Field `name` is an unsupported search field"),
        ('name~"ad"', "at least 3 characters"),
        ('name>"ada"', "does not support the operator `>`"),
        ('metadata["a"]~"gold"', "does not support the operator `~`"),
        ('created~"170"', "does not support the operator `~`"),
        ('created>"soon"', "is numeric"),
        ("created>null", "compared with null"),
        (" ".join(['name:"a"'] * 51), "unable to parse"),
        ('name:"' + "\\" * 2000, "unable to parse"),
        ('metadata["' + "\\" * 2001 + '"]:"a', "unable to parse"),
    ],
)
def test_what_is_no_query_is_refused(people, query, message):
    with pytest.raises(stripe.InvalidRequestError, match=".*") as refused:
        searched(people, query)
    assert (refused.value.http_status, refused.value.param) == (400, "query")
    assert message in str(refused.value)


def test_the_answer_has_pages_of_its_own(people):
    client = people.client()
    first = client.v1.customers.search({"query": "created>0", "limit": 3})
    assert (first.object, first.url, first.has_more) == ("search_result", "/v1/customers/search", True)
    assert "total_count" not in first.to_dict()
    second = client.v1.customers.search({"query": "created>0", "limit": 3, "page": first.next_page})
    assert ([each.id for each in second.data], second.has_more, second.next_page) == (["cus_search0"], False, None)
    walked = client.v1.customers.search({"query": "created>0", "limit": 1}).auto_paging_iter()
    assert [each.id for each in walked] == [f"cus_search{number}" for number in (3, 2, 1, 0)]


def test_the_number_of_all_is_told_when_asked_for(people):
    result = people.client().v1.customers.search(
        {"query": 'name~"ada"', "limit": 1, "expand": ["total_count", "data.test_clock"]}
    )
    assert (result.total_count, len(result.data), result.has_more) == (2, 1, True)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "query"),
        ({"query": "created>0", "limit": 101}, "limit"),
        ({"query": "created>0", "limit": 0}, "limit"),
        ({"query": "created>0", "page": "x"}, "page"),
        ({"query": "created>0", "page": "ÿ"}, "page"),
        ({"query": "created>0", "starting_after": "cus_search0"}, "starting_after"),
        ({"query": "created>0", "expand": ["name"]}, "expand"),
    ],
)
def test_a_parameter_that_search_does_not_take_is_refused(people, params, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        people.client().v1.customers.search(params)
    assert (refused.value.http_status, refused.value.param) == (400, param)


def test_a_page_belongs_to_its_query(people):
    client = people.client()
    token = client.v1.customers.search({"query": "created>0", "limit": 1}).next_page
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.search({"query": "created>1", "page": token})
    assert refused.value.param == "page"


@pytest.mark.parametrize("name", [name for name, fields in searchable().items() if "created" in fields])
def test_a_search_by_time_finds_what_the_list_holds(business_to_read, name):
    """With what the list hides."""
    kind = name.removesuffix("s")
    rows = [json.loads(row) for row in business_to_read.store.page(kind, limit=100_000)[0]]
    middle = sorted(row["created"] for row in rows)[len(rows) // 2]
    walk = getattr(business_to_read.client().v1, name).search({"query": f"created>={middle}", "limit": 100})
    assert [each.id for each in walk.auto_paging_iter()] == [row["id"] for row in rows if row["created"] >= middle]


def test_charges_are_found_by_card_amount_and_state(business_to_read):
    rows = [json.loads(row) for row in business_to_read.store.page("charge", limit=100_000)[0]]
    card = next(row for row in rows if row["payment_method_details"]["type"] == "card")
    last4, brand = (card["payment_method_details"]["card"][name] for name in ("last4", "brand"))

    def cards(row: dict[str, Any]) -> dict[str, Any]:
        return row["payment_method_details"].get("card") or {}

    for query, expected in (
        (f"payment_method_details.card.last4:{last4}", [row for row in rows if cards(row).get("last4") == last4]),
        (f'payment_method_details.card.brand:"{brand}"', [row for row in rows if cards(row).get("brand") == brand]),
        (f"amount>{card['amount']}", [row for row in rows if row["amount"] > card["amount"]]),
        ('status:"failed"', [row for row in rows if row["status"] == "failed"]),
        ('refunded:"true"', [row for row in rows if row["refunded"]]),
        (f'customer:"{card["customer"]}" AND -status:"failed"',
         [row for row in rows if row["customer"] == card["customer"] and row["status"] != "failed"]),
    ):  # fmt: skip
        found = business_to_read.client().v1.charges.search({"query": query, "limit": 100}).auto_paging_iter()
        assert [each.id for each in found] == [row["id"] for row in expected], query


def test_invoices_are_found_by_their_subscription(business_to_read):
    rows = [json.loads(row) for row in business_to_read.store.page("invoice", limit=100_000)[0]]
    details = [
        (row["id"], ((row["parent"] or {}).get("subscription_details") or {}).get("subscription")) for row in rows
    ]
    subscription = next(named for _, named in details if named)
    found = searched(business_to_read, f'subscription:"{subscription}"', "invoices", limit=100)
    assert found == [id for id, named in details if named == subscription]


def test_inactive_prices_and_objects_of_test_clocks_are_found(account):
    store = account.store
    store.insert({"id": "clock_1", "object": "test_helpers.test_clock", "created": 1})
    store.insert({"id": "cus_1", "object": "customer", "created": 1, "test_clock": "clock_1", "name": "Clocked"})
    store.insert({"id": "price_1", "object": "price", "created": 1, "active": False, "currency": "usd"})
    assert searched(account, 'name:"clocked"') == ["cus_1"]
    assert searched(account, 'active:"false" currency:"USD"', "prices") == ["price_1"]


def test_what_is_new_is_searchable_after_a_while(account):
    client = account.client()
    account.control("faults", {"search_lag_s": 2})
    made = client.v1.customers.create({"name": "Ada"})
    assert client.v1.customers.retrieve(made.id).name == "Ada"
    assert searched(account, 'name:"ada"') == []
    time.sleep(2)
    assert searched(account, 'name:"ada"') == [made.id]


def test_all_searches_share_a_limit(account):
    account.control("faults", {"search_rate_limit": 2})
    answers = [account.raw(f"/v1/{name}/search?query=created%3E0") for name in ("customers", "charges", "invoices")]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[2][1]["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert account.raw("/v1/customers")[0] == 200


def test_a_deleted_customer_is_not_found(account):
    client = account.client()
    made = client.v1.customers.create({"name": "Ada"})
    client.v1.customers.delete(made.id)
    assert searched(account, 'name:"ada"') == []
