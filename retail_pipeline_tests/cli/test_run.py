"""The commands as users call them: exit codes, and one clear message per wrong input."""

import json
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pandas as pd
import psycopg
import pytest

from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.cli.command import DONE, FAILED, STOPPED, WRONG_USE, Cli


def order_lines(customers: int, orders: int = 4) -> pd.DataFrame:
    """Return the lines of customers who order every 40 days, two lines at a time."""
    rows = [
        (f"c{c:03}", f"o{c:03}-{o}", f"2024-0{1 + o}-{1 + c % 27:02} 10:00:00", 10.0 + c % 7)
        for c in range(customers)
        for o in range(orders)
        for _ in range(2)
    ]
    return pd.DataFrame(rows, columns=["customer_id", "order_id", "ts", "amount"])


def layers(database: Database) -> dict[str, int]:
    return {
        name: len(database.read(name))
        for name in ("transactional.transactions", "clv.predictions", "quality.source_state")
    }


@pytest.mark.usefixtures("home")
def test_thin_data_goes_through_and_says_that_nothing_validated_it(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    order_lines(30).to_csv(tmp_path / "thin.csv", index=False)
    done = cli("run", "--transactions", str(tmp_path / "thin.csv"))
    assert done.returncode == DONE, done.stderr
    assert "validated = false" in done.stdout
    served = database.read("clv.predictions")
    assert len(served) == 30
    assert served["predicted_value"].ge(0).all()

    before = layers(database)
    (tmp_path / "empty.csv").write_text("customer_id,ts\nc1,2024-01-01\n")
    assert cli("run", "--transactions", str(tmp_path / "empty.csv")).returncode == WRONG_USE
    assert layers(database) == before


@pytest.mark.usefixtures("home")
def test_lines_with_unreadable_dates_are_rejected_alone_with_a_reason(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    lines = order_lines(100)
    lines.loc[::200, "ts"] = "sometime"
    lines.to_csv(tmp_path / "dates.csv", index=False)
    to_predictions = ("--select", '+key:"clv/predictions"')
    done = cli("run", "--transactions", str(tmp_path / "dates.csv"), "--json", *to_predictions)
    assert done.returncode == DONE, done.stderr
    summary = json.loads(done.stdout)
    assert summary["status"] == "done" and summary["failed_checks"] == []
    assert summary["rows"]["clv"]["predictions"] == len(database.read("clv.predictions")) > 0
    assert {"set-up", "dbt", "clv"} <= set(summary["seconds"])
    assert f"{len(summary['assets'])}/{len(summary['assets'])}" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    status = json.loads(cli("status", "--json").stdout)
    assert {name: status[name] for name in ("rows", "champion")} == {
        name: summary[name] for name in ("rows", "champion")
    }
    rejected = database.read("quality.rejected_records")
    landed = database.query(
        "select sum(jsonb_array_length(items)) as n from transactional.transactions"
    )
    assert len(rejected) == 4
    assert int(landed["n"].iloc[0]) + len(rejected) == len(lines)
    assert rejected["reason"].str.contains("ts").all()


def interrupted(
    process: subprocess.Popen[str], sent: signal.Signals = signal.SIGINT, *, seconds: float = 10
) -> str:
    """Send a signal, repeated where a finalizer swallowed it, and return standard error."""
    while True:
        process.send_signal(sent)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=seconds)[1]


@pytest.fixture
def nothing_ignored() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP, as commands started here would inherit that they are ignored."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, lambda *_: None) for each in signals]
    yield
    for each, handler in zip(signals, before, strict=True):
        signal.signal(each, handler)


def test_ctrl_c_is_one_message_and_keeps_what_was_done(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    order_lines(30).to_csv(tmp_path / "lines.csv", index=False)
    process = cli.start("run", "--transactions", str(tmp_path / "lines.csv"))
    assert process.stdout is not None
    while "transactional/transactions" not in process.stdout.readline():
        assert process.poll() is None
    errors = interrupted(process)
    assert process.returncode == STOPPED
    assert errors.startswith("error: stopped during ") and errors.endswith("for the rest\n")
    assert len(database.read("transactional.transactions")) == 120


@pytest.mark.usefixtures("nothing_ignored")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_an_evaluation_that_a_signal_ends_leaves_no_database(
    sent: signal.Signals, cli: Cli, database: Database, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.csv"
    order_lines(30).to_csv(lines, index=False)
    scratch = "select datname::text from pg_database where datname ~ '^scratch_'"
    process = cli.start("evaluate", "--transactions", str(lines), "--cutoff", "2024-04-01")
    while database.query(scratch).empty:
        assert process.poll() is None
    interrupted(process, sent)
    assert process.returncode == STOPPED
    assert database.query(scratch).empty


def test_a_run_whose_reader_leaves_goes_on_to_its_end(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    order_lines(30).to_csv(tmp_path / "lines.csv", index=False)
    landing = ("--select", "group:transactional")
    process = cli.start("run", "--transactions", str(tmp_path / "lines.csv"), *landing)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=300)[1] == ""
    assert process.returncode == DONE
    assert len(database.read("transactional.transactions")) == 120


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent.parquet", "does not exist"), ("no_amount.csv", "amount"), ("notes.txt", "notes.txt")],
)
def test_a_file_that_cannot_be_used_is_named_and_nothing_is_touched(
    cli: Cli, database: Database, tmp_path: Path, name: str, words: str
) -> None:
    order_lines(3).drop(columns="amount").to_csv(tmp_path / "no_amount.csv", index=False)
    (tmp_path / "notes.txt").write_text("these are notes")
    done = cli("run", "--transactions", str(tmp_path / name))
    assert done.returncode == WRONG_USE
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert set(layers(database).values()) == {0}


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"RETAIL_ENV": "moon"}, WRONG_USE, "'local', 'staging' or 'production'"),
        ({"RETAIL_DATABASE_URL": "postgresql://a:hidden@127.0.0.1:1/x"}, FAILED, "127.0.0.1:1/x"),
        ({"RETAIL_HORIZON_DAYS": "1096"}, WRONG_USE, "RETAIL_HORIZON_DAYS"),
    ],
)
def test_a_wrong_setting_gets_one_message_and_its_exit_code(
    cli: Cli, environment: dict[str, str], code: int, words: str
) -> None:
    done = cli("run", "--json", **environment)
    assert done.returncode == code
    if code == FAILED:
        assert json.loads(done.stdout)["status"] == "failed"
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stdout + done.stderr


