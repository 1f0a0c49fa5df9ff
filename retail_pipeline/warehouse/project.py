"""The dbt project on disk: where it is, its manifest, and the environment that dbt runs in.

The manifest is prepared here and nowhere else. Nothing of Dagster belongs here.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import address
from retail_pipeline.postgres.open import expected_url
from retail_pipeline.postgres.session import dbt_options
from retail_pipeline.settings import PROJECT_ROOT, Settings

PROJECT_FOLDER = PROJECT_ROOT / "dbt_project"
PREPARED = ".prepared"
"""The folder of the project that the pipeline's manifest is prepared in. dbt that is run by hand
writes to `target/`: its drafts and interrupted writes never reach Dagster."""

PARTIAL_PARSE = "partial_parse.msgpack"
"""The parsed project, of use to builds of the same database with the same variables."""

_NOT_SOURCE = {PREPARED, "target", "logs", "dbt_packages"}
_DISTRIBUTIONS = ("dbt-core", "dbt-postgres", "dbt-adapters")
_IN_PROFILE = {"host", "port", "user", "password", "dbname", "options", "connect_timeout"}
"""Parts of an address that `profiles.yml` passes to libpq, or that are set apart here."""
_QUIET = {
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "DBT_USE_COLORS": "false",
    "DBT_VERSION_CHECK": "false",
    # At debug, the default, dbt spends a fifth of a small build on its log file.
    "DBT_LOG_LEVEL_FILE": "info",
}


def prepare_manifest(
    project: Path = PROJECT_FOLDER, environment: Mapping[str, str] | None = None
) -> Path:
    """Return the path of an up-to-date `.prepared/manifest.json`, parsing the project where needed.

    Needed is: the manifest is missing, or made from other files or by another dbt. Processes that
    ask at the same time wait for the first one.

    Args:
        project: The folder with `dbt_project.yml` and `profiles.yml`.
        environment: The variables of the build that follows (`dbt_environment`), if it is known: a
            build of the same database then has nothing left to parse.

    Raises:
        PipelineError: dbt cannot parse the project; the message ends with dbt's own words.
    """
    target = project / PREPARED
    digest = project_digest(project)
    if _is_fresh(target, digest):
        return target / "manifest.json"
    target.mkdir(exist_ok=True)
    with _locked(target / "prepare.lock"):
        if not _is_fresh(target, digest):
            _parse(project, target, environment or {})
            (target / "manifest.digest").write_text(digest)
    return target / "manifest.json"


def prepare_for(settings: Settings) -> Path:
    """Prepare the manifest for builds of the settings' database; contacts no server.

    Raises:
        PipelineError: dbt cannot parse the project.
    """
    return prepare_manifest(environment=dbt_environment(expected_url(settings)))


def read_manifest(project: Path = PROJECT_FOLDER) -> dict[str, Any]:
    """Return dbt's manifest, prepared if needed.

    Args:
        project: The folder with `dbt_project.yml`.
    """
    return json.loads(prepare_manifest(project).read_text())


def dbt_environment(url: str, as_of: date | None = None) -> dict[str, str]:
    """Return dbt's variables of a database and an as-of date; they hold the password.

    Args:
        url: The owner's `postgresql://` address; dbt sets its own role.
        as_of: Data before 00:00 UTC of this day counts; without it, all that there is.
    """
    parts = address.read(url)
    given = {
        "RETAIL_DBT_HOST": parts.get("host"),
        "RETAIL_DBT_PORT": parts.get("port"),
        "RETAIL_DBT_USER": parts.get("user"),
        "RETAIL_DBT_PASSWORD": parts.get("password"),
        "RETAIL_DBT_DBNAME": parts.get("dbname"),
        "RETAIL_DBT_AS_OF_DATE": as_of,
    }
    # Sessions of dbt read and show time in UTC, as everything else does.
    return {
        **{k: str(v) for k, v in given.items() if v},
        **_libpq_variables(url),
        **_QUIET,
        # Some models alone bring the tests whose tables they are made from, not those of tables
        # that may not be there yet.
        "DBT_INDIRECT_SELECTION": "buildable",
        "PGTZ": "UTC",
        "PGOPTIONS": " ".join(filter(None, [parts.get("options"), dbt_options()])),
    }


def _libpq_variables(url: str) -> dict[str, str]:
    """Return an address's options, such as `sslrootcert`, as libpq reads them in dbt's sessions."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in psycopg.pq.Conninfo.parse(url.encode())
        if option.val and option.envvar and option.keyword.decode() not in _IN_PROFILE
    }


def recall(target: Path) -> Path:
    """Return a folder for dbt's artifacts, with the parsed project in it if it has none yet."""
    target.mkdir(parents=True, exist_ok=True)
    source = PROJECT_FOLDER / PREPARED / PARTIAL_PARSE
    if source.exists() and not (target / PARTIAL_PARSE).exists():
        shutil.copyfile(source, target / PARTIAL_PARSE)
    # The words of a failure are read from it: an earlier build's must not stand for this one's.
    (target / "run_results.json").unlink(missing_ok=True)
    return target


def dbt_program() -> str:
    """Return the path of dbt beside this Python; the shell's PATH may know another one, or none."""
    beside = Path(sys.executable).with_name("dbt")
    found = str(beside) if beside.exists() else shutil.which("dbt")
    if found is None:
        raise PipelineError("dbt is not installed: run `make .venv`")
    return found


def project_digest(project: Path = PROJECT_FOLDER) -> str:
    """Return a digest of the dbt project's files and of dbt's version."""
    digest = hashlib.sha256()
    for name in _DISTRIBUTIONS:
        digest.update(f"{name}=={importlib.metadata.version(name)}\n".encode())
    for path in sorted(project.rglob("*")):
        relative = path.relative_to(project)
        if path.is_file() and relative.parts[0] not in _NOT_SOURCE:
            digest.update(f"{relative}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_fresh(target: Path, digest: str) -> bool:
    try:
        return (target / "manifest.json").exists() and (
            target / "manifest.digest"
        ).read_text() == digest
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parse(project: Path, target: Path, environment: Mapping[str, str]) -> None:
    """Parse into a folder aside and move the results: a reader never sees half a manifest."""
    with tempfile.TemporaryDirectory(dir=target, prefix="parsing-") as aside:
        done = subprocess.run(
            [dbt_program(), "parse", "--quiet", "--target-path", aside, "--log-path", aside],
            cwd=project,
            env={**os.environ, **_QUIET, **environment, "DBT_PROFILES_DIR": str(project)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PipelineError(f"dbt cannot parse {project.name}: {_words(done.stdout)}")
        for name in (PARTIAL_PARSE, "manifest.json"):
            (Path(aside) / name).replace(target / name)


def _words(output: str) -> str:
    return " ".join(output.split()) or "it gave no reason"
