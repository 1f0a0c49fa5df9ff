"""What Dagster loads: the definitions of this environment, and nothing else."""

from retail_pipeline.build import build_definitions
from retail_pipeline.collector import made_to_stay

with made_to_stay():
    defs = build_definitions()