def test_wrong_use_has_its_own_exit_code(cli: Cli) -> None:
    assert cli("run", "--as-of", "yesterday").returncode == WRONG_USE
    assert cli("run", "--discount-rate", "10").returncode == WRONG_USE
    assert cli("run", "--horizon-days", "1096").returncode == WRONG_USE
    assert cli("run", "--unknown").returncode == WRONG_USE
    assert cli("run", "--select", "group:nothing").returncode == WRONG_USE
    assert "backfill" in cli("run", "--select", 'key:"clv/backtest"').stderr
    assert cli("exec", "/no/such/program").returncode == WRONG_USE
    unused = cli("run", "--full-refresh", "--select", "group:figures", "--debug")
    assert unused.returncode != DONE
    assert "UsageError: --full-refresh needs the transactional assets" in unused.stderr


def test_exec_runs_a_program_by_its_name_or_path(cli: Cli) -> None:
    for program in ("python", sys.executable):
        done = cli.run("exec", program, "-c", "import os; print(os.environ['DAGSTER_HOME'])")
        assert done.returncode == DONE, done.stderr
        assert Path(done.stdout.strip()).name == "dagster"


def test_arguments_of_exec_reach_the_program(cli: Cli) -> None:
    code = "import sys; print(sys.argv[1:])"
    done = cli.run("exec", "python", "-c", code, "--debug", "--help", "-x")
    assert done.stdout.strip() == "['--debug', '--help', '-x']"


def test_db_url_prints_one_line_that_works(cli: Cli, server_url: str) -> None:
    for options, suffix in ((), ""), (("--dagster",), "_dagster"):
        (url,) = cli("db-url", *options).stdout.splitlines()
        database = Database(url)
        assert len(database.query("select 1 as one")) == 1
        assert database.name.endswith(suffix)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"drop database {database.name} with (force)")
    assert cli("db-url", "--dagster", "--role", "reader").returncode == WRONG_USE


def test_the_key_of_a_served_api_is_in_a_closed_file_until_it_stops(cli: Cli) -> None:
    with listener(0) as probe:
        port = probe.getsockname()[1]
    serve = ("api", "serve", "--source", "simulator:?customers=5&seed=1", "--port", str(port))
    process = cli.start(*serve)
    assert process.stdout is not None
    try:
        client = dict(re.findall(r"(RETAIL_\w+)=(\S+)", process.stdout.readline()))
        file = Path(client["RETAIL_API_KEY_FILE"])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        answer = _answer_of(f"{client['RETAIL_SOURCE']}/v1/users", file.read_text())
        assert answer == httpx.codes.OK
        second = cli.run(*serve)
        assert second.returncode == WRONG_USE and "cannot be used" in second.stderr
        assert file.exists()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not file.exists()


def _answer_of(address: str, key: str) -> int:
    for _ in range(300):
        with suppress(httpx.ConnectError):
            return httpx.get(address, headers={"Authorization": f"Bearer {key}"}).status_code
        time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")


def test_reset_removes_all_state_in_the_docs(cli: Cli, tmp_path: Path) -> None:
    assert "RETAIL_DATABASE_URL" in cli("reset").stderr
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text()
    state = re.findall(r"^\| `(\w+)/` \|", text.partition("## Where state lives")[2], re.MULTILINE)
    assert {"postgres", "report"} < set(state)
    home = tmp_path / "home"
    for name in state:
        (home / name / "inside").mkdir(parents=True)
    build = tmp_path / "shared" / "builds" / "inside"
    build.mkdir(parents=True)
    elsewhere = {"RETAIL_DATABASE_URL": "", "RETAIL_LAKE": str(tmp_path / "shared")}
    refused = cli("reset", **elsewhere)
    assert refused.returncode == WRONG_USE and "--yes" in refused.stderr
    assert all((home / name / "inside").is_dir() for name in state)
    assert cli("reset", "--yes", **elsewhere).returncode == DONE
    assert not home.exists() and not build.exists()
