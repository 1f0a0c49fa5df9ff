"""Measurements against peers and limits: `retail-pipeline bench [NAME]`, in a checkout.

A benchmark is a module with `SIZES` (default numbers of records) and `run(sizes, *, note)`, which
returns a list of `Result` and hands each one to the callback `note` as soon as it is measured. The
package is not part of the wheel, and nothing of `retail_pipeline` imports it.
"""

from collections.abc import Mapping

BENCHMARKS: Mapping[str, str] = {
    "ingestion": "benchmarks.ingestion",
    "warehouse": "benchmarks.warehouse",
    "clv": "benchmarks.clv",
    "pipeline": "benchmarks.pipeline",
}
"""Modules by the name that the command line takes."""
