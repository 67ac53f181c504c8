"""Who asks: keys, restricted keys and the account a request is about."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.routes import Account


def key_of(headers: Mapping[str, str]) -> str:
    """The API key of a request. Every key works but those that contain `invalid`. Raises ApiError 401."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    key = value.strip() if scheme.lower() == "bearer" else _basic(value) if scheme.lower() == "basic" else ""
    if not key:
        raise ApiError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    if "invalid" in key:
        raise ApiError(401, f"Invalid API Key provided: {masked(key)}")
    return key


def _basic(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def masked(key: str) -> str:
    """As Stripe shows keys in messages: prefix and last four characters."""
    prefix = "_".join(key.split("_")[:2]) + "_" if key.count("_") > 1 else ""
    return f"{prefix}{'*' * 8}{key[-4:]}"


def account_of(headers: Mapping[str, str], key: str, own: Account) -> Account:
    """The account a request is for. Raises ApiError 403 when the key does not reach it."""
    asked = headers.get("stripe-account", own.id)
    try:
        return own.connected(asked)
    except KeyError:
        raise ApiError(
            403,
            f"The provided key '{masked(key)}' does not have access to account '{asked}' (or that account does not "
            "exist). Application access may have been revoked.",
            code="account_invalid",
        ) from None


def check_permission(denied: list[str], key: str, name: str, kind: str, method: str, own: str) -> None:
    """Raises ApiError 403 when a restricted key lacks the right to the object, naming the permission."""
    if name in denied or kind in denied:
        permission = f"rak_{kind.replace('.', '_')}_{'read' if method == 'GET' else 'write'}"
        raise ApiError(
            403,
            f"The provided key '{masked(key)}' does not have the required permissions for this endpoint on account "
            f"'{own}'. Having the '{permission}' permission would allow this request to continue.",
        )
