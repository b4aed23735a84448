#!/bin/bash
# A training on the emulated GPU in which one call fails, the first, or the hundredth, or ...: it ends with a message and an exit code, leaves nothing half-written, and the same command then learns to the same bits what it learns undisturbed.
# usage: gpu_faults.sh MAKE_STORE MODULE [--count N] [--seed S]      N of the calls, evenly spread from a place that S says (default: 10, 1)
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
make_store=$1
export UNMASK_CUDA_MODULE=$2
shift 2
count=10 seed=1
while [ $# -gt 0 ]; do
    case $1 in
    --count) count=$2 ;;
    --seed) seed=$2 ;;
    *) fail "usage: gpu_faults.sh MAKE_STORE MODULE [--count N] [--seed S]" ;;
    esac
    shift 2
done
cd "$work"
"$make_store" root store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
train=("$UNMASK" train --store store --folds folds.csv --fold 3 --set encoder=w0.1d0.1 --set size=32 --seed 7 --set batches_per_epoch=3 --set optimizer.batch_size=2 --set optimizer.schedule.epochs=1 --set ema=0.9 --checkpoint-steps 1 --device gpu)
rc 0 "${train[@]}" -o whole

# Does a run with this call failing fail?
fails_at() {
    rm -rf probe
    ! EMU_FAIL_AT=$1 "${train[@]}" -o probe >/dev/null 2>&1
}
# How many calls there are: the last that can fail a run. Those of the end, where memory is given back, fail nothing.
low=1 high=2
while fails_at $high; do
    low=$high
    high=$((2 * high))
done
while [ $((high - low)) -gt $((high / 20 + 1)) ]; do
    middle=$(((low + high) / 2))
    if fails_at $middle; then low=$middle; else high=$middle; fi
done

for ((i = 0; i < count; i++)); do
    at=$((1 + (i * low + seed * 7919 % low) / count))
    rm -rf run
    got=0
    EMU_FAIL_AT=$at "${train[@]}" -o run >out 2>err || got=$?
    case $got in
    0) ;; # of the end, or one that is not needed
    70 | 74 | 75 | 78) grep -q "error: " err || fail "call $at: exit code $got without a word: $(cat err)" ;;
    *) fail "call $at: exit code $got: $(cat err)" ;;
    esac
    rc 0 "${train[@]}" -o run
    cmp whole/seed7.h5 run/seed7.h5 || fail "call $at: other bits after it"
done
echo "$count of about $low calls, one after the other: each failed in order, and the same command learned the same"
