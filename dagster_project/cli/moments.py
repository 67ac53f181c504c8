"""Dates as a person types them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from dagster_project.errors import UsageError


def unix_seconds(option: str, text: str | None) -> int | None:
    """An ISO date or time as Unix seconds; UTC unless it says otherwise. Raises UsageError for what is none."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is no date.", "Use an ISO date such as 2026-01-31.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
