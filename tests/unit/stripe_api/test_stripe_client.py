"""One request: what is retried, what is refused, and what the reader is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_stripe import NOW, FakeStripe, refusal, reply

from dagster_project.errors import (
    SettingError,
    StripeAnswerError,
    StripeAuthError,
    StripePermissionError,
    StripeUnreachable,
)
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api.catalog import API_VERSION, CATALOGUE
from dagster_project.stripe_api.client import Page, StripeClient, connect
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.transport import proxy_for

CHARGES = CATALOGUE["charges"]
KEY = "sk_test_very_secret_key"


def ask(stripe: FakeStripe, *, url: str | None = None, governor: Governor | None = None, what: str = "page") -> Any:
    async def run() -> Any:
        async with StripeClient(Account("unit", KEY), url or stripe.url, governor or Governor()) as client:
            if what == "page":
                return await client.page(CHARGES, "/v1/charges", {})
            return await client.one(CHARGES, "/v1/charges/ch_1")

    return asyncio.run(run())


def first(times: int, response: Callable[[], web.StreamResponse]) -> Callable[[web.Request], web.StreamResponse | None]:
    """A hook that answers the first `times` requests."""
    left = [times]

    def hook(request: web.Request) -> web.StreamResponse | None:
        left[0] -= 1
        return response() if left[0] >= 0 else None

    return hook


def test_a_page_keeps_stripes_own_bytes_compact_and_tells_the_time(stripe: FakeStripe) -> None:
    stripe.put("/v1/charges", {"id": "ch_1", "created": NOW, "amount": 10, "note": "a  b"})
    page: Page = ask(stripe)
    assert page.lines == [b'{"id":"ch_1","created":1800000000,"amount":10,"note":"a  b"}']
    assert (page.heads[0].id, page.heads[0].created, page.has_more) == ("ch_1", NOW, False)
    assert page.request["request_id"].startswith("req_")
    assert stripe.headers[0]["Stripe-Version"] == API_VERSION
    assert stripe.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [409, 424, 500, 503])
def test_failures_that_may_pass_are_tried_again(stripe: FakeStripe, status: int) -> None:
    stripe.hook = first(2, lambda: refusal(status, "try later"))
    assert ask(stripe).lines == []
    assert stripe.requests["/v1/charges"] == 3


def test_a_failure_that_does_not_pass_is_an_error_after_some_tries(stripe: FakeStripe) -> None:
    stripe.hook = first(100, lambda: refusal(500, "broken"))
    with pytest.raises(StripeAnswerError, match="HTTP 500: broken"):
        ask(stripe)
    assert stripe.requests["/v1/charges"] == 12


def test_a_body_that_is_cut_short_is_read_again(stripe: FakeStripe) -> None:
    stripe.put("/v1/charges", {"id": "ch_1", "created": NOW})
    stripe.hook = first(
        2, lambda: web.Response(body=b'{"object":"list","data":[{"id":"ch_1"', content_type="application/json")
    )
    assert len(ask(stripe).lines) == 1


def test_a_body_that_stays_cut_short_is_no_empty_page(stripe: FakeStripe) -> None:
    stripe.hook = lambda request: web.Response(body=b'{"object":"list","da', content_type="application/json")
    with pytest.raises(StripeAnswerError, match="cut short"):
        ask(stripe)


def test_a_429_is_no_error_and_counted_with_its_reason(stripe: FakeStripe) -> None:
    governor = Governor()
    stripe.hook = first(2, lambda: refusal(429, "slow down", **{"Stripe-Rate-Limited-Reason": "endpoint-rate"}))
    ask(stripe, governor=governor)
    stripe.hook = first(1, lambda: refusal(429, "lock timeout"))
    ask(stripe, governor=governor)
    assert governor.refusals == {("/charges", "endpoint-rate"): 2, ("/charges", "lock"): 1}
    assert governor.requests == {"/charges": 5}


def test_401_and_403_say_whose_key_and_never_show_it(stripe: FakeStripe) -> None:
    stripe.hook = lambda request: refusal(401, "Invalid API Key")
    with pytest.raises(StripeAuthError, match="'unit'") as unknown:
        ask(stripe)
    stripe.hook = lambda request: refusal(403, "rak_charge_read is missing")
    with pytest.raises(StripePermissionError, match="rak_charge_read") as forbidden:
        ask(stripe)
    assert KEY not in str(unknown.value) + str(forbidden.value)
    assert stripe.requests["/v1/charges"] == 2


def test_a_web_page_is_not_stripe(stripe: FakeStripe) -> None:
    stripe.hook = lambda request: web.Response(text="<html>Sign in to the network</html>", content_type="text/html")
    with pytest.raises(StripeUnreachable, match="web page"):
        ask(stripe)


def test_json_that_is_no_list_is_an_error(stripe: FakeStripe) -> None:
    stripe.hook = lambda request: reply({"hello": "world"})
    with pytest.raises(StripeAnswerError, match="charges .*the answer is no list .*request req_"):
        ask(stripe)


def test_more_without_data_never_ends_as_success(stripe: FakeStripe) -> None:
    stripe.hook = lambda request: reply({"object": "list", "data": [], "has_more": True, "url": "/v1/charges"})
    with pytest.raises(StripeAnswerError, match="sends nothing"):
        ask(stripe)


def test_nobody_answering_is_unreachable(stripe: FakeStripe) -> None:
    with pytest.raises(StripeUnreachable, match="does not answer"):
        ask(stripe, url="http://127.0.0.1:1")


def test_only_stripes_own_404_says_that_an_object_is_gone(stripe: FakeStripe) -> None:
    stripe.put("/v1/charges", {"id": "ch_2", "created": NOW})
    assert ask(stripe, what="one") == (None, None)
    stripe.hook = lambda request: reply({"detail": "Not Found"}, 404)
    with pytest.raises(StripeAnswerError, match="not as Stripe does"):
        ask(stripe, what="one")


def test_a_certificate_file_that_is_none_is_named(stripe: FakeStripe, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    settings = Settings.load(
        {"STRIPE_API_KEY": KEY, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}, dotenv=tmp_path / "no.env"
    )

    async def run() -> None:
        async with connect(settings, settings.accounts()[0], Governor()):
            pass

    with pytest.raises(SettingError, match="SSL_CERT_FILE"):
        asyncio.run(run())


def test_the_proxy_is_used_except_where_it_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = "http://proxy.example:3128"
    assert proxy_for("https", "api.stripe.com", proxy) == proxy
    assert proxy_for("http", "127.0.0.1", proxy) is None
    assert proxy_for("https", "api.stripe.com", None) is None
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert proxy_for("https", "api.stripe.com", None) == proxy
    monkeypatch.setenv("NO_PROXY", "stripe.com")
    assert proxy_for("https", "api.stripe.com", proxy) is None
