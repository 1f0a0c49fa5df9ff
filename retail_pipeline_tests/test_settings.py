"""Settings: every variable is read, and an invalid one is an error with its name."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from retail_pipeline.errors import UsageError
from retail_pipeline.settings import (
    DEFAULT_HORIZON_DAYS,
    PROJECT_ROOT,
    AirbyteMode,
    AirbyteSettings,
    ApiSource,
    Environment,
    FileSource,
    Settings,
    SimulatorSource,
    parse_file,
    parse_source,
)

EVERYTHING = {
    "RETAIL_ENV": "production",
    "RETAIL_HOME": "/srv/retail",
    "RETAIL_DATABASE_URL": "postgresql://owner:pw@db.example:5433/shop",
    "RETAIL_SOURCE": "https://api.shop.example/",
    "RETAIL_API_KEY": "the-key",
    "RETAIL_AS_OF": "2024-05-01",
    "RETAIL_HORIZON_DAYS": "90",
    "RETAIL_DISCOUNT_RATE": "0.08",
    "RETAIL_TIME_ZONE": "Europe/Berlin",
    "RETAIL_NON_PRODUCT_CODES": "uci_online_retail",
    "RETAIL_ALERT_WEBHOOK": "https://hooks.example/x",
    "AIRBYTE_MODE": "server",
    "AIRBYTE_URL": "https://airbyte.example",
    "AIRBYTE_WORKSPACE_ID": "w-1",
    "AIRBYTE_CLIENT_ID": "c-1",
    "AIRBYTE_CLIENT_SECRET": "s-1",
}


def test_every_variable_reaches_its_setting() -> None:
    assert Settings.from_environment(EVERYTHING) == Settings(
        environment=Environment.PRODUCTION,
        home=Path("/srv/retail"),
        database_url="postgresql://owner:pw@db.example:5433/shop",
        source=ApiSource("https://api.shop.example"),
        api_key="the-key",
        as_of=date(2024, 5, 1),
        horizon_days=90,
        discount_rate=0.08,
        time_zone="Europe/Berlin",
        non_product_codes="uci_online_retail",
        alert_webhook={"": ("https://hooks.example/x",)},
        airbyte=AirbyteSettings(
            mode=AirbyteMode.SERVER,
            url="https://airbyte.example",
            workspace_id="w-1",
            client_id="c-1",
            client_secret="s-1",
        ),
    )


def test_a_variable_of_another_case_is_another_variable() -> None:
    given = {"retail_horizon_days": "90", "RETAIL_HORIZON_DAYS": "30", "Retail_Home": "/nowhere"}
    assert Settings.from_environment(given) == Settings(horizon_days=30)


def test_no_secret_is_in_the_printed_form() -> None:
    printed = repr(Settings.from_environment(EVERYTHING))
    assert not [
        secret for secret in ("pw@", "the-key", "hooks.example", "s-1") if secret in printed
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETAIL_ENV", "prod"),
        ("RETAIL_SOURCE", "ftp://x"),
        ("RETAIL_SOURCE", "tables:warehouse"),
        ("RETAIL_SOURCE", "tables:a; drop"),
        ("RETAIL_TIME_ZONE", "Berlin"),
        ("RETAIL_NON_PRODUCT_CODES", "uci"),
        ("RETAIL_SOURCE", "http://localhost:80a"),
        ("RETAIL_SOURCE", "http://localhost:65536"),
        ("RETAIL_SOURCE", "http://..example"),
        ("RETAIL_SOURCE", f"https://{'x' * 64}.example"),
        ("RETAIL_SOURCE", "https://api example"),
        ("RETAIL_SOURCE", "https://"),
        ("RETAIL_API_KEY", "clé"),
        ("RETAIL_API_KEY", "a\nb"),
        ("RETAIL_DAGSTER_URL", "http://localhost:80a"),
        ("RETAIL_SOURCE", "simulator:?clients=3"),
        ("RETAIL_SOURCE", "simulator:?customers=none"),
        ("RETAIL_AS_OF", "01/05/2024"),
        ("RETAIL_HORIZON_DAYS", "0"),
        ("RETAIL_HORIZON_DAYS", "1096"),
        ("RETAIL_DISCOUNT_RATE", "1"),
        ("RETAIL_DISCOUNT_RATE", "-0.1"),
        ("RETAIL_DISCOUNT_RATE", "nan"),
        ("RETAIL_DISCOUNT_RATE", "10 %"),
        ("RETAIL_DATABASE_URL", "mysql://x/y"),
        ("AIRBYTE_MODE", "cloud"),
        ("RETAIL_HORIZON", "90"),
        ("AIRBYTE_URLS", "https://airbyte.example"),
        ("RETAIL_HOME", "/srv/two\nlines"),
        ("RETAIL_HOME", "/srv/bell\a"),
        ("RETAIL_HOME", "/srv/shop [copy]"),
        ("RETAIL_HOME", "~no-such-account/retail"),
        ("RETAIL_HOME", "/dev/null"),
        ("RETAIL_LAKE", "/srv/shop [copy]"),
        ("RETAIL_LAKE", "file://host/lake"),
        ("RETAIL_LAKE", "hdfs://host/lake"),
        ("RETAIL_LAKE", "s3a://bucket/lake"),
        ("RETAIL_LAKE", "s3://"),
        ("RETAIL_LAKE", "abfss://account.dfs.core.windows.net/lake"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError):
        Settings.from_environment({name: value})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/srv/lake/", "/srv/lake"),
        ("file:///srv/the%20lake", "/srv/the lake"),
        ("s3://bucket/a/lake/", "s3://bucket/a/lake"),
        ("gs://bucket", "gs://bucket"),
        ("abfss://c@account.dfs.core.windows.net/lake",) * 2,
    ],
)
def test_the_lake_is_a_folder_or_a_store(text: str, address: str) -> None:
    assert Settings.from_environment({"RETAIL_LAKE": text}).lake_address == address


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost:80", "http://[::1]:8000", "https://bücher.example"),
        *("https://me:p%40ss@api.example:8443/v1", "https://my_api.example."),
    ],
)
def test_a_valid_address_is_a_source(url: str) -> None:
    assert parse_source(url) == ApiSource(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETAIL_DATABASE_URL", "postgresql://me:hid%den@db.example/shop"),
        ("RETAIL_DATABASE_URL", "postgresql://me:hid@den@db.example/shop"),
        ("RETAIL_DATABASE_URL", "postgresql://me:hidden@db.example/"),
        ("RETAIL_SOURCE", "htps://me:hidden@api.example"),
        ("RETAIL_SOURCE", "https://[hidden"),
        ("RETAIL_SOURCE", "https://me:hid/den@api.example"),
        ("RETAIL_API_KEY", "hidden-é"),
        ("RETAIL_LAKE", "s3://key:hidden@bucket/lake"),
        ("RETAIL_LAKE", "s3://bucket/lake?secret_key=hidden"),
        ("RETAIL_LAKE", "abfss://container:hidden@account.dfs.core.windows.net/lake"),
    ],
)
def test_a_refused_address_is_not_repeated_with_its_password(name: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings.from_environment({name: value})
    assert "hid" not in str(refused.value).replace("[hidden", "")
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "address",
    [
        "me:hid/den@db.example:5432/retail",
        "me:12/hidden@db.example:5432/retail",
        "me:12/hid?den@db.example/retail",
        "me:hid?a/den@db.example/retail",
        "me:hid@den@db.example/retail",
        "me:hidden/retail",
        "me%3Ahidden%40db.example/retail",
    ],
)
@pytest.mark.parametrize("name", ["RETAIL_DATABASE_URL", "AIRBYTE_DATABASE_URL"])
def test_a_password_that_libpq_takes_for_something_else_is_refused_unseen(
    address: str, name: str
) -> None:
    with pytest.raises(UsageError, match=f"{name} .*percent codes") as refused:
        Settings.from_environment({name: f"postgresql://{address}"})
    assert "hid" not in str(refused.value) and "den" not in str(refused.value)


def test_one_message_names_every_wrong_variable_and_no_secret() -> None:
    wrong = {
        "RETAIL_ENV": "prod",
        "RETAIL_DATABASE_URL": "postgresql://me:hid/den@db.example/shop",
        "RETAIL_HORIZON_DAY": "90",
        "RETAIL_HORIZON_DAYS": "0",
        "RETAIL_SUPPRESSION_KEY": "h",
        "RETAIL_API_KEY_FILE": "/nowhere/key",
        "RETAIL_ALERT_WEBHOOK": "https://hooks.example/hidden no-address",
        "RETAIL_ALERT_EMAIL": "finance=someone@shop.example",
        "RETAIL_SMTP_URL": "mail.hidden",
        "AIRBYTE_MODE": "cloud",
    }
    with pytest.raises(UsageError) as refused:
        Settings.from_environment(wrong)
    message = str(refused.value)
    assert [name for name in wrong if f"- {name}" not in message] == []
    assert "RETAIL_HORIZON_DAYS meant?" in message
    assert "hid" not in message and "h'" not in message


def test_production_does_not_fall_back_to_the_embedded_defaults() -> None:
    with pytest.raises(UsageError, match="RETAIL_DATABASE_URL, RETAIL_SOURCE, RETAIL_API_KEY"):
        Settings.from_environment({"RETAIL_ENV": "production"})


def test_sources_are_read_as_they_are_spelled() -> None:
    assert parse_source("simulator:?customers=50&seed=3") == SimulatorSource(50, 3)
    assert parse_source("simulator:") == SimulatorSource()
    assert parse_source("file:/data/x.csv") == FileSource(Path("/data/x.csv"))


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "shopify"},
        {"columns": 'customer_id="E-mail, address",ts=Created & at,amount=a=b', "decimal": ","},
        {"accept_loss": "5%", "date_order": "dmy", "time_zone": "Europe/Berlin"},
        {"missing_customer_words": "till 1,Gäste", "sheet": "Q1 50%?"},
        {"missing_customer_words": "none"},
    ],
)
def test_a_file_and_how_it_is_read_are_one_text(options: dict[str, str]) -> None:
    source = parse_file("/data/x #1?.csv", "--transactions", **options)
    assert source != parse_source("file:/data/x #1?.csv")
    assert parse_source(str(source)) == source


def test_a_faulty_option_of_a_file_is_named_as_it_is_written() -> None:
    with pytest.raises(UsageError, match=r"--accept-loss must be a share .* got 'much'"):
        parse_file("x.csv", "--transactions", accept_loss="much")
    with pytest.raises(UsageError, match=r"gives 'customer', .* is customer_id meant\?"):
        parse_file("x.csv", "--transactions", columns="customer=a")
    with pytest.raises(UsageError, match="'profil' is no reading option"):
        parse_source("file:x.csv?profil=shopify")


SECRETS = {
    "RETAIL_DATABASE_URL": f"postgresql://me:{'hidden'}@db.example/shop",
    "RETAIL_API_KEY": "hidden-key",
    "RETAIL_ALERT_WEBHOOK": "https://hooks.example/hidden",
    "RETAIL_SMTP_URL": f"smtp://me:{'hidden'}@mail.example:587?from=a@b.example",
    "RETAIL_SUPPRESSION_KEY": "hidden" * 6,
    "AIRBYTE_CLIENT_SECRET": "hidden-secret",
    "AIRBYTE_DATABASE_URL": f"postgresql://me:{'hidden'}@db.example/shop",
}


@pytest.mark.parametrize("name", Settings.variables(secret=True))
def test_every_secret_may_come_from_a_file_and_none_is_printed(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f"{SECRETS[name]}\n")
    of_file = {f"{name}_FILE": str(tmp_path / "file")}
    settings = Settings.from_environment(of_file)
    assert settings == Settings.from_environment({name: SECRETS[name]})
    assert "hidden" not in repr(settings)

    with pytest.raises(UsageError, match="both set") as refused:
        Settings.from_environment({**of_file, name: SECRETS[name]})
    assert "hidden" not in str(refused.value)
    with pytest.raises(UsageError, match=f"is {name}_FILE meant?"):
        Settings.from_environment({f"{name}_FIL": str(tmp_path / "file")})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RETAIL_API_KEY_FILE": "/nowhere/key"}, "RETAIL_API_KEY_FILE: /nowhere/key cannot"),
        ({"RETAIL_API_KEY_FILE": "/dev/null"}, "is empty"),
        ({"RETAIL_API_KEY_FILE": "/x", "RETAIL_API_KEY": "hidden"}, "both set"),
        ({"RETAIL_HOME_FILE": "/x"}, "RETAIL_HOME_FILE is not a setting"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_named(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as error:
        Settings.from_environment(environment)
    assert "hidden" not in str(error.value)


def test_the_example_the_services_and_the_docs_know_every_setting() -> None:
    lines = (PROJECT_ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert sorted(example) == sorted(Settings.variables())
    plain = {name: text.strip('"') for name, text in example.items()}
    assert Settings.from_environment(plain) == Settings(), "an example is not the default"

    services = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    location = services["services"]["code-location"]
    passed = {name.removesuffix("_FILE") for name in location["environment"]}
    in_the_image = {"RETAIL_HOME"}
    assert set(Settings.variables()) - passed == in_the_image
    assert {name for name in passed if name.startswith("RETAIL_")} <= set(example)

    operations = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    assert f"`RETAIL_HORIZON_DAYS` ({DEFAULT_HORIZON_DAYS})" in operations
    secrets = Settings.variables(secret=True)
    assert [name for name in secrets if f"`{name}_FILE`" not in operations] == []
