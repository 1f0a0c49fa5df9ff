"""The graph loads with nothing running, joins API and figures, and changes only on purpose."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, Definitions

from retail_pipeline.bi.bundle import load_bundle
from retail_pipeline.bi.superset import PORT
from retail_pipeline.build import build_definitions
from retail_pipeline.settings import (
    PROJECT_ROOT,
    TEAMS,
    AirbyteMode,
    AirbyteSettings,
    Engine,
    Settings,
)
from retail_pipeline.warehouse.project import read_manifest

GOLDEN = Path(__file__).parent / "golden_graph.json"
DASHBOARDS = PROJECT_ROOT / "dbt_project" / "models" / "marts" / "__dashboards.yml"

LOAD = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("loading the definitions opened a connection")
socket.socket.connect = refuse
from retail_pipeline.definitions import defs
keys = defs.resolve_asset_graph().get_all_asset_keys()
named = {"airbyte_cdk", "httpx", "matplotlib", "pandas", "sklearn"}
named.add("sqlalchemy")
heavy = sorted(named & set(sys.modules))
print(len(keys), heavy)
"""


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return build_definitions(Settings())


def graph(definitions: Definitions) -> dict[str, dict[str, object]]:
    assets = definitions.resolve_asset_graph()
    return {
        node.key.to_user_string(): {
            "upstream": sorted(key.to_user_string() for key in node.parent_keys),
            "group": node.group_name,
            "owners": sorted(node.owners),
            "checks": sorted(check.name for check in node.check_keys),
        }
        for node in sorted(assets.asset_nodes, key=lambda node: node.key)
    }


def metadata_names(definitions: Definitions) -> dict[str, list[str]]:
    nodes = definitions.resolve_asset_graph().asset_nodes
    return {node.key.to_user_string(): sorted(node.metadata) for node in nodes}


def test_definitions_load_in_a_fresh_interpreter_with_no_service_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=PROJECT_ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RETAIL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, _, heavy = done.stdout.strip().splitlines()[-1].partition(" ")
    assert int(count) > 25
    assert heavy == "[]", "these slow down every process that loads the definitions"
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("target", ["clv/predictions", "figures/gain_curve"])
@pytest.mark.parametrize("source", ["retail_api/transactions", "retail_api/products"])
def test_one_lineage_runs_from_the_api_to_predictions_and_figures(
    definitions: Definitions, source: str, target: str
) -> None:
    assets = definitions.resolve_asset_graph()
    ancestors, front = set(), {AssetKey(target.split("/"))}
    while front:
        ancestors |= front
        front = {parent for key in front for parent in assets.get(key).parent_keys} - ancestors
    assert AssetKey(source.split("/")) in ancestors


def test_the_graph_is_the_one_that_was_reviewed(definitions: Definitions) -> None:
    """After a wanted change, RETAIL_TEST_UPDATE_GOLDEN=1 rewrites the snapshot for the review."""
    now = graph(definitions)
    if os.environ.get("RETAIL_TEST_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(GOLDEN.read_text())


def test_a_real_airbyte_changes_no_asset(definitions: Definitions) -> None:
    server = AirbyteSettings(
        mode=AirbyteMode.SERVER,
        url="https://airbyte.example",
        workspace_id="w-1",
        client_id="c-1",
        client_secret="s-1",
    )
    there = build_definitions(Settings(airbyte=server))
    assert graph(there) == graph(definitions)
    assert metadata_names(there) == metadata_names(definitions)


def test_another_engine_changes_no_asset(definitions: Definitions) -> None:
    there = build_definitions(Settings(engine=Engine.SPARK))
    assert graph(there) == graph(definitions)
    assert metadata_names(there) == metadata_names(definitions)


def test_every_asset_has_description_owner_and_code_reference(
    definitions: Definitions,
) -> None:
    for node in definitions.resolve_asset_graph().asset_nodes:
        name = node.key.to_user_string()
        assert node.description and node.description.count(". ") == 0, f"{name}: one sentence"
        assert node.description.endswith("."), name
        assert node.group_name == node.key.path[0], f"{name}: the layer is the group"
        assert node.owners and node.kinds, name
        assert node.tags["data"] in ("personal", "pseudonymous", "aggregate"), name
        code = node.metadata["dagster/code_references"].code_references
        assert code and all(Path(each.file_path).is_file() for each in code), name
        assert "retrying.py" not in {Path(each.file_path).name for each in code}, name


def test_alerts_reach_every_owner_and_no_other_team(definitions: Definitions) -> None:
    nodes = definitions.resolve_asset_graph().asset_nodes
    assert {owner for node in nodes for owner in node.owners} == {f"team:{name}" for name in TEAMS}


def test_nothing_personal_is_called_anything_else(definitions: Definitions) -> None:
    nodes = definitions.resolve_asset_graph().asset_nodes
    personal = {node.key.to_user_string() for node in nodes if node.tags["data"] == "personal"}
    named = {
        node.key.to_user_string()
        for node in nodes
        if {"name", "email", "phone", "address"}
        <= {c.name for c in getattr(node.metadata.get("dagster/column_schema"), "columns", ())}
    }
    assert named
    assert named == personal


def test_exposures_list_the_marts_that_are_read(definitions: Definitions) -> None:
    readers = {"clv": "customer_lifetime_value", "figures": "figures", "report": "report"}
    read: dict[str, set[str]] = {name: set() for name in readers.values()}
    for node in definitions.resolve_asset_graph().asset_nodes:
        marts = {key.path[-1] for key in node.parent_keys if key.path[0] == "warehouse"}
        if node.group_name in readers:
            read[readers[node.group_name]] |= marts
        elif node.group_name == "bi" and "charts" in node.metadata:  # a dashboard
            sources = [definitions.resolve_asset_graph().get(key) for key in node.parent_keys]
            deps = {key for source in sources for key in source.parent_keys}
            marts = {key.path[-1] for key in deps if key.path[0] == "warehouse"}
            read[node.key.path[-1]] = marts
    if os.environ.get("RETAIL_TEST_UPDATE_GOLDEN"):
        DASHBOARDS.write_text(dashboard_exposures(read))
    assert DASHBOARDS.read_text() == dashboard_exposures(read)
    exposures = read_manifest()["exposures"].values()
    assert read == {
        exposure["name"]: {name.split(".")[-1] for name in exposure["depends_on"]["nodes"]}
        for exposure in exposures
    }


def dashboard_exposures(read: dict[str, set[str]]) -> str:
    """Return dbt's exposures of the dashboards, which follow from the files of Superset."""
    exposures = []
    for name, dashboard in load_bundle().dashboards.items():
        content = dashboard.content
        exposures.append(
            {
                "name": f"{name}_dashboard",
                "label": content["dashboard_title"],
                "type": "dashboard",
                "maturity": "medium",
                "url": f"http://127.0.0.1:{PORT}/superset/dashboard/{content['slug']}/",
                "description": content["description"],
                "depends_on": [f"ref('{mart}')" for mart in sorted(read[f"{name}_dashboard"])],
                "owner": {"name": "analytics-engineering"},
            }
        )
    head = "# Follows from superset/assets: law 8 with RETAIL_TEST_UPDATE_GOLDEN=1 writes it\n"
    return head + yaml.safe_dump({"version": 2, "exposures": exposures}, sort_keys=False, width=110)
