"""Answers kept by idempotency key, so that a repeated call changes nothing twice."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.http.api_errors import ApiError

_KEPT = 10_000
_MAX_KEY = 255


@dataclass(frozen=True)
class Replay:
    status: int
    body: bytes
    request_id: str


class Replays:
    """Kept in the store's meta: a restart does not forget them. The oldest go after 10,000."""

    def __init__(self, store: Store) -> None:
        self._kept: dict[str, list[str | int]] = store.meta.setdefault("idempotency", {})

    def find(self, key: str, fingerprint: str) -> Replay | None:
        """The first answer to this key. Raises ApiError 400 when the key came with other parameters."""
        if len(key) > _MAX_KEY:
            raise ApiError(400, f"Idempotency keys are at most {_MAX_KEY} characters long.", type="idempotency_error")
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] != fingerprint:
            raise ApiError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        return Replay(int(kept[1]), str(kept[2]).encode(), str(kept[3]))

    def keep(self, key: str, fingerprint: str, status: int, body: bytes, request_id: str) -> None:
        self._kept[key] = [fingerprint, status, body.decode(), request_id]
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
