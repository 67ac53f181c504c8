"""A platform and its connected accounts: each has a world of its own, and what passes between them ties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine import accounts, connect
from dagster_project.simulator.engine.business import DAY, HOUR
from dagster_project.simulator.engine.ledger import balance_object, book
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import Object, World
from tests.unit.simulator.conftest import Simulator
from tests.unit.simulator.money import batches, kept, summed
from tests.unit.simulator.test_world_shapes import definitions, faults

__all__ = ["definitions"]
NOON = 1_794_744_000


@pytest.fixture
def platform(account: Simulator) -> Simulator:
    """A platform in the US with $5,000."""
    accounts.open_account(account.world, name="Market", currencies=("usd",))
    book(account.world, "charge", "charge", "ch_0", 500_000, "usd")
    return account


def seller(platform: Simulator, country: str = "US", **more: Any) -> stripe.Account:
    bank = {"object": "bank_account", "country": country, "account_number": "000123456789"}
    wanted = {"card_payments": {"requested": True}, "transfers": {"requested": True}}
    given = {"type": "express", "country": country, "email": "shop@example.com", "external_account": bank, **more}
    made = platform.client().v1.accounts.create({**given, "capabilities": wanted})  # type: ignore[typeddict-item]
    idle(platform)
    return made


def idle(platform: Simulator) -> None:
    """Once this is answered, nothing of the calls before is under way: a test may use the store itself."""
    platform.client().v1.balance.retrieve()


def charged(world: World, amount: int, currency: str, **fields: Any) -> Object:
    """A charge that was booked as payments books it, with what connect adds."""
    made = world.add(
        "charge", "ch", amount=amount, amount_captured=amount, currency=currency, captured=True, paid=True,
        status="succeeded", fraud_details={}, **fields,
    )  # fmt: skip
    row = book(
        world, "charge", "charge", made["id"], amount, currency, processing="card", available_on=NOON + 3 * DAY,
        application_fee=fields.get("application_fee_amount") or 0,
    )  # fmt: skip
    world.change(made, None, balance_transaction=row["id"])
    connect.after_charge(world, made, None)
    return made


def refunded(world: World, charge: Object, amount: int, **options: bool) -> Object:
    back = world.add("refund", "re", amount=amount, currency=charge["currency"], charge=charge["id"], metadata={})
    row = book(world, "refund", "refund", back["id"], -amount, charge["currency"])
    world.change(back, None, balance_transaction=row["id"])
    connect.after_refund(world, back, charge, **options)
    world.change(charge, None, amount_refunded=charge["amount_refunded"] + amount)
    return back


def refused(call: Callable[[], Any]) -> stripe.StripeError:
    with pytest.raises(stripe.StripeError) as caught:
        call()
    return caught.value


def check(world: World, definitions: dict[str, Any]) -> None:
    """Every balance is the sum of its rows, every payout its batch, and every object has Stripe's shape."""
    for each in world.accounts():
        assert summed(each) == kept(each)
        amounts = {payout["id"]: payout["amount"] for payout in each.store.all("payout") if payout["automatic"]}
        assert batches(each) == amounts
        found: set[str] = set()
        for kind in each.store.counts():
            name = "bank_account" if kind == "external_account" else kind
            found |= faults(definitions, name, each.store.all(kind))
            if kind == "event":
                for event in each.store.all(kind):
                    told = event["data"]["object"]
                    found |= faults(definitions, told["object"], [told])
        assert not found
        assert not faults(definitions, "balance", [balance_object(each)])
    _check_pairs(world)


