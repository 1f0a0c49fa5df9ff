"""The model card and the report of a run as Dagster assets: read, render, keep the files."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.files import replaced_whole
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import AssetRecord

    from retail_pipeline.report.check_results import CheckResult
    from retail_pipeline.report.facts import RunFacts
    from retail_pipeline.report.page import Image, Report

GROUP = "report"
OWNER = "team:data-science"
FIGURES = "figures"

KEPT_REPORTS = 30
"""Reports of past runs that stay beside the latest."""

_CARD = dg.AssetKey([GROUP, "model_card"])
_REPORT = dg.AssetKey([GROUP, "run_report"])
_READ = (
    *(dg.AssetKey(["warehouse", name]) for name in ("fct_transactions", "revenue_daily")),
    *(dg.AssetKey(["clv", name]) for name in ("model", "predictions", "segments")),
    *(dg.AssetKey(["clv", name]) for name in ("feature_importance", "drift")),
    dg.AssetKey(["clv", "realised_predictions"]),
)
_NO_CAPTION = {"figure", "path", "seconds", "finding", "rows_drawn", "as_of_date"}
"""Metadata of a figure that are no key numbers of it."""


@dataclass(frozen=True)
class Inventory:
    """The assets and checks of the other stages.

    Attributes:
        assets: Every asset's key and group, by group in the order of the data, then by name;
            figures in the order of their registry.
        checks: Every check's key, in the order of their assets.
    """

    assets: Sequence[tuple[dg.AssetKey, str]]
    checks: Sequence[dg.AssetCheckKey]

    def of_group(self, group: str) -> list[dg.AssetKey]:
        """Return the keys of one group."""
        return [key for key, own in self.assets if own == group]


def inventory(definitions: Iterable[dg.Definitions]) -> Inventory:
    """Return the assets and checks of the stages: a report names no figure and no check itself."""
    specs: dict[dg.AssetKey, dg.AssetSpec] = {}
    checks: dict[dg.AssetCheckKey, None] = {}
    for stage in definitions:
        for each in [*(stage.assets or []), *(stage.asset_checks or [])]:
            if isinstance(each, dg.AssetSpec):
                specs[each.key] = each
            elif isinstance(each, dg.AssetsDefinition):  # checks are such definitions, too
                specs |= {spec.key: spec for spec in each.specs}
                checks |= dict.fromkeys(each.check_keys)
    groups = _groups_in_order(specs)
    registered = {key: position for position, key in enumerate(specs)}

    def order(key: dg.AssetKey) -> tuple[int, int, str]:
        group = (specs[key].group_name if key in specs else None) or ""
        place = groups.index(group) if group in groups else len(groups)
        return place, registered[key] if group == FIGURES else 0, key.to_user_string()

    return Inventory(
        [(key, specs[key].group_name or "") for key in sorted(specs, key=order)],
        sorted(checks, key=lambda check: (order(check.asset_key), check.name)),
    )


def _groups_in_order(specs: Mapping[dg.AssetKey, dg.AssetSpec]) -> list[str]:
    """Return the groups by how deep their deepest asset lies: some layers read each other."""
    parents = {
        key: {each.asset_key for each in spec.deps if each.asset_key in specs}
        for key, spec in specs.items()
    }
    depth: dict[dg.AssetKey, int] = {}
    deepest: dict[str, int] = {}
    for key in TopologicalSorter(parents).static_order():
        depth[key] = 1 + max((depth[parent] for parent in parents[key]), default=0)
        group = specs[key].group_name or ""
        deepest[group] = max(deepest.get(group, 0), depth[key])
    return sorted(deepest, key=lambda group: deepest[group])


def build_report(graph: Inventory) -> dg.Definitions:
    """Return the assets `report/model_card` and `report/run_report`, one step; contacts nothing.

    Args:
        graph: The assets and checks of the other stages.
    """

    @dg.multi_asset(
        name="report",
        specs=[
            _spec(
                _CARD,
                "The served model's card: data, metrics with intervals, drift, limits.",
                "markdown",
                _READ,
            ),
            _spec(
                _REPORT,
                "A run on one page: figures, tables, model card, data checks, lineage.",
                "html",
                [*graph.of_group(FIGURES), _CARD, *_READ],
            ),
        ],
        can_subset=True,
        # The last step of a run, so that the check results are there.
        op_tags={"dagster/priority": "-10"},
    )
    def report(
        context: dg.AssetExecutionContext,
        database: dg.ResourceParam[Database],
        settings: dg.ResourceParam[Settings],
        run_window: RunWindow,
    ) -> Iterator[dg.MaterializeResult]:
        started = time.monotonic()
        facts = _facts(database, *run_window.landed(database))
        folder, wanted = settings.home / GROUP, context.selected_asset_keys
        if _CARD in wanted:
            yield _make_card(facts, folder, started)
        if _REPORT in wanted:
            yield _make_report(context, facts, folder, graph, started)

    return dg.Definitions(assets=[report])


def _spec(
    key: dg.AssetKey, description: str, kind: str, deps: Sequence[dg.AssetKey]
) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        group_name=GROUP,
        owners=[OWNER],
        kinds={kind},
    )


def _make_card(facts: "RunFacts", folder: Path, started: float) -> dg.MaterializeResult:
    from retail_pipeline.report import card

    text, path = card.markdown(facts), folder / "model_card.md"
    _write(path, text)
    return dg.MaterializeResult(
        asset_key=_CARD,
        metadata={
            "card": dg.MetadataValue.md(text),
            "path": dg.MetadataValue.path(path),
            "champion": facts.model_name,
            "as_of": facts.as_of.isoformat(),
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _make_report(
    context: dg.AssetExecutionContext,
    facts: "RunFacts",
    folder: Path,
    graph: Inventory,
    started: float,
) -> dg.MaterializeResult:
    from retail_pipeline.report import check_results, page

    records = context.instance.get_asset_records([key for key, _ in graph.assets])
    metadata = {each.asset_entry.asset_key: _metadata(each) for each in records}
    results = _check_results(context.instance, graph.checks, context.run_id)
    figures = _figures(graph, metadata)
    text = page.html(_report(facts, figures, results, graph, metadata, context.run_id))
    path = folder / "runs" / f"{facts.as_of}-{context.run_id[:8]}.html"
    latest = folder / "report.html"
    for place in (path, latest):
        _write(place, text)
    oldest_first = sorted(path.parent.glob("*.html"), key=lambda each: each.stat().st_mtime)
    for old in oldest_first[:-KEPT_REPORTS]:
        old.unlink(missing_ok=True)
    return dg.MaterializeResult(
        asset_key=_REPORT,
        metadata={
            "report": dg.MetadataValue.path(latest),
            "path": dg.MetadataValue.path(path),
            "as_of": facts.as_of.isoformat(),
            "figures": len(figures),
            "bytes": len(text.encode()),
            "checks": check_results.summary(results) if results else "no check was evaluated",
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _facts(database: Database, as_of: date, horizon_days: int) -> "RunFacts":
    from retail_pipeline.report.facts import read_facts

    scientist = database.as_role(Role.SCIENTIST)
    source = read_state(scientist).source_id
    return read_facts(scientist, source, as_of, horizon_days)


def _check_results(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], run_id: str
) -> list["CheckResult"]:
    """Return the latest result of each check, those that were not evaluated included."""
    from retail_pipeline.report.check_results import CheckResult, Outcome

    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    results = []
    for key in checks:
        record = found.get(key)
        evaluation = record.evaluation if record and record.event else None
        outcome, description = Outcome.NOT_RUN, ""
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            is_warning = evaluation.severity == dg.AssetCheckSeverity.WARN
            failed = Outcome.WARNED if is_warning else Outcome.FAILED
            outcome = Outcome.PASSED if evaluation.passed else failed
            description = (evaluation.description or "").strip()
        in_this_run = record is not None and record.run_id == run_id
        asset = key.asset_key.to_user_string()
        results.append(CheckResult(asset, key.name, outcome, description, in_this_run))
    return results


def _metadata(record: "AssetRecord") -> dict[str, Any]:
    event = record.asset_entry.last_materialization
    if event is None or event.asset_materialization is None:
        return {}
    return {name: each.value for name, each in event.asset_materialization.metadata.items()}


def _figures(graph: Inventory, metadata: Mapping[dg.AssetKey, Mapping[str, Any]]) -> list["Image"]:
    """Return the stored images of the figures that were drawn, in the registry's order."""
    from retail_pipeline.report.document import number
    from retail_pipeline.report.page import Image

    images = []
    for key in graph.of_group(FIGURES):
        shown = metadata.get(key, {})
        path = Path(str(shown.get("path", "")))
        if not path.is_file():
            continue
        name = key.path[-1].replace("_", " ").capitalize()
        numbers = [
            f"{each.replace('_', ' ').capitalize()}: "
            f"{value if isinstance(value, str) else number(value)}"
            for each, value in shown.items()
            if each not in _NO_CAPTION and isinstance(value, str | int | float)
        ]
        finding = str(shown.get("finding", name))
        images.append(Image(name, path.read_bytes(), finding, ". ".join(numbers)))
    return images


