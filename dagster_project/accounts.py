"""LEDGERLINE_ACCOUNTS: the Stripe accounts to read, as a YAML list.

```yaml
- name: shop
  key: env:SHOP_KEY            # or file:shop.key; never the key itself
  connected: all               # or a list of acct_… ; each is read through this key
- name: shop                   # the same account's test mode, with its own key
  key: env:SHOP_TEST_KEY
- name: legacy
  key: file:legacy.key
  account_id: acct_1Legacy     # these two where the key may not ask Stripe for them
  livemode: true
```
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dagster_project.errors import SettingError

_FIELDS = ("name", "key", "account_id", "livemode", "connected", "api_base", "leave_for_others")
_STEP = "Write a list of {name, key: env:NAME | file:PATH} and, if needed, " + ", ".join(_FIELDS[2:]) + "."
_ACCOUNT_ID = re.compile(r"acct_\w+")


@dataclass(frozen=True)
class Account:
    """A Stripe account to read in one mode: `key` is the secret itself (already resolved), `account_id` is given when
    the API cannot tell it, `connected` are `acct_…` read through this key with `Stripe-Account`; with `all_connected`
    those that Stripe lists when a run begins."""

    name: str
    key: str = field(repr=False)
    account_id: str | None = None
    livemode: bool | None = None
    connected: tuple[str, ...] = ()
    all_connected: bool = False
    api_base: str | None = None
    leave_for_others: int | None = None

    @property
    def says_livemode(self) -> bool | None:
        """The mode as the list or the key's prefix tells it; what Stripe answers decides."""
        said = re.match(r"[a-z]+_(live|test)_", self.key)
        return self.livemode if self.livemode is not None or said is None else said[1] == "live"


def read_accounts(path: Path, environ: Mapping[str, str]) -> list[Account]:
    """The accounts of a file. One that is there twice, with a live and a test key, has its mode in its name.

    Raises SettingError that names the file, the entry and what to write; never a key.
    """
    where = f"LEDGERLINE_ACCOUNTS: {path}"
    try:
        rows: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingError(f"{where} cannot be read ({cause}).", _STEP) from error
    except yaml.YAMLError as error:
        raise SettingError(f"{where} is no YAML ({str(error).splitlines()[0]}).", _STEP) from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise SettingError(f"{where} is no list of accounts.", _STEP)
    accounts = [_account(f"{where}, account {number}", row, path, environ) for number, row in enumerate(rows, 1)]
    return _told_apart(where, accounts)


def _account(where: str, row: Mapping[str, Any], path: Path, environ: Mapping[str, str]) -> Account:
    if unknown := sorted(str(name) for name in row if name not in _FIELDS):
        near = difflib.get_close_matches(unknown[0], _FIELDS, n=1)
        raise SettingError(f"{where}: unknown key {', '.join(unknown)}.", f"Did you mean {near[0]}?" if near else _STEP)
    if not all(isinstance(row.get(name), str) and row[name] for name in ("name", "key")):
        raise SettingError(f"{where}: `name` and `key` are required, as text.", _STEP)
    where += f" ({row['name']})"
    account_id, livemode, base = row.get("account_id"), row.get("livemode"), row.get("api_base")
    if account_id is not None and not _ACCOUNT_ID.fullmatch(str(account_id)):
        raise SettingError(f"{where}: account_id {account_id!r} is no account id.", "Write acct_… as Stripe shows it.")
    if livemode is not None and not isinstance(livemode, bool):
        raise SettingError(f"{where}: livemode {livemode!r} is neither true nor false.", "Write true or false.")
    if base is not None and not re.fullmatch(r"https?://\S+", str(base)):
        raise SettingError(f"{where}: api_base {base!r} is no URL.", "Use https://api.stripe.com, or leave it out.")
    left = row.get("leave_for_others")
    connected, every = _connected(where, row.get("connected"), account_id)
    return Account(
        name=row["name"],
        leave_for_others=None if left is None else percent(f"{where}: leave_for_others", left),
        key=_secret(where, row["key"], path.parent, environ),
        account_id=account_id,
        livemode=livemode,
        connected=connected,
        all_connected=every,
        api_base=base,
    )


def _connected(where: str, given: Any, own: str | None) -> tuple[tuple[str, ...], bool]:
    if given is None:
        return (), False
    if given == "all":
        return (), True
    ids = given if isinstance(given, list) else [given]
    step = "Write `connected: all`, or a list of acct_… ."
    for one in ids:
        if not isinstance(one, str) or not _ACCOUNT_ID.fullmatch(one):
            raise SettingError(f"{where}: connected {one!r} is no account id.", step)
        if one == own:
            raise SettingError(f"{where}: connected {one} is the account itself.", "Take it out; it is read anyway.")
    if twice := [one for one, times in Counter(ids).items() if times > 1]:
        raise SettingError(f"{where}: connected names {twice[0]} twice.", "Take one out.")
    return tuple(ids), False


def _told_apart(where: str, accounts: list[Account]) -> list[Account]:
    """An account may be there once per mode; the same key never twice, or its rows would be read twice."""
    for at, account in enumerate(accounts):
        for other in accounts[:at]:
            if account.key == other.key and account.api_base == other.api_base:
                raise SettingError(f"{where}: {other.name} and {account.name} have the same key.", "Take one out.")
    named = Counter(account.name for account in accounts)
    modes = Counter((account.name, account.says_livemode) for account in accounts)
    for (name, mode), times in modes.items():
        if times > 1 or (named[name] > 1 and mode is None):
            raise SettingError(
                f"{where} names an account twice: {name}.",
                "Give each account its own name; only its live and its test key may share one (`livemode` tells them "
                "apart where the keys do not).",
            )
    return [
        replace(account, name=f"{account.name} ({'live' if account.says_livemode else 'test'})")
        if named[account.name] > 1
        else account
        for account in accounts
    ]


def _secret(where: str, reference: str, folder: Path, environ: Mapping[str, str]) -> str:
    """The key that `env:NAME` or `file:PATH` (beside the list) refers to."""
    kind, _, name = reference.partition(":")
    if kind not in ("env", "file") or not name:
        raise SettingError(
            f"{where}: the key must be a reference, not the key itself.", "Write key: env:NAME or key: file:PATH."
        )
    if kind == "env":
        found = environ.get(name, "").strip()
        step = f"Set {name} in the environment or in .env."
    else:
        file = folder / Path(name).expanduser()
        try:
            found = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            found = ""
        step = f"Write the key into {file}."
    if not found:
        raise SettingError(f"{where}: {reference} is empty or missing.", step)
    if not re.fullmatch(r"[sr]k_\S+", found):
        kinds = {"pk_": "a publishable key", "whsec_": "the secret of a webhook endpoint"}
        what = next((words for prefix, words in kinds.items() if found.startswith(prefix)), "no API key")
        raise SettingError(f"{where}: {reference} is {what}.", "Use a restricted key (rk_…) or a secret key (sk_…).")
    return found


def percent(name: str, value: Any) -> int:
    """A share of Stripe's limits, 0 to 90 percent. Raises SettingError for anything else."""
    if not re.fullmatch(r"\d{1,2}", str(value)) or int(value) > 90:
        raise SettingError(f"{name}: {value!r} is no percentage from 0 to 90.", "Use a whole number such as 5.")
    return int(value)
