"""Failure messages of a dbt build, read from dbt's artifacts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FAILED = {"error", "fail", "runtime error", "partial success"}


@dataclass(frozen=True)
class Failures:
    """The failures of a build.

    Attributes:
        message: One line per failed model, seed, snapshot or test.
        tables: The line of each failed model, seed and snapshot by schema and name.
    """

    message: str
    tables: Mapping[tuple[str, str], str]


def read_failures(target: Path) -> Failures | None:
    """Return the failures of a build; None if it has none or did not start.

    Args:
        target: The folder with `run_results.json` and `manifest.json`.
    """
    if not (target / "run_results.json").exists():
        return None
    results = json.loads((target / "run_results.json").read_text())["results"]
    failed = [result for result in results if result["status"] in _FAILED]
    if not failed:
        return None
    manifest = json.loads((target / "manifest.json").read_text())
    nodes = {**manifest["sources"], **manifest["unit_tests"], **manifest["nodes"]}
    lines, tables = [], {}
    for result in failed:
        node = nodes[result["unique_id"]]
        lines.append(_line(node, result, nodes))
        if not node["resource_type"].endswith("test"):
            tables[node["schema"], node["name"]] = lines[-1]
    skipped = sum(result["status"] == "skipped" for result in results)
    title = f"dbt: {len(failed)} failed, {skipped} skipped because of it"
    return Failures("\n".join([title, *(f"- {line}" for line in lines)]), tables)


def _line(
    node: Mapping[str, Any], result: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]
) -> str:
    reason = " ".join((result["message"] or result["status"]).split())
    if node["resource_type"] == "test":
        parents = [nodes[parent] for parent in node["depends_on"]["nodes"]]
        tables = ", ".join(f"{parent['schema']}.{parent['name']}" for parent in parents)
        meaning = " ".join(node.get("description", "").split())
        return f"test {node['name']} of {tables}: {reason}. {meaning}".rstrip()
    if node["resource_type"] == "unit_test":
        return f"unit test {node['name']} of {node['model']}: {reason}"
    return f"{node['resource_type']} {node['schema']}.{node['name']}: {reason}"
