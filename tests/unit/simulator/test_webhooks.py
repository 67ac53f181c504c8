"""Deliveries to endpoints, verified as a receiver does: by the SDK, over the raw bytes."""

from __future__ import annotations

import json
import re
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe.params._webhook_endpoint_create_params import WebhookEndpointCreateParams

from dagster_project.simulator.engine import accounts, webhooks
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.versions import PINNED, VERSIONS
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app
from tests.unit.simulator.conftest import Simulator, _Thread
from tests.unit.simulator.receiver import Receiver, wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def listen(simulator: Simulator, receiver: Receiver, *types: str, **more: Any) -> stripe.WebhookEndpoint:
    params = {"url": receiver.url, "enabled_events": list(types or ("*",)), **more}
    return simulator.client().v1.webhook_endpoints.create(params)


def deliveries(simulator: Simulator, endpoint: str = "") -> list[dict[str, Any]]:
    return simulator.control(f"deliveries?endpoint={endpoint}")["deliveries"]


def states(simulator: Simulator) -> list[str]:
    return [each["state"] for each in deliveries(simulator)]


# ---- what arrives -------------------------------------------------------------------------------------------
def test_an_event_arrives_signed_at_the_endpoint_that_listens_to_it(account, receiver):
    client = account.client()
    endpoint = listen(account, receiver, "customer.created")
    customer = client.v1.customers.create({"name": "Ada"})
    client.v1.customers.update(customer.id, {"name": "Bob"})
    [(body, header)] = receiver.wait(1)
    event = stripe.Webhook.construct_event(body, header, endpoint.secret)
    assert (event.type, event.data.object.id, event.pending_webhooks) == ("customer.created", customer.id, 1)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, "whsec_other")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body.replace(b"Ada", b"Eve"), header, endpoint.secret)
    time.sleep(0.2)
    assert len(receiver.received) == 1


def test_the_delivery_is_the_event_that_the_api_shows(account, receiver):
    client = account.client()
    listen(account, receiver)
    answer = client.raw_request("post", "/v1/customers", name="Ada")
    receiver.wait(1)
    [told] = receiver.events
    assert told["request"]["id"] == answer.headers["Request-Id"]
    assert told["request"]["idempotency_key"] == answer.headers["Idempotency-Key"]
    shown = json.loads(client.raw_request("get", f"/v1/events/{told['id']}").body)
    assert {**shown, "pending_webhooks": 1} == told


def test_pending_webhooks_count_down_as_endpoints_take_the_event(account, receiver):
    client = account.client()
    listen(account, receiver)
    listen(account, receiver)
    account.control("faults", {"webhook_speed": 0.05})
    receiver.answer = lambda number: 200 if number == 1 else 500
    client.v1.customers.create({})
    receiver.wait(2)
    assert {event["pending_webhooks"] for event in receiver.events} == {2}
    [event] = client.v1.events.list().data
    assert wait_for(lambda: client.v1.events.retrieve(event.id).pending_webhooks == 1)
    assert wait_for(lambda: client.v1.events.list({"delivery_success": False}).data)
    assert client.v1.events.list({"delivery_success": True}).data == []


def test_the_secret_is_shown_once_and_a_removed_endpoint_gets_nothing(account, receiver):
    client = account.client()
    endpoint = listen(account, receiver)
    assert endpoint.secret.startswith("whsec_")
    assert "secret" not in client.v1.webhook_endpoints.retrieve(endpoint.id)
    assert "secret" not in client.v1.webhook_endpoints.list().data[0]
    client.v1.webhook_endpoints.delete(endpoint.id)
    client.v1.customers.create({})
    time.sleep(0.2)
    assert receiver.received == [] and deliveries(account) == []


def test_what_happens_while_the_clock_advances_is_delivered_and_names_no_request(business, receiver):
    listen(business, receiver)
    events = business.control("advance", {"days": 1})["events"]
    assert len({body for body, _ in receiver.wait(events)}) == events > 0
    assert all(event["request"] == {"id": None, "idempotency_key": None} for event in receiver.events)


