"""Stripe's refusals: status and the one envelope in which every error arrives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

_LONGEST = 2_000
DOCS = "https://stripe.com/docs/error-codes"


class ApiError(Exception):
    """What the API refuses. `status` is the HTTP status, `error` the fields of Stripe's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        if len(message) > _LONGEST:  # what was sent is repeated, but not to any length
            message = f"{message[:_LONGEST]}…"
        self.status = status
        self.headers = headers or {}
        self.error: dict[str, Any] = {"message": message, "type": type, **more}
        if code:
            self.error["code"] = code
            self.error["doc_url"] = f"{DOCS}/{code.replace('_', '-')}"
        if param:
            self.error["param"] = param[:_LONGEST]

    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.error})


# What Stripe calls objects in its messages, where it is not their kind in words.
_CALLED = {
    "payment_method": "PaymentMethod",
    "setup_intent": "setupintent",
    "payment_intent": "payment_intent",
    "balance_transaction": "balance_transaction",
    "checkout.session": "checkout.session",
}
# The parameter that it names for an id in the path, where it is not `id`.
_IN_PATH = {"payment_intent": "intent", "setup_intent": "intent", "invoice": "invoice", "price": "price",
            "coupon": "coupon", "payment_method": "payment_method"}  # fmt: skip


def missing(kind: str, id: str, *, param: str | None = None) -> ApiError:
    """An id in the path that does not exist is 404, one in a parameter (`param`) 400."""
    words = _CALLED.get(kind) or kind.rpartition(".")[2].replace("_", " ")
    status, named = (400, param) if param else (404, _IN_PATH.get(kind, "id"))
    return ApiError(status, f"No such {words}: '{id}'", code="resource_missing", param=named)


def no_access(account: str, key: str = "") -> ApiError:
    """`key` is the masked one of the request."""
    return ApiError(
        403,
        f"The provided key {repr(key) + ' ' if key else ''}does not have access to account '{account}' (or that "
        "account does not exist). Application access may have been revoked.",
        code="account_invalid",
    )


def unknown_parameter(name: str) -> ApiError:
    return ApiError(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def required_parameter(name: str) -> ApiError:
    return ApiError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)


def empty_parameter(name: str) -> ApiError:
    return ApiError(
        400,
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; however "
        f"'{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=name,
    )


def invalid_parameter(name: str, message: str, code: str | None = None) -> ApiError:
    return ApiError(400, message, code=code, param=name)


def not_one_of(name: str, words: Sequence[str]) -> ApiError:
    """`Invalid status: must be one of draft, open, or paid`"""
    *most, last = words
    said = f"{', '.join(most)}{',' if len(most) > 1 else ''} or {last}" if most else last
    return ApiError(400, f"Invalid {name}: must be one of {said}", param=name)


def failure() -> ApiError:
    """Stripe's own trouble: nothing that the request could do better."""
    return ApiError(500, "An error occurred while processing your request. Please try again.", type="api_error")


def unknown_url(method: str, path: str) -> ApiError:
    if len(path) > 1 and path.endswith("/"):
        return ApiError(
            404,
            f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing "
            "slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in "
            "your code.",
        )
    return ApiError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/. (The local Stripe does not have every call of Stripe's.)",
    )
