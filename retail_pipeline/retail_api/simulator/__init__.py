"""The bundled retailer: a pure function from seed, size and as-of date to the records of the API.

`simulate` is the entry point; each module implements one part of the simulated process.
"""

from retail_pipeline.retail_api.simulator.calendar import HISTORY_START
from retail_pipeline.retail_api.simulator.customers import DEFAULT_AS_OF
from retail_pipeline.retail_api.simulator.simulation import Simulation, simulate

__all__ = ["DEFAULT_AS_OF", "HISTORY_START", "Simulation", "simulate"]
