"""Settings of one process: every environment variable of the project, typed and validated.

No other module reads environment variables of the project. The defaults of a single run (as-of
date, horizon, discount rate) are here; a run overrides them in `dagster_support.run_window`.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg import conninfo
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from retail_pipeline.errors import UsageError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds `dbt_project/`, `airbyte/` and `database/`."""

DEFAULT_API_KEY: Final = "local-api-key"
LONGEST_HORIZON_DAYS: Final = 1095
SHORTEST_SUPPRESSION_KEY: Final = 32
TODAY: Final[Literal["today"]] = "today"
TEAMS: Final = ("data-platform", "analytics-engineering", "data-science")
"""The owners of assets; alerts can have an address for each."""

_SECRETS: Final = (
    "RETAIL_DATABASE_URL",
    "RETAIL_API_KEY",
    "RETAIL_SUPPRESSION_KEY",
    "RETAIL_ALERT_WEBHOOK",
    "RETAIL_SMTP_URL",
    "AIRBYTE_CLIENT_SECRET",
)
"""Each may be given as a file instead, as containers get secrets: NAME_FILE holds the path."""
_OWN_PREFIXES: Final = ("RETAIL_DBT_", "RETAIL_TEST_")
"""Variables that the project sets for its child processes and its tests; not settings."""
_NEEDED_IN_PRODUCTION: Final = ("RETAIL_DATABASE_URL", "RETAIL_SOURCE", "RETAIL_API_KEY")
_ROUTE: Final = re.compile(r"(?:(?P<team>[a-z][a-z0-9-]*)=)?(?P<address>\S+)")


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

Routes = Mapping[str, tuple[str, ...]]
"""Addresses by team; those under the empty name are for every team that has none of its own."""


