"""Atomic replacement of files."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_whole(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield the path of an empty draft, which replaces a file at the end of the block.

    A reader sees the old file or the new one, never a part. Several processes may write at once. If
    the block fails, the draft is deleted and the old file stays.

    Args:
        path: The file; its folder is created if missing.
        mode: The permissions of the new file, less the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
