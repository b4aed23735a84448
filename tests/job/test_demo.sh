#!/bin/bash
# The demo from end to end, small: a data set of forgeries, preprocessed on two ranks, with something to look at in the end.
set -euo pipefail
program=${UNMASK_BUILD:?}/unmask
for file in "${UNMASK_SOURCE:?}"/share/unmask/portraits/{eileen_collins.png,barack_obama.jpg,joe_biden.jpg,grace_hopper.jpg} \
    "$UNMASK_BUILD/share/unmask/mtcnn.h5"; do
    [ -f "$file" ] || { echo "skipped: $file is missing; scripts/setup brings it"; exit 77; }
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/unmask-demo.XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$UNMASK_SOURCE/scripts/demo" --short --program "$program" --keep "$dir/demo" || fail "the demo ended with $?"

videos=$(find "$dir/demo/data" -name '*.mp4' | wc -l)
[ "$videos" -ge 8 ] || fail "$videos videos made, fewer than one original and one fake for each of four parts"
[ "$(wc -l <"$dir/demo/folds.csv")" -gt 8 ] || fail "folds.csv has fewer rows than videos"
[ "$(cut -d, -f6 "$dir/demo/folds.csv" | tail -n +2 | sort -u | wc -l)" = 4 ] || fail "folds.csv does not have four folds"
pictures=$(find "$dir/demo/pictures" -name '*.png' | wc -l)
[ "$pictures" -gt 0 ] || fail "no picture to look at"
[ -f "$dir/demo/store/index.h5" ] || fail "no index.h5"
[ "$(wc -l <"$dir/demo/scores.csv")" = $((videos + 1)) ] || fail "scores.csv does not have a row for each of $videos videos"
cut -d, -f2 "$dir/demo/scores.csv" | grep -qE '^(real|fake)$' || fail "no video has a verdict"

# It empties only what it made itself.
mkdir "$dir/mine"
: >"$dir/mine/precious"
status=0
"$UNMASK_SOURCE/scripts/demo" --short --program "$program" --keep "$dir/mine" >/dev/null 2>&1 || status=$?
[ "$status" = 2 ] || fail "a folder that is not the demo's gives exit code $status instead of 2"
[ -e "$dir/mine/precious" ] || fail "a folder that is not the demo's was emptied"
