"""Every setting: its name, type, default, what it is for, and whether it is a secret.

Values come from the environment, then from `.env` in the working directory, then from the default.
`Settings.load()` is the only reader; nothing else in the project looks at the environment for configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dagster_project.accounts import Account, percent, read_accounts
from dagster_project.errors import SettingError, UsageError
from dagster_project.metrics.policies import Policy

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Setting:
    """One row of the table below; `default` is text as a person would write it in `.env`, or None."""

    name: str
    default: str | None
    meaning: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("STRIPE_API_KEY", None, "Secret or restricted key. Without it the local simulator is used.", True),
    Setting("STRIPE_API_BASE", "https://api.stripe.com", "Another base URL with the same API."),
    Setting(
        "STRIPE_WEBHOOK_SECRET",
        None,
        "Signing secret(s) of the webhook endpoint, comma-separated during rotation.",
        True,
    ),
    Setting(
        "LEDGERLINE_ACCOUNTS",
        None,
        "Path of a YAML list of accounts: name, key (env:NAME or file:PATH), connected accounts.",
    ),
    Setting("LEDGERLINE_DATA_DIR", "data", "Everything that is written lives here."),
    Setting(
        "LEDGERLINE_OPS_URL",
        None,
        "SQLAlchemy URL of the ops database; default: SQLite in the data directory.",
        True,
    ),
    Setting("LEDGERLINE_START", None, "Earliest `created` to load, an ISO date; default: the account's creation."),
    Setting(
        "LEDGERLINE_LEAVE_FOR_OTHERS",
        "5",
        "Percent of Stripe's rate limits that is left to the key's other users, 0 to 90.",
    ),
    Setting("LEDGERLINE_TIMEZONE", "UTC", "Reporting time zone: where a month begins and ends."),
    Setting("LEDGERLINE_CURRENCY", None, "Reporting currency; default: the account's."),
    Setting(
        "LEDGERLINE_MRR_POLICY",
        "default",
        "How MRR is counted: `default`, `stripe_dashboard`, `chartmogul`, `profitwell`, or the path of a YAML file.",
    ),
    Setting(
        "LEDGERLINE_FX_RATES",
        None,
        "Path of a CSV of exchange rates (month or day, currency, to_currency, rate), before the ECB's.",
    ),
    Setting("LEDGERLINE_WAREHOUSE", "file", "Where the warehouse lives: `file`."),
    Setting("LEDGERLINE_ROUTES", "dagster_project/routes", "Folder of the route files."),
    Setting("LEDGERLINE_UI_PORT", "3000", "Port of the Dagster UI that `make dev` starts."),
    Setting("LEDGERLINE_RECEIVER_PORT", "8787", "Port of the webhook receiver."),
    Setting("LEDGERLINE_SIMULATOR_PORT", "12111", "Port of the local Stripe simulator."),
    Setting("SLACK_BOT_TOKEN", None, "With it Slack messages go to Slack; without it to the outbox folder.", True),
    Setting("SLACK_CHANNEL", "#billing-alerts", "Channel of the Slack messages."),
    Setting("HTTPS_PROXY", None, "Proxy for outgoing HTTPS."),
    Setting("SSL_CERT_FILE", None, "Certificate authority file for outgoing HTTPS (a private CA)."),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Settings:
    values: Mapping[str, str | None] = field(repr=False)
    sources: Mapping[str, str]
    dotenv: Mapping[str, str] = field(default_factory=dict, repr=False)  # all that `.env` holds: keys of accounts, too

    # ---- reading -------------------------------------------------------------------------------------------
    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, *, dotenv: Path | None = None) -> Settings:
        """Settings from `environ` (default: the process's) over `.env` over the defaults.

        Raises SettingError for a malformed `.env` line, an unknown LEDGERLINE_ name or a value that cannot be used.
        """
        environ = os.environ if environ is None else environ
        dotenv = Path(".env") if dotenv is None else dotenv
        from_file = read_dotenv(dotenv) if dotenv.exists() else {}
        unknown = sorted(
            name
            for name in {*environ, *from_file}
            if name.startswith("LEDGERLINE_") and name not in _BY_NAME and not name.startswith("LEDGERLINE_TEST_")
        )
        if unknown:
            raise SettingError(
                f"Unknown setting {', '.join(unknown)}.",
                "Compare with the table that `ledgerline doctor` prints.",
            )
        values: dict[str, str | None] = {}
        sources: dict[str, str] = {}
        for setting in SETTINGS:
            if environ.get(setting.name):
                values[setting.name], sources[setting.name] = environ[setting.name], "environment"
            elif from_file.get(setting.name):
                values[setting.name], sources[setting.name] = from_file[setting.name], ".env"
            else:
                values[setting.name], sources[setting.name] = setting.default, "default"
        settings = cls(values, sources, from_file)
        settings._validate()
        return settings

    def replaced(self, **changes: str | None) -> Settings:
        """A copy with some values changed, e.g. `replaced(STRIPE_API_BASE=url)`."""
        sources = {**self.sources, **dict.fromkeys(changes, "given")}
        return Settings({**self.values, **changes}, sources, self.dotenv)

    def environment(self) -> dict[str, str]:
        """The values that differ from the defaults, to hand to a child process."""
        return {
            name: str(value)
            for name, value in self.values.items()
            if value is not None and self.sources[name] != "default"
        }

    def __getitem__(self, name: str) -> str | None:
        return self.values[name]

    # ---- what the values mean ------------------------------------------------------------------------------
    @property
    def data_dir(self) -> Path:
        return Path(self.values["LEDGERLINE_DATA_DIR"] or "data").expanduser().absolute()

    @property
    def ops_url(self) -> str:
        return self.values["LEDGERLINE_OPS_URL"] or f"sqlite:///{self.data_dir / 'ops.sqlite'}"

    @property
    def routes_dir(self) -> Path:
        path = Path(self.values["LEDGERLINE_ROUTES"] or "").expanduser()
        return path if path.is_absolute() or path.exists() else PROJECT_ROOT / path

    @property
    def uses_simulator(self) -> bool:
        return not (self.values["STRIPE_API_KEY"] or self.values["LEDGERLINE_ACCOUNTS"])

    @property
    def api_base(self) -> str:
        return (self.values["STRIPE_API_BASE"] or "https://api.stripe.com").rstrip("/")

    @property
    def timezone(self) -> str:
        return self.values["LEDGERLINE_TIMEZONE"] or "UTC"

    @property
    def dagster_home(self) -> Path:
        return self.data_dir / "dagster"

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in (self.values["STRIPE_WEBHOOK_SECRET"] or "").split(",") if part.strip())

    @property
    def start(self) -> int | None:
        """Earliest `created` as a Unix time, or None."""
        text = self.values["LEDGERLINE_START"]
        return None if text is None else _unix_time("LEDGERLINE_START", text)

    @property
    def leave_for_others(self) -> int:
        """Percent of Stripe's rate limits that is left to others; an account may state its own."""
        return percent("LEDGERLINE_LEAVE_FOR_OTHERS", self.values["LEDGERLINE_LEAVE_FOR_OTHERS"])

    def port(self, name: str) -> int:
        return int(self.values[name] or "0")

    def accounts(self) -> list[Account]:
        """The accounts to read. With the simulator: its one account, whose key is no secret."""
        path = self.values["LEDGERLINE_ACCOUNTS"]
        if path:
            return read_accounts(Path(path).expanduser(), {**self.dotenv, **os.environ})
        if self.values["STRIPE_API_KEY"]:
            return [Account("stripe", self.values["STRIPE_API_KEY"])]
        return [Account("simulator", "sk_simulator")]

    def table(self) -> list[tuple[str, str, str, str]]:
        """(name, shown value, source, meaning) for `doctor`; secrets are masked."""
        return [(s.name, mask(s, self.values[s.name]), self.sources[s.name], s.meaning) for s in SETTINGS]

    def _validate(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SettingError(
                f"LEDGERLINE_TIMEZONE: {self.timezone!r} is no time zone.",
                "Use an IANA name such as Europe/Berlin.",
            ) from error
        if self.values["LEDGERLINE_WAREHOUSE"] != "file":
            raise SettingError(
                f"LEDGERLINE_WAREHOUSE: {self.values['LEDGERLINE_WAREHOUSE']!r} is not there yet.",
                "Use `file`.",
            )
        try:
            Policy.named(str(self.values["LEDGERLINE_MRR_POLICY"]))
        except SettingError as error:
            raise SettingError(f"LEDGERLINE_MRR_POLICY: {error.message}", error.next_step) from error
        rates = self.values["LEDGERLINE_FX_RATES"]
        if rates and not Path(rates).is_file():
            raise SettingError(f"LEDGERLINE_FX_RATES: {rates} is no file.", "Give the path of a CSV file.")
        currency = self.values["LEDGERLINE_CURRENCY"]
        if currency and not re.fullmatch(r"[A-Za-z]{3}", currency):
            raise SettingError(
                f"LEDGERLINE_CURRENCY: {currency!r} is no currency code.", "Use three letters, e.g. eur."
            )
        if not re.fullmatch(r"https?://[^\s]+", self.api_base):
            raise SettingError(f"STRIPE_API_BASE: {self.api_base!r} is no URL.", "Use https://api.stripe.com.")
        for name in ("LEDGERLINE_UI_PORT", "LEDGERLINE_RECEIVER_PORT", "LEDGERLINE_SIMULATOR_PORT"):
            text = self.values[name] or ""
            if not text.isdigit() or not 0 < int(text) < 65536:
                raise SettingError(f"{name}: {text!r} is no port.", "Use a number from 1 to 65535.")
        _ = self.start, self.leave_for_others


def read_dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines; blank lines and `#` comments are skipped, `export ` and quotes are taken off.

    Raises SettingError that names the file and line, never the value.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = re.fullmatch(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", text)
        if not match:
            raise SettingError(f"{path}, line {number} is not NAME=value.", "Correct or remove the line.")
        name, value = match.groups()
        if value[:1] in ("'", '"'):
            if len(value) < 2 or value[-1] != value[0]:
                raise SettingError(f"{path}, line {number}: {name} has a quote that is not closed.", "Close it.")
            value = value[1:-1]
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0].rstrip()
        values[name] = value
    return values


def mask(setting: Setting, value: str | None) -> str:
    """The value as it may be shown: of a secret only its kind (`sk_live_`) and its last four characters."""
    if value is None:
        return "–"
    if not setting.secret:
        return value
    if "://" in value:
        return re.sub(r"//[^@/]*@", "//…@", value)
    prefix = re.match(r"[a-z]+_(?:live_|test_)?|xox[a-z]-", value)
    return f"{prefix.group(0) if prefix else ''}…{value[-4:] if len(value) >= 16 else ''}"


def _unix_time(name: str, text: str) -> int:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingError(f"{name}: {text!r} is no date.", "Use an ISO date such as 2024-01-01.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


__all__ = [
    "PROJECT_ROOT",
    "SETTINGS",
    "Account",
    "Setting",
    "Settings",
    "UsageError",
    "read_accounts",
    "read_dotenv",
]
