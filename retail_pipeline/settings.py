"""The settings of a process: every environment variable of the project, typed and validated.

No other module reads environment variables of the project. As-of date, horizon and discount rate
are defaults, which a run can override (`dagster_support.run_window`).
"""

import csv
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, quote, urlsplit
from zoneinfo import available_timezones

import psycopg
from psycopg import conninfo
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from retail_pipeline.business_day import today
from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import (
    DEFAULT_READING,
    ReadingOptions,
    parse_reading,
    reading_texts,
)

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder with `dbt_project/`, `airbyte/` and `database/`."""

CODE_LISTS = PROJECT_ROOT / "dbt_project" / "seeds" / "non_product_codes.csv"
NO_CODES: Final = "none"

DEFAULT_API_KEY: Final = "local-api-key"
DEFAULT_HORIZON_DAYS: Final = 180
LONGEST_HORIZON_DAYS: Final = 1095
SHORTEST_SUPPRESSION_KEY: Final = 32
TODAY: Final[Literal["today"]] = "today"
TEAMS: Final = ("data-platform", "analytics-engineering", "data-science")
"""The teams that own assets; each can have its own address for alerts."""

_OWN_SCHEMAS: Final = (
    *("transactional", "staging", "intermediate", "warehouse", "clv", "quality", "public"),
)
_OWN_PREFIXES: Final = ("RETAIL_DBT_", "RETAIL_TEST_")
"""Prefixes of variables that the project sets for child processes and tests; not settings."""
_ROUTE: Final = re.compile(r"(?:(?P<team>[a-z][a-z0-9-]*)=)?(?P<address>\S+)")


class Environment(StrEnum):
    """The environment in which the code runs."""

    LOCAL = "local"
    STAGING = "staging"
    PRODUCTION = "production"


class AirbyteMode(StrEnum):
    """The program that runs the syncs: the embedded engine or a real Airbyte server."""

    EMBEDDED = "embedded"
    SERVER = "server"


@dataclass(frozen=True)
class SimulatorSource:
    """The bundled retail simulator: `simulator:?customers=10000&seed=7`."""

    customers: int = 10_000
    seed: int = 7

    def __str__(self) -> str:
        """The text of this source in RETAIL_SOURCE."""
        return f"simulator:?customers={self.customers}&seed={self.seed}"


@dataclass(frozen=True)
class FileSource:
    """A transactions file or folder behind the bundled API: `file:PATH?profile=shopify`."""

    path: Path
    options: ReadingOptions = DEFAULT_READING

    def __str__(self) -> str:
        """The text of this source in RETAIL_SOURCE."""
        texts = reading_texts(self.options).items()
        options = "&".join(f"{name}={quote(text, safe=' ,=')}" for name, text in texts)
        return f"file:{self.path}?{options}" if options else f"file:{self.path}"


@dataclass(frozen=True)
class ApiSource:
    """A retail API at an address: `https://…`."""

    url: str

    def __str__(self) -> str:
        """The text of this source in RETAIL_SOURCE, without user, password and query."""
        return _shown(self.url)


@dataclass(frozen=True)
class TablesSource:
    """Tables of the database that another Airbyte fills: `tables:SCHEMA`. Nothing is synced."""

    schema: str


Source = SimulatorSource | FileSource | ApiSource | TablesSource

Routes = Mapping[str, tuple[str, ...]]
"""Addresses by team; those under the empty name are for teams without their own address."""


def hostname_of(url: str) -> str | None:
    """Return the host of an address, or None if no request can be sent to the address."""
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
        return _file_source(text.removeprefix("file:"))
    if schema := re.fullmatch("tables:([a-z_][a-z0-9_]*)", text):
        if schema[1] in _OWN_SCHEMAS:
            raise ValueError(f"names {schema[1]}, a schema of the pipeline, which it may empty")
        return TablesSource(schema[1])
    if _is_web_address(text):
        return ApiSource(text.rstrip("/"))
    raise ValueError(
        f"{text.rpartition('@')[2]!r} is not known: use 'simulator:?customers=10000&seed=7', "
        "'file:PATH', 'tables:SCHEMA' or an address with a host like https://api.example:8443"
    )


def _file_source(text: str) -> FileSource:
    """Return the file of `PATH`, `PATH?option=value&…` or `PATH#Sheet`; options are as in a URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise ValueError(
            f"must be a file on this machine, but {_shown(text)} is an address: download it and "
            "give the file, or give a retail API with --source"
        )
    name, _, query = text.rpartition("?")
    texts = dict(parse_qsl(query, keep_blank_values=True)) if name and "=" in query else {}
    if not texts or Path(text).exists():
        name, texts = text, {}
    whole, _, sheet = name.rpartition("#")
    if whole and not Path(name).exists() and Path(whole).exists():
        name, texts = whole, {"sheet": sheet, **texts}
    return FileSource(Path(name).expanduser().absolute(), parse_reading(texts))