def test_a_star_does_not_cover_what_must_be_named(account):
    world = account.world
    named = [{"status": "enabled", "enabled_events": wanted} for wanted in (["*"], ["issuing_authorization.request"])]
    for endpoint in named:
        made = world.add("webhook_endpoint", "we", url="http://127.0.0.1:1/", **endpoint)
        webhooks.register(world, made, "whsec_1", connect=False)
    heard = {type: len(webhooks.listening(world, type)) for type in ("issuing_authorization.request", "charge.failed")}
    assert heard == {"issuing_authorization.request": 1, "charge.failed": 1}
    assert webhooks.listening(world, "issuing_authorization.request")[0][1]["enabled_events"] != ["*"]


# ---- versions -----------------------------------------------------------------------------------------------
def test_an_endpoint_gets_its_own_version_and_the_events_api_the_accounts(business, receiver):
    client = business.client()
    listen(business, receiver, "customer.subscription.updated", api_version="2022-11-15")
    listen(business, receiver, "customer.subscription.updated")
    [subscription] = client.v1.subscriptions.list({"limit": 1}).data
    client.v1.subscriptions.update(subscription.id, {"description": "Ours"})
    receiver.wait(2)
    told = {event["api_version"]: event for event in receiver.events}
    assert set(told) == {"2022-11-15", PINNED}
    assert len({event["id"] for event in receiver.events}) == 1
    end = subscription["items"]["data"][0]["current_period_end"]
    assert told["2022-11-15"]["data"]["object"]["current_period_end"] == end
    assert "current_period_end" not in told[PINNED]["data"]["object"]
    assert client.v1.events.retrieve(told[PINNED]["id"]).api_version == PINNED


def test_a_retry_sends_the_same_bytes_although_the_object_has_changed(account, receiver):
    receiver.refusals = 1
    client = account.client()
    endpoint = listen(account, receiver, "customer.created", api_version="2024-06-20")
    customer = client.v1.customers.create({"name": "Ada"})
    receiver.wait(1)
    client.v1.customers.update(customer.id, {"name": "Bob"})
    account.control("api_version", {"api_version": "2020-08-27"})
    first, second = receiver.wait(2)
    assert first[0] == second[0]
    for body, header in (first, second):
        assert stripe.Webhook.construct_event(body, header, endpoint.secret).data.object.name == "Ada"
    assert wait_for(lambda: states(account) == ["delivered"])
    assert len(client.v1.events.list({"delivery_success": True, "type": "customer.created"}).data) == 1


# ---- refusals -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [301, 307, 400, 404, 503])
def test_whatever_is_no_2xx_is_tried_again(account, receiver, status):
    account.control("faults", {"webhook_speed": 50})
    receiver.answer = lambda number: status if number < 3 else 204
    listen(account, receiver)
    account.client().v1.customers.create({})
    assert wait_for(lambda: states(account) == ["delivered"])
    [delivery] = deliveries(account)
    assert [each["answer"] for each in delivery["tries"]] == [status, status, 204]
    assert len(receiver.received) == 3, "a redirect is not followed"


def test_an_endpoint_that_is_too_slow_or_away_has_not_taken_it(account, receiver):
    account.control("faults", {"webhook_timeout_s": 0.1, "webhook_speed": 100})
    receiver.slow_s = 0.5
    listen(account, receiver)
    account.client().v1.customers.create({})
    assert wait_for(lambda: states(account) == ["failed"])
    assert [each["answer"] for each in deliveries(account)[0]["tries"]] == ["timed out"] * 5
    account.control("faults", {"webhook_timeout_s": 5})
    gone = Receiver()
    gone.close()
    away = account.client().v1.webhook_endpoints.create({"url": gone.url, "enabled_events": ["*"]})
    account.client().v1.customers.create({})
    found = wait_for(lambda: [each for each in deliveries(account, away.id) if each["state"] == "failed"])
    assert [each["answer"] for each in found[0]["tries"]] == ["ClientConnectorError"] * 5


