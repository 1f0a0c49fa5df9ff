"""Customer lifetime value: how much each customer will spend over the horizon.

The sub-packages build on each other in this order: `data` (cut-offs, outcomes, training sample),
`models` (fit, predict, store), `evaluation` (backtest, metrics, selection, promotion), `serving`
(predictions, totals, segments, margins), `monitoring` (reasons, importance, drift, past
predictions beside actual values). Only `assets`, `checks`, `definitions` and `steps` use Dagster.
Features are computed in dbt.
"""
