"""Settings: where values come from, what is refused, and that no secret is shown."""

from pathlib import Path

import pytest

from dagster_project.errors import SettingError
from dagster_project.settings import SETTINGS, Settings, read_dotenv


def load(tmp_path: Path, environ: dict[str, str] | None = None, dotenv: str = "") -> Settings:
    file = tmp_path / ".env"
    file.write_text(dotenv)
    return Settings.load(environ or {}, dotenv=file)


def test_the_environment_wins_over_dotenv_which_wins_over_the_default(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {"LEDGERLINE_TIMEZONE": "Asia/Tokyo"},
        "LEDGERLINE_TIMEZONE=Europe/Berlin\nLEDGERLINE_CURRENCY=eur",
    )
    assert (settings.timezone, settings.sources["LEDGERLINE_TIMEZONE"]) == ("Asia/Tokyo", "environment")
    assert (settings["LEDGERLINE_CURRENCY"], settings.sources["LEDGERLINE_CURRENCY"]) == ("eur", ".env")
    assert (settings["LEDGERLINE_WAREHOUSE"], settings.sources["LEDGERLINE_WAREHOUSE"]) == ("file", "default")


def test_without_a_key_the_simulator_is_used(tmp_path: Path) -> None:
    assert load(tmp_path).uses_simulator
    assert not load(tmp_path, {"STRIPE_API_KEY": "rk_live_abc"}).uses_simulator


def test_dotenv_knows_comments_quotes_and_export(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# c\n\nexport A=1\nB = 'two words' \nC=three # rest\nD=\"#4\"\n")
    assert read_dotenv(file) == {"A": "1", "B": "two words", "C": "three", "D": "#4"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("STRIPE_API_KEY sk_live_secret123", "line 2 is not NAME=value"),
        ("STRIPE_API_KEY='sk_live_secret123", "quote"),
    ],
)
def test_a_malformed_dotenv_names_the_line_and_never_the_value(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(SettingError, match=says) as error:
        load(tmp_path, dotenv=f"A=1\n{line}")
    assert "secret123" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGERLINE_TIMEZONE", "Mars/Olympus"),
        ("LEDGERLINE_CURRENCY", "euro"),
        ("LEDGERLINE_WAREHOUSE", "lake"),
        ("LEDGERLINE_START", "soon"),
        ("LEDGERLINE_MRR_POLICY", "committed"),
        ("LEDGERLINE_FX_RATES", "nowhere.csv"),
        ("LEDGERLINE_UI_PORT", "99999"),
        ("LEDGERLINE_LEAVE_FOR_OTHERS", "91"),
        ("LEDGERLINE_LEAVE_FOR_OTHERS", "-1"),
        ("LEDGERLINE_LEAVE_FOR_OTHERS", "5.5"),
        ("STRIPE_API_BASE", "stripe"),
        ("LEDGERLINE_TIMEZOEN", "UTC"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name_with_a_next_step(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name) as error:
        load(tmp_path, {name: value})
    assert error.value.next_step


def test_secrets_are_masked_wherever_settings_are_shown(tmp_path: Path) -> None:
    secret = "sk_live_51HqABCDEFGHIJKLMNOPQRSTUVWXYZ"
    settings = load(tmp_path, {"STRIPE_API_KEY": secret, "LEDGERLINE_OPS_URL": "postgresql://bob:hunter2@db/ledger"})
    shown = repr(settings) + repr(settings.accounts()) + str(settings.table())
    assert secret not in shown and "hunter2" not in shown
    assert "sk_live_…WXYZ" in str(settings.table())


def test_every_setting_is_named_in_the_readme_and_in_env_example() -> None:
    root = Path(__file__).parents[2]
    readme, example = (root / "README.md").read_text(), (root / ".env.example").read_text()
    assert [s.name for s in SETTINGS if f"`{s.name}`" not in readme] == []
    assert [s.name for s in SETTINGS if f"{s.name}=" not in example] == []
