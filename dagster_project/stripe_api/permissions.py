"""What a restricted key lacks, in the words of Stripe's Dashboard.

A 403 names the permission, e.g. `rak_charge_read`; its resource is what the form for restricted keys lists:
https://docs.stripe.com/keys/restricted-api-keys and https://docs.stripe.com/stripe-apps/reference/permissions.
"""

from __future__ import annotations

import re

_PERMISSION = re.compile(r"\brak_([a-z0-9_]+)_(read|write)\b")
# The form calls these otherwise than their permission.
_RESOURCES = {"charge": "Charges and Refunds", "billing_clock": "Test clocks"}


def how_to_permit(message: str) -> str:
    """The next step after a 403 with this message."""
    found = _PERMISSION.search(message)
    if found is None:
        return "In Stripe's Dashboard (Developers, API keys) give the key read permission there."
    name, right = found.groups()
    words = name.replace("_", " ").capitalize()
    resource = _RESOURCES.get(name, words if words.endswith(("s", "Balance")) else f"{words}s")
    return f"In Stripe's Dashboard (Developers, API keys) edit the key and set {resource} to {right.capitalize()}."
