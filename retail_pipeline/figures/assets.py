"""The figures as Dagster assets: draw each exhibit, keep the file, show it and its numbers.

What is drawn and from which tables is the `gallery`; matplotlib is imported while drawing only.
"""

import time
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    CodeReferencesMetadataValue,
    Definitions,
    LocalFileCodeReference,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)

from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.figures.gallery import (
    GALLERY,
    Exhibit,
)
from retail_pipeline.figures.reading import Tables
from retail_pipeline.files import replaced_whole
from retail_pipeline.linear_algebra import with_working_memory
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    from retail_pipeline.figures.style import Plot

GROUP = "figures"
OWNER = "team:data-science"


def build_figures() -> Definitions:
    """Return an asset for every exhibit of the gallery; contacts nothing."""
    return Definitions(assets=[_figure(exhibit) for exhibit in GALLERY])


def _figure(exhibit: Exhibit) -> AssetsDefinition:
    @asset(
        key=AssetKey([GROUP, exhibit.name]),
        description=exhibit.description,
        deps=[AssetKey(key.split("/")) for key in exhibit.after],
        group_name=GROUP,
        owners=[OWNER],
        kinds={"matplotlib"},
        metadata={"dagster/code_references": _drawn_in(exhibit)},
        # What decides comes before what is looked at.
        op_tags={"dagster/priority": "-1"},
    )
    @retried
    @with_working_memory
    def figure(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        started = time.monotonic()
        as_of = run_window.landed_as_of(database)
        with database.as_role(Role.READER).kept_open() as reader:
            plot = exhibit.draw(Tables(reader, as_of, run_window.horizon(settings)))
        metadata = _keep(plot, exhibit, settings)
        metadata["as_of_date"] = MetadataValue.text(as_of.isoformat())
        metadata["seconds"] = MetadataValue.float(round(time.monotonic() - started, 3))
        return MaterializeResult(metadata=metadata)

    return figure


def _drawn_in(exhibit: Exhibit) -> CodeReferencesMetadataValue:
    code = exhibit.draw.__code__
    place = LocalFileCodeReference(
        file_path=code.co_filename, line_number=code.co_firstlineno, label="how it is drawn"
    )
    return CodeReferencesMetadataValue(code_references=[place])


def _keep(plot: "Plot", exhibit: Exhibit, settings: Settings) -> dict[str, Any]:
    """Write the image to its file; return it and the numbers as metadata."""
    from retail_pipeline.figures.images import (
        inline_markdown,
        png,
    )

    image, finding = png(plot.figure), str(plot.figure.get_label())
    path = settings.home / GROUP / f"{exhibit.name}.png"
    with replaced_whole(path) as draft:
        draft.write_bytes(image)
    return {
        "figure": MetadataValue.md(inline_markdown(image, finding)),
        "finding": MetadataValue.text(finding),
        "path": MetadataValue.path(path),
        "source": MetadataValue.text(", ".join(exhibit.sources)),
        "rows_drawn": MetadataValue.int(plot.rows),
        **plot.numbers,
    }
