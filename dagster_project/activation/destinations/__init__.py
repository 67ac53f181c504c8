"""Destinations, one file each. A destination is registered here, and only with a recovery class."""

from __future__ import annotations

from collections.abc import Callable

from dagster_project.activation.destinations.base import Destination
from dagster_project.activation.destinations.erp import ErpJournal
from dagster_project.activation.destinations.outbox import Outbox
from dagster_project.activation.destinations.slack import Slack, SlackOutbox
from dagster_project.errors import UsageError
from dagster_project.settings import Settings


def _slack(settings: Settings) -> Destination:
    token = settings["SLACK_BOT_TOKEN"]
    if token is None:
        return SlackOutbox(settings.data_dir / "outbox" / "slack")
    return Slack(token, settings["SLACK_CHANNEL"] or "", proxy=settings["HTTPS_PROXY"])


_MAKERS: dict[str, Callable[[Settings], Destination]] = {
    "slack": _slack,
    "erp": lambda settings: ErpJournal(settings.data_dir / "outbox" / "erp"),
    "outbox": lambda settings: Outbox(settings.data_dir / "outbox" / "files"),
}
# What a step of a route must give: a template that renders {text, blocks?}, or a map of columns.
FORMS = {"slack": "template", "erp": "map", "outbox": "map"}


def names() -> list[str]:
    return list(_MAKERS)


def destination(settings: Settings, name: str) -> Destination:
    """The destination as the settings configure it. Raises UsageError for an unknown name."""
    if name not in _MAKERS:
        raise UsageError(f"Unknown destination {name!r}.", f"Use one of {', '.join(names())}.")
    return _MAKERS[name](settings)
