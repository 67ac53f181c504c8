"""Who asks: keys, restricted keys and the account a request is about.

Which account and mode a key opens is told by `accounts`. Keys that contain `invalid` or `expired` are refused, and so
are publishable ones.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from dagster_project.simulator.http.api_errors import ApiError, no_access
from dagster_project.simulator.http.routes import Account


def key_of(headers: Mapping[str, str]) -> str:
    """The API key of a request. Raises ApiError 401 without one that may be used."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    key = value.strip() if scheme.lower() == "bearer" else _basic(value) if scheme.lower() == "basic" else ""
    if not key:
        raise ApiError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
            "https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.",
            headers={"WWW-Authenticate": 'Bearer realm="Stripe"'},
        )
    if key.startswith("pk_"):
        raise ApiError(
            401,
            "This API call cannot be made with a publishable API key. Please use a secret API key. You can find a list "
            "of your API keys at https://dashboard.stripe.com/account/apikeys.",
            code="secret_key_required",
        )
    if "expired" in key:
        raise ApiError(401, f"Expired API Key provided: {masked(key)}", code="api_key_expired")
    if "invalid" in key or not key.startswith(("sk_", "rk_")):
        raise ApiError(401, f"Invalid API Key provided: {masked(key)}")
    return key


def _basic(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def masked(key: str) -> str:
    """As Stripe shows keys in messages: prefix and last four characters, and nothing of a short one."""
    if len(key) < 12:
        return "*" * len(key)
    prefix = "_".join(key.split("_")[:2]) + "_" if key.count("_") > 1 else ""
    return f"{prefix}{'*' * 8}{key[-4:]}"


def account_of(headers: Mapping[str, str], key: str, own: Account) -> Account:
    """The account a request is for. Raises ApiError 403 when the key does not reach it."""
    asked = headers.get("stripe-account", own.id)
    try:
        return own.connected(asked)
    except KeyError:
        raise no_access(asked, masked(key)) from None


NONE, READ, WRITE = "none", "read", "write"
LEVELS = (NONE, READ, WRITE)


@dataclass(frozen=True)
class Permissions:
    """What a restricted key may do: a level per list (`charges`) or kind (`charge`), and one for all others."""

    levels: Mapping[str, str] = field(default_factory=dict)
    default: str = WRITE

    def check(self, key: str, name: str, kind: str, method: str, own: str) -> None:
        """Raises ApiError 403, naming the permission, when the key lacks the right to the object."""
        level = self.levels.get(name, self.levels.get(kind, self.default))
        needed = READ if method == "GET" else WRITE
        if LEVELS.index(level) >= LEVELS.index(needed):
            return
        raise ApiError(
            403,
            f"The provided key '{masked(key)}' does not have the required permissions for this endpoint on account "
            f"'{own}'. Having the 'rak_{kind.replace('.', '_')}_{needed}' permission would allow this request to "
            "continue.",
        )


UNRESTRICTED = Permissions()
