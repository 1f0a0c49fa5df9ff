"""The bundled retailer: a pure function from seed, size and as-of date to the records of the API.

No input or output. Call `simulate`; the modules hold one part of the process each.
"""

from retail_pipeline.retail_api.simulator.calendar import HISTORY_START
from retail_pipeline.retail_api.simulator.customers import DEFAULT_AS_OF
from retail_pipeline.retail_api.simulator.simulation import Simulation, simulate

__all__ = ["DEFAULT_AS_OF", "HISTORY_START", "Simulation", "simulate"]
