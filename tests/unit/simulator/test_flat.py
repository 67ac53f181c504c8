"""Volume alone: many objects in bursts, which behave like those of any other account."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_project.simulator.engine import business
from dagster_project.simulator.engine.payouts import balance_object
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.history import make
from tests.unit.simulator.conftest import Simulator

OBJECTS = 20_000


def made(path: Path, objects: int, seed: int = 7) -> Path:
    store = Store(path)
    parameters = {"scenario": "flat", "seed": seed, "objects": objects, "months": 12}
    make(World(store), parameters, progress=lambda line: None)
    store.close()
    return path


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("flat") / "state.sqlite", OBJECTS)


@pytest.fixture(scope="module")
def world(filled: Path) -> Iterator[World]:
    store = Store(filled)
    yield World(store)
    store.close()


@pytest.fixture
def flat(filled: Path, tmp_path: Path, start: Callable[..., Simulator]) -> Simulator:
    return start(Path(shutil.copy(filled, tmp_path / "state.sqlite")))


def digest(path: Path) -> str:
    store = Store(path)
    hashed = hashlib.sha256()
    for kind in store.counts():
        for body in store.page(kind, limit=10**6)[0]:
            hashed.update(body)
    hashed.update(repr(sorted(store.meta.items())).encode())
    store.close()
    return hashed.hexdigest()


def test_it_holds_as_many_objects_as_were_asked_for(world: World) -> None:
    counts = world.store.counts()
    assert sum(counts.values()) == OBJECTS
    assert counts["balance_transaction"] == counts["charge"] + counts["refund"]
    assert all(counts[kind] > 100 for kind in ("customer", "charge", "payment_intent", "refund"))


def test_the_same_seed_makes_the_same_objects_byte_for_byte(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one.sqlite", 3000), made(tmp_path / "two.sqlite", 3000)
    assert digest(one) == digest(two)
    assert digest(made(tmp_path / "three.sqlite", 3000, seed=8)) != digest(one)


def test_the_balance_is_the_sum_of_its_transactions(world: World) -> None:
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in world.store.all("balance_transaction"):
        assert row["net"] == row["amount"] - row["fee"]
        assert row["fee"] == sum(part["amount"] for part in row["fee_details"])
        assert (row["status"] == "available") == (row["available_on"] <= world.now)
        sums[row["status"]][row["currency"]] += row["net"]
    balance = balance_object(world)
    for status in ("available", "pending"):
        assert {part["currency"]: part["amount"] for part in balance[status]} == sums[status]
    assert sums["pending"]["usd"] > 0


def test_every_object_points_at_those_that_belong_to_it(world: World) -> None:
    rows = {row["id"]: row for row in world.store.all("balance_transaction")}
    customers = {row["id"]: row for row in world.store.all("customer")}
    charges = {row["id"]: row for row in world.store.all("charge")}
    for charge in charges.values():
        row = rows[charge["balance_transaction"]]
        assert (row["amount"], row["currency"], row["source"]) == (charge["amount"], charge["currency"], charge["id"])
        assert customers[charge["customer"]]["created"] <= charge["created"] <= business.CLOCK
    for refund in world.store.all("refund"):
        charge = charges[refund["charge"]]
        assert charge["refunded"] and charge["amount_refunded"] == refund["amount"] == charge["amount"]
        assert rows[refund["balance_transaction"]]["amount"] == -refund["amount"]
        assert refund["created"] >= charge["created"] or refund["created"] == business.CLOCK - 60
    assert sum(charge["refunded"] for charge in charges.values()) == world.store.count("refund")
    for intent in world.store.all("payment_intent"):
        assert charges[intent["latest_charge"]]["payment_intent"] == intent["id"]


def test_many_charges_share_one_second(world: World) -> None:
    seconds = Counter(charge["created"] for charge in world.store.all("charge"))
    assert max(seconds.values()) > 200
    assert sum(1 for count in seconds.values() if count > 100) > 5


def test_paging_sees_every_charge_once_and_newest_first(flat: Simulator) -> None:
    seen = [(row.created, row.id) for row in flat.client().v1.charges.list({"limit": 100}).auto_paging_iter()]
    assert len({id for _, id in seen}) == len(seen) == flat.store.count("charge")
    assert [created for created, _ in seen] == sorted((created for created, _ in seen), reverse=True)


def test_filters_and_retrieval_work(flat: Simulator) -> None:
    v1 = flat.client().v1
    [intent] = v1.payment_intents.list({"limit": 1}).data
    [charge] = v1.charges.list({"payment_intent": intent.id}).data
    assert charge.id == intent.latest_charge
    mine = list(v1.charges.list({"customer": charge.customer}).auto_paging_iter())
    assert charge.id in {row.id for row in mine} and {row.customer for row in mine} == {charge.customer}
    second = {"gte": charge.created, "lte": charge.created}
    assert charge.id in {row.id for row in v1.charges.list({"created": second, "limit": 100}).auto_paging_iter()}
    [row] = v1.balance_transactions.list({"source": charge.id}).data
    expanded = v1.charges.retrieve(charge.id, {"expand": ["balance_transaction", "customer"]})
    assert (expanded.balance_transaction.id, expanded.customer.id) == (row.id, charge.customer)


def test_a_later_change_works_and_the_balance_still_ties(flat: Simulator) -> None:
    v1 = flat.client().v1
    charge = next(row for row in v1.charges.list({"limit": 100}).data if not row.refunded and row.currency == "usd")
    before = {part.currency: part.amount for part in v1.balance.retrieve().available}
    refund = v1.refunds.create({"charge": charge.id, "amount": 100})
    assert (refund.status, refund.currency) == ("succeeded", "usd")
    assert v1.charges.retrieve(charge.id).amount_refunded == 100
    after = {part.currency: part.amount for part in v1.balance.retrieve().available}
    assert after == {**before, "usd": before["usd"] - 100}
    assert v1.customers.update(charge.customer, {"name": "Ada"}).name == "Ada"
    assert v1.events.list({"limit": 1}).data[0].type == "customer.updated"
    flat.control("advance", {"days": 4})
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in flat.store.all("balance_transaction"):
        sums[row["status"]][row["currency"]] += row["net"]
    balance = balance_object(flat.world)
    for status in ("available", "pending"):
        assert {part["currency"]: part["amount"] for part in balance[status]} == {
            currency: sums[status][currency] for currency in ("usd", "eur")
        }
    assert flat.store.count("payout") > 0
