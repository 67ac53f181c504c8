"""The Dagster instance in the data directory: its configuration file and its databases.

https://docs.dagster.io/deployment/oss/dagster-yaml
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import dagster as dg

from dagster_project.errors import StorageError
from dagster_project.settings import Settings

TEMPLATE = Path(__file__).with_name("dagster.yaml.template")
_DIGEST = ".template.sha256"  # of the template that was written: tells whether a person has edited the file since
_READY = ".migrated"


def prepare_home(settings: Settings) -> Path:
    """The instance's folder, ready to use: configuration written, databases made.

    A configuration that a person has edited stays as it is. Raises StorageError when the folder cannot be written.
    """
    home = settings.dagster_home
    try:
        home.mkdir(parents=True, exist_ok=True)
        if (home / _READY).exists() and _is_current(home):
            return home
        with (home / ".lock").open("w") as lock:
            # Two processes that make the databases at once fail with `table runs already exists`.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_current(home):
                _write(home)
            if not (home / _READY).exists():
                _migrate(home)
                (home / _READY).touch()
    except OSError as error:
        raise StorageError(
            f"The Dagster folder {home} cannot be written ({error.strerror}).",
            "Make room, or set LEDGERLINE_DATA_DIR to a folder that can be written.",
        ) from error
    return home


@contextmanager
def opened(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, closed afterwards."""
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def _is_current(home: Path) -> bool:
    """Whether the file is the template's, or a person's."""
    written = home / "dagster.yaml"
    if not written.exists():
        return False
    last = (home / _DIGEST).read_text() if (home / _DIGEST).exists() else ""
    edited = _digest(written) != last
    return edited or last == _digest(TEMPLATE)


def _write(home: Path) -> None:
    draft = home / ".dagster.yaml.tmp"
    draft.write_bytes(TEMPLATE.read_bytes())
    draft.replace(home / "dagster.yaml")
    (home / _DIGEST).write_text(_digest(TEMPLATE))


def _migrate(home: Path) -> None:
    # Dagster prints its steps, which mean nothing to someone who has just run a pipeline verb.
    with redirect_stdout(StringIO()), dg.DagsterInstance.from_config(str(home)) as instance:
        instance.upgrade()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
