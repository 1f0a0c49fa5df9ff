"""The types of the settings' values, and the parsers of the same values in options and runs."""

import csv
import re
from collections.abc import Callable, Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote
from zoneinfo import available_timezones

import psycopg
from psycopg import conninfo
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from retail_pipeline.business_day import today
from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import parse_reading, reading_texts
from retail_pipeline.settings.sources import (
    FileSource,
    Source,
    hostname_of,
    is_web_address,
    read_file,
    read_source,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""The checkout: the folder with `dbt_project/`, `airbyte/` and `database/`."""

CODE_LISTS = PROJECT_ROOT / "dbt_project" / "seeds" / "non_product_codes.csv"
NO_CODES: Final = "none"

DEFAULT_HORIZON_DAYS: Final = 180
LONGEST_HORIZON_DAYS: Final = 1095
SHORTEST_SUPPRESSION_KEY: Final = 32
TODAY: Final[Literal["today"]] = "today"
TEAMS: Final = ("data-platform", "analytics-engineering", "data-science")
"""The teams that own assets; each can have its own address for alerts."""

_PATTERN: Final = set("*?[]")
_ROUTE: Final = re.compile(r"(?:(?P<team>[a-z][a-z0-9-]*)=)?(?P<address>\S+)")

_STORE: Final = re.compile(
    r"(?:(?:s3|gs)://[\w.-]+|abfss://[\w.-]+@[\w.-]+)(?:/[\w./=-]+)?", re.ASCII
)

Routes = Mapping[str, tuple[str, ...]]
"""Addresses by team; those under the empty name are for teams without their own address."""


class Environment(StrEnum):
    """The environment in which the code runs."""

    LOCAL = "local"
    STAGING = "staging"
    PRODUCTION = "production"


class Scheduler(StrEnum):
    """The program that starts runs by itself."""

    DAGSTER = "dagster"
    AIRFLOW = "airflow"


class Engine(StrEnum):
    """The engine that computes the warehouse and scores the customers."""

    POSTGRES = "postgres"
    SPARK = "spark"


class AirbyteMode(StrEnum):
    """The program that runs the syncs: the embedded engine or a real Airbyte server."""

    EMBEDDED = "embedded"
    SERVER = "server"


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


def _home(path: Path) -> Path:
    """Return the absolute path of a folder, which may not exist; raise ValueError if it cannot."""
    if not str(path).isprintable() or _PATTERN & set(str(path)):
        raise ValueError(
            "must be a path of printable characters without * ? [ ], which Dagster takes for a "
            f"pattern; got {str(path)!r}"
        )
    try:
        path = path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"must be a path; the account of {str(path)!r} is unknown") from None
    if path.exists() and not path.is_dir():
        raise ValueError(f"must be a folder, and {path} is none")
    return path


def _lake(text: Any) -> str:
    """Return the absolute path of a folder, or a store's address without a slash at its end."""
    address = str(text).rstrip("/") or "/"
    if address.startswith("file:///"):
        return str(_home(Path(unquote(address.removeprefix("file://")))))
    if not re.match(r"\w+:", address):
        return str(_home(Path(address)))
    if not _STORE.fullmatch(address):
        # The message does not repeat the address, which may hold a login.
        raise ValueError(
            "must be a folder, or a store's address like s3://bucket/lake, gs://bucket/lake or "
            "abfss://container@account.dfs.core.windows.net/lake, without a login or options"
        )
    return address


def _takes_alerts(address: str) -> bool:
    """Return whether alerts can be sent to a web address, or to one of apprise, like `slack://…`."""
    import apprise

    if "://" not in address or address.startswith(("http", "mail")):
        return is_web_address(address)  # not mail addresses: separate settings ensure encryption
    return bool(apprise.Apprise.instantiate(address))


def _is_smtp_address(url: str) -> bool:
    return url.startswith(("smtp://", "smtps://")) and bool(hostname_of(url))


AsOf = Annotated[date, BeforeValidator(_as_of)]
Horizon = Annotated[int, Field(ge=1, le=LONGEST_HORIZON_DAYS)]
DiscountRate = Annotated[float, Field(ge=0, lt=1)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
CodeList = Annotated[str, AfterValidator(_code_list)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
SourceText = Annotated[Source, BeforeValidator(read_source)]
Home = Annotated[Path, AfterValidator(_home)]
LakeAddress = Annotated[str, BeforeValidator(_lake)]
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
    _must(is_web_address, "be an address: https://…"),
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
    source = _parsed(Annotated[FileSource, BeforeValidator(read_file)], text, name)
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


def parse_lake(text: str, name: str) -> str:
    """Return the place of a lake, a folder or a store; a UsageError begins with `name`."""
    return _parsed(LakeAddress, text, name)


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
        raise UsageError(f"{name} {reason_of(error.errors()[0])}") from None


def reason_of(error: Mapping[str, Any]) -> str:
    """Return the reason of a validation error; the validators of secrets do not repeat values."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg'].removeprefix('Input ')}; got {error['input']!r}"
