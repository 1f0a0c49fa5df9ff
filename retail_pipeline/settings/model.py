"""The settings of a process: every environment variable of the project, typed and validated."""

import difflib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retail_pipeline.errors import UsageError
from retail_pipeline.settings.sources import SimulatorSource
from retail_pipeline.settings.values import (
    DEFAULT_HORIZON_DAYS,
    NO_CODES,
    PROJECT_ROOT,
    AirbyteMode,
    ApiKey,
    AsOf,
    CodeList,
    DatabaseUrl,
    DiscountRate,
    Emails,
    Engine,
    Environment,
    Home,
    Horizon,
    LakeAddress,
    Scheduler,
    SmtpUrl,
    SourceText,
    SuppressionKey,
    TimeZone,
    WebAddress,
    Webhooks,
    reason_of,
)

KEY_OF_PROCESS: Final = secrets.token_urlsafe(32)
"""The key of the bundled API if RETAIL_API_KEY is not set; other processes have other ones."""

_DEFAULT_HOME: Final = PROJECT_ROOT / ".retail"
_OWN_PREFIXES: Final = ("RETAIL_DBT_", "RETAIL_TEST_")
"""Prefixes of variables that the project sets for child processes and tests; not settings."""


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
    scheduler: Scheduler = Scheduler.DAGSTER
    engine: Engine = Engine.POSTGRES
    home: Home = _DEFAULT_HOME
    lake: LakeAddress | None = None
    database_url: DatabaseUrl | None = Field(default=None, repr=False)
    source: SourceText = SimulatorSource()
    api_key: ApiKey = Field(default=KEY_OF_PROCESS, repr=False)
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

    @property
    def lake_address(self) -> str:
        """The place of the Parquet files of Spark; by default, the folder `lake` in the home."""
        return self.lake or str(self.home / "lake")

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
            UsageError: Values are invalid, a variable with the prefix `RETAIL_` or `AIRBYTE_` is
                unknown, or a required one is missing. The message lists all problems, without
                secret values.
        """
        texts = (os.environ if environ is None else environ).items()
        given = {name: text.strip() for name, text in texts if text.strip()}
        problems = [*_secrets_from_files(given), *_unknown(given), *_missing(given)]
        given.setdefault("RETAIL_HOME", str(_DEFAULT_HOME))  # so that its path is validated, too
        known = {name: given[name] for name in cls.variables() if name in given}
        try:
            settings = cls.model_validate({**known, "airbyte": known})
        except ValidationError as error:
            problems += [f"{each['loc'][-1]} {reason_of(each)}" for each in error.errors()]
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
    files = [f"{name}_FILE" for name in Settings.variables(secret=True)]
    for name in sorted(given):
        if not name.startswith(("RETAIL_", "AIRBYTE_")) or name.startswith(_OWN_PREFIXES):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *files], n=1)
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
