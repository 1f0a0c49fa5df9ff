"""How the command line executes a run: its own process, and a worker beside it for marked steps.

`executor` is Dagster's loop over the steps with a second taker, `worker` the other process. The UI
and the services execute a run in one process; nothing here is theirs.
"""

from typing import Final

WORKER_TAG: Final = "retail_pipeline/worker"

FOR_A_WORKER: Final = {WORKER_TAG: "may"}
"""Tags of a step that a worker may execute: it reads and writes tables and files only and takes no
pool. What it reads is bounded whatever the number of customers, so that there is memory for it
beside any other step, and executed twice it leaves what it leaves when executed once."""
