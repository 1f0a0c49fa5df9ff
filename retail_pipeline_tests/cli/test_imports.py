"""What later steps need is there when they begin, and nothing is imported that no step needs."""

import subprocess
import sys

import pytest

RUN = """
import sys
import uuid
from dagster import AssetKey, DagsterInstance, job, op
from retail_pipeline.warehouse import BUILD_STEP
from retail_pipeline.cli.imports import ImportsAhead

seen = []

@op(name=BUILD_STEP)
def build() -> int:
    return 0

@op
def later(_number: int) -> None:
    seen.extend(name for name in ("pandas", "sklearn", "matplotlib") if name in sys.modules)

@job
def some() -> None:
    later(build())

with DagsterInstance.ephemeral() as instance:
    ahead = ImportsAhead([AssetKey(sys.argv[1].split("/"))])
    run_id = str(uuid.uuid4())
    instance.add_event_listener(run_id, ahead.on_entry)
    some.execute_in_process(instance=instance, run_id=run_id)
print(*seen)
"""


@pytest.mark.parametrize(
    ("asset", "needed"),
    [
        ("clv/model", "pandas sklearn"),
        ("figures/drift", "pandas matplotlib"),
        ("warehouse/customer_days", ""),
    ],
)
def test_a_step_after_dbt_finds_its_libraries_imported(asset: str, needed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, asset], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == needed
