"""The Dagster assets of the model card and of the report of a run."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from retail_pipeline.dagster_support.asset_results import table_result
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.files import private_folder, replaced_whole
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from retail_pipeline.report.check_results import CheckResult, Outcome
    from retail_pipeline.report.document import Table
    from retail_pipeline.report.facts import RunFacts
    from retail_pipeline.report.page import Image, Layer

GROUP = "report"
FIGURES = "figures"
GROUPS = ("retail_api", "transactional", "staging", "intermediate", "warehouse", "clv", FIGURES)
"""The layers in the order of the data, from the API on; other groups follow them."""

KEPT_REPORTS = 30
"""Number of reports kept beside the latest one."""

_CARD = dg.AssetKey([GROUP, "model_card"])
_REPORT = dg.AssetKey([GROUP, "run_report"])
_CHECKS = dg.AssetKey(["clv", "check_results"])
_READ = (
    *("warehouse/fct_transactions", "warehouse/fct_transaction_items", "warehouse/revenue_daily"),
    *("clv/model", "clv/predictions", "clv/segments", "clv/totals"),
    *("clv/feature_importance", "clv/drift", "clv/realised_predictions"),
)
_NO_CAPTION = {
    *("figure", "path", "source", "seconds", "finding", "how_to_read"),
    *("rows_drawn", "as_of_date"),
}
"""Metadata of a figure that are not key numbers."""

Metadata = Mapping[dg.AssetKey, Mapping[str, Any]]
"""Metadata by name, of the latest materialization of each asset."""


@dataclass(frozen=True)
class Inventory:
    """The assets and checks of the other stages.

    Attributes:
        groups: Group of each asset by key, in the order of the data, then by name; figures in the
            order of their registry.
        checks: Key of each check, in the order of the assets.
    """

    groups: Mapping[dg.AssetKey, str]
    checks: Sequence[dg.AssetCheckKey]

    def of_group(self, group: str) -> list[dg.AssetKey]:
        """Return the keys of one group."""
        return [key for key, own in self.groups.items() if own == group]


def inventory(definitions: Iterable[dg.Definitions]) -> Inventory:
    """Return the assets and checks of the stages, so that the report has no list of its own."""
    groups: dict[dg.AssetKey, str] = {}
    checks: set[dg.AssetCheckKey] = set()
    for stage in definitions:
        for each in [*(stage.assets or []), *(stage.asset_checks or [])]:
            if isinstance(each, dg.AssetSpec):
                groups[each.key] = each.group_name or ""
            elif isinstance(each, dg.AssetsDefinition):  # checks are instances of it, too
                groups |= {spec.key: spec.group_name or "" for spec in each.specs}
                checks |= set(each.check_keys)

    def order(key: dg.AssetKey) -> tuple[int, str]:
        group = groups[key]
        place = GROUPS.index(group) if group in GROUPS else len(GROUPS)
        return place, "" if group == FIGURES else f"{group} {key.to_user_string()}"

    ordered = sorted(groups, key=order)
    by_asset = sorted(checks, key=lambda check: (ordered.index(check.asset_key), check.name))
    return Inventory({key: groups[key] for key in ordered}, by_asset)


def build_report(graph: Inventory) -> dg.Definitions:
    """Return the model card, the report and `clv/check_results`, made by one step.

    Args:
        graph: The assets and checks of the other stages.
    """
    of_both: dict[str, Any] = {"group_name": GROUP, "owners": ["team:data-science"]}
    read = [dg.AssetKey.from_user_string(key) for key in _READ]

    @dg.multi_asset(
        name="report",
        specs=[
            dg.AssetSpec(
                _CARD,
                description="The card of the served model: data, metrics, drift and limits.",
                kinds={"markdown"},
                deps=read,
                **of_both,
            ),
            dg.AssetSpec(
                _REPORT,
                description="The report of a run: figures, tables, model card, checks, lineage.",
                kinds={"html"},
                deps=[*graph.of_group(FIGURES), _CARD, *read],
                **of_both,
            ),
            dg.AssetSpec(
                _CHECKS,
                description="A check: its latest result at the end of a run.",
                kinds={"python", "postgres"},
                deps=[key for key in read if key.path[0] == _CHECKS.path[0]],
                **of_both | {"group_name": _CHECKS.path[0]},
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
        from retail_pipeline.report.facts import read_facts

        started = time.monotonic()
        scientist = database.as_role(Role.SCIENTIST)
        source = read_state(scientist).source_id
        facts = read_facts(scientist, source, *run_window.landed(database))

        def result(key: dg.AssetKey, **metadata: Any) -> dg.MaterializeResult:
            seconds = round(time.monotonic() - started, 3)
            metadata |= {"as_of": facts.as_of.isoformat(), "seconds": seconds}
            return dg.MaterializeResult(asset_key=key, metadata=metadata)

        folder, wanted = private_folder(settings.home / GROUP), context.selected_asset_keys
        if _CARD in wanted:
            yield result(_CARD, **_make_card(facts, folder))
        results = _check_results(context.instance, graph.checks, context.run_id)
        if _CHECKS in wanted:
            yield _store_results(scientist, facts.as_of, results, started)
        if _REPORT in wanted:
            yield result(_REPORT, **_make_report(context, facts, folder, graph, results))

    return dg.Definitions(assets=[report])


def _make_card(facts: "RunFacts", folder: Path) -> dict[str, Any]:
    """Write the card; return the metadata of its asset."""
    from retail_pipeline.report import card

    text, path = card.markdown(facts), folder / "model_card.md"
    _write(path, text)
    return {
        "card": dg.MetadataValue.md(text),
        "path": dg.MetadataValue.path(path),
        "champion": facts.model_name,
    }


def _make_report(
    context: dg.AssetExecutionContext,
    facts: "RunFacts",
    folder: Path,
    graph: Inventory,
    results: Sequence["CheckResult"],
) -> dict[str, Any]:
    """Write the report as the run's and as the latest one, and remove old reports."""
    from retail_pipeline.report import card, check_results, glance, page
    from retail_pipeline.report.document import Code, Section, as_markdown, in_words

    metadata = _metadata(context.instance, list(graph.groups))
    figures = _figures(graph, metadata)
    title = f"Retail pipeline: report as of {in_words(facts.as_of)}"
    first_page = glance.sections(facts, results)
    text = page.html(
        title=title,
        subtitle=glance.subtitle(facts),
        glance=first_page,
        figures=figures,
        card_title=card.title(facts),
        card=card.sections(facts),
        checks=check_results.section(results),
        layers=_layers(graph, metadata),
        tables=Section("Tables and lineage", [_row_counts(graph, metadata)]),
        footer=f"Made by run {context.run_id} of the retail data pipeline, from its tables, "
        "figures and checks. The file is self-contained and loads nothing from a network.",
    )
    path = folder / "runs" / f"{facts.as_of}-{context.run_id[:8]}.html"
    latest = folder / "report.html"
    for place in (path, latest):
        _write(place, text)
    whole = Section(
        "The whole report",
        [
            "Figures, model card and checks are in this file of the pipeline's machine:",
            Code(str(latest)),
        ],
    )
    oldest_first = sorted(path.parent.glob("*.html"), key=lambda each: each.stat().st_mtime)
    for old in oldest_first[:-KEPT_REPORTS]:
        old.unlink(missing_ok=True)
    return {
        "first_page": dg.MetadataValue.md(as_markdown(title, [*first_page, whole])),
        "report": dg.MetadataValue.path(latest),
        "path": dg.MetadataValue.path(path),
        "figures": len(figures),
        "bytes": len(text.encode()),
        "checks": check_results.summary(results) if results else "no check was evaluated",
    }


