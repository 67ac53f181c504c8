"""Policies: every choice by which MRR may be counted, read from YAML. A policy's hash names it in every number.

A file has the keys of profiles/default.yaml, nested or dotted; what it leaves out is as in its `base`, or in the
default profile. What the keys mean: dbt/DECISIONS.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from dagster_project.errors import SettingError

PROFILES = ("default", "stripe_dashboard", "chartmogul", "profitwell")
_FOLDER = Path(__file__).with_name("profiles")
_STATUSES = ("active", "past_due", "unpaid", "trialing", "paused", "incomplete", "incomplete_expired", "canceled")
_PAUSE = ("exclude", "count")
# The values that a key may have: words, or a function that says whether a value is one.
_WORDS: dict[str, tuple[str, ...]] = {
    "discounts.forever": ("subtract", "ignore"),
    "discounts.repeating": ("subtract_in_force", "ignore", "cover_invoiced_period"),
    "discounts.once": ("ignore", "subtract_first_period"),
    "churn_timing": ("ended_at", "canceled_at", "paid_through"),
    "pause_collection.void": _PAUSE,
    "pause_collection.mark_uncollectible": _PAUSE,
    "pause_collection.keep_as_draft": _PAUSE,
    "metered": ("exclude", "trailing_invoice"),
    "effective_from": ("start_date", "created"),
    "activation": ("status", "first_payment"),
    "movement_grain": ("month_snapshot", "event"),
    "trial_after_paid": ("exclude", "hold"),
    "inclusive_tax": ("strip", "ignore"),
    "fx": ("month_end_rate", "frozen_at_change"),
    "rounding": ("HALF_UP_minor_unit_per_item_month",),
    "logo_churn.formula": ("start_of_period", "stripe_30d"),
    "trial_conversion.success": ("paid_invoice", "active"),
    "trial_conversion.denominator": ("trials_ended", "trials_started"),
}
_DAYS = ("past_due_grace_days", "reactivation_window_days")
_FACTORS = ("interval_factor.day", "interval_factor.week", "interval_factor.month", "interval_factor.year")
_GROUPS = {key.partition(".")[0] for key in (*_WORDS, *_FACTORS)} | {"quick_ratio", "ltv"}


@dataclass(frozen=True)
class Policy:
    """`keys` has every key, dotted, with values as `_checked` leaves them."""

    profile: str
    keys: Mapping[str, Any]

    @classmethod
    def named(cls, name: str) -> Policy:
        """A profile by its name, or a file by its path. Raises SettingError: file, key, and what is allowed."""
        if name in PROFILES:
            return cls._read(_FOLDER / f"{name}.yaml", name)
        path = Path(name)
        if not path.is_file():
            raise SettingError(
                f"MRR policy {name!r} is neither a profile nor a file.", f"Use {', '.join(PROFILES)}, or a YAML file."
            )
        return cls._read(path, path.stem)

    @classmethod
    def _read(cls, path: Path, profile: str) -> Policy:
        try:
            said = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}).", "Correct the file."
            ) from error
        if not isinstance(said, dict):
            raise SettingError(f"{path}: holds no keys.", "See dagster_project/metrics/profiles/default.yaml.")
        base = said.pop("base", None if profile == "default" and path.parent == _FOLDER else "default")
        if base is not None and base not in PROFILES:
            raise SettingError(f"{path}: base {base!r} is no profile.", f"Use one of {', '.join(PROFILES)}.")
        given = {key: _checked(key, value, str(path)) for key, value in _flat(said).items()}
        return cls(profile, {**(cls.named(base).keys if base else {}), **given})

    def override(self, changes: Mapping[str, Any]) -> Policy:
        """The same policy with other values of some dotted keys. Raises SettingError."""
        known = self.keys
        for key in changes:
            if key not in known:
                raise SettingError(f"policy key {key!r} is unknown.", f"The keys are {', '.join(sorted(known))}.")
        return Policy(
            self.profile, {**known, **{key: _checked(key, value, "policy") for key, value in changes.items()}}
        )

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the policy in every row that it produced."""
        text = json.dumps(dict(self.keys), sort_keys=True, default=str)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in said.items():
        if key in _GROUPS and isinstance(value, Mapping):
            flat |= {f"{key}.{part}": each for part, each in value.items()}
        else:
            flat[str(key)] = value
    return flat


def _checked(key: str, value: Any, where: str) -> Any:
    """The value as it is kept: words, lists and numbers as they are, fractions as `Fraction`."""

    def wrong(allowed: str) -> SettingError:
        return SettingError(f"{where}: {key}: {value!r} is not allowed.", f"Use {allowed}.")

    if key in _WORDS:
        if value not in _WORDS[key]:
            raise wrong(" or ".join(_WORDS[key]))
    elif key == "statuses":
        if not isinstance(value, list) or not value or not set(value) <= set(_STATUSES):
            raise wrong(f"a list of {', '.join(_STATUSES)}")
        return sorted(set(value))
    elif key in _DAYS:
        if value is not None and (type(value) is not int or not 0 <= value <= 3660):
            raise wrong("null or whole days up to 3660")
    elif key in _FACTORS or key == "ltv.gross_margin":
        if value is None and key == "ltv.gross_margin":
            return None
        try:
            if not isinstance(value, str | int):
                raise ValueError
            number = Fraction(value)
        except (ValueError, ZeroDivisionError):
            raise wrong("a fraction as text, such as '365/12'") from None
        if number <= 0 or max(number.as_integer_ratio()) > 10**9:
            raise wrong("a fraction above 0 of numbers up to 1,000,000,000")
        return number
    elif key == "timezone":
        try:
            if value is not None:
                ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, TypeError):
            raise wrong("an IANA name such as Europe/Berlin") from None
    elif key == "quick_ratio.include_reactivation":
        if type(value) is not bool:
            raise wrong("true or false")
    elif key == "exclude_products":
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise wrong("a list of ids of products")
        return sorted(set(value))
    elif key == "customer_key":
        value = value or {}
        if not isinstance(value, Mapping) or not all(isinstance(x, str) for pair in value.items() for x in pair):
            raise wrong("pairs of a Stripe customer and the customer that it counts as")
        return dict(sorted(value.items()))
    else:
        raise SettingError(f"{where}: key {key!r} is unknown.", "See dagster_project/metrics/profiles/default.yaml.")
    return value
