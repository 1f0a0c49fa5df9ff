"""The memory that linear algebra works in, taken while there is some.

OpenBLAS, which NumPy and SciPy each bring along, takes 32 MiB when it computes first, and keeps
them. Where the system refuses, it asks again for ever: a step out of memory would never end.
"""

import functools
import mmap
from collections.abc import Callable
from typing import TypeVar

from retail_pipeline.errors import PipelineError

_ROOM_BYTES = 128 * 2**20
"""More than both take together."""

_T = TypeVar("_T")


def with_working_memory(build: Callable[..., _T]) -> Callable[..., _T]:
    """Return an asset's function that fails at once where linear algebra would have no memory."""

    @functools.wraps(build)
    def working(*args: object, **kwargs: object) -> _T:
        take_working_memory()
        return build(*args, **kwargs)

    return working


@functools.cache
def take_working_memory() -> None:
    """Have the process take the memory that linear algebra works in; once is enough.

    Raises:
        PipelineError: There is not so much.
    """
    try:
        mmap.mmap(-1, _ROOM_BYTES).close()
    except OSError:
        raise PipelineError(
            f"no memory is left to compute in ({_ROOM_BYTES >> 20} MiB): "
            "give the run more, or let less run beside it"
        ) from None
    import numpy as np
    from scipy.linalg import cholesky

    some = np.eye(2)
    cholesky(some @ some)
