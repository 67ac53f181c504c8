"""One key, one effect: https://docs.stripe.com/api/idempotent_requests"""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


def post(account, key: str, body: bytes = b"name=Ada", path: str = "/v1/customers", **headers: str) -> Any:
    return account.raw(path, "POST", body, Idempotency_Key=key, **headers)


def names(account) -> list[str]:
    return [each.name for each in account.client().v1.customers.list({"limit": 100}).data]


def test_the_same_call_again_gives_the_first_answer(account):
    first = post(account, "k")
    again = post(account, "k")
    assert (first[0], again[0], again[2]) == (200, 200, first[2])
    assert names(account) == ["Ada"]
    assert "Idempotent-Replayed" not in first[1]
    assert again[1]["Idempotent-Replayed"] == "true"
    assert first[1]["Original-Request"] == first[1]["Request-Id"]
    assert again[1]["Original-Request"] == first[1]["Request-Id"] != again[1]["Request-Id"]
    assert {first[1]["Idempotency-Key"], again[1]["Idempotency-Key"]} == {"k"}


def test_without_a_key_every_call_counts(account):
    for _ in range(2):
        assert account.raw("/v1/customers", "POST", b"name=Ada")[0] == 200
    assert names(account) == ["Ada", "Ada"]


@pytest.mark.parametrize(
    ("body", "path"), [(b"name=Bob", "/v1/customers"), (b"name=Ada", "/v1/products"), (b"", "/v1/customers")]
)
def test_a_key_with_another_call_is_refused(account, body, path):
    post(account, "k")
    status, _, refused = post(account, "k", body, path)
    assert (status, refused["error"]["type"]) == (400, "idempotency_error")
    assert "Try using a key other than 'k'" in refused["error"]["message"]
    assert names(account) == ["Ada"]


def test_the_order_of_parameters_makes_no_other_call(account):
    first = post(account, "k", b"name=Ada&metadata[a]=1&metadata[b]=2")
    again = post(account, "k", b"metadata[b]=2&name=Ada&metadata[a]=1")
    assert (again[0], again[2]) == (200, first[2])


def test_a_refused_call_leaves_its_key_unused(account):
    assert post(account, "k", b"name=Ada&balance=much")[0] == 400
    assert post(account, "k", b"name=Ada&balance=5")[0] == 200
    assert post(account, "l", path="/v1/customers/cus_none")[0] == 404
    assert post(account, "l")[0] == 200


@pytest.mark.parametrize(("key", "fits"), [("", False), ("x" * 255, True), ("x" * 256, False)])
def test_a_key_has_up_to_255_characters(account, key, fits):
    status, _, body = post(account, key)
    assert (status, body.get("error", {}).get("type")) == ((200, None) if fits else (400, "idempotency_error"))


def test_reads_and_deletes_do_not_look_at_keys(account):
    made = post(account, "k")[2]["id"]
    assert account.raw("/v1/customers", Idempotency_Key="k")[2]["object"] == "list"
    status, headers, body = account.raw(f"/v1/customers/{made}", "DELETE", Idempotency_Key="k")
    assert (status, body["deleted"], headers.get("Idempotent-Replayed")) == (200, True, None)
    assert account.raw(f"/v1/customers/{made}", "DELETE", Idempotency_Key="k")[0] == 404


@pytest.mark.parametrize("faults", [{"latency_ms": 1500}, {"slow_rate": 1, "slow_bytes_per_s": 400}])
def test_while_the_first_call_goes_on_the_second_is_409(account, faults):
    account.control("faults", faults)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, account, "k")
        time.sleep(0.3)
        status, _, refused = post(account, "k")
        other = post(account, "l", b"name=Bob")
        assert first.result()[0] == 200
    assert (status, refused["error"]["type"], refused["error"]["code"]) == (
        409,
        "idempotency_error",
        "idempotency_key_in_use",
    )
    assert other[0] == 200
    account.control("faults", method="DELETE")
    assert post(account, "k")[2] == first.result()[2]
    assert sorted(names(account)) == ["Ada", "Bob"]


def test_stripes_client_gets_over_a_key_in_use(account):
    """It repeats 409 with the same key, and then receives the first answer."""
    account.control("faults", {"latency_ms": 300})
    client = account.client(max_network_retries=3)

    def create() -> Any:
        return client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})

    with ThreadPoolExecutor(3) as pool:
        made = {each.id for each in pool.map(lambda _: create(), range(3))}
    assert len(made) == 1
    assert names(account) == ["Ada"]


def test_a_client_that_leaves_early_finds_its_answer_later(account):
    account.control("faults", {"latency_ms": 200})
    connection = http.client.HTTPConnection(account.base_url.removeprefix("http://"))
    headers = {"Authorization": "Bearer sk_test_1", "Idempotency-Key": "k"}
    connection.request("POST", "/v1/customers", b"name=Ada", headers)
    connection.close()
    time.sleep(1)
    account.control("faults", method="DELETE")
    status, answered, _ = post(account, "k")
    assert (status, answered["Idempotent-Replayed"]) == (200, "true")
    assert names(account) == ["Ada"]


def test_many_calls_with_one_key_change_one_thing(account):
    together = threading.Barrier(8)

    def call(number: int) -> int:
        together.wait()
        return int(post(account, "k")[0])

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(call, range(8)))
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert names(account) == ["Ada"]


def test_answers_are_kept_by_account(account):
    account.world.meta["accounts"] = ["acct_2"]
    first = post(account, "k")
    other = post(account, "k", b"name=Bob", Stripe_Account="acct_2")
    assert (first[0], other[0], other[2]["name"]) == (200, 200, "Bob")
    assert "Idempotent-Replayed" not in other[1]
    assert names(account) == ["Ada"]


def test_a_declined_card_is_declined_again_without_another_attempt(account):
    body = b"amount=500&currency=usd&confirm=true&payment_method=pm_card_chargeDeclined"
    first = post(account, "k", body, "/v1/payment_intents")
    again = post(account, "k", body, "/v1/payment_intents")
    assert (first[0], first[2]["error"]["type"], again[0], again[2]) == (402, "card_error", 402, first[2])
    assert again[1]["Idempotent-Replayed"] == "true"
    assert len(account.client().v1.payment_intents.list().data) == 1
