"""The figures as Dagster assets of one step: draw them, keep the files, show images and numbers."""

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
from retail_pipeline.files import replaced_whole
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings

GROUP = "figures"
OWNER = "team:data-science"


def build_figures() -> dg.Definitions:
    """Return an asset for every figure of the registry; contacts nothing."""
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
    # Predictions come before pictures of them.
    op_tags={"dagster/priority": "-1"},
)
def figures(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[Database],
    settings: dg.ResourceParam[Settings],
    run_window: RunWindow,
) -> Iterator[dg.MaterializeResult]:
    """Draw the selected figures on all cores; those that can be drawn are kept if one fails.

    Raises:
        Failure: Figures could not be drawn; it names them.
        RetryRequested: The database was lost meanwhile.
    """
    tables = _tables(database, run_window)
    names = [f.name for f in FIGURES if dg.AssetKey([GROUP, f.name]) in context.selected_asset_keys]
    failed = []
    for drawn in draw_all(names, tables):
        if not drawn.error:
            yield _kept(drawn, tables.as_of.isoformat(), settings)
        else:
            context.log.error("figures/%s: %s", drawn.name, drawn.trace)
            failed.append(drawn)
    if failed:
        raise _failure(failed)


@retried
def _tables(database: Database, run_window: RunWindow) -> Tables:
    """Return the tables that are drawn from, with what all figures have in common read once."""
    tables = Tables(database.as_role(Role.READER), *run_window.landed(database))
    _ = tables.context  # cached: it goes to the worker processes with the tables
    return tables


def _kept(drawn: Drawn, as_of_date: str, settings: Settings) -> dg.MaterializeResult:
    """Write the image to its file; return it and the numbers as metadata."""
    path = settings.home / GROUP / f"{drawn.name}.png"
    with replaced_whole(path) as draft:
        draft.write_bytes(drawn.image)
    metadata: dict[str, Any] = {
        "figure": dg.MetadataValue.md(drawn.markdown),
        "path": dg.MetadataValue.path(path),
        "source": ", ".join(registry.figure(drawn.name).sources),
        "as_of_date": as_of_date,
        **drawn.numbers,
    }
    return dg.MaterializeResult(asset_key=[GROUP, drawn.name], metadata=metadata)


def _failure(failed: list[Drawn]) -> Exception:
    """Return the request to try again where the database was lost, else the step's failure."""
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
        # The same data fails the same way: a retry would only cost time.
        allow_retries=False,
    )
