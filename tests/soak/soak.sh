#!/usr/bin/env bash
# Run the soak on every supported interpreter that is here: soak.sh all|slice [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."

export FLOR_SOAK="$1"
shift
export FLOR_TRACE_BUILD_NATIVE=require
unset PYTEST_ADDOPTS # of whoever calls this; it may name plugins that are not here
# What flor_trace needs to rewrite and to count, and what the suites need.
needs="bytecode==0.19.1 xxhash pytest>=8.2 hypothesis>=6.100 mpmath<1.4 markupsafe trio"
packages="toolz boltons tinydb"
if [ "$FLOR_SOAK" = all ]; then
  needs="$needs numpy zstandard GitPython numba jax beartype pydantic typeguard attrs"
  packages=$(sed -n 's/^\([a-z].*\)==.*/\1/p' tests/soak/soak_sdists.txt)
fi

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
  if [ "$(cat "$venv/needs" 2>/dev/null)" != "$needs" ]; then
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $needs
    echo "$needs" > "$venv/needs"
  fi
  # From the checkout, with the extension built in place.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
done
[ -n "$found" ] || { echo "none of the interpreters is here"; exit 1; }

# shellcheck disable=SC2086
".soak/py${found##* }/bin/python" tests/soak/soak_sdists.py $packages

mkdir -p .soak/reports
run() {
  ".soak/py$1/bin/python" -m pytest tests/soak -q -p no:cacheprovider "${@:2}"
}
failed=""
if [ "$FLOR_SOAK" = all ]; then
  for version in $found; do
    run "$version" "$@" || failed="$failed $version"
  done
else # at once: it is CI that waits
  for version in $found; do
    run "$version" "$@" > ".soak/reports/$version.log" 2>&1 &
    echo $! > ".soak/reports/$version.pid"
  done
  for version in $found; do
    wait "$(cat ".soak/reports/$version.pid")" || failed="$failed $version"
    cat ".soak/reports/$version.log"
  done
fi
[ -z "$failed" ] || { echo "the soak failed on$failed"; exit 1; }
