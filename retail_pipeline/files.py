"""Files that take the place of earlier ones, whole. What is in them is the callers' matter."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_whole(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield an empty draft that takes a file's place at the end of the block.

    A reader sees the old file or the new one, never half of one; several may write at once, and of
    a block that fails nothing stays.

    Args:
        path: The file; its folder is made.
        mode: Who may read and write it, less the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
