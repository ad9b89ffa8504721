#!/bin/sh
# Judges the contract: `buf lint`, and `buf breaking` against the last release (the last tag that can be reached).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
buf=$root/.build/buf/node_modules/.bin/buf

version=1.75.0
if [ "$("$buf" --version 2>/dev/null || true)" != "$version" ]; then
    npm install --silent --no-fund --no-audit --no-package-lock --prefix "$root/.build/buf" "@bufbuild/buf@$version"
fi

cd "$root"
"$buf" lint proto

last=$(git describe --tags --abbrev=0 2>/dev/null || true)
if [ -z "$last" ]; then
    echo "buf breaking: there is no release tag yet, so there is nothing that a change could break"
elif ! git cat-file -e "$last:proto/buf.yaml" 2>/dev/null; then
    echo "buf breaking: release $last has no contract, so there is nothing that a change could break"
else
    "$buf" breaking proto --against ".git#ref=$last,subdir=proto"
    echo "buf breaking: nothing that $last promised is broken"
fi
