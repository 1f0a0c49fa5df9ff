"""A Superset for tests: with RETAIL_TEST_SUPERSET=1 it is installed, which takes a minute.

RETAIL_TEST_SUPERSET=FOLDER takes the environment of another home's folder `superset`.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from retail_pipeline.bi.superset import Superset
from retail_pipeline.postgres import Database
from retail_pipeline_tests.bi.small_bundle import make_table
from retail_pipeline_tests.conftest import fresh_database


@pytest.fixture(scope="package")
def set_up_superset(tmp_path_factory: pytest.TempPathFactory) -> Superset:
    """A Superset that is installed and set up, and has no objects yet, to make copies of."""
    given = os.environ.get("RETAIL_TEST_SUPERSET")
    if not given:
        pytest.skip("Superset is not installed: RETAIL_TEST_SUPERSET=1 installs it (750 MB)")
    superset = Superset(tmp_path_factory.mktemp("home") / "superset")
    superset.folder.mkdir(mode=0o700)
    if given != "1":
        (superset.folder / "venv").symlink_to(Path(given) / "venv")
    if not superset.is_installed:
        superset.install()
    superset.set_up()
    return superset


def copied(superset: Superset, home: Path) -> Superset:
    """Return a copy with the same environment, in another home."""
    folder = home / "superset"
    shutil.copytree(superset.folder, folder, ignore=shutil.ignore_patterns("venv"))
    (folder / "venv").symlink_to(superset.folder / "venv")
    return Superset(folder)


@pytest.fixture(scope="package")
def superset(
    set_up_superset: Superset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Superset]:
    superset = copied(set_up_superset, tmp_path_factory.mktemp("home"))
    yield superset
    superset.stop()


@pytest.fixture(scope="package")
def shown(server_url: str, migrated_template: str) -> Iterator[Database]:
    """The database that the test's dashboards show."""
    with fresh_database(server_url, migrated_template, "shown") as database:
        make_table(database)
        yield database
