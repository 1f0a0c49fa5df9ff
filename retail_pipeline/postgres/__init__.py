"""PostgreSQL for every stage: the server, the connection, the migrations and the table I/O.

`open_database` returns a stage's `Database`. The package does not depend on any stage.
"""

from retail_pipeline.postgres.database import Database
from retail_pipeline.postgres.open import open_database
from retail_pipeline.postgres.session import Role

__all__ = ["Database", "Role", "open_database"]
