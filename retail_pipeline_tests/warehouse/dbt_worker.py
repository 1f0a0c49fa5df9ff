"""A program that runs dbt many times after one start, for tests with many builds.

Each line of standard input is a JSON list of dbt's arguments. Each run is a forked child with dbt
imported and the project parsed. Standard output gets its process id when it starts, and `true` or
dbt's error when it ends (`null` where it was killed).
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
    """Run each line of the input until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # dbt writes to standard output even when it is quiet.
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
