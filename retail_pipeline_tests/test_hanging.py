"""A test that hangs fails with its name, instead of holding up the suite."""

import subprocess
import sys
from pathlib import Path

import pytest

from retail_pipeline.settings import PROJECT_ROOT

HANGING = """
import threading
import pytest

@pytest.fixture
def server():
    yield
    threading.Event().wait()

def test_that_waits_for_ever(server):
    pass
"""


def test_a_test_that_hangs_fails_with_its_name(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    assert 60 <= float(pytestconfig.getini("timeout")) <= 900
    (tmp_path / "test_one.py").write_text(HANGING)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(PROJECT_ROOT / "pyproject.toml")),
            *("--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-o", "timeout=2", "-n0"),
            str(tmp_path / "test_one.py"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_one.py::test_that_waits_for_ever" in done.stdout
    assert "Failed: Timeout" in done.stdout
