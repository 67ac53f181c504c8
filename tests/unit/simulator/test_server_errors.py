"""Refusals in Stripe's words: https://docs.stripe.com/error-codes, https://docs.stripe.com/api/errors"""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param", "message"),
    [
        ("GET", "/v1/customers/cus_none", None, 404, "resource_missing", "id", "No such customer: 'cus_none'"),
        ("GET", "/v1/payment_intents/pi_none", None, 404, "resource_missing", "intent",
         "No such payment_intent: 'pi_none'"),
        ("GET", "/v1/setup_intents/seti_none", None, 404, "resource_missing", "intent",
         "No such setupintent: 'seti_none'"),
        ("GET", "/v1/payment_methods/pm_none", None, 404, "resource_missing", "payment_method",
         "No such PaymentMethod: 'pm_none'"),
        ("GET", "/v1/prices/price_none", None, 404, "resource_missing", "price", "No such price: 'price_none'"),
        ("GET", "/v1/subscription_items?subscription=sub_none", None, 400, "resource_missing", "subscription",
         "No such subscription: 'sub_none'"),
        ("POST", "/v1/prices", b"currency=usd&unit_amount=5&product=prod_none", 400, "resource_missing", "product",
         "No such product: 'prod_none'"),
        ("POST", "/v1/products", b"", 400, "parameter_missing", "name", "Missing required param: name."),
        ("POST", "/v1/products", b"name=", 400, "parameter_invalid_empty", "name",
         "You passed an empty string for 'name'. We assume empty values are an attempt to unset a parameter; however "
         "'name' cannot be unset. You should remove 'name' from your request or supply a non-empty value."),
        ("POST", "/v1/products", b"name=x&colour=red", 400, "parameter_unknown", "colour",
         "Received unknown parameter: colour"),
        ("POST", "/v1/customers", b"address[planet]=x", 400, "parameter_unknown", "address[planet]",
         "Received unknown parameter: address[planet]"),
        ("POST", "/v1/customers", b"balance=1.5", 400, "parameter_invalid_integer", "balance", "Invalid integer: 1.5"),
        ("GET", "/v1/charges?limit=0", None, 400, "parameter_invalid_integer", "limit",
         "This value must be greater than or equal to 1."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_stripe_says(shared, method, path, body, status, code, param, message):
    answered, headers, answer = shared.raw(path, method, body)
    assert (answered, answer) == (
        status,
        {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "code": code,
                "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
                "param": param,
            }
        },
    )
    assert headers["Request-Id"].startswith("req_")


def test_a_long_input_is_not_repeated_whole(shared):
    _, _, body = shared.raw("/v1/customers/" + "x" * 20_000)
    assert body["error"]["message"].startswith("No such customer: 'xxx")
    assert len(body["error"]["message"]) < 3_000
