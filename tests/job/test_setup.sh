#!/bin/bash
# scripts/setup without a network: it says which file to bring, takes what was brought, and refuses what is not the pinned file.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/unmask-setup.XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
fail() { echo "FAILED: $*"; cat "$dir/out"; exit 1; }

mkdir "$dir/tree" "$dir/brought"
cp -r "${UNMASK_SOURCE:?}/scripts" "$dir/tree/scripts"
export PIP_NO_INDEX=1 PIP_FIND_LINKS="$dir/brought" UNMASK_DOWNLOADS="$dir/brought"
setup() {
    status=0
    "$dir/tree/scripts/setup" --no-packages "$@" >"$dir/out" 2>&1 || status=$?
}

wheel=$(python3 "$dir/tree/scripts/fetch.py" --print facenet-pytorch)
wheel=${wheel##*/}
setup
[ "$status" = 78 ] || fail "exit code $status instead of 78"
[ "$(grep -c '^    sha256 ' "$dir/out")" = 4 ] || fail "it does not name the four files to bring"
setup --no-portraits
[ "$status" = 78 ] || fail "exit code $status instead of 78"
grep -qF "$wheel" "$dir/out" || fail "it does not name the weights' file"
[ "$(grep -c '^    sha256 ' "$dir/out")" = 1 ] || fail "it asks for more than the weights"

echo "not the weights" >"$dir/brought/$wheel"
setup --no-portraits
[ "$status" = 78 ] || fail "a file with another hash gives exit code $status instead of 78"
grep -qF "does not have the pinned hash" "$dir/out" || fail "it does not say that the file is not the right one"
setup --nonsense
[ "$status" = 2 ] || fail "an unknown option gives exit code $status instead of 2"

fetched=$UNMASK_SOURCE/share/unmask/downloads
if [ "$(find "$fetched" -type f 2>/dev/null | wc -l)" -lt 4 ]; then
    echo "scripts/setup has not fetched all files here: the rest was not looked at"
    exit 0
fi
rm "$dir/brought/$wheel"
ln -s "$fetched"/* "$dir/brought/"
setup
[ "$status" = 0 ] || fail "with all files brought the exit code is $status"
[ "$(find "$dir/tree/share/unmask/portraits" -type f | wc -l)" = 4 ] || fail "there are not four portraits"
# From now on they are kept.
UNMASK_DOWNLOADS='' PIP_FIND_LINKS='' setup
[ "$status" = 0 ] || fail "with everything there the exit code is $status"
