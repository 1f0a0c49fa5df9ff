"""Failures of a dbt build in words, read from the artifacts that dbt leaves behind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FAILED = {"error", "fail", "runtime error", "partial success"}
_TESTS = {"test", "unit_test"}

Node = Mapping[str, Any]
"""A model, seed, snapshot, test or source of dbt's manifest."""


def failure_message(target: Path) -> str | None:
    """Return the failures of a build, one line per failed model, seed or test; None without any.

    Args:
        target: The folder with `run_results.json` and `manifest.json`.

    Raises:
        FileNotFoundError: dbt ended before it built anything.
    """
    results = json.loads((target / "run_results.json").read_text())["results"]
    lines = [f"- {_line(node, result)}" for node, result in _failures(target, results)]
    if not lines:
        return None
    skipped = sum(result["status"] == "skipped" for result in results)
    return "\n".join([f"dbt: {len(lines)} failed, {skipped} skipped because of it", *lines])


def failed_nodes(target: Path) -> list[tuple[Node, str]]:
    """Return the models, seeds and snapshots that failed, each with its line of the message.

    Args:
        target: The folder with `run_results.json` and `manifest.json`.

    Raises:
        FileNotFoundError: dbt ended before it built anything.
    """
    results = json.loads((target / "run_results.json").read_text())["results"]
    return [
        (node, _line(node, result))
        for node, result in _failures(target, results)
        if node["resource_type"] not in _TESTS
    ]


def _failures(target: Path, results: list[dict[str, Any]]) -> list[tuple[Node, dict[str, Any]]]:
    failed = [result for result in results if result["status"] in _FAILED]
    if not failed:
        return []
    manifest = json.loads((target / "manifest.json").read_text())
    nodes: dict[str, dict[str, Any]] = {
        **manifest["sources"],
        **manifest["unit_tests"],
        **manifest["nodes"],
    }
    for node in nodes.values():
        parents = [nodes[parent] for parent in node.get("depends_on", {}).get("nodes", [])]
        node["tables"] = ", ".join(f"{parent['schema']}.{parent['name']}" for parent in parents)
    return [(nodes[result["unique_id"]], result) for result in failed]


def _line(node: Node, result: Mapping[str, Any]) -> str:
    reason = " ".join((result["message"] or result["status"]).split())
    if node["resource_type"] == "test":
        meaning = " ".join(node.get("description", "").split())
        return f"test {node['name']} of {node['tables']}: {reason}. {meaning}".rstrip()
    if node["resource_type"] == "unit_test":
        return f"unit test {node['name']} of {node['model']}: {reason}"
    return f"{node['resource_type']} {node['schema']}.{node['name']}: {reason}"
