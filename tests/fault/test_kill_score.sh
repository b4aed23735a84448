#!/bin/bash
# Ten kills with fixed seeds of scoring with a stand-in for models and decoder; kill_score.py --count does more, and takes the real program.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
double=${1:?usage: test_kill_score.sh UNMASK_DOUBLE}
mkdir "$work/videos"
for i in $(seq 80); do printf 'video %d' "$i" >"$work/videos/v$i.mp4"; done
printf 'BAD' >"$work/videos/bad.mp4"
UNMASK_DOUBLE_MS=20 python3 "$(dirname "$0")/kill_score.py" --unmask "$double" --count 10 --seed 1 --work "$work/kills" "$work/videos"
