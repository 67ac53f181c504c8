"""LEDGERLINE_ACCOUNTS: what the list may say, and what is refused with which help."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.errors import SettingError
from dagster_project.settings import Account, Settings

LIVE, TEST = "sk_live_0123456789", "sk_test_0123456789"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LIVE", LIVE)
    monkeypatch.setenv("SHOP_TEST", TEST)
    monkeypatch.setenv("SHOP_PUBLIC", "pk_live_0123456789")


def accounts(tmp_path: Path, text: str, dotenv: str = "") -> list[Account]:
    (tmp_path / "accounts.yaml").write_text(text)
    (tmp_path / ".env").write_text(dotenv)
    given = {"LEDGERLINE_ACCOUNTS": str(tmp_path / "accounts.yaml")}
    return Settings.load(given, dotenv=tmp_path / ".env").accounts()


def test_keys_come_from_files_beside_the_list_variables_and_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("rk_live_one\n")
    rows = accounts(
        tmp_path,
        "- {name: one, key: 'file:key'}\n"
        "- {name: two, key: 'env:SHOP_LIVE', account_id: acct_2, livemode: false}\n"
        "- {name: three, key: 'env:THIRD'}\n"
        "- {name: four, key: 'env:STRIPE_API_KEY'}\n",
        "THIRD=rk_test_three\nSTRIPE_API_KEY=rk_test_four\n",
    )
    assert [(a.name, a.key, a.account_id, a.livemode) for a in rows] == [
        ("one", "rk_live_one", None, None),
        ("two", LIVE, "acct_2", False),
        ("three", "rk_test_three", None, None),
        ("four", "rk_test_four", None, None),
    ]


def test_connected_accounts_are_a_list_or_all(tmp_path: Path) -> None:
    (one,) = accounts(tmp_path, "- {name: one, key: 'env:SHOP_LIVE', connected: [acct_1, acct_2]}")
    (every,) = accounts(tmp_path, "- {name: one, key: 'env:SHOP_LIVE', connected: all}")
    (none,) = accounts(tmp_path, "- {name: one, key: 'env:SHOP_LIVE'}")
    assert [(a.connected, a.all_connected) for a in (one, every, none)] == [
        (("acct_1", "acct_2"), False),
        ((), True),
        ((), False),
    ]


def test_an_account_may_be_there_twice_with_its_live_and_its_test_key(tmp_path: Path) -> None:
    rows = accounts(tmp_path, "- {name: shop, key: 'env:SHOP_LIVE'}\n- {name: shop, key: 'env:SHOP_TEST'}\n")
    assert [(a.name, a.key, a.says_livemode) for a in rows] == [
        ("shop (live)", LIVE, True),
        ("shop (test)", TEST, False),
    ]


def test_one_key_may_open_an_account_at_each_of_two_addresses(tmp_path: Path) -> None:
    rows = accounts(
        tmp_path,
        "- {name: one, key: 'env:SHOP_LIVE'}\n- {name: two, key: 'env:SHOP_LIVE', api_base: 'http://localhost:1'}\n",
    )
    assert [(a.name, a.api_base) for a in rows] == [("one", None), ("two", "http://localhost:1")]


@pytest.mark.parametrize(
    ("text", "says", "step"),
    [
        ("- {name: [", "no YAML", "Write a list"),
        ("name: one", "no list", "Write a list"),
        ("- {name: one, key: sk_live_plain}", "must be a reference", "env:NAME"),
        ("- {name: one, key: 'env:NOWHERE_SET'}", "env:NOWHERE_SET is empty or missing", "Set NOWHERE_SET"),
        ("- {name: one, key: 'file:nowhere'}", "file:nowhere is empty or missing", "Write the key into"),
        ("- {name: one, key: 'env:SHOP_PUBLIC'}", "is a publishable key", "restricted key"),
        ("- {name: one, key: 'file:accounts.yaml'}", "is no API key", "restricted key"),
        ("- {name: one, key: 'env:X', conected: all}", "unknown key conected", "Did you mean connected"),
        ("- {name: one, key: 'env:X', colour: red}", "unknown key colour", "Write a list"),
        ("- {name: one, key: 'env:X', leave_for_others: lots}", "'lots' is no percentage", "whole number"),
        ("- {name: one, key: 'env:X', account_id: 12}", "account_id 12 is no account id", "acct_"),
        ("- {name: one, key: 'env:X', livemode: maybe}", "livemode 'maybe'", "true or false"),
        ("- {name: one, key: 'env:X', api_base: here}", "api_base 'here' is no URL", "https://"),
        ("- {name: one, key: 'env:X', connected: every}", "connected 'every' is no account id", "connected: all"),
        ("- {name: one, key: 'env:X', connected: [acct_1, acct_1]}", "names acct_1 twice", "Take one out"),
        (
            "- {name: one, key: 'env:X', account_id: acct_1, connected: [acct_1]}",
            "acct_1 is the account itself",
            "read anyway",
        ),
        ("- {name: one}", "`name` and `key` are required", "Write a list"),
        (
            "- {name: one, key: 'env:SHOP_LIVE'}\n- {name: two, key: 'env:SHOP_LIVE'}",
            "one and two have the same key",
            "Take one out",
        ),
        (
            "- {name: one, key: 'env:SHOP_LIVE'}\n- {name: one, key: 'env:SHOP_TEST', livemode: true}",
            "names an account twice: one",
            "its own name",
        ),
    ],
)
def test_a_malformed_list_is_refused_without_showing_a_key(tmp_path: Path, text: str, says: str, step: str) -> None:
    with pytest.raises(SettingError) as error:
        accounts(tmp_path, text)
    assert says in error.value.message
    assert step in error.value.next_step
    assert not any(secret in str(error.value) for secret in ("sk_live_plain", LIVE, TEST, "pk_live_0"))


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    given = {"LEDGERLINE_ACCOUNTS": str(tmp_path / "no.yaml")}
    with pytest.raises(SettingError, match=r"no\.yaml cannot be read"):
        Settings.load(given, dotenv=tmp_path / ".env").accounts()