def _store_results(
    scientist: Database, as_of: date, results: Sequence["CheckResult"], started: float
) -> dg.MaterializeResult:
    """Replace the rows of `clv.check_results`; return the materialization of its asset."""
    import pandas as pd

    columns = ["asset", "check_name", "outcome", "reason", "in_this_run"]
    table = pd.DataFrame(results, columns=columns).assign(as_of_date=pd.Timestamp(as_of))
    rows = scientist.publish(
        "clv.check_results", table, ["asset", "check_name"], replace_where="true"
    )
    stored = table_result(scientist, "clv.check_results", rows, started)
    return stored._replace(asset_key=_CHECKS)


def _metadata(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> Metadata:
    found = {}
    for record in instance.get_asset_records(keys):
        event = record.asset_entry.last_materialization
        if event is not None and event.asset_materialization is not None:
            values = event.asset_materialization.metadata
            found[record.asset_entry.asset_key] = {
                name: each.value for name, each in values.items()
            }
    return found


def _check_results(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], run_id: str
) -> list["CheckResult"]:
    """Return the latest result of each check, including checks that were never evaluated."""
    from retail_pipeline.report.check_results import CheckResult

    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    results = []
    for key in checks:
        record = found.get(key)
        evaluation = record.evaluation if record and record.event else None
        outcome: Outcome = "not run"
        description = ""
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            is_warning = evaluation.severity == dg.AssetCheckSeverity.WARN
            outcome = "passed" if evaluation.passed else "warned" if is_warning else "failed"
            description = (evaluation.description or "").strip()
        in_this_run = record is not None and record.run_id == run_id
        asset = key.asset_key.to_user_string()
        results.append(CheckResult(asset, key.name, outcome, description, in_this_run))
    return results


