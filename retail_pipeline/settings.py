"""Everything that the environment can set: typed, validated, in one place.

No other module reads environment variables of the project. What a single run can change (the as-of
date, the horizon, the discount rate) has its default here and its run-time value in `run_window`.
"""

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

import psycopg

from retail_pipeline import postgres_address
from retail_pipeline.errors import UsageError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds `dbt_project/`, `airbyte/` and `database/`."""

DEFAULT_SOURCE = "simulator:?customers=10000&seed=7"
DEFAULT_API_KEY = "local-api-key"
DEFAULT_HORIZON_DAYS = 180
LONGEST_HORIZON_DAYS = 1095
SHORTEST_SUPPRESSION_KEY = 32
DEFAULT_DAGSTER_URL = "http://127.0.0.1:3000"
DEFAULT_SOCKET_FOLDER = "/var/run/postgresql"
"""Where psycopg's libpq looks for a server of no host; the libpq of ADBC looks elsewhere."""


class Environment(StrEnum):
    """Where the code runs; maps over it are exhaustive."""

    LOCAL = "local"
    STAGING = "staging"
    PRODUCTION = "production"


class AirbyteMode(StrEnum):
    """Who runs the syncs: the embedded engine or a real Airbyte server."""

    EMBEDDED = "embedded"
    SERVER = "server"


@dataclass(frozen=True)
class SimulatorSource:
    """The bundled retail simulator: `simulator:?customers=10000&seed=7`."""

    customers: int = 10_000
    seed: int = 7


@dataclass(frozen=True)
class FileSource:
    """A transactions file (Parquet or CSV) behind the bundled API: `file:PATH`."""

    path: Path


@dataclass(frozen=True)
class ApiSource:
    """A retail API at an address: `https://…`."""

    url: str


Source = SimulatorSource | FileSource | ApiSource


@dataclass(frozen=True)
class AirbyteSettings:
    """How the Airbyte workspace is reached; everything but the mode matters in server mode only."""

    mode: AirbyteMode = AirbyteMode.EMBEDDED
    url: str | None = None
    workspace_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    database_url: str | None = field(default=None, repr=False)
    """The warehouse as the server reaches it; None where that is `RETAIL_DATABASE_URL`."""


Routes = Mapping[str, tuple[str, ...]]
"""Addresses by team; those under the empty name are for every team that has none of its own."""


@dataclass(frozen=True)
class AlertSettings:
    """Where alerts go beside the log; `dagster_url` is what links to runs begin with."""

    webhooks: Routes = field(default_factory=dict, repr=False)
    emails: Routes = field(default_factory=dict)
    smtp_url: str | None = field(default=None, repr=False)
    dagster_url: str = DEFAULT_DAGSTER_URL


