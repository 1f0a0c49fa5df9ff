"""The configuration of Superset: loopback, state in one folder, nothing public, nothing cached.

Superset imports it (SUPERSET_CONFIG_PATH); `retail-pipeline bi` sets SUPERSET_HOME to its folder.
What is not set here is as Superset has it.
"""

import copy
import os
from pathlib import Path

from superset.config import DISALLOWED_SQL_FUNCTIONS as _FUNCTIONS
from superset.config import TALISMAN_CONFIG as _TALISMAN
from superset.utils.log import AbstractEventLogger

_HOME = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = (_HOME / "secret.key").read_text().strip()
SQLALCHEMY_DATABASE_URI = f"sqlite:///{_HOME / 'superset.db'}?timeout=60"
UPLOAD_FOLDER = str(_HOME / "uploads") + "/"

# Nobody sees anything without a login, and nobody can create one.
AUTH_USER_REGISTRATION = False
PUBLIC_ROLE_LIKE = None
AUTH_ROLE_PUBLIC = ""
RATELIMIT_ENABLED = True
AUTH_RATE_LIMIT = "10 per minute"
FAB_API_SWAGGER_UI = False

# Plain http on loopback: cookies cannot be `Secure`. Cookies do not separate ports: own name.
SESSION_COOKIE_NAME = "retail_superset"
SESSION_COOKIE_SAMESITE = "Lax"
WTF_CSRF_ENABLED = True
ENABLE_CORS = False
TALISMAN_ENABLED = True
TALISMAN_CONFIG = copy.deepcopy(_TALISMAN)
_POLICY = TALISMAN_CONFIG["content_security_policy"]
# No picture, font or map from another host; the default allows a telemetry pixel.
_POLICY["img-src"] = ["'self'", "blob:", "data:"]
_POLICY["connect-src"] = ["'self'"]
_POLICY["font-src"] = ["'self'"]
_POLICY["style-src"] = ["'self'", "'unsafe-inline'"]

FEATURE_FLAGS = {
    "DASHBOARD_RBAC": True,  # a role sees the dashboards that name it, and no data set besides
    "SQLLAB_BACKEND_PERSISTENCE": False,  # open queries stay in the browser
    "EMBEDDABLE_CHARTS": False,
    "CSS_TEMPLATES": False,
    "DRILL_BY": False,
}

# Every look at a dashboard queries the database, so that nothing has to be forgotten elsewhere.
CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
RESULTS_BACKEND = None


class _NoEvents(AbstractEventLogger):
    """Stores no event: they would name customers, in the addresses of filtered dashboards."""

    def log(self, *args: object, **kwargs: object) -> None:
        """Store nothing."""


EVENT_LOGGER = _NoEvents()

# The database refuses what a reader may not do; these would change or hold its session.
DISALLOWED_SQL_FUNCTIONS = {
    **_FUNCTIONS,
    "postgresql": {*_FUNCTIONS["postgresql"], "set_config", "pg_cancel_backend", "dblink"},
}

SQL_MAX_ROW = 100_000
SQLLAB_TIMEOUT = 60
SUPERSET_WEBSERVER_TIMEOUT = 120
