"""Fingerprints of what Stripe answers, equal to those that the warehouse makes of its own rows (warehouse/days.py)."""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.warehouse.days import MODULUS

NO_DAY = -(2**31)  # of rows without `created`; other days are counted since 1970


def hashed(text: bytes) -> int:
    """60 bits of the MD5 of a text."""
    digest = hashlib.md5(text, usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") & (MODULUS - 1)


def fingerprint(row: StripeObject, line: bytes) -> int:
    """Of an object's compact text without its volatile fields."""
    for pattern in _volatile(row.volatile):
        line = pattern.sub(b"", line)
    return hashed(line)


@cache
def _volatile(fields: tuple[str, ...]) -> list[re.Pattern[bytes]]:
    return [re.compile(b'"' + name.encode() + rb'":[^,{}\[\]]*') for name in fields]


def plain(row: StripeObject, line: bytes | str) -> dict[str, Any]:
    """The content of an object, whatever the order of its keys; volatile fields left out."""
    body: dict[str, Any] = msgspec.json.decode(line)
    return {name: value for name, value in body.items() if name not in row.volatile}


class Known:
    """Fingerprints of the warehouse's rows of one object, 21 bytes each, and which of them Stripe has shown."""

    def __init__(self, rows: Iterable[tuple[int, int, int | None]]) -> None:
        """From (hash of the id, fingerprint, day), ordered by the first."""
        self.ids, self.prints, self.days = array("q"), array("q"), array("i")
        for one, content, day in rows:
            self.ids.append(one)
            self.prints.append(content)
            self.days.append(NO_DAY if day is None else day)
        self.seen = bytearray(len(self.ids))

    def find(self, id: str) -> int | None:
        """Where a row stands, or None."""
        wanted = hashed(id.encode())
        at = bisect_left(self.ids, wanted)
        return at if at < len(self.ids) and self.ids[at] == wanted else None

    def unseen(self) -> list[int]:
        """Hashes of the ids that Stripe has not shown."""
        return [self.ids[at] for at, seen in enumerate(self.seen) if not seen]
