"""The Dagster assets of the figures, made by one step, with image and numbers as metadata."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from retail_pipeline.dagster_support.retrying import retried, retry
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import FAILED_ASSETS
from retail_pipeline.figures import registry
from retail_pipeline.figures.drawing import Drawn, draw_all
from retail_pipeline.figures.queries import Tables
from retail_pipeline.figures.registry import FIGURES, Figure
from retail_pipeline.files import private_folder, replaced_whole
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings

GROUP = "figures"
OWNER = "team:data-science"


def build_figures() -> dg.Definitions:
    """Return one asset per figure of the registry; no server is contacted."""
    return dg.Definitions(assets=[figures])


def _spec(figure: Figure) -> dg.AssetSpec:
    place = dg.LocalFileCodeReference(file_path=str(figure.module), label="how it is drawn")
    return dg.AssetSpec(
        dg.AssetKey([GROUP, figure.name]),
        description=figure.description,
        deps=[dg.AssetKey(key.split("/")) for key in figure.after],
        group_name=GROUP,
        owners=[OWNER],
        kinds={"matplotlib"},
        metadata={
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[place])
        },
    )


@dg.multi_asset(
    name="figures",
    specs=[_spec(figure) for figure in FIGURES],
    can_subset=True,
    # A low priority: predictions are more urgent than the figures of them.
    op_tags={"dagster/priority": "-1"},
)
def figures(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
    run_window: RunWindow,
) -> Iterator[dg.MaterializeResult]:
    """Draw the selected figures on all cores; a figure that fails does not stop the others.

    Raises:
        Failure: Some figures could not be drawn; the message names them.
        RetryRequested: The connection to the database was lost.
    """
    tables = _tables(database, run_window)
    names = [f.name for f in FIGURES if dg.AssetKey([GROUP, f.name]) in context.selected_asset_keys]
    failed = []
    for drawn in draw_all(names, tables):
        if not drawn.error:
            # Not metadata of the result, as Dagster would store the image a second time.
            metadata = _kept(drawn, tables.as_of.isoformat(), settings)
            context.add_asset_metadata(metadata, [GROUP, drawn.name])
            yield dg.MaterializeResult(asset_key=[GROUP, drawn.name])
        else:
            context.log.error("figures/%s: %s", drawn.name, drawn.trace)
            failed.append(drawn)
    if failed:
        raise _failure(failed)


@retried
def _tables(database: Database, run_window: RunWindow) -> Tables:
    """Return the tables of the run, with the context of all figures already read."""
    tables = Tables(database.as_role(Role.READER), *run_window.landed(database))
    _ = tables.context  # a cached property: worker processes receive its value
    return tables


def _kept(drawn: Drawn, as_of_date: str, settings: Settings) -> dict[str, Any]:
    """Write the image to its file; return the asset's metadata with image and numbers."""
    path = private_folder(settings.home / GROUP) / f"{drawn.name}.png"
    with replaced_whole(path) as draft:
        draft.write_bytes(drawn.image)
    figure = registry.figure(drawn.name)
    return {
        "figure": dg.MetadataValue.md(drawn.markdown),
        "how_to_read": figure.how_to_read,
        "path": dg.MetadataValue.path(path),
        "source": ", ".join(figure.sources),
        "as_of_date": as_of_date,
        **drawn.numbers,
    }


def _failure(failed: list[Drawn]) -> Exception:
    """Return a retry request if the database was lost, else a failure that names the figures."""
    if any(each.is_lost for each in failed):
        return retry()
    reasons = {f"{GROUP}/{each.name}": each.error for each in failed}
    figures_by_reason: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        figures_by_reason.setdefault(reason, []).append(key)
    return dg.Failure(
        description="; ".join(
            f"{', '.join(keys)}: {reason}" for reason, keys in figures_by_reason.items()
        ),
        metadata={FAILED_ASSETS: reasons},
        # A retry would fail again, as the data are the same.
        allow_retries=False,
    )