@dataclass(frozen=True)
class Settings:
    """The validated environment of one process.

    `database_url` is None where the embedded PostgreSQL is used; `as_of` is None where the source's
    own default date applies. `suppression_key` is None where the key file under `home` is used.
    """

    environment: Environment = Environment.LOCAL
    home: Path = PROJECT_ROOT / ".retail"
    database_url: str | None = field(default=None, repr=False)
    source: Source = field(default_factory=SimulatorSource)
    api_key: str = field(default=DEFAULT_API_KEY, repr=False)
    as_of: date | None = None
    horizon_days: int = DEFAULT_HORIZON_DAYS
    discount_rate: float = 0.0
    alerts: AlertSettings = field(default_factory=AlertSettings)
    suppression_key: str | None = field(default=None, repr=False)
    airbyte: AirbyteSettings = field(default_factory=AirbyteSettings)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read and validate the variables listed in `.env.example`; an empty value counts as unset.

        Raises:
            UsageError: A value is not valid, a variable of the project's prefix is unknown, or the
                production environment lacks what it must be given.
        """
        given = _with_secrets(
            {
                k: v.strip()
                for k, v in (os.environ if environ is None else environ).items()
                if v.strip()
            }
        )
        _refuse_unknown(given)
        settings = cls(
            environment=_choice(given, "RETAIL_ENV", Environment, Environment.LOCAL),
            home=Path(given.get("RETAIL_HOME", PROJECT_ROOT / ".retail")).expanduser().absolute(),
            database_url=_database_url(given),
            source=parse_source(given.get("RETAIL_SOURCE", DEFAULT_SOURCE)),
            api_key=_api_key(given),
            as_of=parse_as_of(given["RETAIL_AS_OF"], "RETAIL_AS_OF")
            if "RETAIL_AS_OF" in given
            else None,
            horizon_days=parse_horizon(
                given.get("RETAIL_HORIZON_DAYS", str(DEFAULT_HORIZON_DAYS)), "RETAIL_HORIZON_DAYS"
            ),
            discount_rate=parse_discount_rate(
                given.get("RETAIL_DISCOUNT_RATE", "0"), "RETAIL_DISCOUNT_RATE"
            ),
            alerts=_alerts(given),
            suppression_key=_suppression_key(given),
            airbyte=_airbyte(given),
        )
        _refuse_defaults_in_production(settings, given)
        return settings


def parse_source(text: str) -> Source:
    """Read a source as `RETAIL_SOURCE` and `--source` spell it.

    Raises:
        UsageError: The text is none of the three forms, its host or port cannot be, or a simulator
            parameter is wrong.
    """
    if text.startswith("simulator:"):
        return _simulator_source(text)
    if text.startswith("file:") and len(text) > len("file:"):
        return FileSource(Path(text.removeprefix("file:")).expanduser().absolute())
    without_credentials = text.rpartition("@")[2]
    if text.startswith(("http://", "https://")):
        if hostname_of(text):
            return ApiSource(text.rstrip("/"))
        raise UsageError(
            f"the source {without_credentials!r} cannot be asked: its host or its port is wrong; "
            "an address looks like https://api.example:8443"
        )
    raise UsageError(
        f"the source {without_credentials!r} is not known: use "
        "'simulator:?customers=10000&seed=7', 'file:PATH' or an address that starts with https://"
    )


TODAY: Final[Literal["today"]] = "today"


def parse_as_of(text: str, name: str) -> date:
    """Read an as-of date (`YYYY-MM-DD`, meaning 00:00 UTC; `today` follows the clock).

    Raises:
        UsageError: The text is not a date; the message bears `name`.
    """
    if text == TODAY:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name} must be a date like 2011-06-01, or 'today'; got {text!r}"
        ) from None


def parse_horizon(text: str | int, name: str) -> int:
    """Read a horizon in days.

    Raises:
        UsageError: It is not a whole number from 1 to 1095; the message bears `name`.
    """
    try:
        days = int(text)
    except ValueError:
        days = 0
    if not 1 <= days <= LONGEST_HORIZON_DAYS:
        raise UsageError(
            f"{name} must be a whole number of days from 1 to {LONGEST_HORIZON_DAYS}; got {text!r}"
        )
    return days


def parse_discount_rate(text: str | float, name: str) -> float:
    """Read a yearly discount rate, such as 0.1 for 10 % a year.

    Raises:
        UsageError: It is not a number from 0 to below 1; the message bears `name`.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < 1:
        raise UsageError(
            f"{name} must be a yearly rate from 0 to below 1, such as 0.1 for 10 %; got {text!r}"
        )
    return rate


