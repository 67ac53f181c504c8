"""The landing zone: what Stripe answered, kept as evidence.

One file holds objects of one kind, one compact JSON per line in Stripe's own bytes, compressed with zstd; beside it a
manifest says which requests they came from. A file is written under a temporary name, synced and renamed; its manifest
follows in the same way and is the commit mark: what has no manifest was never landed. Files are never changed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import threading
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
import zstandard

from dagster_project.errors import LandingError, StorageError

SUFFIX = ".jsonl.zst"
MANIFEST = ".manifest.json"
_Line = bytes
_SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Batch:
    """One landed file.

    `source` is how the lines were read: list, read (by id), event, sweep, or absent (ids that Stripe says are gone;
    lines hold at least `id` and `deleted`). `observed_at` is Stripe's clock when the first request of the file started,
    so no line is older than it claims. `parent` marks a file that holds the complete child list of that parent; where
    a file holds several such lists, each of its `requests` has `parent` and `rows`, in the order of the lines; `asked`
    is the key under which a parent counts as asked. `bytes` and `sha256` are of the compressed file. `cursor` is how
    far the object was read once this file is loaded.
    """

    object: str
    account_id: str
    livemode: bool
    source: str
    observed_at: datetime
    parent: str | None
    rows: int
    bytes: int
    sha256: str
    api_version: str
    requests: tuple[dict[str, Any], ...]
    path: Path
    cursor: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """The file's name below the landing root: stable when the data directory moves."""
        return "/".join(self.path.parts[-5:])

    def lines(self) -> list[_Line]:
        """The objects, one compact JSON each."""
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(self.path.read_bytes())).read()
        return [line for line in data.split(b"\n") if line]


class Landing:
    """The folder `<root>/<account_id>/<live|test>/<object>/<yyyymmdd>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run = token_hex(4)  # names tell runs apart; in a container each may have the same process id
        self._lock = threading.Lock()
        self._last = datetime.min.replace(tzinfo=UTC)

    def write(
        self,
        *,
        object: str,
        account_id: str,
        livemode: bool,
        source: str,
        observed_at: datetime,
        lines: Sequence[bytes],
        requests: Sequence[dict[str, Any]],
        api_version: str,
        parent: str | None = None,
        cursor: dict[str, Any] | None = None,
    ) -> Batch:
        """Lands `lines` durably and returns the batch.

        Raises StorageError when the disk is full, read-only or not permitted; nothing is landed then.
        """
        if not _SAFE_NAME.fullmatch(account_id):
            raise LandingError(f"Account id {account_id!r} cannot name a folder.", "Check LEDGERLINE_ACCOUNTS.")
        packed = zstandard.ZstdCompressor(level=1).compress(b"\n".join(lines) + (b"\n" if lines else b""))
        stamp = self._next_stamp()
        folder = self.root / account_id / ("live" if livemode else "test") / object / f"{stamp:%Y%m%d}"
        path = folder / f"{stamp:%H%M%S%f}-{self._run}{SUFFIX}"
        batch = Batch(
            object=object,
            account_id=account_id,
            livemode=livemode,
            source=source,
            observed_at=observed_at,
            parent=parent,
            rows=len(lines),
            bytes=len(packed),
            sha256=hashlib.sha256(packed).hexdigest(),
            api_version=api_version,
            requests=tuple(requests),
            path=path,
            cursor=cursor,
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_durably(path, packed)
            _write_durably(_manifest_of(path), _encode(batch))
            _sync_folder(folder)
        except OSError as error:
            cause = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise StorageError(
                f"{object} could not be landed in {folder}: {cause}.", "Free space, then run again."
            ) from error
        return batch

    def batches(self, *, known: AbstractSet[str] = frozenset()) -> Iterator[Batch]:
        """Every landed batch in landed order, except those whose `key` is in `known`.

        Raises LandingError for a manifest that cannot be read.
        """
        manifests = self.root.glob(f"*/*/*/*/*{MANIFEST}")
        for manifest in sorted(manifests, key=lambda path: (path.parent.name, path.name)):
            path = manifest.with_name(manifest.name.removesuffix(MANIFEST) + SUFFIX)
            if "/".join(path.parts[-5:]) not in known:
                yield _decode(manifest, path)

    def verify(self, batch: Batch) -> None:
        """Raises LandingError when the file is missing, truncated or changed since it was landed."""
        step = "Restore the file from a backup, or delete it with its manifest and load that object again."
        try:
            packed = batch.path.read_bytes()
        except OSError as error:
            raise LandingError(f"{batch.key} cannot be read ({error.strerror}).", step) from error
        if len(packed) != batch.bytes:
            raise LandingError(f"{batch.key} holds {len(packed)} bytes, its manifest says {batch.bytes}.", step)
        if hashlib.sha256(packed).hexdigest() != batch.sha256:
            raise LandingError(f"{batch.key} was changed after it was landed.", step)

    def _next_stamp(self) -> datetime:
        # Landed order is the order of these names; a clock that stands still or steps back must not disturb it.
        with self._lock:
            self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
            return self._last


class _Manifest(msgspec.Struct, kw_only=True, omit_defaults=False):
    object: str
    account_id: str
    livemode: bool
    source: str
    observed_at: datetime
    parent: str | None
    rows: int
    bytes: int
    sha256: str
    api_version: str
    requests: list[dict[str, Any]]
    cursor: dict[str, Any] | None = None


def _encode(batch: Batch) -> bytes:
    fields = {name: getattr(batch, name) for name in _Manifest.__struct_fields__ if name != "requests"}
    return msgspec.json.encode(_Manifest(**fields, requests=list(batch.requests)))


def _decode(manifest: Path, path: Path) -> Batch:
    try:
        read = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise LandingError(
            f"Manifest {manifest.name} of {path.parent} cannot be read ({error}).",
            "Restore it from a backup, or delete it with its file and load that object again.",
        ) from error
    fields = {name: getattr(read, name) for name in _Manifest.__struct_fields__ if name != "requests"}
    return Batch(**fields, requests=tuple(read.requests), path=path)


def _manifest_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + MANIFEST)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
