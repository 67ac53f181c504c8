"""What the user may choose of `ledgerline bench extract`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARTS = ("backfill", "incremental", "faults", "peers")


@dataclass(frozen=True)
class Options:
    """`only` some parts; `scale` of the sizes; the interpreter that has dlt, when this one has not; `keep` is a folder
    in which the businesses stay for the next time."""

    only: tuple[str, ...] = ()
    scale: float = 1.0
    peer_python: str | None = None
    keep: Path | None = None

    def scaled(self, number: int, least: int) -> int:
        return max(least, int(number * self.scale))

    @property
    def months(self) -> int:
        """How long a business has existed; each day has its payout, so a small one must be young."""
        return self.scaled(24, 1)

    @property
    def label(self) -> str:
        return "extract" if self.scale == 1 else f"extract, SCALED {self.scale:g}"
