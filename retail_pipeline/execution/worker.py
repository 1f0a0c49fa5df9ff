"""The worker: a process that executes single steps of a run that another process is in charge of.

`Worker` is that process' side of it, `_main` the worker's (`python -m
retail_pipeline.execution.worker DESCRIPTOR`). It is a fresh interpreter, never a fork: a run's
process has threads and open connections. It builds the same definitions and the same plan, writes
its events to Dagster's storage itself, and tells the other side each of them. Which steps it is
given, and when, is `executor`'s.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from retail_pipeline.clv.processes import ONE_THREAD
from retail_pipeline.collector import made_to_stay
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance, DagsterRun, Definitions, EventLogEntry
    from dagster._core.execution.context.system import PlanExecutionContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.instance.ref import InstanceRef

    _Request = tuple[str, KnownExecutionState]

_READY = "ready"
_STEP_ENDED = "step ended"
_IDLE_SECONDS = 0.2
_NICE = 5
"""Where both cores are taken, what the rest of the run waits for comes first."""


class Assignment(NamedTuple):
    """The run whose steps a worker executes.

    Attributes:
        build: Builds the definitions; a function of a module, as it is pickled.
        settings: What they are built from.
        job: The job's name.
        selected: The assets of the run; all of the job by default.
        run: Dagster's record of it.
        run_config: Its configuration.
        instance: Where the worker finds Dagster's storage.
    """

    build: "Callable[[Settings], Definitions]"
    settings: Settings
    job: str
    selected: "Sequence[AssetKey] | None"
    run: "DagsterRun"
    run_config: Mapping[str, Any]
    instance: "InstanceRef"


class Worker:
    """A worker's process; it ends when it is told to, or when this process ends, however that is.

    Args:
        assignment: Its run.
        environment: Its variables.
    """

    def __init__(self, assignment: Assignment, environment: Mapping[str, str]) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env={**environment, **ONE_THREAD},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the run's process, which ends this one
            )
        self._assignment = assignment

    def prepare(self) -> None:
        """Return when it has built the run's plan.

        Raises:
            PipelineError: It has ended.
        """
        for _ in self._told_after(self._assignment, until=_READY):
            pass

    def execute(self, step: str, state: "KnownExecutionState") -> "Iterator[EventLogEntry]":
        """Have a step executed; yield what is logged meanwhile, events and words.

        Args:
            step: Its key.
            state: What is known of the run's other steps and this one's attempts.

        Raises:
            PipelineError: The process has ended.
        """
        return self._told_after((step, state), until=_STEP_ENDED)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()

    def _told_after(self, request: Any, until: str) -> Iterator[Any]:
        try:
            self._pipe.send(request)
            while (said := self._pipe.recv()) != until:
                yield said
        except (EOFError, OSError):
            raise PipelineError(f"the worker ended with {self._process.wait()}") from None


def _main() -> None:
    os.nice(_NICE)
    pipe = Connection(int(sys.argv[1]))
    with made_to_stay():
        assignment: Assignment = pipe.recv()  # imports what it is made of, Dagster and all rooms
    requests: SimpleQueue[_Request] = SimpleQueue()
    Thread(target=_listen, args=(pipe, requests), daemon=True).start()

    from dagster import DagsterInstance

    with DagsterInstance.from_ref(assignment.instance) as instance:
        plan, context = _prepare(assignment, instance)
        instance.add_event_listener(assignment.run.run_id, pipe.send)
        pipe.send(_READY)
        while True:
            _execute(plan, context, *_next(requests))
            pipe.send(_STEP_ENDED)


def _listen(pipe: Connection, requests: "SimpleQueue[_Request]") -> None:
    """Take requests even while a step is executed: their end is the other process' end."""
    while True:
        try:
            requests.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(1)


def _next(requests: "SimpleQueue[_Request]") -> "_Request":
    try:
        return requests.get(timeout=_IDLE_SECONDS)
    except Empty:
        gc.collect()  # what the last step held, now that nobody waits for the next
    return requests.get()


def _prepare(
    assignment: Assignment, instance: "DagsterInstance"
) -> "tuple[ExecutionPlan, PlanExecutionContext]":
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import create_execution_plan
    from dagster._core.execution.context_creation_job import PlanExecutionContextManager
    from dagster._core.execution.retries import RetryMode

    with made_to_stay():
        whole = assignment.build(assignment.settings).resolve_job_def(assignment.job)
        job = InMemoryJob(whole.as_ephemeral_job({}, {}, asset_selection=assignment.selected))
        plan = create_execution_plan(job, assignment.run_config, instance_ref=assignment.instance)
    manager = PlanExecutionContextManager(
        job=job,
        execution_plan=plan,
        run_config=assignment.run_config,
        dagster_run=assignment.run,
        instance=instance,
        retry_mode=RetryMode.ENABLED,
    )
    for _ in manager.prepare_context():
        pass
    return plan, manager.get_context()


def _execute(
    plan: "ExecutionPlan", context: "PlanExecutionContext", key: str, state: "KnownExecutionState"
) -> None:
    from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
    from dagster._core.execution.plan.step import ExecutionStep

    step = plan.get_step_by_key(key)
    assert isinstance(step, ExecutionStep)
    for _ in dagster_event_sequence_for_step(context.for_step(step, state)):
        pass


if __name__ == "__main__":
    # Pickled classes name this module, not `__main__`.
    from retail_pipeline.execution.worker import _main as run

    run()