def hostname_of(url: str) -> str | None:
    """Return the host of an address, or None where no request could be sent to it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        return None
    return host if url.isprintable() and " " not in url else None


def _is_web_address(url: str) -> bool:
    return url.startswith(("http://", "https://")) and bool(hostname_of(url))


def _source(text: Any) -> Source:
    if not isinstance(text, str):
        return text
    if text.startswith("simulator:"):
        return _simulator_source(text)
    if text.startswith("file:") and len(text) > len("file:"):
        return FileSource(Path(text.removeprefix("file:")).expanduser().absolute())
    if _is_web_address(text):
        return ApiSource(text.rstrip("/"))
    without_credentials = text.rpartition("@")[2]
    if text.startswith(("http://", "https://")):
        raise ValueError(
            f"{without_credentials!r} has a wrong host or port; "
            "an address looks like https://api.example:8443"
        )
    raise ValueError(
        f"{without_credentials!r} is not known: use 'simulator:?customers=10000&seed=7', "
        "'file:PATH' or an address that starts with https://"
    )


def _simulator_source(text: str) -> SimulatorSource:
    parameters = dict(parse_qsl(text.removeprefix("simulator:").removeprefix("?")))
    if unknown := sorted(set(parameters) - {"customers", "seed"}):
        raise ValueError(
            f"has {', '.join(unknown)}, but the simulator's parameters are customers and seed"
        )
    try:
        source = SimulatorSource(**{key: int(value) for key, value in parameters.items()})
    except ValueError:
        raise ValueError(f"must have whole numbers as customers and seed; got {text!r}") from None
    if source.customers < 1 or source.seed < 0:
        raise ValueError(f"must have at least 1 customer and a seed of at least 0; got {text!r}")
    return source


def _as_of(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    if text == TODAY:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date like 2011-06-01, or 'today'; got {text!r}") from None


def _database_url(url: str) -> str:
    """Return the address as given, if libpq, dbt and Dagster can all connect to it."""
    shape = "must look like postgresql://user:password@host:port/database"
    coded = (
        f"{shape}; in a user name or a password write / # ? [ @ % as percent codes: "
        "%2F %23 %3F %5B %40 %25"
    )
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(shape)
    try:
        parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items() if value}
    except (psycopg.ProgrammingError, UnicodeError):
        # The driver's own message repeats the address, and the password with it.
        raise ValueError(coded) from None
    login, _, rest = url.partition("://")[2].partition("/")
    port = parts.get("port", "5432")
    if "@" in f"{login.partition('@')[2]}{rest}{parts.get('host')}" or re.search("[^0-9,]", port):
        # libpq took a part of the password for the host, the port or the database.
        raise ValueError(coded)
    if "dbname" not in parts:
        raise ValueError(f"{shape}: the database's name is missing")
    if any("," in parts.get(each, "") for each in ("host", "hostaddr", "port")):
        raise ValueError("names several hosts: name one, the primary")
    if "service" in parts or "servicefile" in parts:
        raise ValueError("names a service: write its host, user and database out instead")
    if not (len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError("must have a port from 1 to 65535")
    return url


def _routes(is_address: Callable[[str], bool]) -> BeforeValidator:
    """Return the validator of addresses parted by spaces; `TEAM=ADDRESS` is one team's."""

    def validate(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        routes: dict[str, tuple[str, ...]] = {}
        for position, word in enumerate(text.split(), start=1):
            match = _ROUTE.fullmatch(word)
            team = match["team"] or "" if match else ""
            if match is None or not is_address(match["address"]):
                # The address may be a secret: it is not repeated.
                raise ValueError(
                    f"must hold addresses, or TEAM=ADDRESS, parted by spaces; entry {position} is "
                    "neither"
                )
            if team and team not in TEAMS:
                raise ValueError(
                    f"must name teams that own assets ({', '.join(TEAMS)}); entry {position} "
                    "names another"
                )
            routes[team] = (*routes.get(team, ()), match["address"])
        return routes

    return BeforeValidator(validate)


def _must(be: Callable[[str], bool], reason: str) -> AfterValidator:
    """Return the validator that refuses what `be` is false for, with a reason after "must"."""

    def validate(text: str) -> str:
        if not be(text):
            raise ValueError(f"must {reason}")
        return text

    return AfterValidator(validate)


def _takes_alerts(address: str) -> bool:
    """Return whether it is an address of the web or one of apprise's, such as `slack://…`."""
    import apprise

    if "://" not in address or address.startswith(("http", "mail")):
        return _is_web_address(address)  # e-mail has settings of its own, which see to encryption
    return bool(apprise.Apprise.instantiate(address))


def _is_smtp_address(url: str) -> bool:
    return url.startswith(("smtp://", "smtps://")) and bool(hostname_of(url))


AsOf = Annotated[date, BeforeValidator(_as_of)]
Horizon = Annotated[int, Field(ge=1, le=LONGEST_HORIZON_DAYS)]
DiscountRate = Annotated[float, Field(ge=0, lt=1)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
SourceText = Annotated[Source, BeforeValidator(_source)]
Home = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
ApiKey = Annotated[
    str,
    _must(
        lambda key: key.isascii() and key.isprintable(),
        "be one line of printable ASCII, as it is sent in a header",
    ),
]
SuppressionKey = Annotated[
    str,
    _must(
        lambda key: len(key) >= SHORTEST_SUPPRESSION_KEY,
        f"have at least {SHORTEST_SUPPRESSION_KEY} random characters, such as "
        "`openssl rand -hex 32` makes",
    ),
]
SmtpUrl = Annotated[
    str,
    _must(_is_smtp_address, "look like smtp://user:password@host:587?from=pipeline@example.org"),
]
WebAddress = Annotated[
    str,
    _must(_is_web_address, "be an address: https://…"),
    AfterValidator(lambda url: url.rstrip("/")),
]
Webhooks = Annotated[Routes, _routes(_takes_alerts)]
Emails = Annotated[Routes, _routes(lambda word: word.count("@") == 1)]


def parse_source(text: str, name: str = "the source") -> Source:
    """Return the source that a text names: a simulator, a file or an address.

    Raises:
        UsageError: The text is none of the three forms, no request could be sent to its host or
            port, or a simulator parameter is wrong; the message begins with `name`.
    """
    return _parsed(SourceText, text, name)


def parse_as_of(text: str, name: str) -> date:
    """Return an as-of date (`YYYY-MM-DD`, meaning 00:00 UTC; `today` is the current day in UTC).

    Raises:
        UsageError: The text is not a date; the message begins with `name`.
    """
    return _parsed(AsOf, text, name)


def parse_discount_rate(value: str | float, name: str) -> float:
    """Return a yearly discount rate, such as 0.1 for 10 % a year.

    Raises:
        UsageError: It is not a number from 0 to below 1; the message begins with `name`.
    """
    return _parsed(DiscountRate, value, name)


def _parsed(kind: Any, value: object, name: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UsageError(f"{name} {_reason(error.errors()[0])}") from None


def _reason(error: Mapping[str, Any]) -> str:
    """Return the reason of one validation error; values of secrets have validators of our own."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg'].removeprefix('Input ')}; got {error['input']!r}"


class _Group(BaseSettings):
    """Settings that take what the constructor is given; `from_environment` reads the variables."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, enable_decoding=False)

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, *_: Any, init_settings: Any, **__: Any
    ) -> Any:
        """Return the constructor's arguments as the one source."""
        return (init_settings,)

    @classmethod
    def texts(cls, given: Mapping[str, str]) -> dict[str, Any]:
        """Return the texts of the variables that are given, by field, not validated yet.

        `retail_home` is not `RETAIL_HOME`: pydantic alone would take either.
        """
        source = EnvSettingsSource(cls)
        source.env_vars = {name.lower(): text for name, text in given.items() if name.isupper()}
        return source()

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable of a field."""
        known = cls.model_fields.get(field)
        alias = known.validation_alias if known else field
        return str(alias or f"{cls.model_config.get('env_prefix')}{field.upper()}")


class AirbyteSettings(_Group):
    """How the Airbyte workspace is reached; everything but the mode matters in server mode only.

    `database_url` is the warehouse as the server reaches it; None where that is
    `RETAIL_DATABASE_URL`.
    """

    model_config = SettingsConfigDict(env_prefix="AIRBYTE_")

    mode: AirbyteMode = AirbyteMode.EMBEDDED
    url: str | None = None
    workspace_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False)
    database_url: DatabaseUrl | None = Field(default=None, repr=False)


class Settings(_Group):
    """The validated environment of one process.

    `database_url` is None where the embedded PostgreSQL is used; `as_of` is None where the source's
    own default date applies. `suppression_key` is None where the key file under `home` is used.
    Alerts go to `alert_webhook` and `alert_email` beside the log; links in them begin with
    `dagster_url`.
    """

    model_config = SettingsConfigDict(env_prefix="RETAIL_")

    environment: Environment = Field(default=Environment.LOCAL, validation_alias="RETAIL_ENV")
    home: Home = PROJECT_ROOT / ".retail"
    database_url: DatabaseUrl | None = Field(default=None, repr=False)
    source: SourceText = SimulatorSource()
    api_key: ApiKey = Field(default=DEFAULT_API_KEY, repr=False)
    as_of: AsOf | None = None
    horizon_days: Horizon = 180
    discount_rate: DiscountRate = 0.0
    alert_webhook: Webhooks = Field(default={}, repr=False)
    alert_email: Emails = {}
    smtp_url: SmtpUrl | None = Field(default=None, repr=False)
    dagster_url: WebAddress = "http://127.0.0.1:3000"
    suppression_key: SuppressionKey | None = Field(default=None, repr=False)
    airbyte: AirbyteSettings = AirbyteSettings()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Return the settings of the variables in `.env.example`; an empty one counts as unset.

        Args:
            environ: The variables; None for those of the process.

        Raises:
            UsageError: Values are wrong, a variable of the project's prefix is unknown, or one that
                others need is missing. The message lists every one, and no value of a secret.
        """
        texts = (os.environ if environ is None else environ).items()
        given = {name: text.strip() for name, text in texts if text.strip()}
        problems = [*_secrets_from_files(given), *_unknown(given), *_missing(given)]
        try:
            settings = cls(**{**cls.texts(given), "airbyte": AirbyteSettings.texts(given)})
        except ValidationError as error:
            problems += _sentences(error)
        if len(problems) > 1:
            raise UsageError("\n- ".join([f"{len(problems)} settings are wrong:", *problems]))
        if problems:
            raise UsageError(problems[0])
        return settings


def _secrets_from_files(given: dict[str, str]) -> Iterator[str]:
    """Put the content of secrets' files in place of NAME_FILE; yield what is wrong with them."""
    for name in _SECRETS:
        path = given.pop(f"{name}_FILE", None)
        if path is None:
            continue
        if name in given:
            yield f"{name} and {name}_FILE are both set: give one of them"
            continue
        try:
            text = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            yield f"{name}_FILE: {path} cannot be read as text"
            continue
        if text:
            given[name] = text
        else:
            yield f"{name}_FILE: {path} is empty"


def _unknown(given: Mapping[str, str]) -> Iterator[str]:
    known = sorted(map(Settings.variable, set(Settings.model_fields) - {"airbyte"}))
    for name in sorted(given):
        if not name.startswith("RETAIL_") or name in known or name.startswith(_OWN_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"is {near[0]} meant?" if near else f"the settings are {', '.join(known)}"
        yield f"{name} is not a setting of this project; {remedy}"


def _missing(given: Mapping[str, str]) -> Iterator[str]:
    if given.get("RETAIL_ENV") == Environment.PRODUCTION:
        missing = [name for name in _NEEDED_IN_PRODUCTION if name not in given]
        if missing:
            yield (
                f"RETAIL_ENV=production needs {', '.join(missing)}: "
                "the embedded defaults are for laptops and tests"
            )
    if given.get("AIRBYTE_MODE") == AirbyteMode.SERVER:
        missing = [name for name in ("AIRBYTE_URL", "AIRBYTE_WORKSPACE_ID") if name not in given]
        if missing:
            yield f"AIRBYTE_MODE=server needs {' and '.join(missing)}"
    if "RETAIL_ALERT_EMAIL" in given and "RETAIL_SMTP_URL" not in given:
        yield "RETAIL_ALERT_EMAIL needs RETAIL_SMTP_URL, the server that sends"


def _sentences(error: ValidationError) -> Iterator[str]:
    """Yield one sentence per wrong variable: its name, the reason and the remedy."""
    for each in error.errors():
        field, *inner = map(str, each["loc"])
        name = AirbyteSettings.variable(inner[0]) if inner else Settings.variable(field)
        yield f"{name} {_reason(each)}"
