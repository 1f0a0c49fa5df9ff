"""Customer lifetime value: who will spend how much over the horizon.

Plain Python over frames: `dataset` (cut-offs and outcomes), `btyd` (the probability models),
`estimators` (the models), `metrics`, `intervals`, `backtest`, `selection`, `segments`, and
`valuation`, which puts them together for the assets and for `evaluate` alike. `store` keeps models
in the database. Only `assets` and `checks` know Dagster; no feature is computed here.
"""
