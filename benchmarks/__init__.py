"""Benchmarks of the pipeline against other tools and limits: `retail-pipeline bench [NAME]`.

A benchmark is a module with `SIZES` (default numbers of records) and `run(sizes, *, note)`, which
returns a list of `Result` and calls `note` with each one as soon as it is measured. The package is
not part of the wheel, and `retail_pipeline` imports it only in the command `bench`.
"""

from collections.abc import Mapping

BENCHMARKS: Mapping[str, str] = {
    "ingestion": "benchmarks.ingestion",
    "warehouse": "benchmarks.warehouse",
    "clv": "benchmarks.clv",
    "pipeline": "benchmarks.pipeline",
    "spark": "benchmarks.spark",
}
"""Modules by their name on the command line."""
