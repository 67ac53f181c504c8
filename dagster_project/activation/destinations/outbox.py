"""Files for other programs to pick up: one JSON per effect, named after it, so that sending again changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dagster_project.activation.destinations.base import Destination, NotApplied, Outgoing


def write_atomic(path: Path, text: str) -> None:
    """The file whole or not at all, also when the machine stops. Raises NotApplied when it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise NotApplied(f"{path}: {error.strerror}") from error


class Outbox(Destination):
    recovery = "upsert"
    batch = 500

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send_many(self, effects: Sequence[Outgoing]) -> list[str | Exception | None]:
        for effect in effects:
            content = {
                "effect": effect.id,
                "route": effect.route,
                "key": effect.key,
                "occurred_at": effect.occurred_at.isoformat(),
                "payload": effect.payload,
            }
            write_atomic(self.folder / effect.route / f"{effect.id}.json", json.dumps(content, indent=2) + "\n")
        return [effect.id for effect in effects]
