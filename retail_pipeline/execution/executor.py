"""Dagster's in-process loop over the steps of a run, and a worker that takes marked ones meanwhile.

The loop, its logs and its rules (order, retries, skips, pools) stay Dagster's, but for hooks, which
no job has. Only the state that it asks for its next step is shared here, with a thread that hands
marked steps to the worker. What the worker does with them is `worker`'s; Dagster is pinned exactly,
so its inner parts may be used.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Condition, Thread
from traceback import format_exception
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from dagster import (
    AssetKey,
    DagsterEvent,
    DagsterInstance,
    Definitions,
    EventLogEntry,
    Executor,
    ExecutorDefinition,
    JobDefinition,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import raise_execution_interrupts
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.execute_in_process import core_execute_in_process
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.objects import StepRetryData
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor, inprocess_execution_iterator
from dagster._core.storage.tags import PRIORITY_TAG
from dagster._utils.error import SerializableErrorInfo

from retail_pipeline.clv.processes import cores
from retail_pipeline.errors import PipelineError
from retail_pipeline.execution import WORKER_TAG
from retail_pipeline.execution.worker import (
    Assignment,
    Worker,
)
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster._core.execution.step_dependency_config import StepDependencyConfig

FEWEST_STEPS: Final = 3
"""Marked steps of a run for which a worker is started: it takes three seconds to be ready."""

_PATIENCE_SECONDS: Final = 1.0
"""After which a step that waits for its retry is looked for."""

_AFTER_ALL_OTHERS: Final = 1_000_000


def execute(
    job: JobDefinition,
    build: Callable[[Settings], Definitions],
    settings: Settings,
    *,
    instance: DagsterInstance,
    run_id: str,
    selected: Sequence[AssetKey] | None,
    run_config: Mapping[str, Any],
    told: Callable[[EventLogEntry], None],
) -> bool:
    """Run a job to its end, which may be a failure; where it is worth it, with a worker.

    Args:
        job: What to run.
        build: Builds the definitions that it is one of; a function of a module.
        settings: What they were built from.
        instance: Where it is recorded.
        run_id: Under which id.
        selected: The assets to make; all of the job by default.
        run_config: Its configuration.
        told: Is called with all that is logged, in whichever process, perhaps from another thread.

    Returns:
        Whether the run succeeded.
    """
    instance.add_event_listener(run_id, told)

    def assignment(context: PlanOrchestrationContext) -> Assignment:
        run, ref = context.dagster_run, instance.get_ref()
        return Assignment(build, settings, job.name, selected, run, run_config, ref)

    executor = _WorkerExecutor(assignment, told)
    definition = ExecutorDefinition("with_a_worker", executor_creation_fn=lambda _: executor)
    own = job.as_ephemeral_job({}, {}, asset_selection=selected).with_executor_def(definition)
    return core_execute_in_process(
        run_config,
        InMemoryJob(own),
        instance,
        output_capturing_enabled=False,
        raise_on_error=False,
        run_tags=job.run_tags,
        run_id=run_id,
        asset_selection=frozenset(selected or ()),
    ).success


class _WorkerExecutor(Executor):
    def __init__(
        self,
        assignment: Callable[[PlanOrchestrationContext], Assignment],
        told: Callable[[EventLogEntry], None],
    ) -> None:
        self._assignment = assignment
        self._told = told
        self._alone = InProcessExecutor(RetryMode.ENABLED)

    @property
    def retries(self) -> RetryMode:
        return self._alone.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        return self._alone.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        marked = [
            step for step in execution_plan.get_steps_to_execute_in_topo_order() if _may(step)
        ]
        if cores() < 2 or len(marked) < FEWEST_STEPS:
            return self._alone.execute(plan_context, execution_plan)
        # As it is before any step: a step may set variables for what it starts.
        environment = dict(os.environ)
        assignment = self._assignment(plan_context)
        plan = _SharedPlan._make(execution_plan)
        plan.shared_with(lambda: Worker(assignment, environment), self._told)
        return iter(
            ExecuteRunWithPlanIterable(
                execution_plan=plan,
                iterator=inprocess_execution_iterator,
                execution_context_manager=PlanExecutionContextManager(
                    job=plan_context.job,
                    retry_mode=plan_context.retry_mode,
                    execution_plan=execution_plan,
                    run_config=plan_context.run_config,
                    dagster_run=plan_context.dagster_run,
                    instance=plan_context.instance,
                    raise_on_error=plan_context.raise_on_error,
                    step_dependency_config=self.step_dependency_config,
                ),
            )
        )


class _SharedPlan(ExecutionPlan):
    """A plan whose steps are taken by Dagster's loop and by a worker."""

    def shared_with(
        self, start_worker: Callable[[], Worker], told: Callable[[EventLogEntry], None]
    ) -> None:
        self._start_worker = start_worker
        self._told = told

    def start(self, retry_mode: RetryMode, *args: Any, **options: Any) -> "_SharedExecution":
        return _SharedExecution(
            self._start_worker, self._told, self, retry_mode, _unmarked_first, *args, **options
        )


def _may(step: ExecutionStep) -> bool:
    return WORKER_TAG in step.tags


def _order(step: ExecutionStep) -> float:
    return -int(step.tags.get(PRIORITY_TAG, 0))


def _unmarked_first(step: ExecutionStep) -> float:
    return _order(step) + (_AFTER_ALL_OTHERS if _may(step) else 0)


