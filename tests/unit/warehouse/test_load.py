"""Loading landed files: rows, guards, tombstones, children, cursors."""

from __future__ import annotations

import itertools

import pytest
from warehouse_world import (
    ACCOUNT,
    Bench,
    at,
    charge,
    customer,
    embedded,
    event,
    item,
    subscription,
)

from dagster_project.errors import LandingError
from dagster_project.warehouse.load import load, load_version, loaded_files, read_cursors


def version(bench: Bench) -> int:
    with bench.warehouse.connect() as con:
        return load_version(con)


def test_columns_are_typed_and_the_payload_is_kept_as_sent(bench: Bench) -> None:
    sent = charge(
        "ch_1", customer={"id": "cus_1", "object": "customer"}, invoice_hint="unknown key", payment_intent="pi_1"
    )
    result = bench.load("charges", [sent], 60)
    assert (result.received, result.inserted, result.total) == (1, 1, 1)
    amount, created, expanded, plain, unknown, source, observed = bench.one(
        "select amount, created, customer, payment_intent, _payload ->> '$.invoice_hint', _source, _observed_at "
        "from stripe.charges"
    )
    assert (amount, created, expanded, plain) == (1000, at(0), "cus_1", "pi_1")
    assert (unknown, source, observed) == ("unknown key", "list", at(60))


def test_the_newest_observation_wins_in_every_order_of_loading(bench: Bench) -> None:
    pages = [(10, "a"), (20, "b"), (30, "b"), (25, "c")]
    orders = list(itertools.permutations(pages))
    with bench.warehouse.connect() as con:
        for step in range(len(pages)):
            batches = [
                bench.land("charges", [charge(f"ch_{number:02}", description=order[step][1])], order[step][0])
                for number, order in enumerate(orders)
            ]
            load(con, "charges", batches)
    found = bench.rows("select id, description, _observed_at from stripe.charges order by id")
    assert found == [(f"ch_{number:02}", "b", at(30)) for number in range(len(orders))]
    last = bench.rows("select distinct description from stripe.charges_history where valid_to is null")
    assert last == [("b",)]


def test_an_older_page_in_the_same_load_does_not_win(bench: Bench) -> None:
    late = bench.land("charges", [charge("ch_1", description="new")], 20)
    early = bench.land("charges", [charge("ch_1", description="old")], 10)
    bench.load_batches("charges", [late, early])
    assert bench.one("select description from stripe.charges") == "new"


def test_replaying_a_file_or_reading_the_same_again_changes_no_version(bench: Bench) -> None:
    batch = bench.land("charges", [charge("ch_1"), charge("ch_2")], 10)
    bench.load_batches("charges", [batch])
    before = version(bench)
    assert before == 1
    assert bench.load_batches("charges", [batch]).changes == 0
    assert bench.load("charges", [charge("ch_1"), charge("ch_2")], 50, "sweep").changes == 0
    assert version(bench) == before
    assert bench.rows("select count(*), max(_observed_at) from stripe.charges") == [(2, at(50))]
    assert bench.one("select count(*) from stripe.charges_history") == 2
    assert bench.load("charges", [charge("ch_2", amount=7)], 60).changed == 1
    assert version(bench) == before + 1


def test_a_tombstone_is_lifted_only_by_a_later_sight(bench: Bench) -> None:
    gone = {"id": "co_1", "object": "coupon", "deleted": True}
    coupon = {"id": "co_1", "object": "coupon", "created": 1767225600, "duration": "once", "percent_off": 12.5}
    bench.load("coupons", [coupon], 10)
    assert bench.load("coupons", [gone], 30, "absent").deleted == 1
    bench.load("coupons", [coupon | {"name": "stale"}], 20)
    bench.load("coupons", [coupon], 30)
    assert bench.one("select _deleted_at, name, percent_off::varchar from stripe.coupons") == (
        at(30),
        None,
        "12.500000000000",
    )
    bench.load("coupons", [coupon | {"name": "made again"}], 40)
    assert bench.one("select _deleted_at, name from stripe.coupons") == (None, "made again")


