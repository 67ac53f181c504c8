"""Several accounts behind one address, and test mode beside live: the key says which one it is about."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app
from tests.unit.simulator.conftest import Simulator, _Thread

SMALL = {"scenario": "saas", "customers": 10, "months": 1}


def control(simulator: Simulator, path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(
        f"{simulator.base_url}/_ledgerline/{path}", data=json.dumps(body).encode(), headers=headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def names(simulator: Simulator, key: str, **options: Any) -> set[str]:
    return {str(one.name) for one in simulator.client(key).v1.customers.list(options=options or None).data}


def test_a_test_key_sees_only_test_data_of_the_same_account(start: Callable[..., Simulator]) -> None:
    simulator = start()
    one = control(simulator, "accounts", {"name": "acme"})
    other = control(simulator, "accounts", {"name": "acme", "livemode": False})
    assert one["account"] == other["account"] != simulator.world.id_of_account
    live, test = simulator.client("sk_live_acme_1"), simulator.client("sk_test_acme_1")
    assert live.v1.accounts.retrieve_current().id == test.v1.accounts.retrieve_current().id == one["account"]
    made = [client.v1.customers.create({"name": name}) for client, name in ((live, "Live"), (test, "Test"))]
    assert [customer.livemode for customer in made] == [True, False]
    assert made[0].id != made[1].id
    assert (names(simulator, "sk_live_acme"), names(simulator, "sk_test_acme")) == ({"Live"}, {"Test"})
    assert [client.v1.balance.retrieve().livemode for client in (live, test)] == [True, False]
    assert {event.livemode for event in test.v1.events.list().data} == {False}
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        test.v1.customers.retrieve(made[0].id)


def test_without_another_account_every_key_opens_the_one_that_is_there(start: Callable[..., Simulator]) -> None:
    simulator = start()
    simulator.client("sk_live_any").v1.customers.create({"name": "Ada"})
    assert names(simulator, "sk_test_123") == names(simulator, "rk_live_acme") == {"Ada"}
    control(simulator, "accounts", {"livemode": False})
    assert names(simulator, "sk_test_123") == set()
    assert names(simulator, "sk_live_whoever") == {"Ada"}


def test_a_mode_that_a_named_account_does_not_have_is_refused(start: Callable[..., Simulator]) -> None:
    simulator = start()
    control(simulator, "accounts", {"name": "acme"})
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided: sk_test_"):
        names(simulator, "sk_test_acme_9876")


def test_ids_that_callers_choose_repeat_across_accounts(start: Callable[..., Simulator]) -> None:
    simulator = start()
    control(simulator, "accounts", {"name": "acme"})
    control(simulator, "accounts", {"livemode": False})
    keys = ("sk_live_1", "sk_test_1", "sk_live_acme")
    for percent, key in enumerate(keys, 10):
        client = simulator.client(key)
        client.v1.coupons.create({"id": "WELCOME", "percent_off": percent, "duration": "once"})
        client.v1.products.create({"id": "pro", "name": key})
    found = [simulator.client(key).v1.coupons.retrieve("WELCOME").percent_off for key in keys]
    assert found == [10, 11, 12]
    assert [simulator.client(key).v1.products.retrieve("pro").name for key in keys] == list(keys)


def test_a_business_in_test_mode_is_test_data_through_and_through(start: Callable[..., Simulator]) -> None:
    simulator = start()
    control(simulator, "accounts", {"livemode": False, **SMALL})
    for path in ("customers", "subscriptions?status=all", "invoices", "charges", "events", "payouts", "disputes"):
        _, _, body = simulator.raw(f"/v1/{path}", Authorization="Bearer sk_test_1")
        assert '"livemode": true' not in json.dumps(body), path
    assert '"livemode": false' in json.dumps(simulator.raw("/v1/invoices", Authorization="Bearer sk_test_1")[2])


def test_two_businesses_with_one_seed_have_the_same_ids_in_two_accounts(start: Callable[..., Simulator]) -> None:
    simulator = start()
    for name in ("one", "two"):
        control(simulator, "accounts", {"name": name, "seed": 3, **SMALL})
    lists = [[row.id for row in simulator.client(f"sk_live_{name}").v1.charges.list().data] for name in ("one", "two")]
    assert lists[0] == lists[1] != []
    own = [simulator.client(f"sk_live_{name}").v1.accounts.retrieve_current().id for name in ("one", "two")]
    assert own[0] != own[1]


def test_limits_faults_permissions_and_traffic_are_each_accounts_own(start: Callable[..., Simulator]) -> None:
    simulator = start()
    control(simulator, "accounts", {"name": "acme"})
    control(simulator, "faults", {"error_rate": 1}, "sk_live_acme")
    with pytest.raises(stripe.APIError):
        names(simulator, "sk_live_acme")
    assert names(simulator, "sk_live_1") == set()
    control(simulator, "faults", {"error_rate": 0, "rate_limit": 1}, "sk_live_acme")
    names(simulator, "sk_live_acme")
    with pytest.raises(stripe.RateLimitError):
        names(simulator, "sk_live_acme")
    for _ in range(3):
        names(simulator, "sk_live_1")
    control(simulator, "keys", {"key": "rk_live_acme", "permissions": {"charges": "none"}})
    control(simulator, "faults", {"rate_limit": None}, "sk_live_acme")
    restricted = simulator.client("rk_live_acme")
    restricted.v1.customers.list()
    with pytest.raises(stripe.PermissionError, match="rak_charge_read"):
        restricted.v1.charges.list()
    assert simulator.control("traffic")["requests"] == {"GET /v1/customers": 4}


def test_rates_may_strike_one_connected_account(start: Callable[..., Simulator]) -> None:
    simulator = start()
    client = simulator.client()
    sick, well = (client.v1.accounts.create({"type": "custom", "country": "US"}).id for _ in range(2))
    control(simulator, "faults", {"error_rate": 1, "account": sick})
    assert names(simulator, "sk_live_1", stripe_account=well) == names(simulator, "sk_live_1") == set()
    with pytest.raises(stripe.APIError):
        names(simulator, "sk_live_1", stripe_account=sick)


def test_one_clock_for_all(start: Callable[..., Simulator]) -> None:
    simulator = start()
    control(simulator, "accounts", {"name": "acme", **SMALL})
    for days in (1, 40):
        moved = control(simulator, "advance", {"days": days})
    told = simulator.control("status")["accounts"]
    assert [one["keys"] for one in told] == ["sk_live_…", "sk_live_acme"]
    assert {one["now"] for one in told} == {moved["now"]}
    assert moved["events"] > 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "Say a name"),
        ({"name": "A b"}, "Say a name"),
        ({"name": "main"}, "Say a name"),
        ({"name": "acme", "scenario": "nothing"}, "There is no scenario"),
        ({"name": "acme", "tempo": 1}, "Unknown parameter: tempo"),
        ({"livemode": False, "scenario": "flat"}, "live data only"),
    ],
)
def test_an_account_that_cannot_be_is_refused(shared: Simulator, body: dict[str, Any], says: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(shared, "accounts", body)
    with refused.value as answer:
        assert answer.code == 400
        assert says in answer.read().decode()


def test_accounts_are_there_after_a_restart(tmp_path: Path) -> None:
    for made in (False, True):
        store = Store(tmp_path / "state.sqlite")
        world = World(store)
        with _Thread(create_app(store, world, Options())) as url:
            simulator = Simulator(url, store, world)
            if not made:
                control(simulator, "accounts", {"name": "acme", "livemode": False})
                simulator.client("sk_test_acme").v1.customers.create({"name": "Ada"})
            assert names(simulator, "sk_test_acme") == {"Ada"}
        store.close()
