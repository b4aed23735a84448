#!/bin/bash
# train: every switch and key that changes what is computed runs, and gives something else than without it.
# usage: test_train_switches.sh MAKE_STORE
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
make_store=${1:?usage: test_train_switches.sh MAKE_STORE}
cd "$work"
"$make_store" root store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
small=(train --store store --folds folds.csv --fold 3 --set encoder=w0.2d0.2 --set size=32 --set drop_path=0 --set fp16=false)
common=("${small[@]}" --deterministic --set optimizer.batch_size=2 --set batches_per_epoch=3 --set optimizer.schedule.epochs=2)
rc 0 "$UNMASK" "${common[@]}" -o x0
i=0
while read -r -a words; do
    i=$((i + 1))
    rc 0 "$UNMASK" "${common[@]}" "${words[@]}" -o "y$i"
    cmp -s x0/seed777/epoch-001.h5 "y$i/seed777/epoch-001.h5" && fail "${words[*]} changes nothing"
done <<'END'
--freeze-epochs 1
--label-smoothing 0.2
--no-oversample
--no-hardcore
--padding-part 4
--seed 1 --prefix 777 --set accumulate=2
--set losses.FocalLoss=1
--set ohem_samples=1
--set optimizer.type=RMSprop --set optimizer.momentum=0
--set optimizer.nesterov=true
--set optimizer.schedule.type=linear --set optimizer.schedule.params.alpha=-0.1
--set optimizer.schedule.mode=epoch --set optimizer.schedule.params.max_iter=2
--set dropout=0.5
--set pairs=true
--set pairs=true --set mixup=1
--set bn_momentum=0.5
--set augment.p_flip=0
--only-changed-frames
--set ema=0.5
--set max_loss=0.6
END
[ -e y6/777seed1/epoch-001.h5 ] || fail "--prefix: $(ls y6)"
echo "all as it should be"
