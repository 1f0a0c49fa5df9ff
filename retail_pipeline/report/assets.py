"""The model card and the report of a run as Dagster assets: read, render, keep the file, show it.

What a page says and how it looks is the other modules' matter.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckKey,
    AssetChecksDefinition,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterInstance,
    Definitions,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    multi_asset,
)

from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.files import replaced_whole
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import AssetRecord

    from retail_pipeline.report.facts import RunFacts
    from retail_pipeline.report.images import Image
    from retail_pipeline.report.page import Report
    from retail_pipeline.report.verdicts import Verdict

GROUP = "report"
OWNER = "team:data-science"
FIGURES = "figures"

KEPT_REPORTS = 30
"""Reports of past runs that stay beside the latest."""

_CARD = AssetKey([GROUP, "model_card"])
_REPORT = AssetKey([GROUP, "run_report"])
_READ = (
    *(AssetKey(["warehouse", name]) for name in ("fct_transactions", "revenue_daily")),
    *(AssetKey(["clv", name]) for name in ("model", "predictions", "segments")),
    *(AssetKey(["clv", name]) for name in ("feature_importance", "drift", "realised_predictions")),
)


@dataclass(frozen=True)
class Inventory:
    """What the graph holds beside this room.

    Attributes:
        assets: Every asset's key and group, by group in the order of the data, then by name;
            figures as their room lists them.
        checks: Every check's key, in the order of their assets.
    """

    assets: Sequence[tuple[AssetKey, str]]
    checks: Sequence[AssetCheckKey]

    def of_group(self, group: str) -> list[AssetKey]:
        """Return the keys of one group."""
        return [key for key, own in self.assets if own == group]


def inventory(definitions: Iterable[Definitions]) -> Inventory:
    """Return what the rooms define: a report names no figure and no check by itself."""
    specs: dict[AssetKey, AssetSpec] = {}
    checks: dict[AssetCheckKey, None] = {}
    for room in definitions:
        for each in room.assets or []:
            if isinstance(each, AssetSpec):
                specs[each.key] = each
            elif isinstance(each, AssetsDefinition):
                specs |= {spec.key: spec for spec in each.specs}
                checks |= dict.fromkeys(each.check_keys)
        for own in room.asset_checks or []:
            if isinstance(own, AssetChecksDefinition):
                checks |= dict.fromkeys(own.check_keys)
    place = {group: position for position, group in enumerate(_groups_in_order(specs))}

    told = {key: position for position, key in enumerate(specs)}

    def order(key: AssetKey) -> tuple[int, int, str]:
        group = (specs[key].group_name if key in specs else None) or ""
        # The gallery has an order of its own; tables are looked up by name.
        position = told[key] if group == FIGURES else 0
        return place.get(group, len(place)), position, key.to_user_string()

    keys = sorted(specs, key=order)
    return Inventory(
        [(key, specs[key].group_name or "") for key in keys],
        sorted(checks, key=lambda check: (order(check.asset_key), check.name)),
    )


def _groups_in_order(specs: Mapping[AssetKey, AssetSpec]) -> list[str]:
    """Return the groups by how deep their deepest asset lies: some layers read each other."""
    parents = {
        key: {each.asset_key for each in spec.deps if each.asset_key in specs}
        for key, spec in specs.items()
    }
    depth: dict[AssetKey, int] = {}
    for key in TopologicalSorter(parents).static_order():
        depth[key] = 1 + max((depth[parent] for parent in parents[key]), default=0)
    deepest: dict[str, int] = {}
    for key, spec in specs.items():
        group = spec.group_name or ""
        deepest[group] = max(deepest.get(group, 0), depth[key])
    return sorted(deepest, key=lambda group: deepest[group])


def build_report(graph: Inventory) -> Definitions:
    """Return the assets of this room; contacts nothing.

    Args:
        graph: What the other rooms define.
    """
    return Definitions(assets=[pages(graph)])


def pages(graph: Inventory) -> AssetsDefinition:
    """Return the assets `report/model_card` and `report/run_report`: one step, one reading.

    Args:
        graph: What the other rooms define.
    """

    @multi_asset(
        name="report",
        specs=[
            _page(
                _CARD,
                "The served model's card: data, metrics with intervals, drift, limits.",
                "markdown",
                _READ,
            ),
            _page(
                _REPORT,
                "A run on one page: figures, tables, model card, data checks, lineage.",
                "html",
                [*graph.of_group(FIGURES), _CARD, *_READ],
            ),
        ],
        can_subset=True,
        # The last step of a run, so that the checks' verdicts are there.
        op_tags={"dagster/priority": "-10"},
    )
    def build(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> Iterator[MaterializeResult]:
        started = time.monotonic()
        facts = _facts(database, settings, run_window)
        folder, wanted = settings.home / GROUP, context.selected_asset_keys
        if _CARD in wanted:
            yield _make_card(facts, folder, started)
        if _REPORT in wanted:
            yield _make_report(context, facts, folder, graph, started)

    return build


def _page(key: AssetKey, description: str, kind: str, deps: Sequence[AssetKey]) -> AssetSpec:
    return AssetSpec(
        key,
        deps=deps,
        description=description,
        group_name=GROUP,
        owners=[OWNER],
        kinds={kind},
    )


def _make_card(facts: "RunFacts", folder: Path, started: float) -> MaterializeResult:
    from retail_pipeline.report import card

    text, path = card.markdown(facts), folder / "model_card.md"
    _write(path, text)
    return MaterializeResult(
        asset_key=_CARD,
        metadata={
            "card": MetadataValue.md(text),
            "path": MetadataValue.path(path),
            "champion": facts.model_name,
            "as_of": facts.as_of.isoformat(),
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _make_report(
    context: AssetExecutionContext,
    facts: "RunFacts",
    folder: Path,
    graph: Inventory,
    started: float,
) -> MaterializeResult:
    from retail_pipeline.report import (
        page,
        verdicts,
    )

    found = context.instance.get_asset_records([key for key, _ in graph.assets])
    records = {each.asset_entry.asset_key: each for each in found}
    judged = _verdicts(context.instance, graph.checks, context.run_id)
    figures = _figures(graph, records)
    text = page.html(_report(facts, figures, judged, graph, records, context.run_id))
    path = folder / "runs" / f"{facts.as_of}-{context.run_id[:8]}.html"
    latest = folder / "report.html"
    for place in (path, latest):
        _write(place, text)
    _drop_old(path.parent)
    return MaterializeResult(
        asset_key=_REPORT,
        metadata={
            "report": MetadataValue.path(latest),
            "path": MetadataValue.path(path),
            "as_of": facts.as_of.isoformat(),
            "figures": len(figures),
            "bytes": len(text.encode()),
            "checks": verdicts.summary(judged) if judged else "no check was evaluated",
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _facts(database: Database, settings: Settings, run_window: RunWindow) -> "RunFacts":
    from retail_pipeline.report.facts import read_facts

    as_of = run_window.landed_as_of(database)
    scientist = database.as_role(Role.SCIENTIST)
    source = read_state(scientist).source_id
    return read_facts(scientist, source, as_of, run_window.horizon(settings))


def _verdicts(
    instance: DagsterInstance, checks: Sequence[AssetCheckKey], run_id: str
) -> list["Verdict"]:
    """Return the latest evaluation of each check that has one."""
    from retail_pipeline.report.verdicts import (
        Outcome,
        Verdict,
    )

    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    judged = []
    for key in checks:
        record = found.get(key)
        evaluation = record.evaluation if record and record.event else None
        outcome = Outcome.NOT_RUN
        if evaluation is not None and hasattr(evaluation, "passed"):
            doubtful = evaluation.severity.value == "WARN"
            outcome = (
                Outcome.PASSED
                if evaluation.passed
                else (Outcome.WARNED if doubtful else Outcome.FAILED)
            )
        judged.append(
            Verdict(
                key.asset_key.to_user_string(),
                key.name,
                outcome,
                (getattr(evaluation, "description", None) or "").strip(),
                record is not None and record.run_id == run_id,
            )
        )
    return judged


def _figures(graph: Inventory, records: Mapping[AssetKey, "AssetRecord"]) -> list["Image"]:
    """Return the stored images of the figures that were drawn, in their own order."""
    from retail_pipeline.report.images import (
        Image,
        fitted,
    )

    shown = []
    for key in graph.of_group(FIGURES):
        metadata = _metadata(records.get(key))
        path = Path(str(metadata["path"])) if "path" in metadata else None
        if path is not None and path.is_file():
            shown.append((key.path[-1].replace("_", " ").capitalize(), path, metadata))
    pngs = fitted([path.read_bytes() for _, path, _ in shown])
    return [
        Image(name, png, str(metadata.get("finding", name)), _caption(metadata))
        for (name, _, metadata), png in zip(shown, pngs, strict=True)
    ]


_NO_CAPTION = {"figure", "path", "seconds", "finding", "rows_drawn", "as_of_date"}


def _caption(metadata: Mapping[str, Any]) -> str:
    """Return a figure's key numbers in words: what a reader without the image has to know."""
    from retail_pipeline.report.document import number

    told = {
        name.replace("_", " ").capitalize(): value if isinstance(value, str) else number(value)
        for name, value in metadata.items()
        if name not in _NO_CAPTION and isinstance(value, str | int | float)
    }
    return ". ".join(f"{name}: {value}" for name, value in told.items())


