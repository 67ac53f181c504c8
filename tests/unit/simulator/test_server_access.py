from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
import stripe


def raw(
    base_url: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, Any, Any]:
    """(status, headers, decoded body) without Stripe's client in between."""
    sent = {"Authorization": "Bearer sk_simulator"} | headers
    request = urllib.request.Request(
        base_url + path, data=body, method=method, headers={name: value for name, value in sent.items() if value}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


@pytest.mark.parametrize("key", ["sk_live_invalid_1234", "rk_invalid"])
def test_a_key_that_is_invalid_is_refused_without_being_shown(shared, key):
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key") as refused:
        shared.client(key).v1.charges.list()
    assert refused.value.http_status == 401
    assert key not in str(refused.value)


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic !!!", "Digest x"])
def test_no_key_is_401(shared, header):
    status, headers, body = raw(shared.base_url, "/v1/charges", Authorization=header)
    assert (status, body["error"]["type"]) == (401, "invalid_request_error")
    assert headers["WWW-Authenticate"] == 'Bearer realm="Stripe"'


def test_a_key_as_basic_user_works(shared):
    credentials = base64.b64encode(b"sk_test_1:").decode()
    assert raw(shared.base_url, "/v1/charges", Authorization=f"Basic {credentials}")[0] == 200


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        ("pk_live_0123456789", "secret_key_required", "cannot be made with a publishable API key"),
        ("sk_live_expired_6789", "api_key_expired", "Expired API Key provided: sk_live_********6789"),
        ("password", None, "Invalid API Key provided: ********"),
        ("rk_test_invalid_01234", None, "Invalid API Key provided: rk_test_********1234"),
    ],
)
def test_a_key_that_opens_nothing_is_401(shared, key, code, message):
    status, headers, body = shared.raw("/v1/charges", Authorization=f"Bearer {key}")
    assert (status, body["error"]["type"], body["error"].get("code")) == (401, "invalid_request_error", code)
    assert message in body["error"]["message"]
    assert key not in body["error"]["message"]
    assert headers["Request-Id"].startswith("req_")


def test_a_restricted_key_is_told_which_permission_it_lacks(account):
    account.control("keys", {"key": "rk_live_1", "deny": ["charges", "payout"]})
    client = account.client("rk_live_1")
    for call, permission in ((client.v1.charges.list, "rak_charge_read"), (client.v1.payouts.list, "rak_payout_read")):
        with pytest.raises(stripe.PermissionError, match=permission) as refused:
            call()
        assert refused.value.http_status == 403
    assert client.v1.refunds.list().data == []
    assert account.client().v1.charges.list().data == []


def test_a_restricted_key_may_read_and_not_write(account):
    made = account.client().v1.customers.create({"name": "Ada"})
    granted = account.control("keys", {"key": "rk_live_2", "permissions": {"customers": "read"}, "default": "none"})
    assert granted == {"permissions": {"customers": "read"}, "default": "none"}
    client = account.client("rk_live_2")
    assert client.v1.customers.retrieve(made.id).name == "Ada"
    for change in (
        lambda: client.v1.customers.create({"name": "Bob"}),
        lambda: client.v1.customers.update(made.id, {"name": "Bob"}),
        lambda: client.v1.customers.delete(made.id),
    ):
        with pytest.raises(stripe.PermissionError, match="rak_customer_write"):
            change()
    for path, permission in (
        ("/v1/balance", "rak_balance_read"),
        ("/v1/checkout/sessions", "rak_checkout_session_read"),
    ):
        status, _, body = account.raw(path, Authorization="Bearer rk_live_2")
        assert (status, permission in body["error"]["message"]) == (403, True)
    assert [each.name for each in account.client().v1.customers.list().data] == ["Ada"]


@pytest.mark.parametrize(
    "body",
    [
        {"key": ""},
        {"key": "rk_1", "deny": ["chargs"]},
        {"key": "rk_1", "deny": "charges"},
        {"key": "rk_1", "permissions": {"charges": "all"}},
        {"key": "rk_1", "permissions": []},
        {"key": "rk_1", "default": "some"},
    ],
)
def test_permissions_that_do_not_exist_are_refused(shared, body):
    assert shared.raw("/_ledgerline/keys", "POST", json.dumps(body).encode())[0] == 400


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2026-10-28.endive", 200),
        ("2026-09-30.endive", 200),
        ("2026-03-25.dahlia", 200),
        ("2025-11-17.clover", 200),
        ("2025-03-31.basil", 200),
        ("2025-03-31.acacia", 400),
        ("2025-02-24.acacia", 400),
        ("2022-11-15", 400),
        ("2026-10-28", 400),
        ("2026-11-25.endive", 400),
        ("2026-10-28.preview", 400),
        ("2026-10-28.endive.x", 400),
        ("yesterday", 400),
        ("", 400),
    ],
)
def test_versions_since_basil_are_answered_in_the_shape_that_the_answer_names(shared, version, status):
    answered, headers, body = shared.raw("/v1/charges", Stripe_Version=version)
    assert (answered, headers["Stripe-Version"]) == (status, "2026-10-28.endive")
    if status == 400:
        assert "Invalid Stripe API version" in body["error"]["message"]


