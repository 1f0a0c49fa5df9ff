"""The retail API during a sync: its address, the end of its records and its totals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile
from retail_pipeline.business_day import midnight
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import PipelineState, begin, landed_as_of
from retail_pipeline.ingestion.totals import Totals, fetch_totals
from retail_pipeline.ingestion.workspace import source_values
from retail_pipeline.postgres import Database
from retail_pipeline.settings import AirbyteMode, ApiSource, Settings, parse_as_of

_NEEDS_ADDRESS = (
    "AIRBYTE_MODE=server reads a retail API at an address: set RETAIL_SOURCE to https://…, or use "
    "AIRBYTE_MODE=embedded for the simulator and for files"
)


@dataclass(frozen=True)
class OpenApi:
    """The API during a sync.

    Attributes:
        url: The address.
        end: The instant before which the records lie.
        is_still: Whether the records stay the same during the sync, as the bundled API's do.
        state: The source and the as-of date of the records.
        totals: The API's totals of the connection's streams, by stream.
    """

    url: str
    end: str
    is_still: bool
    state: PipelineState
    totals: dict[str, Totals]


@contextmanager
def open_api(
    settings: Settings,
    database: Database,
    window: RunWindow,
    folder: AirbyteFolder,
    connection: ConnectionFile,
    *,
    run_id: str,
    warn: Callable[[str], None],
) -> Iterator[OpenApi]:
    """Open the API at the run's as-of date and enter the run into the pipeline's state.

    Args:
        settings: The settings with the source and its key.
        database: The warehouse as its owner, because a rebuild empties all layers.
        window: The run's own settings.
        folder: The connection files.
        connection: The connection to sync.
        run_id: The id of the run.
        warn: A callback for the reason of a rebuild.

    Yields:
        The open API.

    Raises:
        PipelineError: The API does not answer, an Airbyte server cannot read this source, or the
            run is for another source.
    """
    # A local import, because the simulator's libraries would slow down each load of the code.
    from retail_pipeline.retail_api import default_as_of, serving, source_id

    source, on_server = settings.source, settings.airbyte.mode is AirbyteMode.SERVER
    if on_server and not isinstance(source, ApiSource):
        raise PipelineError(_NEEDS_ADDRESS)
    own_id = source_id(source)
    window.check_source(own_id)
    zone = settings.time_zone
    given = parse_as_of(window.as_of, "as_of", zone) if window.as_of else settings.as_of
    as_of = landed_as_of(database, run_id) or given or default_as_of(source, zone)
    # The source is opened first: an unusable one must not empty the layers.
    with serving(source, as_of, settings.api_key, zone) as url:
        end = _end(settings, as_of)
        totals = fetch_totals(folder, connection, source_values(settings, url, end))
        transition = begin(
            database,
            source_id=own_id,
            as_of=as_of,
            run_id=run_id,
            full_refresh=window.full_refresh,
            streams=[each.name for one in folder.connections.values() for each in one.streams],
        )
        if transition.message:
            warn(transition.message)
        if transition.rebuilt and on_server:
            raise PipelineError(
                f"{transition.message}; the Airbyte server still holds the connections' old state: "
                "reset them there, then run again"
            )
        yield OpenApi(url, end, not isinstance(source, ApiSource), transition.state, totals)


def _end(settings: Settings, as_of: date) -> str:
    """Return the instant before which records are read: the as-of date, or now for an address."""
    if isinstance(settings.source, ApiSource):
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{midnight(as_of, settings.time_zone):%Y-%m-%dT%H:%M:%SZ}"
