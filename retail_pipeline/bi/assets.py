"""The dashboards and their data sets as Dagster assets, read from the files without Superset.

They are in a job of their own, because the pipeline neither needs nor installs Superset.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg

from retail_pipeline.bi.applying import Change, apply_bundle
from retail_pipeline.bi.asking import Answer, ask
from retail_pipeline.bi.bundle import ASSETS, Asset, Bundle, Dataset, load_bundle
from retail_pipeline.bi.dashboard_layout import chart_names
from retail_pipeline.bi.superset import PORT, Superset
from retail_pipeline.dagster_support.catalog import AGGREGATE, CUSTOMER_IDS, DATA, PSEUDONYMOUS
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline.shared_queries import made_by

GROUP: Final = "bi"
APPLIED, ANSWERED = "matches_the_files", "every_chart_answers"
_OF_ALL: Final[dict[str, Any]] = {
    "group_name": GROUP,
    "owners": ["team:analytics-engineering"],
    "kinds": {"superset"},
}


def build_dashboards(folder: Path = ASSETS) -> dg.Definitions:
    """Return one step with an asset per dashboard and per data set; Superset is not contacted.

    Args:
        folder: The folder of the files. A project without it has no dashboards.

    Raises:
        BundleError: The files contradict each other.
    """
    if not folder.is_dir():
        return dg.Definitions()
    bundle = load_bundle(folder)

    @dg.multi_asset(
        name="superset",
        specs=[
            *(_of_dataset(each) for each in bundle.datasets.values()),
            *(_of_dashboard(name, bundle) for name in bundle.dashboards),
        ],
        check_specs=[
            dg.AssetCheckSpec(check, asset=dashboard_key(name), description=description)
            for name in bundle.dashboards
            for check, description in (
                (APPLIED, "Superset shows what the files say: as `retail-pipeline bi check`."),
                (ANSWERED, "The query of each chart answers the viewer without an error."),
            )
        ],
        can_subset=True,
        pool=GROUP,
    )
    def superset(
        context: dg.AssetExecutionContext,
        database: dg.ResourceParam[Database],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Apply the files if they changed, and ask the charts; checks alone change nothing."""
        here, wanted = Superset(settings.home / "superset"), context.selected_asset_keys
        checks = context.selected_asset_check_keys
        names = [
            name
            for name in bundle.dashboards
            if dashboard_key(name) in {*wanted, *(each.asset_key for each in checks)}
        ]
        try:
            here.refuse_missing()
            changes = apply_bundle(here, database, write=bool(wanted), folder=folder)
            slugs = {name: str(bundle.dashboards[name].content["slug"]) for name in names}
            answers = ask(here, list(slugs.values()))
        except PipelineError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
        for name, dataset in bundle.datasets.items():
            if dataset_key(name) in wanted:
                yield _applied(dataset, bundle, changes)
        differing = [] if wanted else changes
        for name, slug in slugs.items():
            if dashboard_key(name) in wanted:
                yield _shown(name, answers[slug], f"{here.address()}{_path(slug)}")
            results = (
                _matches(name, bundle, differing),
                _answered(name, answers[slug]),
            )
            yield from (
                each
                for each in results
                if dg.AssetCheckKey(dashboard_key(name), str(each.check_name)) in checks
            )

    return dg.Definitions(assets=[superset])


def dashboard_key(name: str) -> dg.AssetKey:
    """Return the key of a dashboard, which differs from that of a data set of the same name."""
    return dg.AssetKey([GROUP, f"{name}_dashboard"])


def dataset_key(name: str) -> dg.AssetKey:
    """Return the key of a data set."""
    return dg.AssetKey([GROUP, name])


def _of_dataset(dataset: Dataset) -> dg.AssetSpec:
    content = dataset.asset.content
    columns = [
        dg.TableColumn(name, str(each.get("type", "")).lower(), each.get("description"))
        for name, each in dataset.columns.items()
    ]
    return dg.AssetSpec(
        dataset_key(dataset.asset.name),
        description=content.get("description") or f"The data set {dataset.asset.name} of charts",
        deps=[dg.AssetKey(each.split("/")) for each in made_by(dataset.tables)],
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/code_references": _reference(dataset.asset),
            "metrics": dg.MetadataValue.md(_metrics(dataset)),
        },
        tags={DATA: _data([dataset])},
        **_OF_ALL,
    )


