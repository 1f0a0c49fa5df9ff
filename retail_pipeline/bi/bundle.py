"""The files under `superset/assets`: data sets, charts and dashboards, parsed without Superset.

The files have the keys of Superset's own exports. Three things are shorter: a chart names its data
set, and a dashboard its charts, by file name instead of by uuid; a dashboard has `layout` and
`filters` (see `dashboard_layout`); uuids follow from the path, so that they stay the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import yaml

from retail_pipeline.bi import dashboard_layout
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import PROJECT_ROOT

ASSETS: Final = PROJECT_ROOT / "superset" / "assets"
MARK: Final = "retail-data-pipeline/superset/assets/"
"""The beginning of `external_url` of the objects that come from the files."""

_CSS: Final = ASSETS / "dashboard.css"
_VERSION: Final = "1.0.0"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The graph reads all files each time it is loaded; the loader in C takes a tenth of the time."""
COLUMN_KEYS: Final = ("groupby", "columns", "all_columns", "x_axis", "granularity_sqla")
METRIC_KEYS: Final = ("metrics", "metric", "metrics_b", "percent_metrics", "sort_by_metric_name")
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "databases": dict.fromkeys(("cache_timeout", "encrypted_extra"))
    | {"impersonate_user": False, "configuration_method": "sqlalchemy_form"},
    "datasets": dict.fromkeys(
        (
            *("description", "main_dttm_col", "sql", "cache_timeout", "template_params", "params"),
            *("default_endpoint", "fetch_values_predicate", "extra", "currency_code_column"),
        )
    )
    | {"offset": 0, "filter_select_enabled": True, "normalize_columns": False},
    "charts": dict.fromkeys(
        (
            *("description", "certified_by", "certification_details"),
            *("query_context", "cache_timeout"),
        )
    ),
    "dashboards": dict.fromkeys(("description", "certified_by", "certification_details"))
    | {"css": _CSS.read_text() if _CSS.exists() else "", "published": True},
}
"""Values of keys that a file does not have: a change of them in Superset is overwritten, too."""
_COLUMN_DEFAULTS: Final = {
    **dict.fromkeys(("verbose_name", "description", "expression", "extra", "python_date_format")),
    **{"is_dttm": False, "is_active": True, "groupby": True, "filterable": True},
}
_METRIC_DEFAULTS: Final = dict.fromkeys(
    ("verbose_name", "description", "d3format", "currency", "extra", "warning_text", "metric_type")
)
_KINDS: Final = {
    "databases": ("database_name",),
    "datasets": ("table_name", "columns"),
    "charts": ("slice_name", "viz_type", "dataset", "params"),
    "dashboards": ("dashboard_title", "slug", "layout"),
}
"""The folders, with the keys that each of their files needs."""


