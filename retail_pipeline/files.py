"""Files and folders of the pipeline's state: private, replaced whole, and usable after damage.

A full disk, a backup or a person can damage state. Files that each run makes anew are replaced; a
folder or a broken link in the place of a file is renamed, never deleted.
"""

import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ASIDE = ".damaged"
"""The ending of what was set aside."""

_LOG = logging.getLogger("retail_pipeline.files")


@contextmanager
def replaced_whole(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield the path of an empty draft, which replaces a file at the end of the block.

    A reader sees the old file or the new one, never a part. Several processes may write at once. If
    the block fails, the draft is deleted and the old file stays.

    Args:
        path: The file; its folder is created if missing.
        mode: The permissions of the new file, less the umask.
    """
    usable_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield draft
        usable_file(path)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock of a file, which is created if missing; wait until it is free."""
    usable_file(path)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def private_folder(path: Path) -> Path:
    """Return a folder that only its owner, and a group that the owner has allowed, can enter."""
    usable_folder(path, mode=0o700)
    with suppress(PermissionError):  # it belongs to another account, which decides
        path.chmod((path.stat().st_mode | 0o700) & 0o770)
    return path


def usable_folder(path: Path, *, mode: int = 0o777) -> Path:
    """Return a folder, created if missing; a file or a broken link in its place is set aside."""
    if os.path.lexists(path) and not path.is_dir():
        set_aside(path)
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    return path


def usable_file(path: Path) -> Path:
    """Return the path of a file to be written; a folder or a broken link there is set aside.

    A file that is closed to its owner is opened to them.
    """
    if path.is_dir() or (path.is_symlink() and not path.exists()):
        set_aside(path)
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        with suppress(PermissionError):  # it belongs to another account
            path.chmod(path.stat().st_mode | 0o600)
    return path


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with its contents, if it is there and can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Rename what cannot be used, and say so in the log."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{ASIDE}")
    path.rename(aside)
    _LOG.warning("%s cannot be used and was set aside as %s", path, aside.name)