def _of_dashboard(name: str, bundle: Bundle) -> dg.AssetSpec:
    dashboard, shown = bundle.dashboards[name], bundle.shown_by(name)
    content = dashboard.content
    link = f"http://127.0.0.1:{PORT}{_path(content['slug'])}"
    description = content.get("description") or f"The dashboard {content['dashboard_title']}"
    sentence, _, rest = str(description).strip().rstrip(".").partition(". ")
    return dg.AssetSpec(
        dashboard_key(name),
        description=f"{sentence}, on {link}.{f' {rest}.' if rest else ''}",
        deps=[dataset_key(each) for each in shown],
        metadata={
            "dagster/code_references": _reference(dashboard),
            "dashboard": dg.MetadataValue.url(link),
            "charts": len(chart_names(content["layout"])),
        },
        tags={DATA: _data(shown.values())},
        **_OF_ALL,
    )


def _path(slug: str) -> str:
    return f"/superset/dashboard/{slug}/"


def _reference(asset: Asset) -> dg.CodeReferencesMetadataValue:
    file = dg.LocalFileCodeReference(file_path=str(ASSETS / asset.path), label=asset.path)
    return dg.CodeReferencesMetadataValue(code_references=[file])


def _data(datasets: Any) -> str:
    has_ids = any(CUSTOMER_IDS & each.columns.keys() for each in datasets)
    return PSEUDONYMOUS if has_ids else AGGREGATE


def _metrics(dataset: Dataset) -> str:
    lines = [
        f"| {each.get('verbose_name', name)} | `{each['expression']}` |"
        for name, each in dataset.metrics.items()
    ]
    return "\n".join(["| Metric | SQL |", "|---|---|", *lines])


def _applied(dataset: Dataset, bundle: Bundle, changes: Sequence[Change]) -> dg.MaterializeResult:
    name, path = dataset.asset.name, dataset.asset.path
    charts = [each for each in bundle.charts.values() if each.content["dataset"] == name]
    return dg.MaterializeResult(
        asset_key=dataset_key(name),
        metadata={
            "charts": len(charts),
            "changed": any(change.name == path for change in changes),
        },
    )


def _shown(name: str, answers: Sequence[Answer], link: str) -> dg.MaterializeResult:
    records = [
        dg.TableRecord({"chart": each.chart, "rows": each.rows, "milliseconds": each.milliseconds})
        for each in answers
    ]
    return dg.MaterializeResult(
        asset_key=dashboard_key(name),
        metadata={
            "dashboard": dg.MetadataValue.url(link),
            "queries": dg.MetadataValue.table(records) if records else "no chart",
            "rows": sum(each.rows for each in answers),
            "milliseconds": sum(each.milliseconds for each in answers),
            "empty_charts": sum(not each.rows for each in answers),
        },
    )


def _matches(name: str, bundle: Bundle, changes: Sequence[Change]) -> dg.AssetCheckResult:
    """Return whether nothing differs that the dashboard has or that all have, such as users."""
    own = {
        bundle.dashboards[name].path,
        *(bundle.charts[c].path for c in chart_names(bundle.dashboards[name].content["layout"])),
        *(each.asset.path for each in bundle.shown_by(name).values()),
    }
    every = (bundle.charts, bundle.dashboards)
    files = {each.path for kind in every for each in kind.values()}
    others = {*files, *(each.asset.path for each in bundle.datasets.values())} - own
    found = [str(each) for each in changes if each.name not in others]
    return dg.AssetCheckResult(
        asset_key=dashboard_key(name),
        check_name=APPLIED,
        passed=not found,
        description="; ".join([*found, "`retail-pipeline bi apply` brings Superset to the files"])
        if found
        else None,
    )


def _answered(name: str, answers: Sequence[Answer]) -> dg.AssetCheckResult:
    failed = [f"{each.chart}: {each.error}" for each in answers if each.error]
    return dg.AssetCheckResult(
        asset_key=dashboard_key(name),
        check_name=ANSWERED,
        passed=bool(answers) and not failed,
        metadata={"charts": len(answers), "failed": len(failed)},
        description="; ".join(failed) or None,
    )
