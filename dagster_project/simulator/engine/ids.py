"""Ids that look like Stripe's and depend on nothing but the seed and the order of creation."""

from __future__ import annotations

import hashlib
import random

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for second in _ALPHABET for first in _ALPHABET]
_FIVE = (62 * 62) ** 5
_LENGTHS = {"evt": 24, "ch": 24, "pi": 24, "in": 24, "sub": 24, "txn": 24, "po": 24, "pm": 24, "cus": 14, "prod": 14}


def make(seed: int, prefix: str, number: int) -> str:
    """The `number`-th id of a prefix, e.g. `cus_Q3…`."""
    value = int.from_bytes(hashlib.blake2b(f"{seed}/{prefix}/{number}".encode(), digest_size=16).digest())
    letters: list[str] = []
    left = _LENGTHS.get(prefix, 20) // 2
    while left:
        # Five pairs at once: what remains of them fits into a machine word, with which dividing is quicker.
        value, five = divmod(value, _FIVE)
        for _ in range(min(left, 5)):
            five, pair = divmod(five, 62 * 62)
            letters.append(_PAIRS[pair])
        left -= min(left, 5)
    return f"{prefix}_{''.join(letters)}"


def chance(seed: int, *key: object) -> random.Random:
    """Randomness that belongs to one fact, so that no other fact's outcome depends on when it was drawn."""
    return random.Random(f"{seed}/{'/'.join(map(str, key))}")