def test_the_waits_grow_as_they_do_at_stripe(account, receiver):
    account.control("faults", {"webhook_retries": "live", "webhook_speed": 500_000})
    receiver.answer = lambda number: 500
    listen(account, receiver)
    account.client().v1.customers.create({})
    assert wait_for(lambda: states(account) == ["failed"])
    moments = [each["at"] for each in deliveries(account)[0]["tries"]]
    assert len(moments) == 10
    account.control("faults", {"webhook_speed": 1})
    account.client().v1.customers.create({})
    again = wait_for(lambda: [each for each in deliveries(account) if each["state"] == "waiting" and each["tries"]])
    assert 295 < again[0]["due"] - again[0]["tries"][0]["at"] < 310


def test_an_endpoint_that_never_answers_well_is_disabled(account, receiver):
    account.control("faults", {"webhook_speed": 100, "webhook_disable_after": 3})
    receiver.answer = lambda number: 500
    endpoint = listen(account, receiver)
    client = account.client()
    client.v1.customers.create({})
    assert wait_for(lambda: client.v1.webhook_endpoints.retrieve(endpoint.id).status == "disabled")
    assert wait_for(lambda: states(account) == ["dropped"])
    client.v1.customers.create({})
    assert len(deliveries(account)) == 1 and len(receiver.received) == 3
    receiver.answer = None
    client.v1.webhook_endpoints.update(endpoint.id, {"disabled": False})
    client.v1.customers.create({})
    assert wait_for(lambda: states(account) == ["dropped", "delivered"])


# ---- trouble that is asked for -------------------------------------------------------------------------------
def test_deliveries_come_twice_late_and_out_of_order_when_asked(account, receiver):
    account.control("faults", {"webhook_twice_rate": 1})
    listen(account, receiver)
    client = account.client()
    client.v1.customers.create({})
    bodies = [body for body, _ in receiver.wait(2)]
    assert len(bodies) == 2 and len(set(bodies)) == 1
    [event] = client.v1.events.list().data
    assert wait_for(lambda: client.v1.events.retrieve(event.id).pending_webhooks == 0)
    receiver.received.clear()
    account.control("faults", {"webhook_twice_rate": 0, "webhook_delay_s": 0.3, "webhook_jitter_s": 0.5})
    start = time.monotonic()
    made = [client.v1.customers.create({}).id for _ in range(8)]
    receiver.wait(1)
    assert time.monotonic() - start > 0.3
    receiver.wait(8)
    told = [each["data"]["object"]["id"] for each in receiver.events]
    assert sorted(told) == sorted(made) and told != made


# ---- restarts and secrets ------------------------------------------------------------------------------------
def test_a_delivery_outlives_a_restart_with_its_bytes(tmp_path: Path, receiver: Receiver) -> None:
    receiver.refusals = 1
    store = Store(tmp_path / "state.sqlite")
    store.now = 1_794_744_000
    world = World(store)
    with _Thread(create_app(store, world, Options())) as base_url:
        simulator = Simulator(base_url, store, world)
        endpoint = listen(simulator, receiver, "customer.created")
        simulator.control("faults", {"webhook_speed": 0.3})
        simulator.client().v1.customers.create({"name": "Ada"})
        assert wait_for(lambda: [each for each in deliveries(simulator) if each["tries"]])
    store.close()
    store = Store(tmp_path / "state.sqlite")
    world = World(store)
    with _Thread(create_app(store, world, Options())) as base_url:
        simulator = Simulator(base_url, store, world)
        assert len(simulator.client().v1.events.list({"delivery_success": False}).data) == 1
        first, second = receiver.wait(2)
        assert first[0] == second[0]
        stripe.Webhook.construct_event(*second, endpoint.secret)
        assert wait_for(lambda: states(simulator) == ["delivered"])
    store.close()


def test_while_a_secret_is_rolled_both_verify(account, receiver):
    endpoint = listen(account, receiver)
    new = account.control("roll_secret", {"endpoint": endpoint.id, "expires_in": 1})["secret"]
    account.client().v1.customers.create({})
    [(body, header)] = receiver.wait(1)
    assert header.count("v1=") == 2
    for secret in (endpoint.secret, new):
        stripe.Webhook.construct_event(body, header, secret)
    time.sleep(1.1)
    account.client().v1.customers.create({})
    _, (body, header) = receiver.wait(2)
    stripe.Webhook.construct_event(body, header, new)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, endpoint.secret)