def _check_pairs(world: World) -> None:
    """Each transfer, reversal, application fee and refund of one is a row here and a row there."""
    for sent in world.store.all("transfer"):
        there = world.within(sent["destination"])
        here = world.the(sent["balance_transaction"])
        payment = there.the(sent["destination_payment"])
        assert (here["amount"], here["type"]) == (-sent["amount"], "transfer")
        assert (payment["amount"], payment["currency"], payment["source_transfer"]) == (
            sent["amount"], sent["currency"], sent["id"],
        )  # fmt: skip
        assert payment["amount_refunded"] == sent["amount_reversed"]
        reversals = [row for row in world.store.all("transfer_reversal") if row["transfer"] == sent["id"]]
        assert sum(row["amount"] for row in reversals) == sent["amount_reversed"]
        for back in reversals:
            refund = there.the(back["destination_payment_refund"])
            assert (refund["amount"], refund["charge"]) == (back["amount"], payment["id"])
            assert there.the(refund["balance_transaction"])["type"] == "payment_refund"
            assert world.the(back["balance_transaction"])["net"] == back["amount"]
    for fee in world.store.all("application_fee"):
        there = world.within(fee["account"])
        charge = there.the(fee["charge"])
        assert (charge["application_fee"], charge["application_fee_amount"]) == (fee["id"], fee["amount"])
        taken = there.the(charge["balance_transaction"])["fee_details"]
        assert len([part for part in taken if part["type"] == "application_fee"]) == 1
        returned = [row for row in world.store.all("fee_refund") if row["fee"] == fee["id"]]
        assert sum(row["amount"] for row in returned) == fee["amount_refunded"]


def test_a_connected_account_has_objects_of_its_own(platform: Simulator) -> None:
    client = platform.client()
    first, second = seller(platform), seller(platform, "DE")
    here = client.v1.customers.create({"name": "Of the platform"})
    there = client.v1.customers.create({"name": "Of the seller"}, {"stripe_account": first.id})
    assert [row.id for row in client.v1.customers.list().data] == [here.id]
    assert [row.id for row in client.v1.customers.list({}, {"stripe_account": first.id}).data] == [there.id]
    assert not client.v1.customers.list({}, {"stripe_account": second.id}).data
    assert refused(lambda: client.v1.customers.retrieve(there.id)).http_status == 404
    changed = client.v1.customers.update(there.id, {"name": "Renamed"}, {"stripe_account": first.id})
    assert changed.name == "Renamed"
    event = client.v1.events.list({"type": "customer.updated"}, {"stripe_account": first.id}).data[0]
    assert (event.account, event.to_dict()["data"]["previous_attributes"]) == (first.id, {"name": "Of the seller"})
    assert not client.v1.events.list({"type": "customer.updated"}).data


def test_the_same_id_can_exist_in_two_accounts(platform: Simulator) -> None:
    client, one = platform.client(), seller(platform).id
    client.v1.products.create({"id": "gold", "name": "Here"})
    client.v1.products.create({"id": "gold", "name": "There"}, {"stripe_account": one})
    assert client.v1.products.retrieve("gold").name == "Here"
    assert client.v1.products.retrieve("gold", {}, {"stripe_account": one}).name == "There"


def test_an_idempotency_key_counts_within_its_account(platform: Simulator) -> None:
    client, one = platform.client(), seller(platform).id
    options = {"idempotency_key": "once"}
    here = client.v1.customers.create({"name": "A"}, options)
    there = client.v1.customers.create({"name": "A"}, {**options, "stripe_account": one})
    assert here.id != there.id
    assert client.v1.customers.create({"name": "A"}, {**options, "stripe_account": one}).id == there.id


def test_an_account_that_is_not_connected_is_out_of_reach(platform: Simulator) -> None:
    client = platform.client()
    error = refused(lambda: client.v1.customers.list({}, {"stripe_account": "acct_nobody"}))
    assert error.error is not None
    assert (error.http_status, error.error.code) == (403, "account_invalid")
    assert refused(lambda: client.v1.accounts.retrieve("acct_nobody")).http_status == 403


