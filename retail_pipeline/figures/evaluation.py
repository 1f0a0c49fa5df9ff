"""The figure of `evaluate`: one model against actual values, or all models compared."""

from datetime import date
from pathlib import Path

import pandas as pd

from retail_pipeline.figures.accuracy import predicted_against_actual
from retail_pipeline.figures.images import png, vector
from retail_pipeline.figures.models import model_comparison
from retail_pipeline.figures.queries import Context, Outcomes
from retail_pipeline.files import replaced_whole


def draw_evaluation(
    path: Path,
    predictions: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    as_of: date,
    horizon_days: int,
    served: str,
    validated: bool,
    file_name: str,
) -> None:
    """Write the figure of one model's predictions against actual values, or of several models.

    Args:
        path: File to write; it ends in `.png`, `.svg` or `.pdf`.
        predictions: `model_name, as_of_date` and the predictions with their outcomes.
        metrics: One row per model and cut-off.
        as_of: The cut-off.
        horizon_days: Days of the outcome.
        served: The model that the pipeline would have served.
        validated: Whether that model met the selection rule on past outcomes.
        file_name: Name of the evaluated file, shown as the source.
    """
    names = predictions["model_name"].unique()
    context = Context(
        as_of,
        horizon_days,
        served=served if len(names) > 1 else str(names[0]),
        validated=validated,
        source=f"Source: {file_name}, cut-off {as_of}.",
    )
    if len(names) > 1:
        plot = model_comparison(metrics, context)
    else:
        past = predictions.rename(columns={"as_of_date": "cutoff_date"})
        plot = predicted_against_actual(Outcomes(past), context)
    kind = path.suffix.removeprefix(".")
    image = png(plot.figure) if kind == "png" else vector(plot.figure, kind)
    with replaced_whole(path) as draft:
        draft.write_bytes(image)
