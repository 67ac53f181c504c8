"""Whatever a client sends: Stripe's envelope, never HTML, never a failure of the simulator itself.

More examples by hand: LEDGERLINE_FUZZ_EXAMPLES=5000 pytest tests/unit/simulator/test_fuzz.py
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dagster_project.simulator.http.endpoints import listings
from dagster_project.simulator.http.mutations import mutations
from dagster_project.simulator.http.search import searchable

EXAMPLES = int(os.environ.get("LEDGERLINE_FUZZ_EXAMPLES", "0"))
TYPES = {"api_error", "card_error", "idempotency_error", "invalid_request_error"}
KEY = {"Authorization": "Bearer sk_test_fuzz", "Content-Type": "application/x-www-form-urlencoded"}

ROUTES = sorted(
    {("GET", row.path) for row in listings().values()}
    | {("GET", f"{row.path}/{{id}}") for row in listings().values() if row.retrieve}
    | {("GET", f"/v1/{name}/search") for name in searchable()}
    | {("GET", "/v1/balance"), ("GET", "/v1/account")}
    | {(call.method, call.path) for call in mutations()}
)
NAMES = sorted(
    {name for row in listings().values() for name in row.filters}
    | {name.removesuffix("!") for call in mutations() for name in call.takes}
    | {"limit", "starting_after", "ending_before", "expand", "query", "page", "include"}
)


def examples(number: int) -> settings:
    """The same examples every time, unless a longer run is asked for."""
    return settings(
        max_examples=EXAMPLES or number,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # the simulator's log has the cause; making the example small would take minutes
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


odd_texts = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1",
            "true",
            "null",
            "nan",
            "inf",
            "1e400",
            "9" * 30,
            "9" * 5000,
            "٣",
            "a" * 10_000,
            "\x00",
            "\ud7ff",
            "usd",
            "now",
            "%",
            "[]",
            "{}",
            "id",
            "../..",
            "'; drop table object; --",
            "💥",
            "metadata",
            "none",
            "2026-01-01",
        ]
    ),
    st.text(max_size=20),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
)
odd_bytes = st.one_of(
    odd_texts.map(lambda text: quote_plus(text).encode()), st.binary(max_size=12).map(quote_plus).map(str.encode)
)
brackets = st.lists(
    st.one_of(
        st.sampled_from(["", "0", "1", "gt", "lte", "type", "data", "999999999", "items", "price", "x" * 300]),
        st.text(max_size=5),
    ),
    max_size=4,
)


@st.composite
def parameters(draw: st.DrawFn, ids: list[str]) -> bytes:
    """A form of known and unknown names, with nesting and values of any type."""
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)))
        path = "".join(f"[{part}]" for part in draw(brackets))
        value = draw(st.one_of(odd_bytes, st.sampled_from(ids).map(str.encode)))
        parts.append(quote(name + path, safe="[]").encode() + b"=" + value)
    return b"&".join(parts)


Known = dict[str, list[str]]


@pytest.fixture(scope="module")
def fuzzed(business_to_read) -> tuple[Any, Known]:
    return business_to_read, populated(business_to_read)


def populated(simulator) -> Known:
    """Ids by kind, in every status, of a business to which what it lacks was added; taken once, because examples must
    not depend on what others changed."""
    v1, now = simulator.client().v1, simulator.store.now
    customer = v1.customers.create({"name": "Ada", "email": "ada@example.com"}).id
    price = v1.prices.create(
        {"currency": "usd", "unit_amount": 900, "recurring": {"interval": "month"}, "product_data": {"name": "Plan"}}
    ).id
    for number in range(4):
        v1.invoice_items.create({"customer": customer, "amount": 500, "currency": "usd"})
        draft = v1.invoices.create({"customer": customer, "collection_method": "send_invoice", "days_until_due": 30})
        if number % 2:
            v1.invoices.finalize_invoice(draft.id)
        clock = v1.test_helpers.test_clocks.create({"frozen_time": now}).id
        v1.customers.create({"name": "Bob", "test_clock": clock})
        v1.subscription_schedules.create(
            {"customer": customer, "start_date": now + 86_400, "phases": [{"items": [{"price": price}]}]}
        )
        v1.billing.meters.create(
            {"display_name": "Calls", "event_name": f"calls_{number}", "default_aggregation": {"formula": "sum"}}
        )
    known: Known = {}
    for kind in simulator.store.counts():
        by_status: Known = {}
        for row in simulator.store.page(kind, limit=300)[0]:
            obj = json.loads(row)
            by_status.setdefault(str(obj.get("status")), []).append(obj["id"])
        known[kind] = [id for ids in by_status.values() for id in ids[:5]]
    return known


def send(simulator, method: str, target: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(simulator.base_url.removeprefix("http://"), timeout=20)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {**KEY, **{each.replace("_", "-"): text for each, text in headers.items()}}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def is_stripes(status: int, headers: Any, body: bytes, what: object) -> dict[str, Any]:
    """The answer, if it is one of Stripe's."""
    assert status < 500, (what, status, body[:500])
    assert headers["Content-Type"] == "application/json", what
    assert re.fullmatch(r"req_\w+", headers["Request-Id"] or ""), what
    answer: dict[str, Any] = json.loads(body)
    if status == 200:
        assert "error" not in answer, what
    else:
        assert set(answer) == {"error"}, what
        assert answer["error"]["type"] in TYPES, what
        assert isinstance(answer["error"]["message"], str), what
        assert len(answer["error"]["message"]) < 5_000, what
    return answer