def test_only_the_newest_deliveries_that_are_done_are_remembered(account, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "KEPT", 2)
    listen(account, receiver, "customer.created")
    for name in "abcd":
        account.client().v1.customers.create({"name": name})
    assert wait_for(lambda: states(account) == ["delivered"] * 4)
    account.control("advance", {"days": 1})
    assert len(deliveries(account)) == 2


# ---- connected accounts --------------------------------------------------------------------------------------
def test_connect_endpoints_hear_of_connected_accounts_and_others_of_their_own(business, receiver):
    there = accounts.create_connected(business.world).id_of_account
    business.world.store.flush()
    platform, own = listen(business, receiver, "customer.created", connect=True), Receiver()
    listen(business, own, "customer.created")
    client = business.client()
    inside = client.v1.customers.create({"name": "Theirs"}, {"stripe_account": there})
    ours = client.v1.customers.create({"name": "Ours"})
    [(body, header)] = receiver.wait(1)
    event = stripe.Webhook.construct_event(body, header, platform.secret)
    assert (event.account, event.data.object.id) == (there, inside.id)
    own.wait(1)
    time.sleep(0.2)
    assert [each["data"]["object"]["id"] for each in own.events] == [ours.id]
    assert "account" not in own.events[0] and len(receiver.received) == 1
    assert wait_for(
        lambda: client.v1.events.retrieve(event.id, options={"stripe_account": there}).pending_webhooks == 0
    )
    own.close()


# ---- registering ----------------------------------------------------------------------------------------------
def test_the_types_of_events_and_the_versions_are_stripe_s() -> None:
    words = {
        name: set(re.findall(r"'([^']+)'", str(WebhookEndpointCreateParams.__annotations__[name])))
        for name in ("enabled_events", "api_version")
    }
    assert words["enabled_events"] - {"*"} == webhooks.EVENT_TYPES.keys()
    rendered = {version for version in words["api_version"] if version >= VERSIONS[0]}
    assert rendered - set(VERSIONS) == {"2025-03-01.dashboard"} and set(VERSIONS) <= rendered


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"enabled_events": ["customer.exploded"]}, "enabled_events[0]"),
        ({"enabled_events": ["charge.failed", "charge.*"]}, "enabled_events[1]"),
        ({"enabled_events": []}, "enabled_events"),
        ({"api_version": "2022-11-16"}, "api_version"),
        ({"url": ""}, "url"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(account, params, param):
    given = {"url": "http://127.0.0.1:1/", "enabled_events": ["*"], **params}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.client().v1.webhook_endpoints.create(given)
    assert refused.value.param == param
    assert account.client().v1.webhook_endpoints.list().data == []


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "http://10.0.0.1/", "ftp://127.0.0.1/", "http://[", "x", "//127.0.0.1"]
)
def test_endpoints_elsewhere_are_refused(account, url):
    with pytest.raises(stripe.InvalidRequestError, match="this machine only") as refused:
        account.client().v1.webhook_endpoints.create({"url": url, "enabled_events": ["*"]})
    assert refused.value.param == "url"


def test_the_secret_of_an_unknown_endpoint_is_not_rolled(account):
    with pytest.raises(urllib.error.HTTPError) as refused:
        account.control("roll_secret", {"endpoint": "we_none"})
    with refused.value as answer:
        assert answer.code == 404


def test_an_endpoint_that_hangs_holds_up_only_itself(account, receiver):
    hanging = Receiver()
    hanging.slow_s = 60
    listen(account, hanging, "customer.created")
    listen(account, receiver, "customer.created")
    for number in range(12):
        account.client().v1.customers.create({"name": str(number)})
    received = receiver.wait(12, seconds=8)
    assert len(received) == 12
    assert len(hanging.received) == 4, "its share of what is under way"
    hanging.close()
