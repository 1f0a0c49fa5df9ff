"""Without memory, linear algebra fails as anything else does; it does not wait for some."""

import subprocess
import sys

LIMITED = """
import resource
import numpy as np
from scipy import linalg
from retail_pipeline.errors import PipelineError
from retail_pipeline.linear_algebra import take_working_memory

def limit():
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
"""


def said(script: str) -> str:
    asked = [sys.executable, "-c", LIMITED + script]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout


def test_without_memory_it_is_one_error() -> None:
    script = """
limit()
try:
    take_working_memory()
except PipelineError as error:
    print(error)
"""
    assert said(script).startswith("no memory is left")


def test_memory_that_was_taken_is_enough() -> None:
    script = """
take_working_memory()
limit()
print(linalg.solve(np.eye(2), np.ones(2), assume_a="pos") @ np.ones(2))
"""
    assert said(script) == "2.0\n"
