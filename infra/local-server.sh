#!/usr/bin/env bash
# Server mode on one machine without containers: what infra/compose.yaml starts, from Debian's PostgreSQL and from packages.
#
#     infra/local-server.sh up                  PostgreSQL, S3 (SeaweedFS), MLflow with sign-in, Prefect, a worker; all on loopback
#     infra/local-server.sh status              what runs and where; exit code 1 if anything is down
#     infra/local-server.sh run timbre deploy   a command that sees these servers as the worker does
#     infra/local-server.sh down                ends what `up` started, and nothing else; data and passwords stay
#
# Everything lies in $TIMBRE_HOME/server (default .timbre/server): data, logs, passwords made at the first start. `up` again starts
# what is down. Ports are free ones, kept from one start to the next; PREFECT_PORT, MLFLOW_PORT, DATABASE_PORT and STORAGE_PORT
# choose others. PostgreSQL refuses to run as root: then it runs as DATABASE_OS_USER (default postgres, else nobody), who must be
# able to reach that folder.
set -euo pipefail
HERE=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ROOT=$PWD
BIN=${TIMBRE_BIN:-$ROOT/.venv/bin}
export TIMBRE_HOME=$(cd "$HERE" && realpath -m "${TIMBRE_HOME:-$ROOT/.timbre}")
STATE=$TIMBRE_HOME/server
SERVICES=(database storage mlflow prefect worker)
PORTS=(database storage master master_grpc volume volume_grpc filer filer_grpc storage_grpc mlflow prefect worker)
START_SECONDS=${START_SECONDS:-300}

fail() { echo "local-server: $1" >&2; exit 2; }

# --- who is ours: process id and start time in run/NAME, a mark in the environment of everything that a service starts ---

started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'; }

alive() {
  local pid since
  [ -f "$STATE/run/$1" ] || return 1
  read -r pid since <"$STATE/run/$1"
  [ -n "$since" ] && [ "$(started "$pid")" = "$since" ]
}

mark() { echo "$STATE:$1"; }

# start NAME COMMAND…: in a session of its own; its secrets are read from files by entrypoint.sh.
start() {
  local name=$1
  shift
  SECRETS=$STATE/secrets TIMBRE_LOCAL_SERVER=$(mark "$name") setsid infra/entrypoint.sh "$@" </dev/null >>"$STATE/logs/$name.log" 2>&1 &
  echo "$! $(started $!)" >"$STATE/run/$name"
}

# stop NAME: first what it started, then itself, then whatever is left; end_group asks, insists and kills.
stop() {
  local name=$1 pid=0 since=
  [ ! -f "$STATE/run/$name" ] || read -r pid since <"$STATE/run/$name"
  alive "$name" || pid=0
  if [ "$name" = database ] && [ "$pid" != 0 ]; then
    kill -INT "$pid" # PostgreSQL's fast shutdown: it ends its own processes
    for _ in $(seq 100); do alive database || break; sleep 0.1; done
  fi
  "$BIN/python" - "$(mark "$name")" "$pid" "$name" <<'PY'
import sys
from timbre.tasks.stores.processes import end_group
mark, leader, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if name == "worker":
    end_group(mark, variable="TIMBRE_LOCAL_SERVER", spare=leader)
end_group(mark, variable="TIMBRE_LOCAL_SERVER")
PY
  rm -f "$STATE/run/$name"
}

