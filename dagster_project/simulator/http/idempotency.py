"""Answers kept by idempotency key, so that a repeated call changes nothing twice.

Source: https://docs.stripe.com/api/idempotent_requests
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.http.api_errors import ApiError

KEPT_S = 24 * 3600  # wall time: what a client remembers does not depend on the simulated clock
_MAX_KEY = 255


@dataclass(frozen=True)
class Replay:
    status: int
    body: bytes
    request_id: str


def find(store: Store, key: str, fingerprint: str) -> Replay | None:
    """The first answer to this key. Raises ApiError 400 when the key came with other parameters."""
    if not 0 < len(key) <= _MAX_KEY:
        raise ApiError(
            400, f"Idempotency keys are at least one and at most {_MAX_KEY} characters long.", type="idempotency_error"
        )
    kept = store.execute(
        "select fingerprint, status, body, request from replay where account = ? and key = ?", (store.account, key)
    ).fetchone()
    if kept is None:
        return None
    if kept[0] != fingerprint:
        raise ApiError(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were first used with. "
            f"Try using a key other than '{key}' if you meant to execute a different request.",
            type="idempotency_error",
        )
    return Replay(kept[1], kept[2], kept[3])


class InUse:
    """Keys of calls that are still being carried out."""

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def claim(self, account: str, key: str) -> Iterator[None]:
        """Raises ApiError 409 while an earlier call with this key goes on."""
        if (account, key) in self._keys:
            raise ApiError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {key}. Please try again later.",
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
        self._keys.add((account, key))
        try:
            yield
        finally:
            self._keys.discard((account, key))


def keep(store: Store, key: str, fingerprint: str, status: int, body: bytes, request_id: str) -> None:
    """Remember the first answer, and forget those older than a day."""
    now = int(time.time())
    row = (store.account, key, fingerprint, status, body, request_id, now)
    store.execute("insert or replace into replay values (?, ?, ?, ?, ?, ?, ?)", row)
    store.execute("delete from replay where kept_at < ?", (now - KEPT_S,))
