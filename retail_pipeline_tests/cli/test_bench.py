"""`bench` measures in a checkout, and is a clear error elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.cli.command import DONE, WRONG_USE, Cli

FIELDS = {"bench", "case", "records", "engine", "seconds", "rate", "peak_mib"}


def test_results_are_printed_and_written_as_json(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "clv.json"
    done = cli("bench", "clv", "--size", "500", "--json", str(file))
    assert done.returncode == DONE, done.stderr
    results = json.loads(file.read_text())
    assert results and all(set(result) == FIELDS for result in results)
    assert {result["records"] for result in results} == {500}
    assert "BG/NBD score" in done.stdout


def test_an_installed_package_names_the_checkout_as_the_place_of_benchmarks(tmp_path: Path) -> None:
    shutil.copytree(PROJECT_ROOT / "retail_pipeline", tmp_path / "retail_pipeline")
    done = subprocess.run(
        [sys.executable, "-m", "retail_pipeline.cli", "bench", "clv"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == WRONG_USE, done.stderr
    assert "run `retail-pipeline bench` in a checkout" in done.stderr
    assert "Traceback" not in done.stderr
