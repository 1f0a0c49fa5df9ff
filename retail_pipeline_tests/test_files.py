"""A replaced file is the old one or the new one, never a part."""

import stat
from pathlib import Path

import pytest

from retail_pipeline.files import replaced_whole


def test_a_file_is_replaced_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    for text in ("first", "second"):
        with replaced_whole(path, mode=0o600) as draft:
            draft.write_text(text)
    with pytest.raises(ValueError, match="half"), replaced_whole(path) as draft:
        draft.write_text("thi")
        raise ValueError("half")
    assert path.read_text() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_of_two_that_write_at_once_each_writes_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replaced_whole(path) as one, replaced_whole(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]
