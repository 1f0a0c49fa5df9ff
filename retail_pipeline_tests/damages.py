"""Ways in which a file or a folder of the state can be damaged."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def _cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])


def _folder(path: Path, content: bytes) -> None:
    path.mkdir()
    (path / "inside").write_bytes(content)


def _closed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0)


DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "deleted": lambda path, content: None,
    "emptied": lambda path, content: path.write_bytes(b""),
    "cut in the middle": _cut,
    "rubbish": lambda path, content: path.write_bytes(b"\x00\xff{]" + os.urandom(100)),
    "a folder": _folder,
    "a broken link": lambda path, content: path.symlink_to("/nowhere/at/all"),
    "closed to its owner": _closed,
}


def damage(path: Path, way: str) -> None:
    """Damage a file, or put something else in the place of a file or folder."""
    content = path.read_bytes() if path.is_file() else b"content"
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    DAMAGES[way](path, content)
