"""Fields that the pinned version does not know."""

from __future__ import annotations

from warehouse_world import ACCOUNT, Bench, at, charge, customer, embedded

DRIFT = "select object, field, first_seen, last_seen, rows, example from sync.drift order by object, field"


def test_every_unknown_field_is_kept_and_reported_however_rare(bench: Bench) -> None:
    rows = [charge(f"ch_{number:04}") for number in range(3000)]
    rows[1234]["mood"] = None
    rows[2000] |= {"mood": "glad", "colour": {"hue": 7}}
    bench.load("charges", rows, 10)
    assert bench.rows(DRIFT) == [
        ("charges", "colour", at(10), at(10), 1, "ch_2000"),
        ("charges", "mood", at(10), at(10), 2, "ch_1234"),
    ]
    assert bench.one("select _payload ->> '$.colour.hue' from stripe.charges where id = 'ch_2000'") == "7"


def test_later_loads_add_to_what_was_reported_and_accounts_stay_apart(bench: Bench) -> None:
    bench.load("charges", [charge("ch_1", mood=1)], 20)
    bench.load("charges", [charge("ch_2", mood=1), charge("ch_3", colour=1)], 30)
    bench.load("charges", [charge("ch_9", mood=1)], 10, account_id="acct_2")
    found = bench.rows("select account_id, field, first_seen, last_seen, rows, example from sync.drift order by all")
    assert found == [
        (ACCOUNT, "colour", at(30), at(30), 1, "ch_3"),
        (ACCOUNT, "mood", at(20), at(30), 2, "ch_2"),
        ("acct_2", "mood", at(10), at(10), 1, "ch_9"),
    ]


def test_an_object_inside_its_parent_is_looked_at_too_and_a_known_field_is_no_drift(bench: Bench) -> None:
    source = {"id": "ba_1", "object": "bank_account", "last4": "1234", "mood": "glad"}
    whole = customer("cus_1", sources=embedded(source), livemode=True)
    bench.load("customers", [whole], 10)
    bench.load("customers", [{"id": "cus_1", "object": "customer", "deleted": True}], 20, "absent")
    assert bench.rows(DRIFT) == [("customer_sources", "mood", at(10), at(10), 1, "ba_1")]
