"""Dollar signs in a label are printed: no label is parsed as a formula."""

from datetime import date

import pandas as pd
from matplotlib.text import Text

from retail_pipeline.figures.images import png
from retail_pipeline.figures.queries import Context
from retail_pipeline.figures.revenue import revenue_over_time


def test_a_label_with_dollars_and_backslashes_is_drawn_as_it_is_written() -> None:
    days = pd.date_range("2011-01-03", periods=70)
    frame = pd.DataFrame({"date_day": days, "sales_amount": 900.0, "returns_amount": 1.0})
    frame = frame.assign(net_amount=899.0, orders=2)
    plot = revenue_over_time(frame, Context(date(2011, 6, 1), 180, currency=r"$\bad{$"))
    assert png(plot.figure).startswith(b"\x89PNG")  # not valid as a formula
    texts = plot.figure.findobj(Text)
    assert any(r"\bad" in text.get_text() for text in texts)
    assert not any(text.get_parse_math() for text in texts)
