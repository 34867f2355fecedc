#!/usr/bin/env bash
# Reads secrets from files: for every NAME_FILE=/run/secrets/… in the environment, NAME becomes the content of that file.
# Then runs the command.
set -euo pipefail

while IFS='=' read -r name path; do
  [[ $name == *_FILE && $path == "${SECRETS:-/run/secrets}"/* ]] || continue
  [ -r "$path" ] || { echo "entrypoint: $name names $path, which cannot be read" >&2; exit 2; }
  export "${name%_FILE}=$(<"$path")"
done < <(env)

exec "$@"
