#!/bin/sh
# Generates the Python stubs from the contract.
#
#   proto/generate.sh          writes proto/gen/python
#   proto/generate.sh --check  writes nothing; fails with the difference when the stubs are not those of the contract
#
# The generator lives in an environment of its own (.build/protoenv), made at the first run, because its runtime is
# older than ours on purpose: code that an older generator wrote runs on a wider range of runtimes.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
env=$root/.build/protoenv
stubs=$root/proto/gen/python

tools="grpcio-tools==1.78.0 mypy-protobuf==5.1.0"
if [ "$(cat "$env/gatewayd-tools" 2>/dev/null || true)" != "$tools" ]; then
    [ -x "$env/bin/python" ] || python3 -m venv "$env"
    # grpc_tools asks setuptools for the place of its own includes.
    # shellcheck disable=SC2086
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check $tools "setuptools<81"
    printf '%s' "$tools" > "$env/gatewayd-tools"
fi

# generate DIRECTORY: the stubs of the whole contract into an empty directory.
generate() {
    (
        cd "$root/proto"
        all=$(find gateway -name '*.proto' | LC_ALL=C sort)
        services=$(find gateway -name '*_service.proto' | LC_ALL=C sort)
        PATH=$env/bin:$PATH
        export PATH
        # shellcheck disable=SC2086
        python -W ignore -m grpc_tools.protoc -I . --python_out="$1" --mypy_out="$1" $all 2>"$1.log" || { cat "$1.log" >&2; exit 1; }
        # shellcheck disable=SC2086
        python -W ignore -m grpc_tools.protoc -I . --grpc_python_out="$1" --mypy_grpc_out="$1" $services 2>"$1.log" || { cat "$1.log" >&2; exit 1; }
    )
    find "$1/gateway" -type d -exec touch '{}/__init__.py' ';'
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/new"
generate "$scratch/new"

if [ "${1:-}" = "--check" ]; then
    if ! diff -r -u --exclude=__pycache__ "$stubs" "$scratch/new"; then
        echo "the stubs are not those of the contract: run proto/generate.sh" >&2
        exit 1
    fi
    exit 0
fi
mkdir -p "$stubs"
rm -rf "$stubs/gateway"
mv "$scratch/new/gateway" "$stubs/gateway"
