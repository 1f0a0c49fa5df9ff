"""Damaged state heals: whatever stands in the place of a file, the next command works or names it.

Each test damages one file or folder in each way and calls the function that uses it. The cases of
`laws/test_law_4_faults_leave_no_trace` run the pipeline after such damages.
"""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from dagster import DagsterInstance

from retail_pipeline.cli.instance import dagster_environment
from retail_pipeline.cli.job import log_file
from retail_pipeline.cli.terminal import quiet_output
from retail_pipeline.dagster_support.dead_runs import held_by_this_process
from retail_pipeline.errors import PipelineError
from retail_pipeline.files import locked, private_folder, replaced_whole
from retail_pipeline.postgres import Database
from retail_pipeline.privacy.suppression import KEY_FILE, SuppressionKey
from retail_pipeline.settings import PROJECT_ROOT, Settings
from retail_pipeline.warehouse.project import PREPARED, PROJECT_FOLDER, prepare_manifest, recall
from retail_pipeline_tests.airbyte_engine.paged_api import PagedApi, products, serving
from retail_pipeline_tests.airbyte_engine.test_sync import engine_for, landed, sync
from retail_pipeline_tests.damages import DAMAGES, damage

each_way = pytest.mark.parametrize("way", DAMAGES)


@pytest.fixture(scope="module")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a dbt project with one model, whose manifest is prepared."""
    folder = tmp_path_factory.mktemp("small") / "dbt_project"
    (folder / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT_FOLDER / name, folder / name)
    shutil.copytree(PROJECT_FOLDER / "macros", folder / "macros")
    (folder / "models" / "one.sql").write_text("select 1 as number")
    prepare_manifest(folder)
    return folder


@pytest.mark.parametrize("name", ["manifest.json", "manifest.digest", "prepare.lock", "."])
@each_way
def test_a_damaged_manifest_is_made_again(
    small_project: Path, tmp_path: Path, name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(small_project, project)
    whole = (project / PREPARED / "manifest.json").read_bytes()

    def parse(_: Path, target: Path, __: object) -> None:
        with replaced_whole(target / "manifest.json") as draft:
            draft.write_bytes(whole)

    monkeypatch.setattr("retail_pipeline.warehouse.project._parse", parse)  # it takes seconds
    damage(project / PREPARED / name, way)
    assert json.loads(prepare_manifest(project).read_text())["nodes"]


@pytest.mark.parametrize("name", ["", "target", "target/manifest.json", "target/run_results.json"])
@each_way
def test_damaged_artifacts_of_dbt_are_out_of_the_way(tmp_path: Path, name: str, way: str) -> None:
    target = tmp_path / "dbt" / "target"
    target.mkdir(parents=True)
    damage(tmp_path / "dbt" / name, way)
    assert recall(private_folder(tmp_path / "dbt") / "target") == target
    assert not (target / "run_results.json").exists()
    (target / "manifest.json").write_text("dbt can write it")


def test_a_folder_of_others_above_the_artifacts_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)  # such as /tmp, where builds of one command have their folder
    recall(tmp_path / "retail-dbt-1")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


@pytest.mark.parametrize("name", ["dagster", "dagster/dagster.yaml", "dagster/storage"])
@each_way
def test_dagsters_configuration_is_written_again(
    database: Database, tmp_path: Path, name: str, way: str
) -> None:
    settings = Settings(home=tmp_path, database_url=database.url)
    dagster_environment(settings)
    damage(tmp_path / name, way)
    home = Path(dagster_environment(settings)["DAGSTER_HOME"])
    assert (home / "dagster.yaml").read_text() == (
        PROJECT_ROOT / "deploy" / "dagster.yaml"
    ).read_text()
    assert (home / "storage").is_dir()


@pytest.mark.parametrize("name", ["at_work", "at_work/no-such-run.lock"])
@each_way
def test_a_damaged_lock_of_a_run_stops_no_other_run(tmp_path: Path, name: str, way: str) -> None:
    damage(tmp_path / name, way)
    with (
        DagsterInstance.ephemeral() as instance,
        held_by_this_process(instance, tmp_path / "at_work", "a-run"),
    ):
        assert (tmp_path / "at_work" / "a-run.lock").is_file()


@pytest.mark.parametrize("name", ["logs", "logs/run.log"])
@each_way
def test_a_damaged_log_is_begun_again(tmp_path: Path, name: str, way: str) -> None:
    log = log_file(Settings(home=tmp_path))
    log.parent.mkdir()
    damage(tmp_path / name, way)
    with quiet_output(log):
        os.write(1, b"a line")
    assert log.read_text() == "a line"


@pytest.mark.parametrize("name", ["figures", "figures/a.png"])
@each_way
def test_a_damaged_output_is_replaced(tmp_path: Path, name: str, way: str) -> None:
    damage(tmp_path / name, way)
    with replaced_whole(tmp_path / "figures" / "a.png") as draft:
        draft.write_text("new")
    assert (tmp_path / "figures" / "a.png").read_text() == "new"
    assert way != "a folder" or list(tmp_path.rglob("inside")), "what was there is lost"


@each_way
def test_a_damaged_lock_file_locks(tmp_path: Path, way: str) -> None:
    damage(tmp_path / "a.lock", way)
    with locked(tmp_path / "a.lock"):
        assert (tmp_path / "a.lock").is_file()


STATES = ['"text"', "[1, 2]", "{}", '{"updated_at": 5}', '{"cursor": {"deep": []}}', "null"]


@pytest.mark.parametrize("state", STATES)
def test_a_damaged_state_of_a_stream_costs_one_full_read(database: Database, state: str) -> None:
    api = PagedApi({"products": products(5)})
    with serving(api), engine_for(database, api.address) as engine:
        assert sync(engine).status == "succeeded"
        database.execute("update quality.sync_states set state = %s::jsonb", [state])
        again = sync(engine)
        assert again.status == "succeeded", again.reason
        assert again.counts.rows_read == len(landed(database)) == 5
        assert sync(engine).status == "succeeded"


KEY_DAMAGES = sorted(set(DAMAGES) - {"closed to its owner", "cut in the middle"})
"""Root can read a closed file; half a key is another key, which `check_list` refuses."""


@pytest.mark.parametrize("way", KEY_DAMAGES)
def test_a_damaged_key_of_the_suppression_list_is_named_and_never_made_again(
    tmp_path: Path, way: str
) -> None:
    settings = Settings(home=tmp_path)
    SuppressionKey.of(settings, create=True)
    damage(tmp_path / KEY_FILE, way)
    with pytest.raises(PipelineError, match=KEY_FILE):
        SuppressionKey.of(settings)
    if way != "deleted":
        with pytest.raises(PipelineError, match=KEY_FILE):
            SuppressionKey.of(settings, create=True)


def test_what_is_written_under_the_home_is_closed_to_others_whatever_the_umask(
    database: Database, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=database.url)
    (tmp_path / "home" / "dbt").mkdir(parents=True, mode=0o777)  # as an earlier version made it
    before = os.umask(0)
    try:
        dagster_environment(settings)
        recall(private_folder(settings.home / "dbt") / "target")
        with quiet_output(log_file(settings)):
            pass
    finally:
        os.umask(before)
    made = [path for path in settings.home.iterdir() if path.is_dir()]
    assert {path.name for path in made} == {"dagster", "dbt", "logs"}
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o007] == []