def test_a_tombstone_of_an_object_never_seen_keeps_its_older_page_out(bench: Bench) -> None:
    bench.load("customers", [{"id": "cus_1", "object": "customer", "deleted": True}], 30, "absent")
    bench.load("customers", [customer("cus_1")], 20)
    assert bench.one("select _deleted_at from stripe.customers") == at(30)


def test_accounts_do_not_meet(bench: Bench) -> None:
    bench.load("charges", [charge("ch_1", amount=1)], 10)
    bench.load("charges", [charge("ch_1", amount=2)], 20, account_id="acct_2")
    assert bench.rows("select account_id, amount from stripe.charges order by 1") == [(ACCOUNT, 1), ("acct_2", 2)]


def test_children_come_from_their_parent_and_a_complete_list_replaces_the_set(bench: Bench) -> None:
    first = subscription("sub_1", item("si_1", "sub_1"), item("si_2", "sub_1"))
    result = bench.load("subscriptions", [first], 10)
    assert result.children == {"subscription_items": 2}
    bench.load("subscriptions", [subscription("sub_1", item("si_2", "sub_1", quantity=5))], 20)
    assert bench.rows(
        "select id, subscription, quantity, _deleted_at, _observed_at from stripe.subscription_items order by id"
    ) == [
        ("si_1", "sub_1", 1, at(20), at(20)),
        ("si_2", "sub_1", 5, None, at(20)),
    ]


def test_a_list_that_goes_on_deletes_nothing_until_it_is_read_whole(bench: Bench) -> None:
    def line(id: str) -> dict[str, object]:
        return {"id": id, "object": "line_item", "amount": 1, "currency": "eur"}

    invoice = {"id": "in_1", "object": "invoice", "created": 1767225600, "status": "open"}
    bench.load("invoices", [invoice | {"lines": embedded(line("il_1"), line("il_2"))}], 10)
    bench.load("invoices", [invoice | {"lines": embedded(line("il_3"), has_more=True)}], 20)
    alive = "select list(id order by id) from stripe.invoice_line_items where _deleted_at is null and invoice = 'in_1'"
    assert bench.one(alive) == ["il_1", "il_2", "il_3"]
    bench.load("invoice_line_items", [line("il_3"), line("il_4")], 30, parent="in_1")
    assert bench.one(alive) == ["il_3", "il_4"]


def test_one_file_holds_the_complete_lists_of_several_parents_even_empty_ones(bench: Bench) -> None:
    def line(id: str) -> dict[str, object]:
        return {"id": id, "object": "line_item", "amount": 1, "currency": "eur"}

    rows = [line("il_1"), line("il_2"), line("il_3")]
    bench.load("invoice_line_items", rows, 10, requests=[{"parent": "in_1", "rows": 1}, {"parent": "in_2", "rows": 2}])
    assert bench.rows("select invoice, list(id order by id) from stripe.invoice_line_items group by 1 order by 1") == [
        ("in_1", ["il_1"]),
        ("in_2", ["il_2", "il_3"]),
    ]
    requests = [{"parent": "in_1", "rows": 0}, {"parent": "in_2", "rows": 1}]
    bench.load("invoice_line_items", [line("il_3")], 20, requests=requests)
    alive = "select list(id) from stripe.invoice_line_items where _deleted_at is null"
    assert bench.one(alive) == ["il_3"]


def test_a_discount_ends_when_what_it_applied_to_no_longer_shows_it(bench: Bench) -> None:
    discount = {
        "id": "di_1", "object": "discount", "customer": "cus_1", "subscription": "sub_1", "start": 1767225600,
        "source": {"type": "coupon", "coupon": "co_1"},
    }  # fmt: skip
    bench.load("subscriptions", [subscription("sub_1", item("si_1", "sub_1"), discounts=[discount])], 10)
    bench.load("customers", [customer("cus_1", discount=None)], 15)
    deleted = "select _deleted_at from stripe.discounts"
    assert bench.one(deleted) is None
    bench.load("subscriptions", [subscription("sub_1", item("si_1", "sub_1"), discounts=["di_1"])], 20)
    assert bench.one(deleted) is None
    bench.load("subscriptions", [subscription("sub_1", item("si_1", "sub_1"))], 30)
    assert bench.one(deleted) == at(30)
    invoice = {"id": "in_1", "object": "invoice", "created": 1767225600, "discounts": [discount], "lines": embedded()}
    bench.load("invoices", [invoice], 40)
    assert bench.one(deleted) == at(30)


