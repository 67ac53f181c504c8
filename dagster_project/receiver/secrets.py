"""Signing secrets: those of the settings, or the one of the endpoint that was registered from here."""

from __future__ import annotations

import os
from pathlib import Path

from dagster_project.settings import Settings


def secret_file(settings: Settings) -> Path:
    """One line per endpoint: its secret, a blank, its URL."""
    return settings.data_dir / "receiver" / "secret"


def signing_secrets(settings: Settings) -> tuple[str, ...]:
    """All that a signature may be made with: several during a rotation, none before an endpoint is registered."""
    return settings.webhook_secrets or tuple(kept(settings).values())


def kept(settings: Settings) -> dict[str, str]:
    """The secrets of the endpoints that were registered from here, by URL."""
    file = secret_file(settings)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {url: secret for secret, _, url in (line.partition(" ") for line in lines) if url}


def keep(settings: Settings, url: str, secret: str) -> None:
    """Write the secret for this user's eyes only, whole or not at all."""
    file = secret_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".secret-{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.writelines(f"{each} {of}\n" for of, each in {**kept(settings), url: secret}.items())
    draft.replace(file)
