"""What events mark for another reading."""

from __future__ import annotations

import json
from typing import Any

from dagster_project.stripe_api import feed


def event(type_: str, about: dict[str, Any]) -> feed.Event:
    return feed.read(json.dumps({"id": "evt_1", "type": type_, "created": 1, "data": {"object": about}}).encode())


def test_an_event_marks_its_own_object_with_its_time() -> None:
    marked = feed.dirty([event("invoice.paid", {"object": "invoice", "id": "in_1", "created": 77})])
    assert marked == {"invoices": {"in_1": 77}}


def test_a_refund_marks_its_charge_expanded_or_not() -> None:
    for charge in ("ch_1", {"id": "ch_1", "object": "charge"}):
        marked = feed.dirty(
            [event("refund.created", {"object": "refund", "id": "re_1", "created": 5, "charge": charge})]
        )
        assert marked == {"refunds": {"re_1": 5}, "charges": {"ch_1": None}}


def test_what_was_only_noted_on_a_refund_is_no_news_of_its_charge() -> None:
    about = {"object": "refund", "id": "re_1", "created": 5, "charge": "ch_1"}
    for before, marks_charge in (
        ({"metadata": {"a": None}}, False),
        ({"metadata": {}, "status": "pending"}, True),
        ({}, True),
        (None, True),
    ):
        data = {"object": about, "previous_attributes": before}
        body = {"id": "evt_1", "type": "refund.updated", "created": 1, "data": data}
        marked = feed.dirty([feed.read(json.dumps(body).encode())])
        assert ("charges" in marked) is marks_charge and marked["refunds"] == {"re_1": 5}
    # A customer shows its tax ids, with what was noted on them.
    tax_id = {"object": "tax_id", "id": "txi_1", "customer": "cus_1"}
    body = {"id": "evt_1", "type": "customer.tax_id.updated", "created": 1,
            "data": {"object": tax_id, "previous_attributes": {"metadata": {}}}}  # fmt: skip
    assert feed.dirty([feed.read(json.dumps(body).encode())]) == {"customers": {"cus_1": None}}


def test_a_dispute_event_is_no_charge_event_though_its_type_begins_alike() -> None:
    marked = feed.dirty([event("charge.dispute.created", {"object": "dispute", "id": "dp_1", "charge": "ch_9"})])
    assert marked == {"disputes": {"dp_1": None}, "charges": {"ch_9": None}}


def test_a_discount_marks_who_has_it() -> None:
    about = {"object": "discount", "id": "di_1", "customer": "cus_1", "subscription": "sub_1"}
    marked = feed.dirty([event("customer.discount.created", about)])
    assert marked == {"customers": {"cus_1": None}, "subscriptions": {"sub_1": None}}


def test_the_preview_of_an_invoice_and_unknown_types_mark_nothing() -> None:
    assert feed.dirty([event("invoice.upcoming", {"object": "invoice", "id": "upcoming_in_1"})]) == {}
    assert feed.dirty([event("invoice.upcoming", {"object": "invoice"})]) == {}
    assert feed.dirty([event("moon.landed", {"object": "moon", "id": "m_1"})]) == {}