def test_a_discount_is_there_or_gone_whatever_came_first(bench: Bench) -> None:
    """An invoice names it, and the subscription shows it, never did, or no longer does: loaded in every order.

    The time of its end is the same as long as pages of one object come in the order in which they were read.
    """

    def discount(id: str, sub: str) -> dict[str, object]:
        return {"id": id, "object": "discount", "customer": "cus_1", "subscription": sub, "start": 1767225600}

    pages = []
    for number in range(24):
        kept, past, lost = (discount(f"di_{what}{number}", f"sub_{what}{number}") for what in ("kept", "past", "lost"))
        subs = [subscription(f"sub_{what}{number}", discounts=[]) for what in ("kept", "past", "lost")]
        invoice = {"id": f"in_{number}", "object": "invoice", "created": 1767225600, "lines": embedded()}
        pages.append(
            [
                ("subscriptions", [subs[0] | {"discounts": [kept]}, subs[2] | {"discounts": [lost]}], 10),
                ("invoices", [invoice | {"discounts": [kept, past, lost]}], 20),
                ("subscriptions", [subs[0] | {"discounts": [kept]}, *subs[1:]], 30),
                ("invoices", [invoice | {"discounts": [kept, past, lost], "status": "paid"}], 40),
            ]
        )
    orders = list(itertools.permutations(range(4)))
    with bench.warehouse.connect() as con:
        for step in range(4):
            for object in ("subscriptions", "invoices"):
                chosen = [pages[n][order[step]] for n, order in enumerate(orders) if pages[n][order[step]][0] == object]
                load(con, object, [bench.land(*page) for page in chosen])
    ordered = [
        n for n, order in enumerate(orders) if order.index(0) < order.index(2) and order.index(1) < order.index(3)
    ]
    found = bench.rows(
        "select regexp_extract(id, '(kept|past|lost)') as what, "
        f"if(regexp_extract(id, '[0-9]+')::int in {tuple(ordered)}, _deleted_at, null), _deleted_at is null, count(*) "
        "from stripe.discounts group by all order by all"
    )
    assert found == [
        ("kept", None, True, 24),
        ("lost", at(30), False, 6),
        ("lost", None, False, 18),
        ("past", at(20), False, 6),
        ("past", None, False, 18),
    ]


def test_a_complete_list_without_rows_deletes_what_the_parent_had(bench: Bench) -> None:
    lines = [{"id": "il_1", "object": "line_item", "amount": 1}, {"id": "il_2", "object": "line_item", "amount": 1}]
    bench.load("invoice_line_items", lines, 10, parent="in_1")
    bench.load("invoice_line_items", [{"id": "il_9", "object": "line_item", "amount": 1}], 10, parent="in_2")
    result = bench.load("invoice_line_items", [], 20, parent="in_1")
    assert (result.received, result.deleted) == (0, 2)
    assert bench.rows("select id, _deleted_at from stripe.invoice_line_items order by id") == [
        ("il_1", at(20)),
        ("il_2", at(20)),
        ("il_9", None),
    ]
    bench.load("balance_transactions", [{"id": "t1", "object": "balance_transaction"}], 10, parent="po_1")
    bench.load("balance_transactions", [], 20, requests=[{"parent": "po_1", "rows": 0}])
    assert bench.rows("select * from sync.payout_transactions") == []


