"""What a destination is: how it sends, what its errors mean, and how it recovers when nobody knows what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# keyed: resend with the same key; upsert: resend, it lands on the same record; probe: ask first; blind: a person
# decides.
Recovery = Literal["keyed", "upsert", "probe", "blind"]


@dataclass(frozen=True)
class Outgoing:
    """An effect as a destination sees it."""

    id: str
    route: str
    key: str
    payload: dict[str, Any]
    occurred_at: datetime
    attempt: int
    first_sent_at: datetime | None = None


class NotApplied(Exception):
    """Certainly not applied: try again later. `retry_after` is in seconds, as the destination asked; `pause` means that
    the others would fare the same, so they are left for the next time."""

    def __init__(self, message: str, retry_after: float | None = None, *, pause: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.pause = pause or retry_after is not None


class Permanent(Exception):
    """Refused for what it is; sending the same again cannot help."""


class Unknown(Exception):
    """It may have been applied: time-out, reset, 5xx."""


class Destination:
    """Sends effects. `batch` is how many one claim takes. A destination implements `send` or, where many go in one
    step, `send_many`: an error that it raises holds for all of them, one that it returns for that effect alone.

    An error other than those above counts as Unknown: only what certainly did not arrive may be sent again unasked.
    """

    recovery: Recovery
    batch = 1
    lease_s = 120.0  # longer than sending one batch can take

    def __init_subclass__(cls) -> None:
        if getattr(cls, "recovery", None) not in ("keyed", "upsert", "probe", "blind"):
            raise TypeError(f"{cls.__name__} declares no recovery class.")

    def send(self, effect: Outgoing) -> str | None:
        """Apply one effect; the id of what it became there. Raises NotApplied, Permanent, Unknown."""
        [result] = self.send_many([effect])
        if isinstance(result, Exception):
            raise result
        return result

    def send_many(self, effects: Sequence[Outgoing]) -> list[str | Exception | None]:
        """Apply the effects of one claim; their ids there, in order."""
        return [self.send(effect) for effect in effects]

    def find(self, effect: Outgoing) -> str | Literal[False] | None:
        """The id there; False when it certainly is not there; None when this cannot be told."""
        return None
