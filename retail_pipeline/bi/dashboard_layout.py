"""The short form of a dashboard's layout and filters, written out as Superset stores them.

`layout` is a list of rows from top to bottom: `heading: TEXT`, or `charts: {NAME: WIDTH, …}` with
a `height`. A row is 12 wide; a height of 10 is 80 pixels. `filters` is a list of
`{name, dataset, column}`, or of `{name}` alone for a range of time. With `first: METRIC`, a value
must be chosen, and at first it is the one with the highest metric; `single: true` allows no second
one.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from retail_pipeline.bi.bundle import Asset, Bundle, Dataset

ROW_WIDTH: Final = 12
_HEIGHT: Final = 40
_CLEAR: Final = {"background": "BACKGROUND_TRANSPARENT"}

Row = Mapping[str, Any]


def chart_names(layout: Sequence[Row]) -> list[str]:
    """Return the names of the charts of a layout, from top to bottom."""
    return [name for row in layout for name in row.get("charts", {})]


def position(layout: Sequence[Row], charts: Mapping[str, "Asset"]) -> dict[str, Any]:
    """Return the tree of rows and charts, with the numbers of `chart_names` as ids of charts.

    The importer replaces the numbers by its own ids.
    """
    rows: dict[str, Any] = {}
    places = {name: number for number, name in enumerate(chart_names(layout), 1)}
    for number, row in enumerate(layout, 1):
        if "heading" in row:
            key = f"HEADER-{number}"
            meta = {**_CLEAR, "headerSize": "MEDIUM_HEADER", "text": row["heading"]}
            rows[key] = {"type": "HEADER", "id": key, "children": [], "meta": meta}
            continue
        key = f"ROW-{number}"
        children = []
        for name, width in row["charts"].items():
            chart = f"CHART-{places[name]}"
            children.append(chart)
            rows[chart] = {
                "type": "CHART",
                "id": chart,
                "children": [],
                "parents": ["ROOT_ID", "GRID_ID", key],
                "meta": {
                    "chartId": places[name],
                    "uuid": charts[name].uuid,
                    "sliceName": charts[name].content["slice_name"],
                    "width": width,
                    "height": row.get("height", _HEIGHT),
                },
            }
        rows[key] = {"type": "ROW", "id": key, "children": children, "meta": dict(_CLEAR)}
    top = [key for key in rows if not key.startswith("CHART-")]
    for key in top:
        rows[key]["parents"] = ["ROOT_ID", "GRID_ID"]
    return {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": top, "parents": ["ROOT_ID"]},
        **rows,
    }


def native_filters(
    path: str, filters: Sequence[Row], layout: Sequence[Row], bundle: "Bundle"
) -> list[dict[str, Any]]:
    """Return a dashboard's filters; each leaves out the charts whose data set lacks its column."""
    found = []
    for each in filters:
        column = each.get("column")
        without = [
            number
            for number, name in enumerate(chart_names(layout), 1)
            if not _can_filter(_dataset_of(bundle, name), column)
        ]
        target: dict[str, Any] = {}
        if column:
            asset = bundle.datasets[each["dataset"]].asset
            target = {"datasetUuid": asset.uuid, "column": {"name": column}}
        first = each.get("first")
        control = {
            "multiSelect": not each.get("single"),
            "enableEmptyFilter": bool(first),
            "defaultToFirstItem": bool(first),
            "searchAllOptions": True,  # a list shows 1,000 values; what is typed is searched in all
            "sortAscending": not first,
            **({"sortMetric": first} if first else {}),
        }
        found.append(
            {
                "id": f"NATIVE_FILTER-{uuid5(NAMESPACE_URL, path + each['name']).hex[:12]}",
                "type": "NATIVE_FILTER",
                "name": each["name"],
                "filterType": "filter_select" if column else "filter_time",
                "targets": [target],
                "controlValues": control,
                **({"sortMetric": first, "requiredFirst": True} if first else {}),
                "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}},
                "cascadeParentIds": [],
                "scope": {"rootPath": ["ROOT_ID"], "excluded": without},
            }
        )
    return found


def _can_filter(dataset: "Dataset", column: str | None) -> bool:
    if column:
        return column in dataset.columns
    return any(each.get("is_dttm") for each in dataset.columns.values())


def _dataset_of(bundle: "Bundle", chart: str) -> "Dataset":
    return bundle.datasets[bundle.charts[chart].content["dataset"]]