def test_an_empty_list_inside_its_parent_deletes_what_the_parent_had(bench: Bench) -> None:
    bench.load("subscriptions", [subscription("sub_1", item("si_1", "sub_1")), subscription("sub_2")], 10)
    result = bench.load("subscriptions", [subscription("sub_1")], 20)
    assert result.children == {"subscription_items": 1}
    assert bench.rows("select id, _deleted_at from stripe.subscription_items") == [("si_1", at(20))]
    assert bench.rows("select id, valid_to from stripe.subscription_items_history") == [("si_1", at(20))]


def test_an_older_page_of_the_parent_brings_no_removed_child_back(bench: Bench) -> None:
    both, one = [item("si_1", "sub_1"), item("si_2", "sub_1")], [item("si_2", "sub_1")]
    bench.load("subscriptions", [subscription("sub_1", *one)], 20)
    bench.load("subscriptions", [subscription("sub_1", *both)], 10)
    assert bench.rows("select id from stripe.subscription_items where _deleted_at is null") == [("si_2",)]
    bench.load("subscriptions", [subscription("sub_1", *both)], 30)
    bench.load("subscriptions", [subscription("sub_1", *one)], 40)
    bench.load("subscriptions", [subscription("sub_1", *both)], 35)
    assert bench.rows("select id from stripe.subscription_items where _deleted_at is null") == [("si_2",)]


def test_canceled_is_not_deleted(bench: Bench) -> None:
    bench.load("subscriptions", [subscription("sub_1", item("si_1", "sub_1"))], 10)
    ended = subscription("sub_1", item("si_1", "sub_1"), status="canceled", canceled_at=1767225620)
    bench.load("events", [event("evt_1", 20, "customer.subscription.deleted", ended)], 30, "event")
    bench.load("subscriptions", [ended], 31, "read")
    assert bench.rows("select status, _deleted_at from stripe.subscriptions") == [("canceled", None)]
    assert bench.rows("select id, _deleted_at from stripe.subscription_items") == [("si_1", None)]


def test_payout_batches_are_known_by_payout(bench: Bench) -> None:
    def movement(id: str) -> dict[str, object]:
        return {"id": id, "object": "balance_transaction", "amount": 1, "currency": "eur", "created": 1767225600}

    requests = [{"parent": "po_1", "rows": 2}, {"parent": "po_2", "rows": 1}]
    bench.load("balance_transactions", [movement("t1"), movement("t2"), movement("t3")], 10, requests=requests)
    assert bench.rows("select payout, balance_transaction from sync.payout_transactions order by 2") == [
        ("po_1", "t1"),
        ("po_1", "t2"),
        ("po_2", "t3"),
    ]


def test_rows_and_cursors_move_together_or_not_at_all(bench: Bench) -> None:
    good = bench.land("charges", [charge("ch_1")], 10)
    key = (ACCOUNT, True)
    bench.load_batches("charges", [good], cursors={key: {"high": 1}})
    bad = bench.land("charges", [charge("ch_2")], 20)
    bad.path.write_bytes(bad.path.read_bytes()[:-3])
    more = bench.land("charges", [charge("ch_3")], 30)
    with pytest.raises(LandingError, match="manifest says"):
        bench.load_batches("charges", [more, bad], cursors={key: {"high": 2}})
    with bench.warehouse.connect() as con:
        assert read_cursors(con, "charges") == {key: {"high": 1}}
        assert loaded_files(con) == {good.key}
        assert con.execute("select list(id) from stripe.charges").fetchall() == [(["ch_1"],)]


def test_a_file_that_is_no_json_names_the_object_and_leaves_nothing(bench: Bench) -> None:
    from dagster_project.stripe_api.landing import Landing

    broken = Landing(bench.folder / "landing").write(
        object="charges", account_id=ACCOUNT, livemode=True, source="list", observed_at=at(10),
        lines=[b'{"id":"ch_1","amount":1}', b"<html>"], requests=[], api_version="x",
    )  # fmt: skip
    with pytest.raises(LandingError, match=r"charges.*backfill charges"):
        bench.load_batches("charges", [broken])
    assert bench.rows("select id from stripe.charges") == []
