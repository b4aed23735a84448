#!/bin/bash
# test_malloc_fault.sh LIBRARY: a few allocations of our own code fail, in each command; malloc_fault.py --stride 1 does all.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
need_detector
need_portraits
weights=("$UNMASK_SOURCE"/share/unmask/downloads/facenet_pytorch-*.whl)
[ -e "${weights[0]}" ] || weights=()
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o "$work/root" --parts 1 --originals 2 --fakes 1 --seconds 0.5 --size 320x240 --strength visible --seed 5
python3 "$(dirname "$0")/malloc_fault.py" --library "$1" --root "$work/root" --picture "${portraits[0]}" ${weights:+--weights "${weights[0]}"} --count "${2:-4}" --work "$work"
