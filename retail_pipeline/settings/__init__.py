"""The settings of a process, read from environment variables.

No other module reads environment variables of the project. As-of date, horizon and discount rate
are defaults, which a run can override (`dagster_support.run_window`).
"""

from retail_pipeline.settings.model import (
    KEY_OF_PROCESS,
    AirbyteSettings,
    Settings,
)
from retail_pipeline.settings.sources import (
    ApiSource,
    FileSource,
    SimulatorSource,
    Source,
    TablesSource,
    hostname_of,
)
from retail_pipeline.settings.values import (
    CODE_LISTS,
    DEFAULT_HORIZON_DAYS,
    LONGEST_HORIZON_DAYS,
    NO_CODES,
    PROJECT_ROOT,
    SHORTEST_SUPPRESSION_KEY,
    TEAMS,
    TODAY,
    AirbyteMode,
    DiscountRate,
    Engine,
    Environment,
    Horizon,
    Scheduler,
    parse_as_of,
    parse_code_list,
    parse_discount_rate,
    parse_file,
    parse_lake,
    parse_source,
    with_reading,
)

__all__ = [
    "CODE_LISTS",
    "DEFAULT_HORIZON_DAYS",
    "KEY_OF_PROCESS",
    "LONGEST_HORIZON_DAYS",
    "NO_CODES",
    "PROJECT_ROOT",
    "SHORTEST_SUPPRESSION_KEY",
    "TEAMS",
    "TODAY",
    "AirbyteMode",
    "AirbyteSettings",
    "ApiSource",
    "DiscountRate",
    "Engine",
    "Environment",
    "FileSource",
    "Horizon",
    "Scheduler",
    "Settings",
    "SimulatorSource",
    "Source",
    "TablesSource",
    "hostname_of",
    "parse_as_of",
    "parse_code_list",
    "parse_discount_rate",
    "parse_file",
    "parse_lake",
    "parse_source",
    "with_reading",
]
