"""Reading the connection files: accepted forms, and the messages for mistakes."""

import shutil
from pathlib import Path

import pytest

from retail_pipeline.airbyte_engine.files import AirbyteFolder, resolved
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import PROJECT_ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT_ROOT / "airbyte", tmp_path / "airbyte"))


def test_the_projects_files_are_sound(folder: Path) -> None:
    loaded = AirbyteFolder.load(folder)
    assert set(loaded.connections) == {
        "retail_api_products",
        "retail_api_users",
        "retail_api_transactions",
    }
    again = AirbyteFolder.load(PROJECT_ROOT / "airbyte")
    assert [c.id for c in loaded.connections.values()] == [c.id for c in again.connections.values()]


def test_references_are_filled_left_out_or_refused(folder: Path) -> None:
    configuration = AirbyteFolder.load(folder).sources["retail_api"].configuration
    values = {"RETAIL_API_URL": "http://x", "RETAIL_API_KEY": "k", "RETAIL_API_END": None}
    filled = resolved(configuration, values, "source retail_api")
    assert filled == {"api_url": "http://x", "api_key": "k", "lookback": "PT10M"}
    with pytest.raises(PipelineError, match="RETAIL_API_KEY, which has no value"):
        resolved(configuration, {"RETAIL_API_URL": "http://x", "RETAIL_API_END": None}, "source")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("connections/users.yaml", "name: users", "name: clients", "no stream 'clients'"),
        ("connections/users.yaml", "[updated_at]", "[changed_at]", "no column changed_at"),
        ("connections/users.yaml", "source: retail_api", "source: x", "unknown source 'x'"),
        ("connections/users.yaml", "schedule:", "shedule:", "Extra inputs are not permitted"),
        ("connections/users.yaml", "deduped_history", "append", "or 'full_refresh_overwrite_ded"),
        ("connections/users.yaml", "[[user_id]]", "[]", "users.yaml: streams.0.primary_key: List"),
        (
            "destinations/postgres.yaml",
            "type: postgres",
            "type: oracle",
            "type: Input should be 'postgres'",
        ),
        ("sources/retail_api/manifest.yaml", "streams:", "streams: [", "manifest.yaml cannot be"),
    ],
)
def test_a_mistake_names_its_file_and_place(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    path = folder / file
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PipelineError) as error:
        AirbyteFolder.load(folder)
    assert message in str(error.value)
