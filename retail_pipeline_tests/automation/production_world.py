"""The world as a code location of its own, for tests that need Dagster's real scheduler."""

from pathlib import Path
from tempfile import gettempdir

from retail_pipeline_tests.automation.world import World

defs = World(Path(gettempdir()) / "world").definitions()
