"""Error texts without secrets: what a destination answers is kept, shown and copied to the warehouse."""

from __future__ import annotations

import re

_SECRET = re.compile(r"\b((?:sk|rk|whsec)_|xox[a-z]-|bearer\s+)[A-Za-z0-9_\-.]{6,}", re.IGNORECASE)
_LONGEST = 500


def redacted(text: str) -> str:
    """The text with keys and tokens cut to their kind, at most 500 characters."""
    return _SECRET.sub(r"\1…", text)[:_LONGEST]
