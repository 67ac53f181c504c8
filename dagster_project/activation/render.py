"""Payloads: templates (Jinja, sandboxed, an unknown name is an error) and maps from fields to columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dagster_project.errors import UsageError

_SECTION = 2_900  # Slack refuses a section over 3,000 characters
_SECTIONS = 49  # and a message over 50 blocks


def money(amount: int | None, currency: str, exponent: int) -> str:
    """Minor units for people: `{{ amount | money(currency, exponent) }}` gives `1,234.50 EUR`."""
    if amount is None:
        return "–"
    return f"{Decimal(amount).scaleb(-exponent):,.{exponent}f} {currency.upper()}"


def moment(value: datetime | date | None, pattern: str = "%Y-%m-%d %H:%M UTC") -> str:
    """A time for people: `{{ due_by | moment("%d %b %Y") }}`; – when there is none."""
    return "–" if value is None else value.strftime(pattern)


@cache
def environment(folder: Path) -> ImmutableSandboxedEnvironment:
    """Templates of one folder. Every value is escaped for Slack, so that a customer's name cannot call a channel."""
    made = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        finalize=_for_slack,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # that is for HTML; `finalize` escapes what Slack's format needs
    )
    made.filters["money"] = money
    made.filters["moment"] = moment
    return made


def variables(folder: Path, template: str) -> set[str]:
    """The names that a template reads. Raises UsageError when it is missing or malformed."""
    env = environment(folder)
    try:
        assert env.loader is not None
        source, _, _ = env.loader.get_source(env, template)
        env.get_template(template)
        return meta.find_undeclared_variables(env.parse(source))
    except TemplateNotFound as error:
        raise UsageError(
            f"The template {folder / template} does not exist.", "Write it, or correct the name."
        ) from error
    except TemplateError as error:
        raise UsageError(f"{folder / template}: {error}", "Correct the template.") from error


def message(folder: Path, template: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A message: `text`, and `blocks` with a section per paragraph. Raises UsageError when rendering fails."""
    try:
        text = environment(folder).get_template(template).render(row).strip()
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(f"{folder / template} cannot be filled: {error}", "Correct the template.") from error
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": part[:_SECTION]}} for part in paragraphs[:_SECTIONS]
    ]
    return {"text": text, "blocks": blocks}


def mapped(fields: Mapping[str, str], row: Mapping[str, Any], *, write_nulls: bool) -> dict[str, Any]:
    """Fields with the values of their columns, as JSON knows them; a null is left out unless the route writes them,
    because a null that is written wipes out what the other side knows."""
    values = {field: plain(row[column]) for field, column in fields.items()}
    return values if write_nulls else {field: value for field, value in values.items() if value is not None}


def plain(value: Any) -> Any:
    """The value as JSON can hold it: times as ISO text, decimals as text (a float would change money)."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _for_slack(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Control and direction characters can make a text read as another one.
    seen = "".join(
        " " if char in "\r\n\t" else char
        for char in value
        if unicodedata.category(char) not in ("Cc", "Cf") or char in "\r\n\t"
    )
    return seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