class BundleError(PipelineError):
    """The files contradict each other or the database; nothing was changed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n- {problem}" for problem in problems)
        super().__init__(f"superset/assets cannot be applied, and nothing was changed:{lines}")


@dataclass(frozen=True)
class Asset:
    """One file: its path within the folder of all files, its text and its content."""

    path: str
    text: str
    content: Mapping[str, Any]

    @property
    def uuid(self) -> str:
        """The uuid of the object in Superset, which follows from the path."""
        return str(uuid5(NAMESPACE_URL, MARK + self.path))

    @property
    def name(self) -> str:
        """The path without folder and ending: `business/net_revenue` of a chart."""
        return self.path.partition("/")[2].removesuffix(".yaml")

    def at(self, word: str) -> str:
        """Return `path:line` of the first line with a word, or the path."""
        lines = self.text.splitlines()
        return next(
            (f"{self.path}:{number}" for number, line in enumerate(lines, 1) if word in line),
            self.path,
        )


@dataclass(frozen=True)
class Dataset:
    """A data set: a table or a query (`sql`), with the columns and metrics for charts."""

    asset: Asset
    columns: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, Mapping[str, Any]]

    @property
    def relation(self) -> str:
        """The SQL text to select from."""
        content = self.asset.content
        if content.get("sql"):
            return f"({str(content['sql']).strip().rstrip(';')}) as {self.asset.name}"
        return f"{content['schema']}.{content['table_name']}"

    @property
    def tables(self) -> list[str]:
        """The tables and views that are read, as `schema.name`; without schema, only the name.

        Raises:
            ParseError: The query cannot be read.
        """
        from sqlglot import exp, parse_one

        content = self.asset.content
        if not content.get("sql"):
            return [self.relation]
        query = parse_one(content["sql"], dialect="postgres")
        own = {each.alias for each in query.find_all(exp.CTE)}
        read = [(each.db, each.name) for each in query.find_all(exp.Table)]
        return sorted({f"{db}.{name}".lstrip(".") for db, name in read if db or name not in own})


@dataclass(frozen=True)
class Bundle:
    """All files, by name within their kind."""

    database: Asset
    datasets: Mapping[str, Dataset]
    charts: Mapping[str, Asset]
    dashboards: Mapping[str, Asset]

    def shown_by(self, dashboard: str) -> dict[str, Dataset]:
        """Return the data sets of a dashboard's charts and filters, by name."""
        content = self.dashboards[dashboard].content
        charts = dashboard_layout.chart_names(content["layout"])
        filters = [each["dataset"] for each in content.get("filters", []) if "dataset" in each]
        names = {*filters, *(str(self.charts[each].content["dataset"]) for each in charts)}
        return {name: self.datasets[name] for name in sorted(names)}

    def rendered(self, uri: str, currency: str | None = None) -> dict[str, str]:
        """Return the files as Superset's importer reads them, as text by path.

        Args:
            uri: The address of the database, without a password.
            currency: The currency of the data; metrics with the format `money` show it.
        """
        documents: dict[str, Any] = {
            "metadata.yaml": {"version": _VERSION, "type": "assets"},
            self.database.path: {**_standing(self.database), "sqlalchemy_uri": uri},
        }
        for dataset in self.datasets.values():
            content = _standing(dataset.asset)
            content["metrics"] = [_metric(each, currency) for each in dataset.metrics.values()]
            content["columns"] = [{**_COLUMN_DEFAULTS, **each} for each in dataset.columns.values()]
            documents[dataset.asset.path] = {**content, "database_uuid": self.database.uuid}
        for chart in self.charts.values():
            content = _standing(chart)
            dataset = self.datasets[content.pop("dataset")]
            content["params"] = {**content["params"], "viz_type": content["viz_type"]}
            documents[chart.path] = {**content, "dataset_uuid": dataset.asset.uuid}
        for dashboard in self.dashboards.values():
            content = _standing(dashboard)
            layout, filters = content.pop("layout"), content.pop("filters", [])
            content["position"] = dashboard_layout.position(layout, self.charts)
            content["metadata"] = {
                "filter_bar_orientation": "HORIZONTAL",
                **content.get("metadata", {}),
                "native_filter_configuration": dashboard_layout.native_filters(
                    dashboard.path, filters, layout, self
                ),
            }
            documents[dashboard.path] = content
        return {path: yaml.safe_dump(each, sort_keys=False) for path, each in documents.items()}


def load_bundle(folder: Path = ASSETS) -> Bundle:
    """Return the files of a folder, which agree with each other.

    Raises:
        BundleError: Files are no YAML, lack keys, or name what is not there; with file and line.
    """
    problems: list[str] = []
    found: dict[str, dict[str, Asset]] = {kind: {} for kind in _KINDS}
    for file in sorted(folder.rglob("*.yaml")):
        path = file.relative_to(folder).as_posix()
        kind = path.partition("/")[0]
        if kind not in _KINDS:
            problems.append(f"{path} is in none of the folders {', '.join(_KINDS)}")
            continue
        asset = Asset(path, file.read_text(), {})
        try:
            content = yaml.load(asset.text, _LOADER)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problems.append(f"{path}:{line}: no YAML: {error.problem}")
            continue
        lacks = [key for key in _KINDS[kind] if key not in (content or {})]
        if not isinstance(content, dict) or lacks:
            problems.append(f"{path} lacks {', '.join(lacks) or 'keys'}")
            continue
        found[kind][asset.name] = Asset(path, asset.text, content)
    if problems or len(found["databases"]) != 1:
        raise BundleError(problems or ["databases must hold one file"])
    bundle = Bundle(
        database=next(iter(found["databases"].values())),
        datasets={name: _dataset(asset) for name, asset in found["datasets"].items()},
        charts=found["charts"],
        dashboards=found["dashboards"],
    )
    if problems := list(_contradictions(bundle)):
        raise BundleError(problems)
    return bundle


