#!/usr/bin/env bash
# Makes .venv from requirements.lock. Used by `make setup`; does nothing when .venv is up to date.
# Every package is checked against its hash. The CUDA libraries are installed only when torch is a CUDA build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { echo "setup: $1" >&2; exit 2; }

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "Timbre is set up on Linux x86-64 only; this is $(uname -s) $(uname -m)"
for tool in git npm; do
  command -v "$tool" >/dev/null || fail "$tool is missing; install it (Debian: apt-get install $tool) and try again"
done

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
  if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 is missing; install one, or name it: make setup PYTHON=/path/to/python"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module (Debian: apt-get install python3-venv)"

wanted=$( (cat requirements.lock pyproject.toml infra/install.sh; "$python" -V; pwd) | sha256sum | cut -d' ' -f1)
[ "$(cat .venv/.installed 2>/dev/null)" = "$wanted" ] && exit 0

echo "setup: installing into .venv (a few minutes the first time)"
# A venv of another Python is made anew, and so is one whose making was interrupted: python comes first there, pip last.
{ .venv/bin/python -c "import sys; sys.exit('$("$python" -c 'import sys; print(sys.version)' | head -1)' != sys.version.splitlines()[0])" \
  && .venv/bin/python -m pip --version; } >/dev/null 2>&1 \
  || { rm -rf .venv; "$python" -m venv .venv; }
rm -f .venv/.installed
# A build of torch kept in the folders of PIP_FIND_LINKS (a CPU wheel) goes first, if the lock knows its hash.
lock() { awk -v only="$1" '/^[a-z]/ {on = ($0 ~ "^(uv|torch)==") == only} on' requirements.lock; }
lock 1 >.venv/first.lock
lock 0 >.venv/rest.lock
tag=$(.venv/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
for folder in ${PIP_FIND_LINKS:-}; do
  for wheel in "$folder"/torch-*-"$tag"-"$tag"-*x86_64.whl; do
    if [ -f "$wheel" ] && grep -q "$(sha256sum "$wheel" | cut -d' ' -f1)" .venv/first.lock; then
      .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index "$wheel"
      awk '/^[a-z]/ {on = /^uv==/} on' requirements.lock >.venv/first.lock
    fi
  done
done
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/first.lock

# uv follows the same package index and certificates that pip was told about.
export UV_SYSTEM_CERTS=1
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
install() { .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps "$@"; }
install --require-hashes -r .venv/rest.lock
if .venv/bin/python -c 'from importlib.metadata import requires; import sys; sys.exit(not any(r.startswith("nvidia") for r in requires("torch") or []))'; then
  echo "setup: torch is a CUDA build, installing its libraries"
  sed -E "s/ ; (.*) and extra == 'cuda' / ; \1 /; s/ ; extra == 'cuda' / /" .venv/rest.lock >.venv/cuda.lock
  install --require-hashes -r .venv/cuda.lock
fi
install --no-build-isolation --editable .
# uv leaves no bytecode, and where PYTHONDONTWRITEBYTECODE is set every command would compile what it imports anew.
# A package may carry files for another Python, which do not compile.
.venv/bin/python -m compileall -q -j 0 "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')" >/dev/null 2>&1 || true
.venv/bin/python -m compileall -q timbre cli flows tasks
echo "$wanted" >.venv/.installed