def hostname_of(url: str) -> str | None:
    """Return the host of an address, or None where no request could be sent to it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        return None
    return host if url.isprintable() and " " not in url else None


_KNOWN = {
    "RETAIL_ENV",
    "RETAIL_HOME",
    "RETAIL_DATABASE_URL",
    "RETAIL_SOURCE",
    "RETAIL_API_KEY",
    "RETAIL_AS_OF",
    "RETAIL_HORIZON_DAYS",
    "RETAIL_DISCOUNT_RATE",
    "RETAIL_ALERT_WEBHOOK",
    "RETAIL_ALERT_EMAIL",
    "RETAIL_SMTP_URL",
    "RETAIL_DAGSTER_URL",
    "RETAIL_SUPPRESSION_KEY",
}
_SECRETS = (
    "RETAIL_DATABASE_URL",
    "RETAIL_API_KEY",
    "RETAIL_SUPPRESSION_KEY",
    "RETAIL_ALERT_WEBHOOK",
    "RETAIL_SMTP_URL",
    "AIRBYTE_CLIENT_SECRET",
)
"""Each may be given as a file instead, as containers get secrets: NAME_FILE holds the path."""
_OWN_PREFIXES = ("RETAIL_DBT_", "RETAIL_TEST_")
"""Set by the project for its child processes and its tests; not settings."""

_E = TypeVar("_E", bound=StrEnum)


def _with_secrets(given: dict[str, str]) -> dict[str, str]:
    """Return the variables with the secrets that are given as files read.

    Raises:
        UsageError: A secret is given twice, or its file cannot be read.
    """
    read = dict(given)
    for name in _SECRETS:
        path = read.pop(f"{name}_FILE", None)
        if path is None:
            continue
        if name in read:
            raise UsageError(f"{name} and {name}_FILE are both set: give one of them")
        try:
            read[name] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"{name}_FILE: {path} cannot be read as text") from None
        if not read[name]:
            raise UsageError(f"{name}_FILE: {path} is empty")
    return read


def _refuse_unknown(given: Mapping[str, str]) -> None:
    unknown = sorted(
        name
        for name in given
        if name.startswith("RETAIL_") and name not in _KNOWN and not name.startswith(_OWN_PREFIXES)
    )
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)} is not a setting of this project; "
            f"the settings are {', '.join(sorted(_KNOWN))}"
        )


def _choice(given: Mapping[str, str], name: str, kind: type[_E], default: _E) -> _E:
    value = given.get(name, default.value)
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise UsageError(f"{name} is {value!r}; it must be one of: {known}") from None


def _simulator_source(text: str) -> SimulatorSource:
    parameters = dict(parse_qsl(text.removeprefix("simulator:").removeprefix("?")))
    unknown = sorted(set(parameters) - {"customers", "seed"})
    if unknown:
        raise UsageError(
            f"the simulator has no parameter {', '.join(unknown)}; it has customers and seed"
        )
    try:
        source = SimulatorSource(**{name: int(value) for name, value in parameters.items()})
    except ValueError:
        raise UsageError(f"customers and seed must be whole numbers in {text!r}") from None
    if source.customers < 1 or source.seed < 0:
        raise UsageError(f"customers must be at least 1 and seed at least 0 in {text!r}")
    return source


def _database_url(given: Mapping[str, str]) -> str | None:
    """Return the pipeline's address and what libpq would add, so that all parts add alike."""
    parts = _database_address(given, "RETAIL_DATABASE_URL")
    if parts is None:
        return None
    defaults = {
        "host": parts.get("hostaddr") or given.get("PGHOST", DEFAULT_SOCKET_FOLDER),
        "port": given.get("PGPORT", "5432"),
        "user": parts.get("user") or given.get("PGUSER") or _account(),
        "password": given.get("PGPASSWORD", ""),
    }
    return _checked_address({**defaults, **parts}, "RETAIL_DATABASE_URL")


def _account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise UsageError(
            "RETAIL_DATABASE_URL names no user, and the account that runs this has no name: "
            "write postgresql://user:password@host:port/database"
        ) from None


def _airbyte_database_url(given: Mapping[str, str]) -> str | None:
    """Return the address as another machine sees it: nothing of this one belongs to it."""
    parts = _database_address(given, "AIRBYTE_DATABASE_URL")
    return None if parts is None else _checked_address(parts, "AIRBYTE_DATABASE_URL")


def _database_address(given: Mapping[str, str], name: str) -> dict[str, str] | None:
    url = given.get(name)
    if url is None:
        return None
    shape = f"{name} must look like postgresql://user:password@host:port/database"
    if not url.startswith(("postgresql://", "postgres://")):
        raise UsageError(shape)
    coded = (
        f"{shape}; in a user name or a password write / # ? [ @ % as percent codes: "
        "%2F %23 %3F %5B %40 %25"
    )
    login, _, rest = url.partition("://")[2].partition("/")
    try:
        parts = postgres_address.read(url)
    except (psycopg.ProgrammingError, UnicodeError):
        # The driver's own words repeat the address, and the password with it.
        raise UsageError(coded) from None
    after_login = f"{login.partition('@')[2]}{rest}"
    if "@" in f"{after_login}{parts.get('host')}" or re.search("[^0-9,]", parts.get("port", "")):
        # libpq took a part of the password for the host, the port or the database.
        raise UsageError(coded)
    if "dbname" not in parts:
        raise UsageError(f"{shape}: the database's name is missing")
    return parts


def _checked_address(parts: Mapping[str, str], name: str) -> str:
    """Return the one spelling that every part of the pipeline reads alike.

    Raises:
        UsageError: The parts are such that dbt or Dagster could not connect.
    """
    if any("," in parts.get(each, "") for each in ("host", "hostaddr", "port")):
        raise UsageError(f"{name} names several hosts: name one, the primary")
    if "service" in parts or "servicefile" in parts:
        raise UsageError(f"{name} names a service: write its host, user and database out instead")
    port = parts.get("port", "5432")
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise UsageError(f"{name}: the port must be a number from 1 to 65535")
    return postgres_address.written(parts)


