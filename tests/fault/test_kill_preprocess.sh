#!/bin/bash
# Ten kills with fixed seeds; kill_preprocess.py --count does more.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
need_detector
need_portraits
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o "$work/root" --parts 2 --originals 5 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 5
python3 "$(dirname "$0")/kill_preprocess.py" --root "$work/root" --count 10 --seed 1 --work "$work"