stop_begun() {
  local index
  for ((index = ${#begun[@]} - 1; index >= 0; index--)); do stop "${begun[index]}"; done
}

# await NAME URL: until it answers.
await() {
  local name=$1 url=$2 deadline=$((SECONDS + START_SECONDS))
  until "$BIN/python" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)' "$url" 2>/dev/null; do
    alive "$name" || fail "$name ended while it was starting; see $STATE/logs/$name.log"
    [ "$SECONDS" -lt "$deadline" ] || fail "$name did not answer in $START_SECONDS s; see $STATE/logs/$name.log"
    sleep 0.5
  done
}

# --- passwords, ports, programs ---

make_secrets() {
  (
    umask 077
    mkdir -p "$STATE/secrets"
    for name in database_password mlflow_password mlflow_session_key storage_user storage_password prefect_auth; do
      [ -s "$STATE/secrets/$name" ] || {
        value=$("$BIN/python" -c 'import secrets; print(secrets.token_hex(24))')
        [ "$name" != prefect_auth ] || value=timbre:$value
        printf %s "$value" >"$STATE/secrets/$name"
      }
    done
  )
}

# A port that is asked for, else the one of the last start if it is free still, else any free one.
choose_ports() {
  [ ! -f "$STATE/ports" ] || . "$STATE/ports"
  "$BIN/python" - "$STATE/ports" "$(running_services)" "${PORTS[@]}" <<'PY'
import os, socket, sys
from pathlib import Path
file, running, names = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
kept = dict(line.split("=") for line in file.read_text().splitlines()) if file.exists() else {}
owner = {name: "storage" if name in ("storage_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc") else name for name in names}
probes, chosen = [], {}
def taken(port):
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return None
    probes.append(probe)
    return probe.getsockname()[1]
for name in names:
    asked, last = os.environ.get(f"{name.upper()}_PORT"), kept.get(f"PORT_{name}")
    if owner[name] in running and last:
        chosen[name] = int(last)
    elif asked:
        if taken(int(asked)) is None:
            sys.exit(f"local-server: port {asked} is in use; set {name.upper()}_PORT to another one")
        chosen[name] = int(asked)
    else:
        chosen[name] = (taken(int(last)) if last else None) or taken(0)
file.write_text("".join(f"PORT_{name}={port}\n" for name, port in chosen.items()))
PY
  . "$STATE/ports"
}

running_services() {
  local name
  for name in "${SERVICES[@]}"; do ! alive "$name" || printf '%s ' "$name"; done
}

postgres_programs() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
  [ -n "$found" ] && [ -x "$found/initdb" ] || fail "PostgreSQL is missing; install it (Debian: apt-get install postgresql) and try again"
  echo "$found"
}

# What the commands that use these servers have in their environment; secrets by the names of their files only.
client_environment() {
  export PREFECT_API_URL=http://127.0.0.1:$PORT_prefect/api PREFECT_API_AUTH_STRING_FILE=$STATE/secrets/prefect_auth
  export TIMBRE_MLFLOW_TRACKING_URI=http://127.0.0.1:$PORT_mlflow MLFLOW_TRACKING_USERNAME=admin
  export MLFLOW_TRACKING_PASSWORD_FILE=$STATE/secrets/mlflow_password
  export TIMBRE_LEDGER_URL=postgresql+psycopg2://timbre@127.0.0.1:$PORT_database/ledger PGPASSWORD_FILE=$STATE/secrets/database_password
  export TIMBRE_DATA_REGISTRY=${TIMBRE_DATA_REGISTRY:-$TIMBRE_HOME/registry} TIMBRE_DATA_REMOTE=s3://timbre-data
  storage_environment
}

storage_environment() {
  export AWS_ENDPOINT_URL=http://127.0.0.1:$PORT_storage AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
  export AWS_ACCESS_KEY_ID_FILE=$STATE/secrets/storage_user AWS_SECRET_ACCESS_KEY_FILE=$STATE/secrets/storage_password
}

quiet_environment() {
  export PATH=$BIN:$PATH PYTHONUNBUFFERED=1 PREFECT_HOME=$TIMBRE_HOME/prefect PREFECT_SERVER_ANALYTICS_ENABLED=false
  export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false MLFLOW_ENABLE_ASYNC_TRACE_LOGGING=false
  export PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 GX_ANALYTICS_ENABLED=false DVC_NO_ANALYTICS=1 DO_NOT_TRACK=1 TOKENIZERS_PARALLELISM=false
  export NO_PROXY=127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY} no_proxy=127.0.0.1,localhost${no_proxy:+,$no_proxy}
}

# --- the services, in the order in which they need each other ---

