"""Measurements against peers and limits: `retail-pipeline bench [NAME]`.

A bench is a module with `SIZES` (default sizes) and `run(sizes, *, note) -> list[Result]`, which
hands each finished result to `note` as well. It is entered here under its name. Nothing of the
pipeline may import this room.
"""

from collections.abc import Mapping

BENCHES: Mapping[str, str] = {
    "ingestion": "retail_pipeline.bench.ingestion",
    "warehouse": "retail_pipeline.bench.warehouse",
    "clv": "retail_pipeline.bench.clv",
    "pipeline": "retail_pipeline.bench.pipeline",
}
"""Modules by the name that the command line knows them by."""
