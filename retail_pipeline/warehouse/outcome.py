"""What a dbt build came to: its failures in words.

Reads the artifacts that dbt leaves behind. Running dbt is not done here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FAILED = {"error", "fail", "runtime error", "partial success"}
_TESTS = {"test", "unit_test"}


def failure_message(target: Path) -> str | None:
    """Return what failed in the build whose artifacts are in a folder, or None.

    One line per failed model, seed or test: its name, its table, and dbt's reason.

    Args:
        target: The folder with `run_results.json` and `manifest.json`.

    Raises:
        FileNotFoundError: dbt ended before it built anything.
    """
    results = json.loads((target / "run_results.json").read_text())["results"]
    failed = [result for result in results if result["status"] in _FAILED]
    if not failed:
        return None
    manifest = json.loads((target / "manifest.json").read_text())
    skipped = sum(result["status"] == "skipped" for result in results)
    lines = [f"- {_line(result, manifest)}" for result in failed]
    return "\n".join([f"dbt: {len(failed)} failed, {skipped} skipped because of it", *lines])


def failed_nodes(target: Path) -> list[tuple[Mapping[str, Any], str]]:
    """Return the models, seeds and snapshots that failed: manifest nodes, each with its line.

    Args:
        target: The folder with `run_results.json` and `manifest.json`.

    Raises:
        FileNotFoundError: dbt ended before it built anything.
    """
    results = json.loads((target / "run_results.json").read_text())["results"]
    manifest = json.loads((target / "manifest.json").read_text())
    failed = [result for result in results if result["status"] in _FAILED]
    nodes = [(_node(result["unique_id"], manifest), result) for result in failed]
    return [
        (node, _line(result, manifest))
        for node, result in nodes
        if node["resource_type"] not in _TESTS
    ]


def _line(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    node = _node(result["unique_id"], manifest)
    reason = " ".join((result["message"] or result["status"]).split())
    if node["resource_type"] == "test":
        tables = ", ".join(_table(parent, manifest) for parent in node["depends_on"]["nodes"])
        meaning = " ".join(node.get("description", "").split())
        return f"test {node['name']} of {tables}: {reason}. {meaning}".rstrip()
    if node["resource_type"] == "unit_test":
        return f"unit test {node['name']} of {node['model']}: {reason}"
    return f"{node['resource_type']} {node['schema']}.{node['name']}: {reason}"


def _node(unique_id: str, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    for kind in ("nodes", "unit_tests", "sources"):
        if unique_id in manifest[kind]:
            node: Mapping[str, Any] = manifest[kind][unique_id]
            return node
    raise KeyError(unique_id)


def _table(unique_id: str, manifest: Mapping[str, Any]) -> str:
    node = _node(unique_id, manifest)
    return f"{node['schema']}.{node['name']}"
