"""What Dagster loads: the definitions of this environment, and nothing else."""

from retail_pipeline.build import build_definitions

defs = build_definitions()
