"""Many dbt runs of one start: a program for tests of many builds.

Each line of standard input is a JSON list of dbt's arguments. Each run is a child that finds dbt
imported and the project parsed; standard output gets a line with its process id when it starts, and
one with `true` or dbt's error when it ends (`null` where it was killed).
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from retail_pipeline.warehouse.project import PROJECT_FOLDER


def main() -> None:
    """Run what is asked until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # dbt writes to standard output, quiet or not.
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="retail-dbt-") as folder:
        paths = ["--project-dir", str(PROJECT_FOLDER), "--profiles-dir", str(PROJECT_FOLDER)]
        paths += ["--target-path", folder, "--log-path", folder, "--log-level", "none"]
        paths += ["--no-write-json"]
        manifest: Any = dbtRunner().invoke(["parse", *paths]).result
        answer = Path(folder) / "answer"
        for line in sys.stdin:
            answer.write_text("null")
            child = os.fork()
            if child == 0:
                result = dbtRunner(manifest=manifest).invoke([*json.loads(line), *paths])
                answer.write_text(json.dumps(True if result.success else _reason(result)))
                os._exit(0)
            answers.write(f"{child}\n")
            os.waitpid(child, 0)
            answers.write(answer.read_text() + "\n")


def _reason(result: object) -> str:
    failed = [
        f"{r.node.name}: {r.message}"
        for r in getattr(result, "result", None) or []
        if r.status in ("error", "fail", "runtime error")
    ]
    return "; ".join(failed) or str(getattr(result, "exception", "unknown"))


if __name__ == "__main__":
    main()
