"""The definitions of this environment, which Dagster loads."""

import gc

from retail_pipeline.build import build_definitions

gc.disable()  # what is made here stays: each full collection over it takes an eighth of a second
defs = build_definitions()
gc.freeze()
gc.enable()
