"""The small graph as a code location, for tests with Dagster's real scheduler."""

from pathlib import Path
from tempfile import gettempdir

from retail_pipeline_tests.automation.world import World

defs = World(Path(gettempdir()) / "world").definitions()
