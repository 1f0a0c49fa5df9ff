# Read by master, worker and driver, each on its machine. SPARK_LOCAL_IP, the address of the machine, is
# set by the units and, for the driver, in the pipeline's environment: nothing listens elsewhere.
SPARK_MASTER_HOST="${SPARK_MASTER_HOST:-spark-master.example.org}"
SPARK_MASTER_PORT="${SPARK_MASTER_PORT:-7077}"
SPARK_MASTER_WEBUI_PORT="${SPARK_MASTER_WEBUI_PORT:-8080}"
SPARK_WORKER_PORT="${SPARK_WORKER_PORT:-7077}"
SPARK_WORKER_WEBUI_PORT="${SPARK_WORKER_WEBUI_PORT:-8081}"
SPARK_WORKER_CORES="${SPARK_WORKER_CORES:-4}"
SPARK_WORKER_MEMORY="${SPARK_WORKER_MEMORY:-16g}"
SPARK_WORKER_DIR="${SPARK_WORKER_DIR:-/var/lib/retail/spark/work}"
SPARK_LOCAL_DIRS="${SPARK_LOCAL_DIRS:-/var/lib/retail/spark/scratch}"
# Spark hands it to the executors in their environment, never as an argument.
_SPARK_AUTH_SECRET="$(cat "${SPARK_SECRET_FILE:-/etc/retail/spark-secret}")"
: "${_SPARK_AUTH_SECRET:?is missing: see README.md}"
