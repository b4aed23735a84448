#!/bin/bash
# test_bad_videos.sh PROGRAM: makes the bad videos in a folder of its own and runs PROGRAM (test_bad_videos.c) on them.
set -u
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 1
trap 'chmod -R u+rw "$dir" 2>/dev/null; rm -rf "$dir"' EXIT
"$here/make_bad_videos.sh" "$dir" || exit $?
"$1" "$dir" "$here/expected_status.tsv"
