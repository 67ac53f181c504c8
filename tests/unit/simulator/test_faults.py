"""Trouble on demand, as a client meets it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe
from click.testing import CliRunner

from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.faults import Faults, from_mapping, from_texts


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call gives when all start together; exceptions as values."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        together.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def some_charges(account, number: int = 50) -> None:
    for each in range(number):
        account.store.insert({"id": f"ch_{each}", "object": "charge", "created": each, "text": "x" * 1000})


# ---- limits --------------------------------------------------------------------------------------------------
def test_a_rate_limit_in_all_answers_429_with_its_reason(account):
    account.control("faults", {"rate_limit": 2})
    client = account.client()
    with pytest.raises(stripe.RateLimitError) as limited:
        for _ in range(10):
            client.v1.charges.list()
    assert limited.value.headers["stripe-rate-limited-reason"] == "global-rate"
    account.control("faults", method="DELETE")
    assert client.v1.charges.list().data == []


def test_an_endpoints_own_rate_limit_leaves_the_others_alone(account):
    account.control("faults", {"endpoint_rate_limits": {"GET /v1/charges/{id}": 1}})
    client = account.client()
    reasons = []
    for number in range(4):
        status, headers, _ = account.raw(f"/v1/charges/ch_{number}")
        reasons.append((status, headers.get("Stripe-Rate-Limited-Reason")))
    assert reasons[0] == (404, None)
    assert (429, "endpoint-rate") in reasons
    for _ in range(4):
        client.v1.charges.list()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"concurrency_limit": 2}, "global-concurrency"),
        ({"endpoint_concurrency_limit": 2}, "endpoint-concurrency"),
        ({"endpoint_concurrency_limits": {"GET /v1/charges": 2}}, "endpoint-concurrency"),
    ],
)
def test_of_more_requests_at_once_than_allowed_the_others_are_429(account, limit, reason):
    account.control("faults", {"latency_ms": 1000, **limit})
    answers = at_once([lambda: account.raw("/v1/charges")] * 5)
    assert sorted(status for status, _, _ in answers) == [200, 200, 429, 429, 429]
    assert {headers["Stripe-Rate-Limited-Reason"] for status, headers, _ in answers if status == 429} == {reason}
    assert account.raw("/v1/charges")[0] == 200  # the room is free again
    assert account.control("traffic")["limited"] == {reason: 3}


def test_requests_in_flight_to_other_endpoints_do_not_count_for_an_endpoint(account):
    account.control("faults", {"latency_ms": 500, "endpoint_concurrency_limit": 1})
    answers = at_once([lambda path=path: account.raw(path) for path in ("/v1/charges", "/v1/refunds", "/v1/payouts")])
    assert [status for status, _, _ in answers] == [200, 200, 200]


def test_a_resource_can_be_the_reason_of_a_429(account):
    account.control("faults", {"resource_limit_rate": 1, "path": "/v1/charges"})
    status, headers, body = account.raw("/v1/charges")
    assert (status, headers["Stripe-Rate-Limited-Reason"]) == (429, "resource-specific")
    assert body["error"]["code"] == "rate_limit"
    assert account.raw("/v1/refunds")[0] == 200


def test_a_lock_timeout_is_a_429_without_a_reason(account):
    account.control("faults", {"lock_timeout_rate": 1})
    status, headers, body = account.raw("/v1/charges")
    assert (status, headers.get("Stripe-Rate-Limited-Reason"), body["error"]["code"]) == (429, None, "lock_timeout")
    assert account.control("traffic")["limited"] == {"lock_timeout": 1}


def test_two_calls_that_change_the_same_object_get_in_each_others_way(account):
    client = account.client()
    one, other = (client.v1.customers.create({"name": name}) for name in ("Ada", "Bob"))
    account.control("faults", {"latency_ms": 1000, "lock_wait_s": 0.05})

    def update(id: str) -> Any:
        return client.v1.customers.update(id, {"description": "x"})

    answers = at_once([lambda: update(one.id), lambda: update(one.id), lambda: update(other.id)])
    refused = [each for each in answers if isinstance(each, stripe.RateLimitError)]
    assert [(each.json_body["error"]["code"], "stripe-rate-limited-reason" in each.headers) for each in refused] == [
        ("lock_timeout", False)
    ]
    assert isinstance(answers[2], stripe.Customer)
    account.control("faults", {"latency_ms": 100, "lock_wait_s": 5})
    assert all(isinstance(each, stripe.Customer) for each in at_once([lambda: update(one.id)] * 3))


# ---- time ----------------------------------------------------------------------------------------------------
def test_latency_of_one_request_does_not_hold_up_another(account):
    account.control("faults", {"latency_ms": 300, "jitter_ms": 100})
    start = time.monotonic()
    answers = at_once([lambda: account.raw("/v1/charges")] * 12)
    took = time.monotonic() - start
    assert {status for status, _, _ in answers} == {200}
    assert 0.3 <= took < 3.6  # one after the other
    assert account.control("traffic")["most_in_flight"] == 12


def test_a_slow_body_arrives_whole_at_its_speed(account):
    some_charges(account, 20)
    whole = account.raw("/v1/charges?limit=20")[2]
    length = int(account.raw("/v1/charges?limit=20")[1]["Content-Length"])
    account.control("faults", {"slow_rate": 1, "slow_bytes_per_s": length * 2})
    start = time.monotonic()
    assert account.raw("/v1/charges?limit=20")[2] == whole
    assert time.monotonic() - start >= 0.45


def test_a_client_that_leaves_a_slow_body_is_let_go(account):
    some_charges(account, 20)
    account.control("faults", {"slow_rate": 1, "slow_bytes_per_s": 2000})
    connection = http.client.HTTPConnection(account.base_url.removeprefix("http://"))
    connection.request("GET", "/v1/charges?limit=20", headers={"Authorization": "Bearer sk_test_1"})
    connection.getresponse().read(10)
    assert account.control("traffic")["in_flight"] == 1
    connection.close()
    until = time.monotonic() + 5
    while account.control("traffic")["in_flight"] and time.monotonic() < until:
        time.sleep(0.02)
    assert account.control("traffic")["in_flight"] == 0


# ---- broken answers ------------------------------------------------------------------------------------------
def test_failures_can_be_ordered_for_one_path(account):
    account.control("faults", {"error_rate": 1, "path": "/v1/charges"})
    client = account.client()
    with pytest.raises(stripe.APIError) as failed:
        client.v1.charges.list()
    assert (failed.value.http_status, failed.value.json_body["error"]["type"]) == (500, "api_error")
    assert client.v1.refunds.list().data == []


def test_a_rate_strikes_about_its_share_of_the_requests(account):
    account.control("faults", {"error_rate": 0.3})
    statuses = [account.raw("/v1/charges")[0] for _ in range(200)]
    assert 35 <= statuses.count(500) <= 85
    assert account.control("traffic")["statuses"] == {"200": statuses.count(200), "500": statuses.count(500)}


def test_answers_can_be_cut_short_and_connections_reset(account):
    some_charges(account)
    account.control("faults", {"truncate_rate": 1, "path": "/v1/charges"})
    with pytest.raises(http.client.IncompleteRead):
        account.raw("/v1/charges?limit=50")
    account.control("faults", {"truncate_rate": 0, "reset_rate": 1})
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        account.raw("/v1/charges?limit=50")
    account.control("faults", method="DELETE")
    assert account.raw("/v1/charges?limit=50")[0] == 200


def test_a_500_without_effect_is_kept_for_its_idempotency_key(account):
    client = account.client()
    account.control("faults", {"error_rate": 1})
    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    account.control("faults", method="DELETE")
    with pytest.raises(stripe.APIError) as again:
        client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert (again.value.http_status, again.value.headers["idempotent-replayed"]) == (500, "true")
    assert again.value.headers["original-request"] == failed.value.headers["original-request"]
    assert client.v1.customers.list().data == []
    assert client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "l"}).name == "Ada"


def test_a_500_can_hide_that_it_happened(account):
    client = account.client()
    account.control("faults", {"lost_rate": 1})
    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    account.control("faults", method="DELETE")
    assert [each.name for each in client.v1.customers.list().data] == ["Ada"]
    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert len(client.v1.customers.list().data) == 1


def test_a_reset_after_the_call_leaves_its_answer_for_the_retry(account):
    account.control("faults", {"reset_rate": 1})
    with pytest.raises(stripe.APIConnectionError):
        account.client().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    account.control("faults", method="DELETE")
    client = account.client()
    made = client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert made.last_response.headers["idempotent-replayed"] == "true"
    assert [each.id for each in client.v1.customers.list().data] == [made.id]


# ---- visible late --------------------------------------------------------------------------------------------
def test_new_objects_can_become_visible_late(account):
    client = account.client()
    old = client.v1.customers.create({"name": "Old"})
    account.control("faults", {"late_rate": 1, "late_seconds": 3})
    late = client.v1.customers.create({"name": "Late"})
    assert [each.id for each in client.v1.customers.list().data] == [old.id]
    assert [each.id for each in client.v1.customers.list({"email": late.email or ""}).data] in ([], [old.id])
    with pytest.raises(stripe.InvalidRequestError) as hidden:
        client.v1.customers.retrieve(late.id)
    assert (hidden.value.http_status, hidden.value.code) == (404, "resource_missing")
    time.sleep(3)
    assert [each.id for each in client.v1.customers.list().data] == [late.id, old.id]
    assert client.v1.customers.retrieve(late.id).created == late.created


def test_what_the_clock_makes_can_be_late_and_a_page_stays_full(business):
    client = business.client()
    before = {each.id for each in client.v1.charges.list({"limit": 100}).auto_paging_iter()}
    business.control("faults", {"late_rate": 0.5, "late_seconds": 600})
    business.control("advance", {"days": 10})
    seen = [each.id for each in client.v1.charges.list({"limit": 7}).auto_paging_iter()]
    business.control("faults", method="DELETE")
    everything = {json.loads(row)["id"] for row in business.store.page("charge", limit=100_000)[0]}
    assert before < set(seen) < everything
    assert len(client.v1.charges.list({"limit": 20}).data) == 20


# ---- the settings --------------------------------------------------------------------------------------------
def test_what_clients_did_is_counted_and_can_be_counted_anew(account):
    client = account.client()
    client.v1.customers.create({"name": "Ada"})
    client.v1.customers.list()
    account.raw("/v1/customers/cus_none")
    account.raw("/v1/nothing")
    counted = account.control("traffic")
    assert counted["requests"] == {
        "GET /v1/customers": 1, "GET /v1/customers/{id}": 1, "POST /v1/customers": 1, "unknown": 1,
    }  # fmt: skip
    assert counted["statuses"] == {"200": 2, "404": 2}
    assert (counted["reads"], counted["in_flight"], counted["most_in_flight"]) == (2, 0, 1)
    assert counted["bytes_received"] == len("name=Ada")
    assert counted["bytes_sent"] > 500
    assert account.control("status")["traffic"]["requests"] == counted["requests"]
    account.control("traffic", method="DELETE")
    assert account.control("traffic")["requests"] == {}


@pytest.mark.parametrize("text", ["error_rate", "=1", "error_rate=2", "colour=1", "{", '{"colour": 1}', "path_=x"])
def test_a_fault_that_does_not_exist_is_refused(text):
    with pytest.raises(ApiError):
        from_texts([text])


def test_faults_are_read_from_texts():
    texts = ["error_rate=0.1", '{"rate_limit": 25, "path": "/v1/a"}', "path=/v1/charges", "rate_limit=null"]
    assert from_texts(texts) == {"error_rate": 0.1, "rate_limit": None, "path": "/v1/charges"}


def test_every_fault_can_be_said_and_is_shown():
    values = {name: 0.5 if name.endswith("_rate") else value for name, value in Faults().as_dict().items()}
    assert from_mapping(values).as_dict() == values


def test_the_command_names_a_fault_that_it_does_not_know(tmp_path, monkeypatch):
    from dagster_project.cli import cli

    monkeypatch.setenv("LEDGERLINE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("LEDGERLINE_STRIPE_SCHEMAS", raising=False)  # a setting of the tests, not of the product
    result = CliRunner().invoke(cli, ["simulator", "--faults", "colour=1"])
    assert result.exit_code != 0
    assert "Unknown fault: colour" in f"{result.output}{result.exception}"