@examples(500)
@given(data=st.data())
def test_any_parameters_to_any_route(fuzzed, data):
    simulator, known = fuzzed
    ids = [id for of_kind in known.values() for id in of_kind]
    method, path = data.draw(st.sampled_from(ROUTES))
    for _ in range(path.count("{id}")):
        id = data.draw(st.one_of(st.sampled_from(ids), odd_texts))
        path = path.replace("{id}", quote(id, safe="") or "x", 1)
    form = data.draw(parameters(ids))
    key = data.draw(st.one_of(st.none(), st.sampled_from(["k1", "k2", "k" * 255, "k" * 256, "é"])))
    headers = {} if key is None or method == "GET" else {"Idempotency_Key": key.encode().decode("latin-1")}
    target = f"{path}?{form.decode()}" if method == "GET" else path
    is_stripes(*send(simulator, method, target, None if method == "GET" else form, **headers), (method, target, form))


# Parameters without which most calls come to nothing, though they are not required.
USUAL = ("customer", "product", "items", "subscription", "payment_intent", "charge", "amount", "unit_amount",
         "percent_off", "currency", "phases")  # fmt: skip
# What a parameter of this name could be told, so that more calls get beyond their checks.
LIKELY = {
    "url": ["http://127.0.0.1:9/hook"],
    "enabled_events": ["*", "customer.created"],
    "type": ["eu_vat", "us_ein", "card"],
    "value": ["DE123456789", "12-3456789"],
    "email": ["ada@example.com"],
    "country": ["US", "DE"],
    "up_to": ["inf", "5"],
    "event_name": ["calls_0", "calls_1"],
}
SCALARS: dict[str, st.SearchStrategy[str]] = {
    "integer": st.integers(-(10**12), 10**12).map(str),
    "count": st.integers(0, 10**12).map(str),
    "amount": st.integers(-1, 10**13).map(str),
    "time": st.one_of(st.integers(0, 2**40), st.integers(1_700_000_000, 1_900_000_000)).map(str),
    "decimal": st.decimals(-(10**6), 10**6, places=3).map(str),
    "percent": st.integers(-1, 101).map(str),
    "boolean": st.sampled_from(["true", "false"]),
    "currency": st.sampled_from(["usd", "eur", "jpy", "kwd", "xyz"]),
}