def test_another_account_is_out_of_reach(business):
    own = business.client().v1.accounts.retrieve_current().id
    assert business.client(stripe_account=own).v1.charges.list({"limit": 1}).data
    with pytest.raises(stripe.PermissionError) as refused:
        business.client(stripe_account="acct_other").v1.charges.list()
    assert refused.value.json_body["error"]["code"] == "account_invalid"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/charges/ch_none", "No such charge: 'ch_none'"),
        ("/v1/invoices/in_none/lines", "No such invoice: 'in_none'"),
        ("/v1/customers/cus_none/tax_ids", "No such customer: 'cus_none'"),
        ("/v1/unheard_of", "Unrecognized request URL"),
        ("/", "Unrecognized request URL"),
        ("/v1/charges/ch_1/extra", "Unrecognized request URL"),
        ("/v1/charges/%00'%22%F0", "No such charge"),
    ],
)
def test_what_does_not_exist_is_404_in_stripes_envelope(shared, path, message):
    status, headers, body = raw(shared.base_url, path)
    assert (status, body["error"]["type"]) == (404, "invalid_request_error")
    assert message in body["error"]["message"]
    assert headers["Request-Id"].startswith("req_")


def test_every_answer_says_its_request_the_version_and_the_simulators_time(account):
    account.store.now = 1_700_000_000
    first = raw(account.base_url, "/v1/charges", **{"Stripe-Version": "2026-10-28.endive"})[1]
    second = raw(account.base_url, "/v1/nothing")[1]
    assert first["Request-Id"] != second["Request-Id"]
    assert first["Stripe-Version"] == "2026-10-28.endive"
    assert {first.get_all("Date")[0], second.get_all("Date")[0]} == {"Tue, 14 Nov 2023 22:13:20 GMT"}
    assert len(first.get_all("Date")) == 1
    assert raw(account.base_url, "/v1/charges", **{"Stripe-Version": "yesterday"})[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/charges?limit[a]=1", None),
        ("GET", "/v1/charges?expand=data", None),
        ("GET", "/v1/charges?created=", None),
        ("GET", "/v1/charges?created[gt][x]=1", None),
        ("GET", "/v1/charges?[]=1&a[[b]=2", None),
        ("GET", "/v1/charges?customer[a]=1&customer=2", None),
        ("GET", "/v1/charges?customer=1&customer[a]=2", None),
        ("GET", "/v1/charges?starting_after[]=x", None),
        ("GET", "/v1/charges?limit=" + "9" * 5000, None),
        ("GET", "/v1/charges?" + "a[b]" * 100 + "=1", None),
        ("GET", "/v1/charges?limit=٣", None),
        ("GET", "/v1/events?types[a]=b", None),
        ("GET", "/v1/subscription_items", None),
        ("GET", "/v1/prices?recurring=x", None),
        ("POST", "/v1/customers", b"\xff\xfe\x00=1"),
        ("POST", "/v1/customers", b"metadata=x"),
        ("POST", "/v1/customers", b"metadata[a][b]=x"),
        ("POST", "/v1/customers", b"address=x"),
        ("POST", "/v1/customers", b"balance=many"),
        ("POST", "/v1/refunds", b"amount=5"),
        ("POST", "/v1/prices", b"currency=usd&product=prod_none&unit_amount=5"),
        ("POST", "/v1/coupons", b"percent_off=nan"),
    ],
)
def test_malformed_requests_are_400_and_the_server_lives_on(shared, method, path, body):
    path = path.replace("٣", "%D9%A3")
    status, _, answer = raw(shared.base_url, path, method, body)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert raw(shared.base_url, "/v1/charges")[0] == 200


def test_a_json_body_is_refused(shared):
    status, _, body = raw(shared.base_url, "/v1/customers", "POST", b"{}", **{"Content-Type": "application/json"})
    assert (status, "form-urlencoded" in body["error"]["message"]) == (400, True)


@pytest.mark.parametrize("path", ["advance", "faults", "keys", "dispute"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"to": {}}', b'{"days": "x"}', b'{"latency_ms": -1}'])
def test_malformed_control_calls_are_refused(shared, path, body):
    status, _, answer = raw(shared.base_url, f"/_ledgerline/{path}", "POST", body)
    if (path, body) == ("faults", b""):
        assert status == 200
    elif (path, body) == ("faults", b'{"latency_ms": -1}') or path != "faults":
        assert status in (400, 404)
        assert "message" in answer["error"]
    assert raw(shared.base_url, "/_ledgerline/status")[0] == 200


def test_the_status_counts_objects_and_requests(business):
    client = business.client()
    client.v1.charges.list()
    client.v1.charges.list()
    status = business.control("status")
    assert status["requests"]["GET /v1/charges"] == 2
    assert status["objects"]["customer"] == business.store.count("customer")
    assert status["parameters"] == {"scenario": "saas", "seed": 7, "customers": 40, "months": 6}
    assert status["now"] == business.store.now