def _standing(asset: Asset) -> dict[str, Any]:
    """Return the content with what all objects have; only the importer's rights protect them."""
    return {
        **_DEFAULTS[asset.path.partition("/")[0]],
        **asset.content,
        "uuid": asset.uuid,
        "version": _VERSION,
        "is_managed_externally": True,
        "external_url": MARK + asset.path,
    }


def _dataset(asset: Asset) -> Dataset:
    columns = {each["column_name"]: each for each in asset.content["columns"]}
    metrics = {each["metric_name"]: each for each in asset.content.get("metrics", [])}
    return Dataset(asset, columns, metrics)


def _metric(metric: Mapping[str, Any], currency: str | None) -> dict[str, Any]:
    whole = {**_METRIC_DEFAULTS, **metric}
    kind, _, decimals = str(metric.get("d3format")).partition(".")
    if kind == "money":
        whole["d3format"] = f",.{decimals or 0}f"
        if currency:
            whole["currency"] = {"symbol": currency, "symbolPosition": "prefix"}
    return whole


def _contradictions(bundle: Bundle) -> Iterator[str]:
    used: set[str] = set()
    yield from _repeated([each.asset for each in bundle.datasets.values()], "schema", "table_name")
    yield from _repeated(list(bundle.dashboards.values()), "slug")
    for each in bundle.datasets.values():
        yield from _unclear_tables(each)
    for chart in bundle.charts.values():
        dataset = bundle.datasets.get(chart.content["dataset"])
        if dataset is None:
            name = str(chart.content["dataset"])
            yield f"{chart.at(name)}: there is no data set {name} in datasets/"
            continue
        yield from _unknown_names(chart, dataset)
    for dashboard in bundle.dashboards.values():
        for name in dashboard_layout.chart_names(dashboard.content["layout"]):
            used.add(name)
            if name not in bundle.charts:
                yield f"{dashboard.at(name)}: there is no chart {name} in charts/"
        for each in dashboard.content.get("filters", []):
            yield from _unknown_filter(dashboard, each, bundle)
    for name in sorted(set(bundle.charts) - used):
        yield f"{bundle.charts[name].path}: no dashboard shows this chart"


def _unclear_tables(dataset: Dataset) -> Iterator[str]:
    from sqlglot.errors import SqlglotError

    try:
        tables = dataset.tables
    except SqlglotError as error:
        yield f"{dataset.asset.at('sql:')}: {str(error).splitlines()[0]}"
        return
    for name in tables:
        if "." not in name:
            yield f"{dataset.asset.at(name)}: write the schema of the table {name}, too"


def _repeated(assets: Sequence[Asset], *keys: str) -> Iterator[str]:
    """Yield a line per file with the keys of an earlier one, which Superset would take for it."""
    seen: dict[tuple[Any, ...], str] = {}
    for asset in assets:
        value = tuple(asset.content.get(key) for key in keys)
        first = seen.setdefault(value, asset.path)
        if first != asset.path:
            yield f"{asset.at(str(value[-1]))}: {first} has the same {keys[-1]}"


def _unknown_names(chart: Asset, dataset: Dataset) -> Iterator[str]:
    params = chart.content["params"]
    for keys, known, kind in (
        (COLUMN_KEYS, dataset.columns, "column"),
        (METRIC_KEYS, dataset.metrics, "metric"),
    ):
        for key in keys:
            value = params.get(key)
            for name in value if isinstance(value, list) else [value] if value else []:
                if not isinstance(name, str):
                    yield f"{chart.at(key)}: a {kind} of its own: define it in {dataset.asset.path}"
                elif name not in known:
                    yield f"{chart.at(name)}: {dataset.asset.path} has no {kind} {name}"
    for each in params.get("adhoc_filters", []):
        name = each.get("subject")
        if name not in dataset.columns:
            yield f"{chart.at(str(name))}: {dataset.asset.path} has no column {name}"


def _unknown_filter(dashboard: Asset, each: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    if "column" not in each:
        return
    dataset = bundle.datasets.get(each.get("dataset", ""))
    if dataset is None:
        yield f"{dashboard.at(each['name'])}: there is no data set {each.get('dataset')}"
    elif each["column"] not in dataset.columns:
        yield (
            f"{dashboard.at(each['column'])}: {dataset.asset.path} has no column {each['column']}"
        )
    elif each.get("first") not in {None, *dataset.metrics}:
        yield f"{dashboard.at(each['first'])}: {dataset.asset.path} has no metric {each['first']}"