def _shown(url: str) -> str:
    """Return the part of an address without credentials."""
    scheme, _, rest = url.partition("//")
    return f"{scheme}//{rest.partition('?')[0].rpartition('@')[2]}"[:80]


def _simulator_source(text: str) -> SimulatorSource:
    parameters = dict(parse_qsl(text.removeprefix("simulator:").removeprefix("?")))
    try:
        source = SimulatorSource(**{key: int(value) for key, value in parameters.items()})
    except (TypeError, ValueError):
        source = SimulatorSource(customers=0)
    if source.customers < 1 or source.seed < 0:
        raise ValueError(
            "must look like simulator:?customers=10000&seed=7, with at least one customer; "
            f"got {text!r}"
        )
    return source


def _as_of(text: Any, info: ValidationInfo) -> Any:
    """Return a date; today is the day in the time zone of the other settings or of the context."""
    if not isinstance(text, str):
        return text
    if text == TODAY:
        return today((info.data or info.context or {}).get("time_zone", "UTC"))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date like 2011-06-01, or 'today'; got {text!r}") from None


def _database_url(url: str) -> str:
    """Return the address unchanged; raise ValueError if libpq, dbt or Dagster cannot use it."""
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
        # The driver's message repeats the address with the password.
        raise ValueError(coded) from None
    login, _, rest = url.partition("://")[2].partition("/")
    port = parts.get("port", "5432")
    if "@" in f"{login.partition('@')[2]}{rest}{parts.get('host')}" or re.search("[^0-9,]", port):
        # libpq has parsed a part of the password as the host, the port or the database.
        raise ValueError(coded)
    if "dbname" not in parts:
        raise ValueError(f"{shape}: the database's name is missing")
    if any("," in parts.get(each, "") for each in ("host", "hostaddr", "port")):
        raise ValueError("names several hosts: name one, the primary")
    if "service" in parts or "servicefile" in parts:
        raise ValueError("names a service: give its host, user and database instead")
    if not (len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError("must have a port from 1 to 65535")
    return url


def _routes(is_address: Callable[[str], bool]) -> BeforeValidator:
    """Return a validator that parses addresses separated by spaces, each `[TEAM=]ADDRESS`."""

    def validate(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        routes: dict[str, tuple[str, ...]] = {}
        for position, word in enumerate(text.split(), start=1):
            match = _ROUTE.fullmatch(word)
            team = match["team"] or "" if match else ""
            if match is None or not is_address(match["address"]):
                # The message does not repeat the address, which may be secret.
                raise ValueError(
                    f"must hold addresses, or TEAM=ADDRESS, separated by spaces; entry {position} "
                    "is neither"
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
    """Return a validator that refuses texts for which `be` is false, with "must" and a reason."""

    def validate(text: str) -> str:
        if not be(text):
            raise ValueError(f"must {reason}")
        return text

    return AfterValidator(validate)


def _time_zone(name: str) -> str:
    """Return the name of a time zone unchanged; raise ValueError if there is no such zone."""
    if name not in available_timezones():
        raise ValueError(f"must be a time zone like Europe/Berlin or UTC; got {name!r}")
    return name


def _code_list(name: str) -> str:
    """Return the name of a list of codes unchanged; raise ValueError if there is no such list."""
    if name != NO_CODES:
        with CODE_LISTS.open(newline="") as file:
            known = sorted({row["code_list"] for row in csv.DictReader(file)})
        if name not in known:
            raise ValueError(
                f"must be {NO_CODES} or a list of dbt_project/seeds/{CODE_LISTS.name} "
                f"({', '.join(known)}); got {name!r}"
            )
    return name


def _takes_alerts(address: str) -> bool:
    """Return whether alerts can be sent to a web address, or to one of apprise, like `slack://…`."""
    import apprise

    if "://" not in address or address.startswith(("http", "mail")):
        return _is_web_address(address)  # not mail addresses: separate settings ensure encryption
    return bool(apprise.Apprise.instantiate(address))


def _is_smtp_address(url: str) -> bool:
    return url.startswith(("smtp://", "smtps://")) and bool(hostname_of(url))


AsOf = Annotated[date, BeforeValidator(_as_of)]
Horizon = Annotated[int, Field(ge=1, le=LONGEST_HORIZON_DAYS)]
DiscountRate = Annotated[float, Field(ge=0, lt=1)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
CodeList = Annotated[str, AfterValidator(_code_list)]
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
    """Return the source that a text describes; a UsageError begins with `name`."""
    return _parsed(SourceText, text, name)


def parse_file(text: str, name: str, **options: str | None) -> FileSource:
    """Return the file of `PATH` or `PATH#Sheet` with reading options; see `ReadingOptions`.

    Args:
        text: The path.
        name: The beginning of the error message.
        options: The text of each option; None is the default.

    Raises:
        UsageError: The path is an address, or an option is invalid.
    """
    source = _parsed(Annotated[FileSource, BeforeValidator(_file_source)], text, name)
    return with_reading(source, **options)


def with_reading(source: FileSource, **options: str | None) -> FileSource:
    """Return a file with other reading options, given as texts; None keeps the file's own.

    Raises:
        UsageError: An option is invalid.
    """
    given = {key: value for key, value in options.items() if value is not None}
    try:
        parsed = parse_reading({**reading_texts(source.options), **given})
    except ValueError as error:
        option, _, words = str(error).partition(" ")
        raise UsageError(f"--{option.replace('_', '-')} {words}") from None
    return FileSource(source.path, parsed)


def parse_as_of(text: str, name: str, time_zone: str = "UTC") -> date:
    """Return the date of `YYYY-MM-DD` or `today` in the zone; a UsageError begins with `name`."""
    return _parsed(AsOf, text, name, time_zone=time_zone)


def parse_discount_rate(value: str | float, name: str) -> float:
    """Return a yearly rate, 0 to below 1 (0.1 is 10 %); a UsageError begins with `name`."""
    return _parsed(DiscountRate, value, name)


def parse_code_list(text: str, name: str) -> str:
    """Return the name of a list of product codes; a UsageError begins with `name`."""
    return _parsed(CodeList, text, name)


def _parsed(kind: Any, value: object, name: str, **context: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value, context=context)
    except ValidationError as error:
        raise UsageError(f"{name} {_reason(error.errors()[0])}") from None


def _reason(error: Mapping[str, Any]) -> str:
    """Return the reason of a validation error; the validators of secrets do not repeat values."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg'].removeprefix('Input ')}; got {error['input']!r}"


class AirbyteSettings(BaseModel):
    """The settings of Airbyte; all except the mode are for server mode only.

    `database_url` is the warehouse's address for the server; if None, it is `RETAIL_DATABASE_URL`.
    """

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda field: f"AIRBYTE_{field.upper()}",
    )

    mode: AirbyteMode = AirbyteMode.EMBEDDED
    url: str | None = None
    workspace_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False)
    database_url: DatabaseUrl | None = Field(default=None, repr=False)


class Settings(BaseModel):
    """The validated settings of a process; a field's alias is the name of its variable.

    If `database_url` is None, the embedded PostgreSQL is used; if `as_of` is None, the source's
    default date; if `suppression_key` is None, the key file under `home`. Alerts are logged and
    sent to `alert_webhook` and `alert_email`; their links begin with `dagster_url`.
    """

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda field: f"RETAIL_{field.upper()}",
    )

    environment: Environment = Field(default=Environment.LOCAL, validation_alias="RETAIL_ENV")
    home: Home = PROJECT_ROOT / ".retail"
    database_url: DatabaseUrl | None = Field(default=None, repr=False)
    source: SourceText = SimulatorSource()
    api_key: ApiKey = Field(default=DEFAULT_API_KEY, repr=False)
    time_zone: TimeZone = "UTC"
    as_of: AsOf | None = None
    horizon_days: Horizon = DEFAULT_HORIZON_DAYS
    discount_rate: DiscountRate = 0.0
    non_product_codes: CodeList = NO_CODES
    alert_webhook: Webhooks = Field(default={}, repr=False)
    alert_email: Emails = {}
    smtp_url: SmtpUrl | None = Field(default=None, repr=False)
    dagster_url: WebAddress = "http://127.0.0.1:3000"
    suppression_key: SuppressionKey | None = Field(default=None, repr=False)
    airbyte: AirbyteSettings = Field(default=AirbyteSettings(), validation_alias="airbyte")

    @classmethod
    def variables(cls, *, secret: bool = False) -> list[str]:
        """Return the names of all variables, or only of secret ones; Airbyte's are the last."""
        fields = [*cls.model_fields.values(), *AirbyteSettings.model_fields.values()]
        names = [str(each.validation_alias) for each in fields if not (secret and each.repr)]
        return [name for name in names if name.isupper()]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Return the settings from environment variables; an empty variable counts as unset.

        `.env.example` lists the variables.

        Args:
            environ: The variables; by default those of the process.

        Raises:
            UsageError: Values are invalid, a variable with the prefix `RETAIL_` is unknown, or a
                required one is missing. The message lists all problems, without secret values.
        """
        texts = (os.environ if environ is None else environ).items()
        given = {name: text.strip() for name, text in texts if text.strip()}
        problems = [*_secrets_from_files(given), *_unknown(given), *_missing(given)]
        known = {name: given[name] for name in cls.variables() if name in given}
        try:
            settings = cls.model_validate({**known, "airbyte": known})
        except ValidationError as error:
            problems += [f"{each['loc'][-1]} {_reason(each)}" for each in error.errors()]
        if len(problems) > 1:
            raise UsageError("\n- ".join([f"{len(problems)} settings are wrong:", *problems]))
        if problems:
            raise UsageError(problems[0])
        return settings


def _secrets_from_files(given: dict[str, str]) -> Iterator[str]:
    """Replace each variable NAME_FILE of a secret by NAME with the file's content.

    Yields:
        A sentence for each file that cannot be used.
    """
    for name in Settings.variables(secret=True):
        path = given.pop(f"{name}_FILE", None)
        if path is None:
            continue
        if name in given:
            yield f"{name} and {name}_FILE are both set: give one of them"
            continue
        try:
            given[name] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            yield f"{name}_FILE: {path} cannot be read as text"
            continue
        if not given[name]:
            yield f"{name}_FILE: {path} is empty"


def _unknown(given: Mapping[str, str]) -> Iterator[str]:
    known = Settings.variables()
    for name in sorted(given):
        if not name.startswith("RETAIL_") or name in known or name.startswith(_OWN_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"is {near[0]} meant?" if near else f"the settings are {', '.join(known)}"
        yield f"{name} is not a setting of this project; {remedy}"


def _missing(given: Mapping[str, str]) -> Iterator[str]:
    needed = [
        (
            given.get("RETAIL_ENV") == Environment.PRODUCTION,
            ("RETAIL_DATABASE_URL", "RETAIL_SOURCE", "RETAIL_API_KEY"),
            "RETAIL_ENV=production needs {}: the embedded defaults are for laptops and tests",
        ),
        (
            given.get("AIRBYTE_MODE") == AirbyteMode.SERVER,
            ("AIRBYTE_URL", "AIRBYTE_WORKSPACE_ID"),
            "AIRBYTE_MODE=server needs {}",
        ),
        (
            "RETAIL_ALERT_EMAIL" in given,
            ("RETAIL_SMTP_URL",),
            "RETAIL_ALERT_EMAIL needs {}, the server that sends",
        ),
    ]
    for is_needed, names, sentence in needed:
        missing = [name for name in names if name not in given]
        if is_needed and missing:
            yield sentence.format(", ".join(missing))