@st.composite
def fitting(draw: st.DrawFn, kind: Any, known: Known, name: str) -> list[tuple[str, str]]:
    """Names and values that a parameter's declared kind could take, or nearly."""
    if isinstance(kind, dict):
        pairs: list[tuple[str, str]] = []
        for part, inner in kind.items():
            if part.endswith("!") or draw(st.integers(0, 1 if part in USUAL or part == "price" else 4)) == 0:
                pairs += draw(fitting(inner, known, f"{name}[{part.removesuffix('!')}]"))
        return pairs
    if isinstance(kind, list) and kind and isinstance(kind[0], dict):
        rows = range(draw(st.integers(1, 3)))
        return [pair for row in rows for pair in draw(fitting(kind[0], known, f"{name}[{row}]"))]
    if isinstance(kind, list):
        return [(name, draw(st.sampled_from([str(word) for word in kind])))]
    first, *words = kind.split()
    if first in ("id", "ids"):
        ids = [id for each in words[0].split("|") for id in known.get(each, [])]
        value = st.sampled_from([*ids * 4, "x_1"])
    else:
        likely = LIKELY.get(re.findall(r"\w+", name)[-1], [*words, "x"])
        texts = st.sampled_from([*likely * 10, ""])
        value = SCALARS[first] if first in SCALARS else st.one_of(texts, texts, odd_texts)
        value = st.one_of(value, st.sampled_from(words)) if words else value
    if first in ("ids", "texts"):
        return [(f"{name}[{place}]", draw(value)) for place in range(draw(st.integers(1, 3)))]
    if first == "metadata":
        keys = st.sampled_from(["a", "b", "c"]) | st.text(max_size=45)
        return [(f"{name}[{draw(keys)}]", draw(st.just("x") | odd_texts))]
    return [(name, draw(value))]


@examples(600)
@given(data=st.data())
def test_parameters_that_nearly_fit_their_call(fuzzed, data):
    simulator, known = fuzzed
    # What deletes comes less often, or soon nothing would be left to change.
    changing = [call for call in mutations() if call.method != "DELETE"]
    call = data.draw(st.sampled_from([*changing * 4, *(call for call in mutations() if call.method == "DELETE")]))
    path = call.path
    for kind in call.kinds:
        path = path.replace("{id}", quote(data.draw(st.sampled_from(known.get(kind, ["x_1"]))), safe=""), 1)
    pairs = []
    for name, kind in call.takes.items():
        usual = name in USUAL
        if name.endswith("!") or data.draw(st.integers(0, 1 if usual else 5)) == 0:
            pairs += data.draw(fitting(kind, known, name.removesuffix("!")))
    form = "&".join(f"{quote(name, safe='[]')}={quote_plus(value)}" for name, value in pairs).encode()
    is_stripes(*send(simulator, call.method, path, form), (call.method, path, form))


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1//charges",
        "/v1/charges//",
        "/v1/charges/%00",
        "/v1/charges/%2F",
        "/v1/charges/..",
        "/v1/charges/%C3%A9",
        "/v1/charges/%F0%9F%92%A5",
        "/v1/charges/%FF",
        "/v1/charges/" + "a" * 20_000,
        "/v1/charges/%",
        "/v1/charges/%zz",
        "/v1/charges?" + "a=b&" * 20_000,
        "/v1/charges?limit=%00",
        "/v1/charges?%5B%5D=1",
        "/v1/charges?a[=1",
        "/v1/charges?limit[][][][]=1",
        "/v1/charges?" + "[".join("a" * 200) + "=1",
        "/v1/charges?&&&==&=",
        "/v2/core/events",
        "/_ledgerline",
        "/_ledgerline/",
        "/_ledgerline/nothing",
        "http://example.com/v1/charges",
        "/v1/charges#x",
        "/v1/charges;x=1",
        "/v1/charges?expand[]=" + ".".join(["data"] * 500),
        "/v1/charges?" + "expand[]=data.customer&" * 300,
        "/v1/charges?created[gte]=99999999999999999999999",
        "/v1/charges?created=-5",
        "/v1/charges?limit=1&limit=2",
        "/v1/customers/search?query=" + "(" * 5000,
        "/v1/customers/search?query=" + "%22" * 3000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
def test_odd_paths_and_methods(fuzzed, method, target):
    is_stripes(*send(fuzzed[0], method, target, None if method == "GET" else b""), (method, target[:200]))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"name": "Ada"}'),
        ("application/json", b"{"),
        ("application/json; charset=utf-8", b"\xff"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nname\r\n--x--"),
        ("text/html", b"<html>"),
        ("", b"\x00\x01\xfe\xff"),
        ("application/x-www-form-urlencoded; charset=utf-16", "name=Ada".encode("utf-16")),
        ("application/x-www-form-urlencoded", b"=" * 100_000),
        ("application/x-www-form-urlencoded", b"&" * 999_999),
        ("application/x-www-form-urlencoded", b"a" * 1_500_000),
        ("application/x-www-form-urlencoded", b"a[" * 100_000),
        ("application/x-www-form-urlencoded", b"&".join(b"metadata[%d]=x" % number for number in range(20_000))),
        ("application/x-www-form-urlencoded", b"%" * 1000),
        ("application/x-www-form-urlencoded", b"name=%ff%fe%00"),
        ("application/x-www-form-urlencoded", b"metadata" + b"[a]" * 5000 + b"=1"),
    ],
)
def test_odd_bodies(fuzzed, content_type, body):
    simulator, _ = fuzzed
    is_stripes(*send(simulator, "POST", "/v1/customers", body, Content_Type=content_type), (content_type, body[:50]))


