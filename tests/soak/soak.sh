#!/usr/bin/env bash
# Run the soak on every supported interpreter that is here: soak.sh all|slice [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."

export FLOR_SOAK="$1"
shift
export FLOR_TRACE_BUILD_NATIVE=require
needs="bytecode==0.19.1 xxhash pytest>=8.2 hypothesis>=6.100 mpmath<1.4 markupsafe trio"
compiled="numpy numba jax beartype pydantic typeguard attrs"
failed=""
found=""

for version in ${SOAK_VERSIONS:-3.11 3.12 3.13}; do
  python=""
  # a name on the PATH may be a shim without an interpreter behind it
  for candidate in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
    if "$candidate" -c "import ensurepip" 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "python$version is not here: skipped"
    continue
  fi
  found="$found $version"
  venv=".soak/py$version"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  wanted="$needs"
  [ "$FLOR_SOAK" = slice ] || wanted="$needs $compiled"
  if [ "$(cat "$venv/needs" 2>/dev/null)" != "$wanted" ]; then
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $wanted
    echo "$wanted" > "$venv/needs"
  fi
  # From the checkout, with the extension built in place.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
  "$venv/bin/python" -m pytest tests/soak -p no:cacheprovider "$@" || failed="$failed $version"
done

[ -n "$found" ] || { echo "none of the interpreters is here"; exit 1; }
[ -z "$failed" ] || { echo "the soak failed on$failed"; exit 1; }