def _api_key(given: Mapping[str, str]) -> str:
    key = given.get("RETAIL_API_KEY", DEFAULT_API_KEY)
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            "RETAIL_API_KEY must be one line of printable ASCII, as it is sent in a header"
        )
    return key


def _suppression_key(given: Mapping[str, str]) -> str | None:
    key = given.get("RETAIL_SUPPRESSION_KEY")
    if key is not None and len(key) < SHORTEST_SUPPRESSION_KEY:
        raise UsageError(
            f"RETAIL_SUPPRESSION_KEY must have at least {SHORTEST_SUPPRESSION_KEY} random "
            "characters, such as `openssl rand -hex 32` makes"
        )
    return key


TEAMS: Final = ("data-platform", "analytics-engineering", "data-science")
"""The owners of assets, to whom alerts can be sent apart from each other."""

_ROUTE = re.compile(r"(?:(?P<team>[a-z][a-z0-9-]*)=)?(?P<address>\S+)")


def _alerts(given: Mapping[str, str]) -> AlertSettings:
    webhooks = _addresses(given, "RETAIL_ALERT_WEBHOOK", ("http://", "https://"))
    emails = _addresses(given, "RETAIL_ALERT_EMAIL", ())
    for address in (each for addresses in emails.values() for each in addresses):
        if address.count("@") != 1:
            raise UsageError(f"RETAIL_ALERT_EMAIL holds {address!r}, which is no e-mail address")
    smtp_url = given.get("RETAIL_SMTP_URL")
    if smtp_url is not None and not (
        smtp_url.startswith(("smtp://", "smtps://")) and hostname_of(smtp_url)
    ):
        raise UsageError(
            "RETAIL_SMTP_URL must look like smtp://user:password@host:587?from=pipeline@example.org"
        )
    if emails and smtp_url is None:
        raise UsageError("RETAIL_ALERT_EMAIL needs RETAIL_SMTP_URL, the server that sends")
    dagster_url = given.get("RETAIL_DAGSTER_URL", DEFAULT_DAGSTER_URL).rstrip("/")
    if not (dagster_url.startswith(("http://", "https://")) and hostname_of(dagster_url)):
        raise UsageError("RETAIL_DAGSTER_URL must be the address of Dagster's UI: https://…")
    return AlertSettings(webhooks, emails, smtp_url, dagster_url)


def _addresses(given: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> Routes:
    """Read addresses parted by spaces: `TEAM=ADDRESS` for one team's, else for all others."""
    routes: dict[str, tuple[str, ...]] = {}
    for position, word in enumerate(given.get(name, "").split(), start=1):
        match = _ROUTE.fullmatch(word)
        address = match["address"] if match else ""
        if not address or (schemes and not (address.startswith(schemes) and hostname_of(address))):
            # The address may be a secret: it is not repeated.
            raise UsageError(
                f"{name}: entry {position} must be an address, or TEAM=ADDRESS; "
                "entries are parted by spaces"
            )
        team = match["team"] or "" if match else ""
        if team and team not in TEAMS:
            raise UsageError(
                f"{name}: entry {position} is for a team that owns no asset; "
                f"those that do are {', '.join(TEAMS)}"
            )
        routes[team] = (*routes.get(team, ()), address)
    return routes


def _airbyte(given: Mapping[str, str]) -> AirbyteSettings:
    settings = AirbyteSettings(
        mode=_choice(given, "AIRBYTE_MODE", AirbyteMode, AirbyteMode.EMBEDDED),
        url=given.get("AIRBYTE_URL"),
        workspace_id=given.get("AIRBYTE_WORKSPACE_ID"),
        client_id=given.get("AIRBYTE_CLIENT_ID"),
        client_secret=given.get("AIRBYTE_CLIENT_SECRET"),
        database_url=_airbyte_database_url(given),
    )
    missing = [n for n in ("AIRBYTE_URL", "AIRBYTE_WORKSPACE_ID") if n not in given]
    if settings.mode is AirbyteMode.SERVER and missing:
        raise UsageError(f"AIRBYTE_MODE=server needs {' and '.join(missing)}")
    return settings


def _refuse_defaults_in_production(settings: Settings, given: Mapping[str, str]) -> None:
    if settings.environment is not Environment.PRODUCTION:
        return
    needed = ("RETAIL_DATABASE_URL", "RETAIL_SOURCE", "RETAIL_API_KEY")
    missing = [name for name in needed if name not in given]
    if missing:
        raise UsageError(
            f"RETAIL_ENV=production needs {', '.join(missing)}: "
            "the embedded defaults are for laptops and tests"
        )
