#!/bin/bash
# Five kills with fixed seeds of training with a stand-in for the network; kill_train.py --count does more, and takes the real program. Every key of the state is in use: accumulated batches, moments, a moving average, frozen epochs,
# checkpoints between epochs.
# usage: test_kill_train.sh UNMASK_TRAIN_DOUBLE MAKE_STORE
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
double=${1:?usage: test_kill_train.sh UNMASK_TRAIN_DOUBLE MAKE_STORE}
"$2" "$work/root" "$work/store" 4 3 2 4
"$UNMASK" folds --store "$work/store" -o "$work/folds.csv" --splits 4 >/dev/null 2>&1
UNMASK_DOUBLE_MS=15 python3 "$(dirname "$0")/kill_train.py" --unmask "$double" --count 5 --seed 1 --work "$work/kills" --store "$work/store" --folds "$work/folds.csv" --options \
    "--set encoder=w0.1d0.1 --set size=32 --set optimizer.batch_size=1 --set accumulate=2 --set optimizer.schedule.epochs=6 --set optimizer.type=AdamW --set optimizer.schedule.type=cosine --set ema=0.9 --freeze-epochs 2 --checkpoint-steps 4"
