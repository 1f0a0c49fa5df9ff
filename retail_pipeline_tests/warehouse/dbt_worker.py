"""Many dbt runs in one process: a program for tests of many builds.

Each line of standard input is a JSON list of dbt's arguments; each line of standard output says
`true` or dbt's error. The project is parsed once, dbt is imported once.
"""

import json
import os
import sys
import tempfile
from typing import Any

from dbt.cli.main import dbtRunner

from retail_pipeline.warehouse.project import PROJECT_FOLDER


def main() -> None:
    """Run what is asked until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # dbt writes to standard output, quiet or not.
    os.dup2(2, 1)
    manifest: Any = None
    with tempfile.TemporaryDirectory(prefix="retail-dbt-") as folder:
        paths = ["--project-dir", str(PROJECT_FOLDER), "--profiles-dir", str(PROJECT_FOLDER)]
        paths += ["--target-path", folder, "--log-path", folder, "--log-level", "none"]
        for line in sys.stdin:
            manifest = manifest or dbtRunner().invoke(["parse", *paths]).result
            result = dbtRunner(manifest=manifest).invoke([*json.loads(line), *paths])
            answers.write(json.dumps(True if result.success else _reason(result)) + "\n")
            answers.flush()


def _reason(result: object) -> str:
    failed = [
        f"{r.node.name}: {r.message}"
        for r in getattr(result, "result", None) or []
        if r.status in ("error", "fail", "runtime error")
    ]
    return "; ".join(failed) or str(getattr(result, "exception", "unknown"))


if __name__ == "__main__":
    main()
