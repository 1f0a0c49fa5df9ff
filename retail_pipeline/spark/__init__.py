"""The parts that grow with customers on Spark: landing in the lake, and scoring.

These modules run in the driver and the workers of Spark, in Spark's environment (`make spark`), and
know no Dagster. `dagster_support.spark_driver` starts the driver as a step of a run.
"""
