"""PostgreSQL below every stage: the server, the connection, the migrations and the table I/O.

`Database` is what the stages use. Nothing here knows a retail word or a stage.
"""

from retail_pipeline.postgres.database import Database

__all__ = ["Database"]