up_database() {
  local programs user=() data=$STATE/database/data owner
  programs=$(postgres_programs)
  mkdir -p "$STATE/database"
  if [ "$(id -u)" = 0 ]; then
    owner=${DATABASE_OS_USER:-$(id -un postgres 2>/dev/null || echo nobody)}
    [ "$(id -u "$owner")" != 0 ] || fail "PostgreSQL must not run as root: set DATABASE_OS_USER to another user"
    chown "$owner" "$STATE/database"
    user=(setpriv --reuid "$owner" --regid "$(id -gn "$owner")" --clear-groups --inh-caps=-all --no-new-privs)
    (cd / && "${user[@]}" test -w "$STATE/database") \
      || fail "$owner cannot reach $STATE/database: let TIMBRE_HOME lie where others may enter (chmod o+x its parents), or set DATABASE_OS_USER"
  fi
  if [ ! -f "$data/PG_VERSION" ]; then
    rm -rf "$data" "$data.new"
    install -m 600 ${owner:+-o "$owner"} "$STATE/secrets/database_password" "$STATE/database/password"
    (cd / && "${user[@]}" "$programs/initdb" --pgdata "$data.new" --username timbre --auth scram-sha-256 --encoding UTF8 --locale C \
      --pwfile "$STATE/database/password") >>"$STATE/logs/database.log" 2>&1 || { rm -f "$STATE/database/password"; fail "PostgreSQL could not be set up; see $STATE/logs/database.log"; }
    rm -f "$STATE/database/password"
    mv "$data.new" "$data"
  fi
  start database "${user[@]}" "$programs/postgres" -D "$data" -p "$PORT_database" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200
  local deadline=$((SECONDS + START_SECONDS))
  until "$programs/pg_isready" --quiet --host 127.0.0.1 --port "$PORT_database"; do
    alive database || fail "database ended while it was starting; see $STATE/logs/database.log"
    [ "$SECONDS" -lt "$deadline" ] || fail "database did not answer in $START_SECONDS s; see $STATE/logs/database.log"
    sleep 0.2
  done
  local psql=(infra/entrypoint.sh "$programs/psql" --no-psqlrc --quiet --host 127.0.0.1 --port "$PORT_database" --username timbre --dbname postgres)
  local line
  while read -r line; do
    [[ $line == "CREATE DATABASE "* ]] || continue
    SECRETS=$STATE/secrets PGPASSWORD_FILE=$STATE/secrets/database_password "${psql[@]}" --tuples-only --no-align \
      --command "SELECT 1 FROM pg_database WHERE datname = '$(sed 's/CREATE DATABASE \(.*\);/\1/' <<<"$line")'" | grep -q 1 \
      || SECRETS=$STATE/secrets PGPASSWORD_FILE=$STATE/secrets/database_password "${psql[@]}" --command "$line"
  done <infra/databases.sql
}

up_storage() (
  mkdir -p "$STATE/storage"
  storage_environment # its keys are those of the clients
  start storage "$BIN/weed" -logtostderr=true server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$STATE/storage" -master.telemetry=false \
    -master.port="$PORT_master" -master.port.grpc="$PORT_master_grpc" -master.volumeSizeLimitMB=512 -volume.max=0 \
    -volume.port="$PORT_volume" -volume.port.grpc="$PORT_volume_grpc" -filer -filer.port="$PORT_filer" -filer.port.grpc="$PORT_filer_grpc" \
    -s3 -s3.port="$PORT_storage" -s3.port.grpc="$PORT_storage_grpc" -s3.port.iceberg=0 -s3.port.lance=0
  await storage "http://127.0.0.1:$PORT_storage/healthz"
  SECRETS=$STATE/secrets infra/entrypoint.sh "$BIN/python" infra/buckets.py timbre-data timbre-mlflow >/dev/null \
    || fail "the buckets could not be made; see $STATE/logs/storage.log"
)

begin_mlflow() (
  sed "s/@database:5432/@127.0.0.1:$PORT_database/" mlflow/basic_auth.ini >"$STATE/basic_auth.ini"
  storage_environment
  export MLFLOW_AUTH_CONFIG_PATH=$STATE/basic_auth.ini MLFLOW_AUTH_ADMIN_PASSWORD_FILE=$STATE/secrets/mlflow_password
  export MLFLOW_FLASK_SERVER_SECRET_KEY_FILE=$STATE/secrets/mlflow_session_key MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
  export PGPASSWORD_FILE=$STATE/secrets/database_password
  start mlflow "$BIN/mlflow" server --app-name=basic-auth --host=127.0.0.1 --port="$PORT_mlflow" --workers=1 \
    --backend-store-uri="postgresql+psycopg2://timbre@127.0.0.1:$PORT_database/mlflow" --artifacts-destination=s3://timbre-mlflow \
    --allowed-hosts="127.0.0.1:*,localhost:*"
)