def _metadata(record: "AssetRecord | None") -> dict[str, Any]:
    event = record.asset_entry.last_materialization if record is not None else None
    if event is None or event.asset_materialization is None:
        return {}
    return {name: each.value for name, each in event.asset_materialization.metadata.items()}


def _report(
    facts: "RunFacts",
    figures: Sequence["Image"],
    judged: Sequence["Verdict"],
    graph: Inventory,
    records: Mapping[AssetKey, "AssetRecord"],
    run_id: str,
) -> "Report":
    from retail_pipeline.report import (
        card,
        glance,
        lineage,
        verdicts,
    )
    from retail_pipeline.report.document import (
        Section,
        Table,
        number,
        written,
    )
    from retail_pipeline.report.page import Report

    checks = Counter(each.asset_key for each in graph.checks)
    rows = {key: _metadata(records.get(key)).get("dagster/row_count") for key, _ in graph.assets}
    layers = [
        lineage.Layer(
            group,
            len(keys := graph.of_group(group)),
            sum(rows[key] or 0 for key in keys) or None,
            sum(checks[key] for key in keys),
        )
        for group in dict.fromkeys(group for _, group in graph.assets)
    ]
    counted = [
        [key.to_user_string(), number(rows[key])]
        for key, _ in graph.assets
        if rows[key] is not None
    ]
    table = Table("A table that a run has filled", ("Asset", "Rows"), counted, frozenset({1}))
    return Report(
        title=f"Retail pipeline: report as of {written(facts.as_of)}",
        subtitle=glance.subtitle(facts),
        glance=glance.facts(facts, judged),
        figures=figures,
        card_title=card.title(facts),
        card=card.sections(facts),
        checks=verdicts.section(judged),
        lineage=lineage.svg(layers),
        tables=Section("Tables and lineage", [table]),
        footer=f"Made by run {run_id} of the retail data pipeline, from its own tables, figures "
        "and checks. The file is complete: it asks nothing of any network.",
    )


def _write(path: Path, text: str) -> None:
    with replaced_whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _drop_old(folder: Path) -> None:
    newest_last = sorted(folder.glob("*.html"), key=lambda path: path.stat().st_mtime)
    for path in newest_last[:-KEPT_REPORTS]:
        path.unlink(missing_ok=True)
