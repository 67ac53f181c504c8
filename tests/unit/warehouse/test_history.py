"""Versions of objects: from events, from re-reads, and the same however they came."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

from warehouse_world import Bench, at, charge, customer, embedded, event, item, subscription, unix

from dagster_project.warehouse.rebuild import rebuild

Versions = list[tuple[Any, ...]]


def versions(bench: Bench, object: str, what: str = "id") -> Versions:
    return bench.rows(
        f"select {what}, valid_from, valid_to, _valid_from_is_exact "
        f"from stripe.{object}_history order by id, valid_from"
    )


def test_the_first_sight_starts_an_inexact_version_and_a_change_closes_it(bench: Bench) -> None:
    bench.load("customers", [customer("cus_1", email="a")], 10)
    bench.load("customers", [customer("cus_1", email="a")], 20)
    bench.load("customers", [customer("cus_1", email="b")], 30)
    assert versions(bench, "customers", "email") == [("a", at(10), at(30), False), ("b", at(30), None, False)]


def test_events_give_exact_versions_and_the_re_read_of_the_same_state_adds_none(bench: Bench) -> None:
    bench.load("customers", [customer("cus_1", email="a")], 10)
    changes = [
        event("evt_3", 25, "customer.updated", customer("cus_1", email="c"), email="b"),
        event("evt_2", 20, "customer.updated", customer("cus_1", email="b"), email="a"),
        event("evt_1", 5, "customer.created", customer("cus_1", email="a")),
    ]
    bench.load("events", changes, 30, "event")
    bench.load("customers", [customer("cus_1", email="c")], 31, "read")
    assert versions(bench, "customers", "email") == [
        ("a", at(5), at(20), True),
        ("b", at(20), at(25), True),
        ("c", at(25), None, True),
    ]
    assert bench.one("select count(*) from stripe.events") == 3


def test_an_event_and_a_read_of_one_version_are_one_row_although_the_read_is_expanded(bench: Bench) -> None:
    discount = {"id": "di_1", "object": "discount", "subscription": "sub_1", "source": {"coupon": "co_1"}}
    told = subscription("sub_1", item("si_1", "sub_1"), discounts=["di_1"])
    bench.load("events", [event("evt_1", 5, "customer.subscription.created", told)], 10, "event")
    bench.load("subscriptions", [told | {"discounts": [discount]}], 20, "read")
    assert versions(bench, "subscriptions") == [("sub_1", at(5), None, True)]
    assert versions(bench, "subscription_items") == [("si_1", at(5), None, True)]


def test_a_re_read_alone_finds_a_change_that_no_event_announced(bench: Bench) -> None:
    bench.load("events", [event("evt_1", 5, "charge.succeeded", charge("ch_1"))], 10, "event")
    bench.load("charges", [charge("ch_1", amount=7)], 20, "sweep")
    assert versions(bench, "charges", "amount") == [(1000, at(5), at(20), True), (7, at(20), None, False)]


def test_inside_one_second_the_event_listed_first_is_the_newest(bench: Bench) -> None:
    listed = [
        event("evt_2", 5, "charge.updated", charge("ch_1", description="late")),
        event("evt_1", 5, "charge.succeeded", charge("ch_1", description="early")),
    ]
    bench.load("events", listed, 10, "event")
    assert versions(bench, "charges", "description") == [("late", at(5), None, True)]


def test_inside_one_second_an_earlier_page_of_the_same_list_is_newer(bench: Bench) -> None:
    late = event("evt_2", 5, "charge.updated", charge("ch_1", description="late"))
    early = event("evt_1", 5, "charge.succeeded", charge("ch_1", description="early"))
    pages = [bench.land("events", [late], 10, "event"), bench.land("events", [early], 11, "event")]
    bench.load_batches("events", pages)
    assert versions(bench, "charges", "description") == [("late", at(5), None, True)]


def test_inside_one_second_the_order_of_many_pages_is_kept(bench: Bench) -> None:
    """Files are read side by side; of each object the first line of the list is the newest, whichever file has it."""
    pages = []
    for page in range(40):
        listed = [
            event(f"evt_{page}_{n}", 5, "charge.updated", charge(f"ch_{n}", description=f"page {page}"))
            for n in range(page % 7, 60)
        ]
        pages.append(bench.land("events", listed, 10 + page, "event"))
    bench.load_batches("events", pages)
    found = dict(bench.rows("select id, description from stripe.charges_history"))
    assert found == {f"ch_{n}": "page 0" for n in range(60)}


def test_items_follow_their_subscription_and_end_when_it_no_longer_holds_them(bench: Bench) -> None:
    def change(id: str, seconds: int, *items: dict[str, Any]) -> dict[str, Any]:
        return event(id, seconds, "customer.subscription.updated", subscription("sub_1", *items))

    one, two, more = item("si_1", "sub_1"), item("si_2", "sub_1"), item("si_2", "sub_1", quantity=4)
    bench.load("events", [change("e3", 30, more), change("e2", 20, one, more), change("e1", 10, one, two)], 40, "event")
    expected = [
        (("si_1", 1), at(10), at(30), True),
        (("si_2", 1), at(10), at(20), True),
        (("si_2", 4), at(20), None, True),
    ]

    def found() -> Versions:
        return [((id, n), *rest) for (id, n, *rest) in versions(bench, "subscription_items", "id, quantity")]

    assert found() == expected
    bench.load("subscriptions", [subscription("sub_1", more)], 41, "read")
    assert found() == expected
    bench.load("subscriptions", [subscription("sub_1", item("si_3", "sub_1"))], 50, "read")
    assert found()[2:] == [(("si_2", 4), at(20), at(50), True), (("si_3", 1), at(50), None, False)]


def test_versions_do_not_depend_on_the_order_in_which_they_came(bench: Bench) -> None:
    events = [
        event("evt_2", 20, "customer.updated", customer("cus_1", email="b"), email="a"),
        event("evt_1", 5, "customer.created", customer("cus_1", email="a")),
    ]
    bench.load("customers", [customer("cus_1", email="b")], 30)
    bench.load("events", events[:1], 31, "event")
    bench.load("customers", [customer("cus_1", email="a")], 12)
    bench.load("events", events[1:], 33, "event")
    assert versions(bench, "customers", "email") == [("a", at(5), at(20), True), ("b", at(20), None, True)]


def test_an_event_that_comes_late_does_not_hide_what_was_read_after_it(bench: Bench) -> None:
    bench.load("events", [event("evt_1", 5, "customer.created", customer("cus_1", email="a"))], 8, "event")
    bench.load("customers", [customer("cus_1", email="a")], 20)
    bench.load("events", [event("evt_2", 10, "customer.updated", customer("cus_1", email="b"))], 30, "event")
    expected = [("a", at(5), at(10), True), ("b", at(10), at(20), True), ("a", at(20), None, False)]
    assert versions(bench, "customers", "email") == expected
    bench.load("events", [event("evt_3", 15, "customer.updated", customer("cus_1", email="a"))], 40, "event")
    expected = [("a", at(5), at(10), True), ("b", at(10), at(15), True), ("a", at(15), None, True)]
    assert versions(bench, "customers", "email") == expected
    rebuild(bench.warehouse, bench.landing)
    assert versions(bench, "customers", "email") == expected


def test_an_event_of_an_old_version_has_the_pinned_shape_in_the_history(bench: Bench) -> None:
    old_item = {k: v for k, v in item("si_1", "sub_1").items() if not k.startswith("current_period")} | {
        "tax_rates": None
    }
    old = subscription(
        "sub_1", old_item, current_period_start=unix(0), current_period_end=unix(60), discount={"id": "di_1"}
    )
    del old["discounts"]
    invoice = {
        "id": "in_1",
        "object": "invoice",
        "subscription": "sub_1",
        "paid": True,
        "charge": "ch_1",
        "lines": embedded(),
    }
    promotion = {"id": "promo_1", "object": "promotion_code", "coupon": {"id": "co_1", "object": "coupon"}}
    bench.load(
        "events",
        [
            event("evt_3", 12, "promotion_code.created", promotion),
            event("evt_2", 11, "invoice.paid", invoice),
            event("evt_1", 10, "customer.subscription.updated", old),
        ],
        20,
        "event",
    )
    start, end = bench.one("select current_period_start, current_period_end from stripe.subscription_items_history")
    assert (start, end) == (at(0), at(60))
    shown = "discounts ->> '$[0].id', json_exists(_payload, '$.current_period_end'), status"
    assert bench.one(f"select {shown} from stripe.subscriptions_history") == ("di_1", False, "active")
    assert bench.one("select parent ->> '$.subscription_details.subscription' from stripe.invoices_history") == "sub_1"
    assert bench.one("select promotion ->> '$.coupon' from stripe.promotion_codes_history") == "co_1"
    assert bench.one("select _payload ->> '$.data.object.charge' from stripe.events where id = 'evt_2'") == "ch_1"


def test_what_was_seen_once_is_stored_once(bench: Bench) -> None:
    bench.load("charges", [charge("ch_1"), charge("ch_2")], 10)
    stored = "select (select count(*) from sync.single_charges), (select count(*) from sync.version_charges)"
    assert bench.one(stored) == (2, 0)
    bench.load("charges", [charge("ch_1", amount=7), charge("ch_2")], 20)
    assert bench.one(stored) == (1, 2)
    whole = "select id, amount, valid_from, valid_to, _source, _observed_at, _payload ->> '$.amount'"
    assert bench.rows(f"{whole} from stripe.charges_history order by id, valid_from") == [
        ("ch_1", 1000, at(10), at(20), "list", at(10), "1000"),
        ("ch_1", 7, at(20), None, "list", at(20), "7"),
        ("ch_2", 1000, at(10), None, "list", at(10), "1000"),
    ]
    hashes = bench.rows("select id, _content_hash, length(_content_hash) from stripe.charges_history")
    assert len(set(hashes)) == 3 and {length for *_, length in hashes} == {32}


def test_a_deletion_and_a_return_with_the_same_content_are_no_version(bench: Bench) -> None:
    bench.load("customers", [customer("cus_1")], 10)
    bench.load("customers", [{"id": "cus_1", "object": "customer", "deleted": True}], 20, "absent")
    assert versions(bench, "customers") == [("cus_1", at(10), None, False)]
    bench.load("customers", [customer("cus_1")], 30)
    assert versions(bench, "customers") == [("cus_1", at(10), None, False)]
    bench.load("customers", [customer("cus_1", email="new")], 40)
    assert versions(bench, "customers", "email") == [
        ("cus_1@example.com", at(10), at(40), False),
        ("new", at(40), None, False),
    ]


def test_intervals_of_one_object_neither_overlap_nor_leave_gaps(bench: Bench) -> None:
    texts = "abacca"
    events = [
        event(f"evt_{n}", 10 * n, "charge.updated", charge("ch_1", description=text)) for n, text in enumerate(texts)
    ]
    for part in (events[4:], events[:2], events[2:4]):
        bench.load("events", list(reversed(part)), 100, "event")
    rows = versions(bench, "charges", "description")
    assert [text for text, *_ in rows] == ["a", "b", "a", "c", "a"]
    edges: list[tuple[datetime, datetime]] = [(start, end) for _, start, end, _ in rows]
    assert all(end == following for (_, end), (following, _) in pairwise(edges))
    assert edges[-1][1] is None