def test_an_account_is_created_listed_changed_and_deleted(platform: Simulator, definitions: dict[str, Any]) -> None:
    client = platform.client()
    made = seller(platform, "DE", metadata={"tier": "gold"})
    assert (made.type, made.country, made.default_currency, made.charges_enabled, made.payouts_enabled) == (
        "express", "DE", "eur", True, True,
    )  # fmt: skip
    assert [row.id for row in client.v1.accounts.list().data] == [made.id]
    assert client.v1.accounts.retrieve_current().id == platform.world.id_of_account
    assert client.v1.accounts.retrieve_current({}, {"stripe_account": made.id}).id == made.id
    schedule = {"interval": "weekly", "weekly_anchor": "friday"}
    changed = client.v1.accounts.update(
        made.id, {"metadata": {"tier": "silver"}, "settings": {"payouts": {"schedule": schedule}}}
    )
    assert changed.to_dict()["settings"]["payouts"]["schedule"] == {"delay_days": 2, **schedule}
    told = client.v1.events.list({"type": "account.updated"}, {"stripe_account": made.id}).data[0]
    assert told.to_dict()["data"]["previous_attributes"]["metadata"] == {"tier": "gold"}
    check(platform.world, definitions)
    gone = client.v1.accounts.delete(made.id)
    assert gone.deleted
    assert not client.v1.accounts.list().data
    assert refused(lambda: client.v1.balance.retrieve({}, {"stripe_account": made.id})).http_status == 403
    platform.control("advance", {"days": 3})


def test_an_account_with_money_is_not_deleted(platform: Simulator) -> None:
    client, one = platform.client(), seller(platform).id
    client.v1.transfers.create({"amount": 100, "currency": "usd", "destination": one})
    assert "non-zero balance" in str(refused(lambda: client.v1.accounts.delete(one)).user_message)


def test_a_transfer_leaves_here_and_arrives_there(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform).id
    sent = client.v1.transfers.create(
        {"amount": 10_000, "currency": "usd", "destination": one, "transfer_group": "order 7"}
    )
    payment = client.v1.charges.retrieve(str(sent.destination_payment), {}, {"stripe_account": one})
    row = client.v1.balance_transactions.retrieve(str(payment.balance_transaction), {}, {"stripe_account": one})
    assert payment.id.startswith("py_")
    assert (row.type, row.reporting_category, row.amount, row.net) == ("payment", "charge", 10_000, 10_000)
    assert client.v1.balance.retrieve().available[0].amount == 490_000
    assert client.v1.balance.retrieve({}, {"stripe_account": one}).available[0].amount == 10_000
    assert client.v1.events.list({"type": "transfer.created"}).data[0].data.object["id"] == sent.id
    assert [row.id for row in client.v1.transfers.list({"transfer_group": "order 7"}).data] == [sent.id]
    check(platform.world, definitions)


