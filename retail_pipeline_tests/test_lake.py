"""A reader of the lake sees whole builds, in a folder and in a store, whatever fails."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from retail_pipeline.errors import PipelineError
from retail_pipeline.lake import Lake


def write(lake: Lake, folder: str, number: int) -> None:
    lake.files.create_dir(f"{folder}/warehouse/sales")
    path = f"{folder}/warehouse/sales/part.parquet"
    pq.write_table(pa.table({"n": [number]}), path, filesystem=lake.files)


def built(lake: Lake) -> list[int]:
    return lake.build.read("warehouse.sales").to_table()["n"].to_pylist()


def landed(lake: Lake) -> list[int]:
    return lake.read(lake.landed("warehouse.sales")).to_table()["n"].to_pylist()


def all_files(lake: Lake) -> list[str]:
    where = fs.FileSelector("", recursive=True, allow_not_found=True)
    return [each.path for each in lake.files.get_file_info(where) if each.is_file]


@pytest.mark.parametrize(("block", "read"), [("building", built), ("landing", landed)])
def test_what_fails_or_is_killed_leaves_what_was_there(
    lake_address: str, block: str, read: Callable[[Lake], list[int]]
) -> None:
    lake = Lake(lake_address)

    def begin() -> AbstractContextManager[str]:
        return getattr(Lake(lake_address), block)()

    with pytest.raises(PipelineError, match=r"was built|land it first"):
        read(lake)
    with begin() as folder:
        write(lake, folder, 1)
    killed = begin()
    write(lake, killed.__enter__(), 2)  # a killed process ends no block
    assert read(lake) == [1]
    with pytest.raises(ValueError, match="a test failed"), begin() as folder:
        write(lake, folder, 3)
        raise ValueError("a test failed")
    assert read(lake) == [1]
    with begin() as folder:
        write(lake, folder, 4)
        assert read(lake) == [1]
    assert read(lake) == [4]


def test_a_build_stays_for_its_readers_until_the_second_one_after_it(lake_address: str) -> None:
    lake, builds = Lake(lake_address), []
    for number in range(3):
        with lake.building() as folder:
            write(lake, folder, number)
            assert [build.has("warehouse.sales") for build in builds[-1:]] == [True] * bool(number)
        builds.append(lake.build)
    assert [build.has("warehouse.sales") for build in builds] == [False, True, True]
    assert builds[1].read("warehouse.sales").count_rows() == 1
    assert lake.build.marts() == ["sales"]


def test_of_two_builds_at_once_the_first_is_refused(lake_address: str) -> None:
    lake = Lake(lake_address)
    with pytest.raises(PipelineError, match="one build run at a time"), lake.building() as first:
        with lake.building() as second:
            write(lake, second, 2)
        write(lake, first, 1)
    assert built(lake) == [2]


def test_a_new_build_is_not_published(lake_address: str) -> None:
    lake = Lake(lake_address)
    for _ in range(2):
        with lake.building() as folder:
            write(lake, folder, 1)
        assert not lake.build.is_published(7)
        lake.build.note_published(7)
        assert Lake(lake_address).build.is_published(7)
        assert not lake.build.is_published(8)


def test_everything_of_ours_is_removed_and_nothing_else(lake_address: str) -> None:
    lake = Lake(lake_address)
    assert lake.remove() == 0
    with lake.building() as folder:
        write(lake, folder, 1)
    lake.build.note_published(1)
    with lake.landing() as folder:
        write(lake, folder, 2)
    killed = lake.scored("2024-01-01-180")
    write(lake, killed.__enter__(), 3)
    ours = all_files(lake)
    with lake.files.open_output_stream("theirs.txt") as file:
        file.write(b"theirs")
    assert {path.split("/")[0] for path in ours} >= {"builds", "landing", "scored"}
    assert lake.remove(dry_run=True) == len(ours)
    assert lake.remove() == len(ours)
    assert all_files(lake) == ["theirs.txt"]


def test_results_of_workers_are_removed(lake_address: str) -> None:
    lake = Lake(lake_address)
    with pytest.raises(ValueError, match="lost"), lake.scored("2024-01-01-180") as folder:
        write(lake, folder, 1)
        raise ValueError("lost")
    assert all_files(lake) == []


def test_a_store_that_cannot_be_read_is_one_message(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Lake("s3://other/lake")
    with pytest.raises(PipelineError, match=r"s3://other/lake cannot be used: .*not found"):
        other.building().__enter__()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PipelineError, match=f"the lake {store} cannot be used: .* connect"):
        Lake(store).remove()


def test_addresses_are_those_that_spark_understands(tmp_path: Path) -> None:
    assert Lake("s3://bucket/lake").uri("a/b") == "s3://bucket/lake/a/b"
    assert Lake(tmp_path).uri("a/b") == f"file://{tmp_path}/a/b"
    with pytest.raises(PipelineError, match="is no folder"):
        _ = Lake("s3://bucket/lake").folder