def test_a_chunked_body_is_read_as_any_other(fuzzed):
    simulator, _ = fuzzed
    connection = http.client.HTTPConnection(simulator.base_url.removeprefix("http://"), timeout=20)
    connection.request("POST", "/v1/customers", iter([b"name=", b"Ada", b"&metadata[a]=b"]), KEY, encode_chunked=True)
    answer = connection.getresponse()
    made = is_stripes(answer.status, answer.headers, answer.read(), "chunked")
    assert (made["name"], made["metadata"]) == ("Ada", {"a": "b"})
    connection.request("POST", "/v1/customers", iter([b"x" * 100_000] * 30), KEY, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    is_stripes(answer.status, answer.headers, answer.read(), "too much")
    connection.close()


@examples(60)
@given(
    name=st.sampled_from(
        [
            "Authorization",
            "Stripe-Version",
            "Stripe-Account",
            "Idempotency-Key",
            "Content-Type",
            "Expect",
            "Accept",
            "Transfer-Encoding",
            "Connection",
            "Cookie",
            "X-Stripe-Client-Telemetry",
            "Stripe-Context",
        ]
    ),
    value=st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40),
        st.sampled_from(
            ["", "x" * 30_000, "Bearer", "Bearer \xff", "Basic \xff", "Basic Og==", "acct_none", "chunked"]
        ),
    ),
    method=st.sampled_from(["GET", "POST"]),
)
def test_odd_headers(fuzzed, name, value, method):
    simulator, _ = fuzzed
    if (name, value) == ("Transfer-Encoding", "chunked"):
        return  # says that more follows, and nothing does
    body = b"name=Ada" if method == "POST" else None
    status, headers, answer = send(simulator, method, "/v1/customers", body, **{name.replace("-", "_"): value})
    if "Request-Id" in headers:
        is_stripes(status, headers, answer, (name, value))
    else:  # refused before it was a request
        assert (status, json.loads(answer)["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\n",
        b"\x00" * 100,
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/charges HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nAuthorization: Bearer sk_1\r\n\r\nname=",
        b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/charges HTTP/1.1\r\nA\x00b: c\r\n\r\n",
        bytes(range(256)) * 8,
        b"GET /v1/charges HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /v1/charges HTTP/1.0\r\n\r\n",
        b"GET /v1/charges\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"A" * 200_000,
    ],
)
def test_garbage_on_the_wire(fuzzed, sent):
    """Half requests and what is none: the connection may end, the server goes on and says nothing but JSON."""
    simulator, _ = fuzzed
    host, _, port = simulator.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=0.3) as connection:
        received = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                received += part
        except OSError:
            pass
    if received:
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 "), received[:200]
        assert b"html" not in received.lower()
        assert "error" in json.loads(body), received[:500]
    assert send(simulator, "GET", "/v1/balance")[0] == 200


def test_afterwards_the_account_is_as_sound_as_before(fuzzed):
    """Runs last: the money still ties, nothing is in flight, and every list still pages."""
    simulator, _ = fuzzed
    status = simulator.control("status")
    assert status["traffic"]["in_flight"] == 0
    assert "500" not in status["traffic"]["statuses"]
    balance = json.loads(send(simulator, "GET", "/v1/balance")[2])
    held = {row["currency"]: row["amount"] for row in balance["available"]}
    for row in balance["pending"]:
        held[row["currency"]] = held.get(row["currency"], 0) + row["amount"]
    sums: dict[str, int] = {}
    for transaction in simulator.client().v1.balance_transactions.list({"limit": 100}).auto_paging_iter():
        sums[transaction.currency] = sums.get(transaction.currency, 0) + transaction.net
    assert {currency: amount for currency, amount in held.items() if amount} == {
        currency: amount for currency, amount in sums.items() if amount
    }
    simulator.control("advance", {"days": 3})
    assert simulator.control("status")["busy"] is False
