"""Which business is simulated and how large it is: what may be asked for, and what is taken when nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_project.errors import UsageError
from dagster_project.simulator.engine.business import SCENARIOS

Parameters = dict[str, Any]

DEFAULTS: Parameters = {"scenario": "saas", "seed": 7, "customers": 1500, "months": 24, "objects": 1_000_000}
_LIMITS = {"seed": (0, 2**63 - 1), "customers": (10, 20_000), "months": (1, 120), "objects": (1_000, 5_000_000)}
FLAT = "flat"  # the one that is sized by objects instead of customers


def size_of(scenario: str) -> str:
    """The parameter that says how large a business of this scenario is."""
    return "objects" if scenario == FLAT else "customers"


def checked(asked: Mapping[str, Any]) -> Parameters:
    """What was asked for, without what was left open. Raises UsageError for what cannot be simulated."""
    given = {name: value for name, value in asked.items() if value is not None}
    if (scenario := given.get("scenario", DEFAULTS["scenario"])) not in SCENARIOS:
        raise UsageError(f"There is no scenario {scenario!r}.", f"Choose one of: {', '.join(SCENARIOS)}.")
    for name, (least, most) in _LIMITS.items():
        if name in given and not least <= given[name] <= most:
            raise UsageError(
                f"{name} {given[name]:,} cannot be simulated.",
                f"Ask for at least {least:,}" + (f" and at most {most:,}." if name != "seed" else "."),
            )
    if "customers" in given and scenario == FLAT:
        raise UsageError("The scenario flat is sized by objects, not by customers.", "Give --objects instead.")
    if "objects" in given and scenario != FLAT:
        raise UsageError(
            f"The scenario {scenario} is sized by customers, not by objects.",
            "Give --customers instead, or add --scenario flat.",
        )
    return given


def completed(asked: Mapping[str, Any]) -> Parameters:
    """What was asked for, and the defaults for the rest. Raises UsageError for what cannot be simulated."""
    given = checked(asked)
    scenario = str(given.get("scenario", DEFAULTS["scenario"]))
    return {name: given.get(name, DEFAULTS[name]) for name in ("scenario", "seed", size_of(scenario), "months")}


def parameters_of(meta: Mapping[str, Any]) -> Parameters:
    """Those of the business that a store holds; of an account without one the scenario alone."""
    scenario = str(meta.get("scenario", DEFAULTS["scenario"]))
    names = ("seed", size_of(scenario), "months")
    return {"scenario": scenario, **{name: meta[name] for name in names if name in meta}}


def differs(asked: Mapping[str, Any], has: Mapping[str, Any]) -> bool:
    """Whether another business was asked for than the one that is there. Raises UsageError as `checked` does."""
    return any(has.get(name) != value for name, value in checked(asked).items())


def in_words(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())
