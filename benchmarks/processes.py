"""Wall time of a command run as a process, and the peak memory of its process tree.

Memory is measured on Linux only. A process that leaves the tree, such as the database's server, is
not counted.
"""

import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retail_pipeline.errors import PipelineError

_SAMPLE_SECONDS = 0.05
_TAIL = 2_000


@dataclass(frozen=True)
class Measured:
    """Duration, peak memory and output of a command; memory in MiB, None if unknown."""

    seconds: float
    peak_mib: float | None
    output: str


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end and return its measurements.

    Raises:
        PipelineError: The command failed; the message has the end of its error output.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if environment is None else dict(environment),
    )
    memory = _Memory(process.pid)
    memory.start()
    try:
        output, errors = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        memory.over.set()
    seconds = time.perf_counter() - began
    memory.join()
    if process.returncode != 0:
        raise PipelineError(f"{command[0]} ended with {process.returncode}: {errors[-_TAIL:]}")
    return Measured(seconds, memory.peak_mib, output)


def tree_mib(pid: int) -> float | None:
    """Return the current memory of a process tree in MiB; shared pages count once."""
    kib = [_proportional_kib(each) for each in (pid, *below(pid))]
    known = [each for each in kib if each is not None]
    return sum(known) / 1024 if known else None


def proportional_mib(pids: Iterable[int]) -> float:
    """Return the current memory of processes in MiB; shared pages count in parts."""
    return sum(_proportional_kib(pid) or 0 for pid in pids) / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used in seconds; 0 if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Memory(threading.Thread):
    """Samples the memory of a process tree until it has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.peak_mib: float | None = None
        self._pid = pid

    def run(self) -> None:
        while not self.over.wait(_SAMPLE_SECONDS):
            now = tree_mib(self._pid)
            if now is not None:
                self.peak_mib = round(max(now, self.peak_mib or 0.0), 1)


def below(pid: int) -> Iterator[int]:
    """Yield the processes below a process."""
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in tasks.read_text().split()]
        except OSError:
            continue  # it has ended
        for child in children:
            yield child
            yield from below(child)


def _proportional_kib(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass  # it has ended, or is not ours
    return None
