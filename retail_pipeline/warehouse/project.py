"""The dbt project on disk: its folder, its manifest, and the environment variables of dbt.

Only this module prepares the manifest. It does not import Dagster.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import locked, usable_file, usable_folder
from retail_pipeline.postgres import Role, address
from retail_pipeline.postgres.logins import role_url
from retail_pipeline.postgres.open import expected_url
from retail_pipeline.postgres.session import dbt_options
from retail_pipeline.settings import PROJECT_ROOT, FileSource, Settings

PROJECT_FOLDER = PROJECT_ROOT / "dbt_project"
PREPARED = ".prepared"
"""The folder of the pipeline's manifest. dbt run by hand writes to `target/` instead, so Dagster
never reads its drafts or interrupted writes."""

PARTIAL_PARSE = "partial_parse.msgpack"
"""dbt's file of the parsed project; builds of the same database and variables can reuse it."""

REASON = "failed.txt"
"""A file among the artifacts: why a build on Spark failed outside of dbt."""

_WRITTEN = ("dbt.log", "graph.gpickle", "manifest.json", PARTIAL_PARSE, "run_results.json")
"""The files that a build writes beside the compiled SQL."""

_DEFAULTS = Settings()
_NOT_SOURCE = {PREPARED, "target", "logs", "dbt_packages"}
_DISTRIBUTIONS = ("dbt-core", "dbt-postgres", "dbt-adapters")
_IN_PROFILE = {"host", "port", "user", "password", "dbname", "options", "connect_timeout"}
"""Parts of an address that are set by `profiles.yml` or by `dbt_environment`."""
_QUIET = {
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "DBT_USE_COLORS": "false",
    "DBT_VERSION_CHECK": "false",
    # At the default level, debug, writing the log file takes a fifth of a small build.
    "DBT_LOG_LEVEL_FILE": "info",
}


def prepare_manifest(
    project: Path = PROJECT_FOLDER, environment: Mapping[str, str] | None = None
) -> Path:
    """Return the path of an up-to-date `.prepared/manifest.json`, parsing the project if needed.

    The project is parsed if the manifest is missing or damaged, or was made from other files or by
    another version of dbt. If several processes call this at once, one parses and the others wait.

    Args:
        project: The folder with `dbt_project.yml` and `profiles.yml`.
        environment: The variables of the build that follows (`dbt_environment`), if known; a build
            with the same variables does not parse again.

    Raises:
        PipelineError: dbt cannot parse the project; the message ends with dbt's own message.
    """
    target = project / PREPARED
    digest = project_digest(project)
    if _is_fresh(target, digest):
        return target / "manifest.json"
    usable_folder(target)
    with locked(target / "prepare.lock"):
        if not _is_fresh(target, digest):
            _parse(project, target, environment or {})
            made = f"{digest} {_digest_of(target / 'manifest.json')}"
            usable_file(target / "manifest.digest").write_text(made)
    return target / "manifest.json"


def prepare_for(settings: Settings) -> Path:
    """Prepare the manifest for builds in the settings' database; no server is contacted.

    Raises:
        PipelineError: dbt cannot parse the project.
    """
    return prepare_manifest(environment=dbt_environment(expected_url(settings), settings=settings))


def read_manifest(project: Path = PROJECT_FOLDER) -> dict[str, Any]:
    """Return dbt's manifest, after preparing it if needed.

    Args:
        project: The folder with `dbt_project.yml`.
    """
    return json.loads(prepare_manifest(project).read_text())


def dbt_environment(
    url: str, as_of: date | None = None, settings: Settings = _DEFAULTS
) -> dict[str, str]:
    """Return dbt's environment variables for a database and an as-of date, password included.

    Args:
        url: The owner's `postgresql://` address; dbt uses the login of its own role.
        as_of: Only data before 00:00 of this day count; with None, all data.
        settings: The settings with the shop's rules: time zone, codes that are not products.
    """
    parts = address.read(role_url(url, Role.TRANSFORMER))
    given = {
        "RETAIL_DBT_HOST": parts.get("host"),
        "RETAIL_DBT_PORT": parts.get("port"),
        "RETAIL_DBT_USER": parts.get("user"),
        "RETAIL_DBT_PASSWORD": parts.get("password"),
        "RETAIL_DBT_DBNAME": parts.get("dbname"),
        "RETAIL_DBT_AS_OF_DATE": as_of,
        "RETAIL_DBT_TIME_ZONE": settings.time_zone,
        "RETAIL_DBT_NON_PRODUCT_CODES": _code_list(settings),
    }
    # dbt's sessions use UTC, as all other sessions do.
    return {
        **{k: str(v) for k, v in given.items() if v},
        **_libpq_variables(url),
        **_QUIET,
        # A build of some models runs only the tests whose tables are built or upstream, as others
        # may not exist yet.
        "DBT_INDIRECT_SELECTION": "buildable",
        "PGTZ": "UTC",
        "PGOPTIONS": " ".join(filter(None, [address.read(url).get("options"), dbt_options()])),
    }


def _code_list(settings: Settings) -> str:
    if not (isinstance(settings.source, FileSource) and settings.source.options.profile):
        return settings.non_product_codes
    # A local import, because the libraries that read files would slow down each load of the code.
    from retail_pipeline.retail_api.source.profiles import code_list

    return code_list(settings)


def _libpq_variables(url: str) -> dict[str, str]:
    """Return the variables by which libpq reads an address's options, such as `sslrootcert`."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in psycopg.pq.Conninfo.parse(url.encode())
        if option.val and option.envvar and option.keyword.decode() not in _IN_PROFILE
    }


def recall(target: Path) -> Path:
    """Return a folder for dbt's artifacts, after copying the parsed project if it has none."""
    usable_folder(target)
    for name in _WRITTEN:
        usable_file(target / name)
    source = PROJECT_FOLDER / PREPARED / PARTIAL_PARSE
    if source.is_file() and not (target / PARTIAL_PARSE).exists():
        shutil.copyfile(source, target / PARTIAL_PARSE)
    # Failure messages are read from these files, so those of an earlier build are removed.
    for name in ("run_results.json", REASON):
        (target / name).unlink(missing_ok=True)
    return target


def dbt_program() -> str:
    """Return the path of dbt beside this Python, else of dbt on the shell's PATH."""
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
        found = (target / "manifest.digest").read_bytes()
        return found == f"{digest} {_digest_of(target / 'manifest.json')}".encode()
    except OSError:
        return False


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parse(project: Path, target: Path, environment: Mapping[str, str]) -> None:
    """Parse into a temporary folder and move the results, so that no reader sees half of them."""
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
            (Path(aside) / name).replace(usable_file(target / name))


def _words(output: str) -> str:
    return " ".join(output.split()) or "it gave no reason"
