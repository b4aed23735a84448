#!/bin/bash
# The demo from end to end, small: a data set of forgeries, preprocessed on two ranks, an ensemble trained, a person scored that it never saw, with something to look at in the end.
set -euo pipefail
program=${UNMASK_BUILD:?}/unmask
for file in "${UNMASK_SOURCE:?}"/share/unmask/portraits/{eileen_collins.png,barack_obama.jpg,joe_biden.jpg,grace_hopper.jpg} \
    "$UNMASK_BUILD/share/unmask/mtcnn.h5"; do
    [ -f "$file" ] || { echo "skipped: $file is missing; scripts/setup brings it"; exit 77; }
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/unmask-demo.XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$UNMASK_SOURCE/scripts/demo" --short --program "$program" --keep "$dir/demo" >"$dir/out" || fail "the demo ended with $?: $(tail -n 20 "$dir/out")"
tail -n 1 "$dir/out" | grep -qE '^RESULT videos=4 auc=[01]\.[0-9]{3} logloss=[0-9]+\.[0-9]{3} baseline_auc=[01]\.[0-9]{3} seconds=[0-9]+$' || fail "the last line is: $(tail -n 1 "$dir/out")"

videos=$(find "$dir/demo/data" -name '*.mp4' | wc -l)
[ "$videos" -ge 8 ] || fail "$videos videos made, fewer than one original and one fake for each of four parts"
[ "$(wc -l <"$dir/demo/folds.csv")" -gt 8 ] || fail "folds.csv has fewer rows than videos"
[ "$(cut -d, -f6 "$dir/demo/folds.csv" | tail -n +2 | sort -u | wc -l)" = 4 ] || fail "folds.csv does not have four folds"
pictures=$(find "$dir/demo/pictures" -name '*.png' | wc -l)
[ "$pictures" -gt 0 ] || fail "no picture to look at"
[ -f "$dir/demo/store/index.h5" ] || fail "no index.h5"
[ "$(wc -l <"$dir/demo/scores.csv")" = 5 ] || fail "scores.csv does not have a row for each of 4 videos"
[ "$(cut -d, -f1 "$dir/demo/scores.csv" | grep -c dfdc_train_part_3)" = 4 ] || fail "others than the fourth person's videos were scored"
grep -q dfdc_train_part_3 "$dir/demo/held_back.txt" && fail "the fourth person chooses the epoch"
[ "$(wc -l <"$dir/demo/held_back.txt")" = 6 ] || fail "not an original and a fake of each of three people are held back"
for curve in roc calibration loss; do [ -s "$dir/demo/curves/$curve.svg" ] || fail "no $curve.svg"; done
cut -d, -f2 "$dir/demo/scores.csv" | grep -qE '^(real|fake)$' || fail "no video has a verdict"

# A run that learned nothing fails where it is judged, and this one was too short to learn.
status=0
python3 "$UNMASK_SOURCE/scripts/demo_result.py" "$dir/demo/ensemble.json" "$dir/demo/baseline.json" 1 --judge >/dev/null 2>"$dir/err" || status=$?
[ "$status" = 1 ] || fail "what learned nothing is judged with $status: $(cat "$dir/demo/ensemble.json")"
grep -q "learned nothing" "$dir/err" || fail "nothing learned is not told"

# It empties only what it made itself.
mkdir "$dir/mine"
: >"$dir/mine/precious"
status=0
"$UNMASK_SOURCE/scripts/demo" --short --program "$program" --keep "$dir/mine" >/dev/null 2>&1 || status=$?
[ "$status" = 2 ] || fail "a folder that is not the demo's gives exit code $status instead of 2"
[ -e "$dir/mine/precious" ] || fail "a folder that is not the demo's was emptied"