def _report(
    facts: "RunFacts",
    figures: Sequence["Image"],
    results: Sequence["CheckResult"],
    graph: Inventory,
    metadata: Mapping[dg.AssetKey, Mapping[str, Any]],
    run_id: str,
) -> "Report":
    from retail_pipeline.report import card, check_results, glance, lineage
    from retail_pipeline.report.document import Section, Table, number, written
    from retail_pipeline.report.page import Report

    checks = Counter(each.asset_key for each in graph.checks)
    rows = {key: each.get("dagster/row_count") for key, each in metadata.items()}
    layers = [
        lineage.Layer(
            group,
            len(keys := graph.of_group(group)),
            sum(rows.get(key) or 0 for key in keys) or None,
            sum(checks[key] for key in keys),
        )
        for group in dict.fromkeys(group for _, group in graph.assets)
    ]
    counts = [
        [key.to_user_string(), number(rows[key])]
        for key, _ in graph.assets
        if rows.get(key) is not None
    ]
    table = Table("A table that a run has filled", ("Asset", "Rows"), counts, frozenset({1}))
    return Report(
        title=f"Retail pipeline: report as of {written(facts.as_of)}",
        subtitle=glance.subtitle(facts),
        glance=glance.facts(facts, results),
        figures=figures,
        card_title=card.title(facts),
        card=card.sections(facts),
        checks=check_results.section(results),
        lineage=lineage.svg(layers),
        tables=Section("Tables and lineage", [table]),
        footer=f"Made by run {run_id} of the retail data pipeline, from its own tables, figures "
        "and checks. The file is complete: it asks nothing of any network.",
    )


def _write(path: Path, text: str) -> None:
    with replaced_whole(path) as draft:
        draft.write_text(text, encoding="utf-8")
