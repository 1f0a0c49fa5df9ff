"""The command `evaluate`: what models would have said at a cut-off, and whether it came true."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retail_pipeline.cli.stopping import stopped_like_ctrl_c
from retail_pipeline.cli.summary import open_console
from retail_pipeline.errors import UsageError
from retail_pipeline.files import replaced_whole
from retail_pipeline.settings import (
    Settings,
    parse_as_of,
    parse_horizon,
)

if TYPE_CHECKING:
    import pandas as pd

    from retail_pipeline.evaluation import Evaluation

_FIGURES = (".png", ".svg", ".pdf")
_WRITERS = {".parquet": "to_parquet", ".csv": "to_csv"}


def _model_names() -> list[str]:
    from retail_pipeline.clv.models.registry import MODELS

    return [*MODELS, "all"]


def evaluate(
    transactions: Annotated[Path, typer.Option(help="A Parquet or CSV file of order lines.")],
    cutoff: Annotated[str, typer.Option(help="Lines before this date are known (YYYY-MM-DD).")],
    horizon_days: Annotated[
        int | None,
        typer.Option(help="Days of the outcome, 1 to 1095; default: RETAIL_HORIZON_DAYS."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model's name, or all; default: the one served.",
            autocompletion=_model_names,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the predictions to a .parquet or .csv file.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw predicted against actual, or all models, to a .png, .svg or .pdf."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Value a file's customers at a cut-off and compare with what came after it."""
    _check_path("--output", output, tuple(_WRITERS))
    _check_path("--figure", figure, _FIGURES)
    settings = Settings.from_environment()
    day = parse_as_of(cutoff, "--cutoff")
    horizon = parse_horizon(
        settings.horizon_days if horizon_days is None else horizon_days, "--horizon-days"
    )

    from retail_pipeline.evaluation import evaluate_file

    with stopped_like_ctrl_c(), Console(stderr=True).status("evaluating …"):
        result = evaluate_file(
            settings,
            transactions.absolute(),
            cutoff=day,
            horizon_days=horizon,
            model=model,
        )
    if output is not None:
        _write(result, output)
    if figure is not None:
        _draw(result, transactions.name, figure)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(result), indent=1) + "\n")
    else:
        _print(result, {"predictions": output, "figure": figure})


def _check_path(option: str, path: Path | None, endings: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written before any work is done."""
    if path is None:
        return
    if path.suffix not in endings:
        raise UsageError(f"{option} {path} must end in {' or '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {option} {path} does not exist: make it first")


def _write(result: "Evaluation", output: Path) -> None:
    with replaced_whole(output) as draft:
        getattr(result.predictions, _WRITERS[output.suffix])(draft, index=False)


def _draw(result: "Evaluation", file_name: str, path: Path) -> None:
    """Draw one model's predictions against actual values, or the comparison of all models."""
    from retail_pipeline.figures import accuracy, images, models
    from retail_pipeline.figures.queries import Context, Outcomes

    valuation, names = result.valuation, result.predictions["model_name"].unique()
    context = Context(
        valuation.as_of,
        valuation.horizon_days,
        served=valuation.decision.model_name if len(names) > 1 else str(names[0]),
        validated=valuation.decision.validated,
        source=f"Source: {file_name}, cut-off {valuation.as_of}.",
    )
    if len(names) > 1:
        plot = models.model_comparison(result.metrics_by_cutoff(), context)
    else:
        past = result.predictions.rename(columns={"as_of_date": "cutoff_date"})
        plot = accuracy.predicted_against_actual(Outcomes(past), context)
    kind = path.suffix.removeprefix(".")
    image = images.png(plot.figure) if kind == "png" else images.vector(plot.figure, kind)
    with replaced_whole(path) as draft:
        draft.write_bytes(image)


def _as_json(result: "Evaluation") -> dict[str, object]:
    decision = result.valuation.decision
    return {
        "as_of_date": result.valuation.as_of.isoformat(),
        "horizon_days": result.valuation.horizon_days,
        "customers": int(result.predictions["customer_id"].nunique()),
        "rejected_lines": result.rejected_lines,
        "served": decision.model_name,
        "validated": decision.validated,
        "extrapolated": result.valuation.is_extrapolated,
        "reason": decision.reason,
        "metrics": json.loads(result.metrics.to_json(orient="records")),
    }


def _print(result: "Evaluation", written: dict[str, Path | None]) -> None:
    console, decision = open_console(), result.valuation.decision
    customers = result.predictions["customer_id"].nunique()
    console.print(
        f"{customers:,} customers at {result.valuation.as_of}, "
        f"{result.valuation.horizon_days} days ahead; "
        f"{result.rejected_lines:,} rejected lines of the file",
        highlight=False,
    )
    mark = "" if decision.validated else " (validated = false)"
    if result.valuation.is_extrapolated:
        mark = " (validated = false, extrapolated)"
    console.print(
        f"served: {decision.model_name}{mark}: {escape(decision.reason)}", highlight=False
    )
    if result.metrics.empty:
        console.print("the file ends before the outcome does: no metrics")
    else:
        console.print(_metrics_table(result.metrics))
    for what, path in written.items():
        if path is not None:
            console.print(f"{what}: {escape(str(path))}", soft_wrap=True, highlight=False)


def _metrics_table(metrics: "pd.DataFrame") -> Table:
    """A row per metric and a narrow column per model, so that many models fit on a screen."""
    import pandas as pd

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in metrics["model_name"]:
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for metric, values in metrics.set_index("model_name").items():
        table.add_row(str(metric), *("-" if pd.isna(v) else f"{v:z,.3f}" for v in values))
    return table