def test_a_platform_is_no_destination_of_its_own(platform: Simulator) -> None:
    client, own = platform.client(), platform.world.id_of_account
    given: Any = {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    error = refused(lambda: client.v1.payment_intents.create({**given, "transfer_data": {"destination": own}}))
    assert (error.http_status, error.code) == (400, "resource_missing")
    error = refused(lambda: client.v1.transfers.create({"amount": 500, "currency": "usd", "destination": own}))
    assert (error.http_status, error.code) == (400, "resource_missing")


def test_what_lies_in_the_other_account_can_be_expanded(platform: Simulator) -> None:
    client, one = platform.client(), seller(platform).id
    sent = client.v1.transfers.create(
        {"amount": 10_000, "currency": "usd", "destination": one, "expand": ["destination_payment", "destination"]}
    ).to_dict()
    assert sent["destination_payment"]["source_transfer"] == sent["id"]
    assert sent["destination"]["object"] == "account"
    payment = client.v1.charges.retrieve(
        sent["destination_payment"]["id"], {"expand": ["source_transfer"]}, {"stripe_account": one}
    )
    assert payment.to_dict()["source_transfer"]["id"] == sent["id"]
    payout = client.v1.payouts.create(
        {"amount": 100, "currency": "usd", "expand": ["destination"]}, {"stripe_account": one}
    )
    assert payout.to_dict()["destination"]["object"] == "bank_account"


def test_a_transfer_into_another_currency_is_converted_there(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform, "JP").id
    sent = client.v1.transfers.create({"amount": 10_000, "currency": "usd", "destination": one})
    payment = platform.world.within(one).the(str(sent.destination_payment))
    row = platform.world.within(one).the(payment["balance_transaction"])
    assert (row["currency"], row["amount"]) == ("jpy", round(100 * row["exchange_rate"]))
    check(platform.world, definitions)


def test_more_than_is_available_is_not_transferred(platform: Simulator) -> None:
    client, one = platform.client(), seller(platform).id
    given = {"amount": 500_001, "currency": "usd", "destination": one}
    assert refused(lambda: client.v1.transfers.create(given)).code == "balance_insufficient"
    assert refused(lambda: client.v1.transfers.create({**given, "amount": 5, "currency": "eur"})).http_status == 400
    error = refused(lambda: client.v1.transfers.create({**given, "amount": 5, "destination": "acct_nobody"}))
    assert error.code == "resource_missing"


def test_eleven_reversals_show_ten_and_a_list_of_all(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform).id
    sent = client.v1.transfers.create({"amount": 12_000, "currency": "usd", "destination": one})
    for _ in range(11):
        last = client.v1.transfers.reversals.create(sent.id, {"amount": 1_000})
    shown = client.v1.transfers.retrieve(sent.id)
    assert (shown.amount_reversed, shown.reversed) == (11_000, False)
    assert (len(shown.reversals.data), shown.reversals.has_more) == (10, True)
    assert shown.reversals.data[0].id == last.id
    assert len(list(client.v1.transfers.reversals.list(sent.id, {"limit": 4}).auto_paging_iter())) == 11
    assert refused(lambda: client.v1.transfers.reversals.create(sent.id, {"amount": 1_001})).param == "amount"
    client.v1.transfers.reversals.create(sent.id)
    assert client.v1.transfers.retrieve(sent.id).reversed
    assert len(client.v1.events.list({"type": "transfer.reversed", "limit": 100}).data) == 12
    assert client.v1.balance.retrieve({}, {"stripe_account": one}).available[0].amount == 0
    check(platform.world, definitions)


def test_money_of_a_charge_can_be_sent_before_it_is_available(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform).id
    charge = charged(platform.world, 8_000, "usd")
    given = {"currency": "usd", "destination": one, "source_transaction": charge["id"]}
    sent = client.v1.transfers.create({**given, "amount": 5_000})
    assert sent.transfer_group == f"group_{charge['id']}"
    assert refused(lambda: client.v1.transfers.create({**given, "amount": 3_001})).param == "amount"
    assert kept(platform.world.within(one)) == {("pending", "usd"): 5_000}
    check(platform.world, definitions)
    platform.control("advance", {"to": NOON // DAY * DAY + 4 * DAY + HOUR})  # available, then paid out
    assert not kept(platform.world.within(one))
    assert client.v1.payouts.list({}, {"stripe_account": one}).data[0].amount == 5_000
    check(platform.world, definitions)


def test_a_direct_charge_pays_the_platform_a_fee(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform).id
    there = platform.world.within(one)
    charge = charged(there, 10_000, "usd", application_fee_amount=1_000)
    row = there.the(charge["balance_transaction"])
    assert [(part["type"], part["amount"]) for part in row["fee_details"]] == [
        ("stripe_fee", 320), ("application_fee", 1_000),
    ]  # fmt: skip
    fee = client.v1.application_fees.list({"charge": charge["id"]}).data[0]
    earned = client.v1.balance_transactions.retrieve(str(fee.balance_transaction))
    assert (fee.amount, fee.account, fee.originating_transaction) == (1_000, one, None)
    assert (earned.type, earned.reporting_category, earned.net) == ("application_fee", "platform_earning", 1_000)
    refunded(there, charge, 5_000, refund_application_fee=True)
    assert client.v1.application_fees.retrieve(fee.id).amount_refunded == 500
    client.v1.application_fees.refunds.create(fee.id, {"amount": 100})
    after = client.v1.application_fees.retrieve(fee.id)
    assert (after.amount_refunded, after.refunded, len(after.refunds.data)) == (600, False, 2)
    assert refused(lambda: client.v1.application_fees.refunds.create(fee.id, {"amount": 401})).param == "amount"
    told = client.v1.events.list({"type": "application_fee.refunded"}).data[0]
    assert told.to_dict()["data"]["previous_attributes"]["amount_refunded"] == 500
    assert sum(kept(there).values()) == 10_000 - 320 - 1_000 - 5_000 + 600
    check(platform.world, definitions)


def test_the_platform_pays_the_fees_where_it_is_their_payer(platform: Simulator, definitions: dict[str, Any]) -> None:
    parts = {
        "fees": {"payer": "application"}, "losses": {"payments": "application"},
        "requirement_collection": "application", "stripe_dashboard": {"type": "none"},
    }  # fmt: skip
    wanted = {"card_payments": {"requested": True}, "transfers": {"requested": True}}
    made = platform.client().v1.accounts.create({"country": "US", "controller": parts, "capabilities": wanted})
    assert made.type == "none"
    idle(platform)
    there, before = platform.world.within(made.id), kept(platform.world)["available", "usd"]
    charge = charged(there, 10_000, "usd", application_fee_amount=1_000)
    row = there.the(charge["balance_transaction"])
    assert [(part["type"], part["amount"]) for part in row["fee_details"]] == [("application_fee", 1_000)]
    paid = platform.world.store.all("balance_transaction")[-2]
    assert (paid["type"], paid["reporting_category"], paid["net"]) == ("stripe_fee", "fee", -320)
    assert kept(platform.world)["available", "usd"] == before
    check(platform.world, definitions)


def test_an_instant_payout_of_an_express_account_costs_the_platform(
    platform: Simulator, definitions: dict[str, Any]
) -> None:
    client, one = platform.client(), seller(platform).id
    client.v1.transfers.create({"amount": 10_000, "currency": "usd", "destination": one})
    made = client.v1.payouts.create({"amount": 10_000, "currency": "usd", "method": "instant"}, {"stripe_account": one})
    own = client.v1.balance_transactions.retrieve(str(made.balance_transaction), {}, {"stripe_account": one})
    assert (own.fee, own.net) == (0, -10_000)
    assert client.v1.balance_transactions.list({"type": "stripe_fee"}).data[0].net == -150
    check(platform.world, definitions)


def test_a_destination_charge_passes_the_money_on(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform, "DE").id
    there = platform.world.within(one)
    charge = charged(
        platform.world, 10_000, "usd", application_fee_amount=1_230,
        transfer_data={"amount": None, "destination": one},
    )  # fmt: skip
    sent = client.v1.transfers.retrieve(charge["transfer"])
    assert (sent.amount, sent.source_transaction, sent.transfer_group) == (
        10_000, charge["id"], f"group_{charge['id']}",
    )  # fmt: skip
    payment = there.the(str(sent.destination_payment))
    row = there.the(payment["balance_transaction"])
    assert row["currency"] == "eur"
    assert [part["type"] for part in row["fee_details"]] == ["application_fee"]
    fee = client.v1.application_fees.list().data[0]
    assert (fee.charge, fee.originating_transaction, fee.amount) == (payment["id"], charge["id"], 1_230)
    before = summed(platform.world)["available", "usd"] + summed(platform.world)["pending", "usd"]
    assert before == 500_000 + 1_230 - 320
    back = refunded(platform.world, charge, 4_000, reverse_transfer=True, refund_application_fee=True)
    reversal = client.v1.transfers.reversals.retrieve(sent.id, back["transfer_reversal"])
    assert (reversal.amount, reversal.source_refund) == (4_000, back["id"])
    assert client.v1.application_fees.retrieve(fee.id).amount_refunded == 492
    check(platform.world, definitions)


def test_a_destination_charge_can_pass_on_a_part(platform: Simulator, definitions: dict[str, Any]) -> None:
    one = seller(platform).id
    charge = charged(platform.world, 10_000, "usd", transfer_data={"amount": 8_770, "destination": one})
    assert platform.world.the(charge["transfer"])["amount"] == 8_770
    assert kept(platform.world.within(one)) == {("pending", "usd"): 8_770}
    assert not platform.world.store.all("application_fee")
    check(platform.world, definitions)


def test_connected_accounts_are_paid_out_by_their_own_schedule(
    platform: Simulator, definitions: dict[str, Any]
) -> None:
    client = platform.client()
    daily, weekly, manual = seller(platform), seller(platform), seller(platform)
    for one, schedule in (
        (weekly, {"interval": "weekly", "weekly_anchor": "thursday"}),
        (manual, {"interval": "manual"}),
    ):
        client.v1.accounts.update(one.id, {"settings": {"payouts": {"schedule": schedule}}})
    for one in (daily, weekly, manual):
        client.v1.transfers.create({"amount": 1_000, "currency": "usd", "destination": one.id})

    def paid(one: stripe.Account) -> int:
        return len(client.v1.payouts.list({}, {"stripe_account": one.id}).data)

    platform.control("advance", {"to": NOON // DAY * DAY + DAY + HOUR})  # Monday
    assert [paid(one) for one in (daily, weekly, manual)] == [1, 0, 0]
    platform.control("advance", {"to": NOON // DAY * DAY + 4 * DAY + HOUR})  # Thursday
    assert [paid(one) for one in (daily, weekly, manual)] == [1, 1, 0]
    made = client.v1.payouts.create({"amount": 600, "currency": "usd"}, {"stripe_account": manual.id})
    assert kept(platform.world.within(manual.id)) == {("available", "usd"): 400}
    platform.control("advance", {"days": 6})
    assert client.v1.payouts.retrieve(made.id, {}, {"stripe_account": manual.id}).status == "paid"
    back = client.v1.payouts.reverse(made.id, {}, {"stripe_account": manual.id})
    assert (back.amount, back.original_payout) == (-600, made.id)
    platform.control("advance", {"days": 6})
    assert kept(platform.world.within(manual.id)) == {("available", "usd"): 1_000}
    check(platform.world, definitions)


def test_a_negative_balance_is_taken_from_the_bank_where_that_is_allowed(
    platform: Simulator, definitions: dict[str, Any]
) -> None:
    client = platform.client()
    debited, owing = seller(platform), seller(platform)
    client.v1.accounts.update(debited.id, {"settings": {"payouts": {"debit_negative_balances": True}}})
    for one in (debited, owing):
        sent = client.v1.transfers.create({"amount": 1_000, "currency": "usd", "destination": one.id})
        platform.control("advance", {"days": 1})
        client.v1.transfers.reversals.create(sent.id)
        assert kept(platform.world.within(one.id)) == {("available", "usd"): -1_000}
    platform.control("advance", {"days": 1})
    last = client.v1.payouts.list({}, {"stripe_account": debited.id}).data[0]
    assert (last.amount, last.automatic) == (-1_000, True)
    assert kept(platform.world.within(owing.id)) == {("available", "usd"): -1_000}
    check(platform.world, definitions)


def test_a_restricted_key_stays_restricted_on_connected_accounts(platform: Simulator) -> None:
    one = seller(platform).id
    platform.control("keys", {"key": "rk_simulator", "deny": ["transfers", "customers"]})
    client = platform.client("rk_simulator")
    assert refused(lambda: client.v1.transfers.list()).http_status == 403
    assert one in str(refused(lambda: client.v1.customers.list({}, {"stripe_account": one})).user_message)


def test_a_platform_holds_in_reserve_what_its_accounts_owe(platform: Simulator, definitions: dict[str, Any]) -> None:
    client = platform.client()
    liable, own = seller(platform, type="custom"), seller(platform, type="standard")
    for one in (liable, own):
        sent = client.v1.transfers.create({"amount": 7_000, "currency": "usd", "destination": one.id})
        client.v1.accounts.update(one.id, {"settings": {"payouts": {"schedule": {"interval": "manual"}}}})
        client.v1.payouts.create({"amount": 7_000, "currency": "usd"}, {"stripe_account": one.id})
        client.v1.transfers.reversals.create(sent.id, {"amount": 4_000})
    before = kept(platform.world)["available", "usd"]
    client.v1.balance_settings.update({"payments": {"payouts": {"schedule": {"interval": "manual"}}}})
    platform.control("advance", {"days": 1})
    assert kept(platform.world)["available", "usd"] == before - 4_000
    assert [row.amount for row in client.v1.balance.retrieve().connect_reserved] == [4_000]
    row = client.v1.balance_transactions.list({"type": "reserve_transaction"}).data[0]
    assert (row.net, row.reporting_category) == (-4_000, "connect_reserved_funds")
    client.v1.transfers.create({"amount": 5_000, "currency": "usd", "destination": liable.id})
    platform.control("advance", {"days": 1})
    assert [row.amount for row in client.v1.balance.retrieve().connect_reserved] == [0]
    assert kept(platform.world)["available", "usd"] == before - 5_000
    check(platform.world, definitions)


# ---- through payment intents, as a platform does it ----------------------------------------------------------
def test_a_direct_payment_with_a_fee_and_its_refund(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform).id
    there: Any = {"stripe_account": one}
    paid = client.v1.payment_intents.create(
        {
            "amount": 20_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True,
            "application_fee_amount": 2_500,
        },
        there,
    )  # fmt: skip
    charge = client.v1.charges.retrieve(str(paid.latest_charge), {"expand": ["application_fee"]}, there).to_dict()
    assert (paid.status, charge["application_fee_amount"], charge["application_fee"]["account"]) == (
        "succeeded", 2_500, one,
    )  # fmt: skip
    row = client.v1.balance_transactions.retrieve(charge["balance_transaction"], {}, there)
    assert row.fee == 2_500 + 20_000 * 29 // 1000 + 30
    client.v1.refunds.create({"charge": charge["id"], "refund_application_fee": True}, there)
    assert client.v1.application_fees.list().data[0].refunded
    assert refused(lambda: client.v1.charges.retrieve(charge["id"])).http_status == 404
    check(platform.world, definitions)
    platform.control("advance", {"days": 9})
    check(platform.world, definitions)


def test_a_destination_payment_in_a_foreign_currency_is_passed_on_and_taken_back(
    platform: Simulator, definitions: dict[str, Any]
) -> None:
    client, one = platform.client(), seller(platform, "GB").id
    paid = client.v1.payment_intents.create(
        {
            "amount": 30_000, "currency": "jpy", "payment_method": "pm_card_visa", "confirm": True,
            "application_fee_amount": 3_000, "transfer_data": {"destination": one}, "transfer_group": "order 9",
        }
    )  # fmt: skip
    charge = platform.world.the(str(paid.latest_charge), "charge")
    row = platform.world.the(charge["balance_transaction"])
    sent = client.v1.transfers.retrieve(charge["transfer"])
    assert (row["currency"], sent.currency, sent.amount, sent.transfer_group) == (
        "usd", "usd", row["amount"], "order 9",
    )  # fmt: skip
    payment = platform.world.within(one).the(str(sent.destination_payment))
    assert platform.world.within(one).the(payment["balance_transaction"])["currency"] == "gbp"
    fee = client.v1.application_fees.list().data[0]
    assert abs(fee.amount - row["amount"] // 10) <= 1
    back = client.v1.refunds.create({"charge": charge["id"], "reverse_transfer": True, "refund_application_fee": True})
    assert client.v1.transfers.retrieve(sent.id).reversed
    assert client.v1.application_fees.retrieve(fee.id).refunded
    assert back.transfer_reversal
    check(platform.world, definitions)
    platform.control("advance", {"days": 9})
    check(platform.world, definitions)


def test_a_connected_account_has_events_a_balance_and_search_of_its_own_key(platform: Simulator) -> None:
    client, one = platform.client(), seller(platform).id
    client.v1.payment_intents.create(
        {"amount": 5_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True},
        {"stripe_account": one},
    )  # fmt: skip
    told = client.v1.events.list({"limit": 100}, {"stripe_account": one}).data
    assert {event.account for event in told} == {one}
    assert {"charge.succeeded", "payment_intent.succeeded"} <= {event.type for event in told}
    assert "charge.succeeded" not in {event.type for event in client.v1.events.list({"limit": 100}).data}
    pending = client.v1.balance.retrieve({}, {"stripe_account": one}).pending
    assert [(part.currency, part.amount) for part in pending] == [("usd", 5_000 - 145 - 30)]


def test_a_refused_account_leaves_nothing_behind(platform: Simulator, definitions: dict[str, Any]) -> None:
    client = platform.client()
    bank = {"object": "bank_account", "country": "US", "currency": "zzz", "account_number": "000123456789"}
    given: Any = {"type": "custom", "country": "US", "external_account": bank}
    assert refused(lambda: client.v1.accounts.create(given)).http_status == 400
    assert not client.v1.accounts.list().data
    one = seller(platform).id
    client.v1.transfers.create({"amount": 700, "currency": "usd", "destination": one})
    assert kept(platform.world.within(one)) == {("available", "usd"): 700}
    check(platform.world, definitions)


def test_connected_accounts_are_there_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    store.now = NOON
    world = World(store)
    accounts.open_account(world)
    there = accounts.create_connected(world, "custom")
    book(there, "charge", "charge", "ch_1", 900, "usd", available_on=NOON + DAY)
    store.close()
    again = World(Store(tmp_path / "state.sqlite"))
    assert kept(again.within(there.id_of_account)) == {("pending", "usd"): 900}
    again.advance(NOON + 2 * DAY)
    assert [row["amount"] for row in again.within(there.id_of_account).store.all("payout")] == [900]
    again.store.close()


def test_a_bank_account_is_added_made_the_default_and_removed(platform: Simulator, definitions: dict[str, Any]) -> None:
    client, one = platform.client(), seller(platform).id
    failing: Any = {"object": "bank_account", "country": "US", "account_number": "000111111113"}
    euro: Any = {"object": "bank_account", "country": "DE", "account_number": "DE89370400440532013000"}
    second = client.v1.accounts.external_accounts.create(one, {"external_account": failing})
    third = client.v1.accounts.external_accounts.create(one, {"external_account": euro})
    listed = client.v1.accounts.external_accounts.list(one).data
    assert len(listed) == 3
    first = next(row for row in listed if row.id not in (second.id, third.id))
    assert refused(lambda: client.v1.accounts.external_accounts.delete(one, first.id)).http_status == 400
    client.v1.accounts.external_accounts.update(one, second.id, {"default_for_currency": True})
    assert client.v1.accounts.external_accounts.delete(one, first.id).deleted
    idle(platform)
    # A balance in euro now exists, so that euros are not converted any more; the new default bank refuses payouts.
    there = platform.world.within(one)
    assert book(there, "charge", "charge", "ch_1", 500, "eur")["currency"] == "eur"
    book(there, "charge", "charge", "ch_2", 900, "usd")
    platform.control("advance", {"days": 6})
    failed = next(
        row for row in client.v1.payouts.list({}, {"stripe_account": one}).data[::-1] if row.currency == "usd"
    )
    assert (failed.status, failed.failure_code, failed.destination) == ("failed", "account_closed", second.id)
    check(platform.world, definitions)
