"""Whether the landing tables are laid out as the loader lays out the streams of the files.

`database/` makes them before the first sync, so that dbt has something to read; both must agree.
"""

from retail_pipeline.airbyte_engine.columns import AIRBYTE_COLUMNS
from retail_pipeline.airbyte_engine.landing_table import Landing
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.postgres import Database

_SYNONYMS = {"character varying": "varchar", "timestamp with time zone": "timestamptz"}


def layout_differences(database: Database) -> list[str]:
    """Return one line per landing table whose columns are not those of its stream, in order.

    Args:
        database: The warehouse, migrated.
    """
    folder = load_folder()
    lines = []
    for connection in folder.connections.values():
        for stream in connection.streams:
            landing = Landing.of(
                connection.namespace, stream, folder.schema(connection, stream.name)
            )
            wanted = [
                *AIRBYTE_COLUMNS.items(),
                *((column.name, column.sql_type) for column in landing.columns),
            ]
            present = _columns(database, landing)
            if present != wanted:
                odd = [f"{name} {kind}" for name, kind in wanted if (name, kind) not in present]
                odd += [
                    f"not {name} {kind}" for name, kind in present if (name, kind) not in wanted
                ]
                lines.append(
                    f"layout of {connection.namespace}.{stream.name}: the loader makes "
                    + (", ".join(odd) or "another order of columns")
                )
    return lines


def _columns(database: Database, landing: Landing) -> list[tuple[str, str]]:
    with database.connect() as connection:
        rows = connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
            [landing.table.as_string(connection)],
        ).fetchall()
    return [(str(name), _SYNONYMS.get(str(kind), str(kind))) for name, kind in rows]
