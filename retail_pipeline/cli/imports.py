"""What the steps after dbt import while they run, imported during the step that waits for dbt.

The imports take seconds, and this process has little else to do meanwhile. What definitions need is
imported with them; nothing else belongs here.
"""

from collections.abc import Iterable
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Final

from retail_pipeline.warehouse import BUILD_STEP

if TYPE_CHECKING:
    from dagster import AssetKey, EventLogEntry

_NEEDED: Final = {
    "clv": ("retail_pipeline.clv.serving.store", "retail_pipeline.clv.serving.valuation"),
    "figures": ("retail_pipeline.figures.images", "seaborn"),
}
"""By group of assets, what makes its steps slow to begin."""


class ImportsAhead:
    """Listens to a run and imports what its later steps need, at the right time.

    Args:
        keys: The assets that the run makes.
    """

    def __init__(self, keys: "Iterable[AssetKey]") -> None:
        groups = {key.path[0] for key in keys}
        modules = [name for group, names in _NEEDED.items() if group in groups for name in names]
        self._thread = Thread(target=_import, args=[modules], name="imports", daemon=True)

    def on_entry(self, entry: "EventLogEntry") -> None:
        """Take one entry of the run's log, in the thread that runs the steps."""
        event = entry.dagster_event
        if event is None or not event.is_step_start:
            return
        if self._thread.ident is not None:
            # A step that needs the same libraries does not import them beside it.
            self._thread.join()
        elif event.step_key == BUILD_STEP:
            self._thread.start()


def _import(modules: list[str]) -> None:
    for name in modules:
        import_module(name)
