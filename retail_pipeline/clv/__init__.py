"""Customer lifetime value: how much each customer will spend over the horizon.

The sub-packages build on each other in this order: `data` (cut-offs, outcomes, training sample),
`models` (fit, predict, store), `evaluation` (backtest, metrics, selection, promotion), `serving`
(predictions, segments, margins), `monitoring` (reasons, importance, drift, realised values). Only
`assets`, `checks` and `definitions` use Dagster. Features are computed in dbt.
"""
