"""The report of a run and the model card: pages made from tables, figures and check results.

Only `assets` imports Dagster; the other modules are pure functions. Their numbers come from tables,
except for the intervals of the metrics (`uncertainty`).
"""