class _SharedExecution(ActiveExecution):
    """The state of a run's steps, for Dagster's loop and the thread that feeds the worker.

    All of it is read and changed under one lock. Only the main thread runs the loop: what the other
    receives is kept until the loop asks for events. A worker that is lost is not replaced; its step
    is executed again by the loop, as the log says.
    """

    def __init__(
        self,
        start_worker: Callable[[], Worker],
        told: Callable[[EventLogEntry], None],
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._start_worker, self._told = start_worker, told
        self._changed = Condition()
        self._news = False  # since the loop asked for a step last
        self._arrived: list[DagsterEvent] = []
        self._given: ExecutionStep | None = None  # that the worker has not ended
        self._lost: BaseException | None = None
        self._worker: Worker | None = None
        self._ended = False
        self._feeder = Thread(target=self._feed, name="feeds-the-worker", daemon=True)
        waits_for = self._plan.get_executable_step_deps()
        marked = {key for key in waits_for if _may(self.get_step_by_key(key))}
        self._heralds = marked.union(*map(waits_for.__getitem__, marked))
        """Marked steps and those that they wait for: once one is at work, a worker is needed."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            if self._worker is not None:
                self._worker.end()
        if self._feeder.ident is not None:
            self._feeder.join()
        super().__exit__(exc_type, exc_value, traceback)

    # What Dagster's loop calls.

    @property
    def is_complete(self) -> bool:
        with self._changed:
            return super().is_complete and not self._arrived

    def get_known_state(self) -> KnownExecutionState:
        with self._changed:
            known = super().get_known_state()
            return known._replace(ready_outputs=set(known.ready_outputs))

    def get_next_step(self) -> ExecutionStep | None:
        with self._changed:
            self._news = False
            step = super().get_next_step()
        # Not before the first call: only now is what processes print captured for the run.
        if self._feeder.ident is None and self._heralds & self._in_flight.union(self._executable):
            self._feeder.start()
        return step

    def concurrency_event_iterator(
        self, plan_context: PlanExecutionContext | PlanOrchestrationContext
    ) -> Iterator[DagsterEvent]:
        """Yield, before each step, also what has come from the worker and what follows from it."""
        yield from super().concurrency_event_iterator(plan_context)
        with self._changed:
            arrived, self._arrived = self._arrived, []
            lost, self._lost = self._lost, None
            self._news = self._news or bool(arrived)
        yield from arrived
        if lost is not None:
            assert isinstance(plan_context, PlanExecutionContext)
            yield from self._again(lost, plan_context)
        yield from self.plan_events_iterator(plan_context)

    def plan_events_iterator(
        self, job_context: PlanExecutionContext | PlanOrchestrationContext
    ) -> Iterator[DagsterEvent]:
        with self._changed:
            events = list(super().plan_events_iterator(job_context))
        yield from events

    def sleep_til_ready(self) -> None:
        with raise_execution_interrupts(), self._changed:
            seconds = max(self.sleep_interval(), 0) or _PATIENCE_SECONDS
            self._changed.wait_for(lambda: self._news, min(seconds, _PATIENCE_SECONDS))

    def handle_event(self, dagster_event: DagsterEvent) -> None:
        with self._changed:
            super().handle_event(dagster_event)
            self._news = True
            self._changed.notify_all()

    def _again(self, lost: BaseException, context: PlanExecutionContext) -> Iterator[DagsterEvent]:
        step, self._given = self._given, None
        why = str(lost) if isinstance(lost, PipelineError) else repr(lost)
        if step is None:
            context.log.warning(f"{why}: this process executes all steps from here on")
            return
        step_context = context.for_step(step, self.get_known_state())
        words = f"{why}, at {step.key}: this process executes it again and takes all further steps"
        step_context.log.warning(words)
        error = SerializableErrorInfo(words, format_exception(lost), type(lost).__name__)
        event = DagsterEvent.step_retry_event(step_context, StepRetryData(error))
        yield event
        self.handle_event(event)

    # The thread that feeds the worker.

    def _feed(self) -> None:
        try:
            with self._changed:
                if self._ended:
                    return
                self._worker = self._start_worker()
            self._worker.prepare()
            while (step := self._next_for_worker()) is not None:
                for entry in self._worker.execute(step.key, self.get_known_state()):
                    self._receive(entry, step.key)
                if self._given is not None:
                    raise PipelineError(f"the worker did not say how {step.key} ended")
        except BaseException as error:  # whatever ends this thread, the loop must not wait for it
            with self._changed:
                if self._worker is not None:
                    self._worker.end()
                self._lost, self._news = error, True
                self._changed.notify_all()

    def _next_for_worker(self) -> ExecutionStep | None:
        """Return a marked step as soon as there is one; None at the end.

        Of several it is the one that the loop would come to last: what both would import is then
        imported by one of them.
        """
        with self._changed:
            while not self._ended:
                self._update()
                ready = filter(_may, map(self.get_step_by_key, self._executable))
                step = max(ready, key=_order, default=None)
                if step is not None:
                    self._executable.remove(step.key)
                    self._in_flight.add(step.key)
                    self._given = step
                    return step
                self._changed.wait(_PATIENCE_SECONDS)
            return None

    def _receive(self, entry: EventLogEntry, step_key: str) -> None:
        self._told(entry)
        event = entry.dagster_event
        if event is not None and event.step_key == step_key:
            with self._changed:
                self._arrived.append(event)
                self.handle_event(event)
                if step_key not in self._in_flight:
                    self._given = None