begin_prefect() (
  export PREFECT_SERVER_DATABASE_DRIVER=postgresql+asyncpg PREFECT_SERVER_DATABASE_HOST=127.0.0.1 PREFECT_SERVER_DATABASE_PORT=$PORT_database
  export PREFECT_SERVER_DATABASE_USER=timbre PREFECT_SERVER_DATABASE_NAME=prefect
  export PREFECT_SERVER_DATABASE_PASSWORD_FILE=$STATE/secrets/database_password
  export PREFECT_SERVER_API_AUTH_STRING_FILE=$STATE/secrets/prefect_auth PREFECT_SERVER_UI_API_URL=http://127.0.0.1:$PORT_prefect/api
  export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false
  start prefect "$BIN/prefect" server start --host 127.0.0.1 --port "$PORT_prefect"
)

begin_worker() (
  client_environment
  export PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1 PREFECT_WORKER_WEBSERVER_PORT=$PORT_worker
  start worker "$BIN/prefect" worker start --pool "${POOL:-cpu}" --type process --with-healthcheck
)

up() {
  local name
  [ -x "$BIN/weed" ] || fail "the S3 store is missing: make install"
  mkdir -p "$STATE"/{run,logs}
  exec 9>"$STATE/lock"
  flock -n 9 || fail "another \`up\` or \`down\` works on $STATE"
  make_secrets
  choose_ports
  quiet_environment
  begun=()
  trap stop_begun EXIT
  for name in "${SERVICES[@]}"; do
    alive "$name" || stop "$name" # what outlived it
  done
  alive database || { begun+=(database); up_database 9>&-; }
  alive storage || { begun+=(storage); up_storage 9>&-; }
  alive mlflow || { begun+=(mlflow); begin_mlflow 9>&-; }
  alive prefect || { begun+=(prefect); begin_prefect 9>&-; }
  await mlflow "http://127.0.0.1:$PORT_mlflow/health"
  await prefect "http://127.0.0.1:$PORT_prefect/api/health"
  alive worker || { begun+=(worker); begin_worker 9>&-; }
  await worker "http://127.0.0.1:$PORT_worker/health"
  trap - EXIT
  status
}

down() {
  local index
  [ -d "$STATE/run" ] || return 0
  exec 9>"$STATE/lock"
  flock -n 9 || fail "another \`up\` or \`down\` works on $STATE"
  for ((index = ${#SERVICES[@]} - 1; index >= 0; index--)); do stop "${SERVICES[index]}"; done
}

status() {
  local name all=0
  local -A address=()
  if [ -f "$STATE/ports" ]; then
    . "$STATE/ports"
    address=(
      [database]="127.0.0.1:$PORT_database" [storage]="http://127.0.0.1:$PORT_storage" [mlflow]="http://127.0.0.1:$PORT_mlflow (user admin, $STATE/secrets/mlflow_password)"
      [prefect]="http://127.0.0.1:$PORT_prefect ($STATE/secrets/prefect_auth)" [worker]="pool ${POOL:-cpu}"
    )
  fi
  for name in "${SERVICES[@]}"; do
    if alive "$name"; then echo "$name up ${address[$name]}"; else echo "$name down"; all=1; fi
  done | column -t -l 3
  for name in "${SERVICES[@]}"; do alive "$name" || all=1; done
  return "$all"
}

run() {
  [ $# -gt 0 ] || fail "run what? For example: infra/local-server.sh run timbre status"
  [ -f "$STATE/ports" ] || fail "nothing was started in $STATE: infra/local-server.sh up"
  . "$STATE/ports"
  quiet_environment
  client_environment
  cd "$HERE"
  SECRETS=$STATE/secrets exec "$ROOT/infra/entrypoint.sh" "$@"
}

main() {
  case "${1:-}" in
    up | down | status) "$1" ;;
    run) shift; run "$@" ;;
    *) fail "up, status, run COMMAND… or down, not '${1:-}'" ;;
  esac
}

main "$@"; exit # on one line, so that bash reads no further when this file is changed meanwhile