def _figures(graph: Inventory, metadata: Metadata) -> list["Image"]:
    """Return the stored images of the figures that were drawn, in the registry's order."""
    from retail_pipeline.report.page import Image
    from retail_pipeline.wording import number

    images = []
    for key in graph.of_group(FIGURES):
        shown = metadata.get(key, {})
        path = Path(str(shown.get("path", "")))
        if not path.is_file():
            continue
        name = _as_words(key.path[-1])
        numbers = [
            f"{_as_words(each)}: {value if isinstance(value, str) else number(value)}"
            for each, value in shown.items()
            if each not in _NO_CAPTION and isinstance(value, str | int | float)
        ]
        finding, how_to_read = (str(shown.get(each, "")) for each in ("finding", "how_to_read"))
        images.append(
            Image(name, path.read_bytes(), finding or name, how_to_read, ". ".join(numbers))
        )
    return images


def _as_words(name: str) -> str:
    return name.replace("_", " ").replace("cutoff", "cut-off").capitalize().replace("Rfm", "RFM")


def _layers(graph: Inventory, metadata: Metadata) -> list["Layer"]:
    from retail_pipeline.report.page import Layer

    rows, checks = _rows(metadata), Counter(each.asset_key for each in graph.checks)
    layers = []
    for group in dict.fromkeys(graph.groups.values()):
        keys = graph.of_group(group)
        counts = (sum(of.get(key, 0) for key in keys) for of in (rows, checks))
        layers.append(Layer(group, len(keys), *counts))
    return layers


def _row_counts(graph: Inventory, metadata: Metadata) -> "Table":
    from retail_pipeline.report.document import Table
    from retail_pipeline.wording import number

    rows = _rows(metadata)
    counts = [[key.to_user_string(), number(rows[key])] for key in graph.groups if key in rows]
    return Table("Rows per table", ("Asset", "Rows"), counts, frozenset({1}))


def _rows(metadata: Metadata) -> dict[dg.AssetKey, int]:
    counts = {key: each.get("dagster/row_count") for key, each in metadata.items()}
    return {key: int(rows) for key, rows in counts.items() if rows is not None}


def _write(path: Path, text: str) -> None:
    with replaced_whole(path) as draft:
        draft.write_text(text, encoding="utf-8")
