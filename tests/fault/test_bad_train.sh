#!/bin/bash
# What goes wrong in training, with a stand-in for the network: numbers that are none, a killed rank, signals, damaged checkpoints and crops, a full disk, another configuration. What is kept can be gone on with, to the same bits.
# usage: test_bad_train.sh UNMASK_TRAIN_DOUBLE MAKE_STORE
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
double=${1:?usage: test_bad_train.sh UNMASK_TRAIN_DOUBLE MAKE_STORE}
cd "$work"
"$2" root store 4 3 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
base=(train --store store --folds folds.csv --fold 3 --seed 111 --set encoder=w0.1d0.1 --set size=32 --set optimizer.batch_size=2 --set optimizer.schedule.epochs=5 --set optimizer.learning_rate=0.1)
det=("${base[@]}" --deterministic)

status() { python3 -c 'import json, sys; print(json.load(open(f"{sys.argv[1]}/seed111/status.json"))[sys.argv[2]])' "$@"; }
same() {
    for f in "$1"/seed111.h5 "$1"/seed111/epoch-*.h5; do cmp "$f" "$2/${f#*/}" || fail "$1 and $2 differ in ${f#*/}"; done
    [ "$(find "$1" -name 'epoch-*.h5' | wc -l)" = "$(find "$2" -name 'epoch-*.h5' | wc -l)" ] || fail "$1 and $2 have other epochs"
}

rc 0 "$double" "${det[@]}" -o good
grep -q "WITHOUT --init" err || fail "random first weights are not told of: $(cat err)"
[ "$(cat out)" = "good/seed111.h5" ] || fail "the result is not named: $(cat out)"
[ "$(status good state)/$(status good epochs_done)" = complete/5 ] || fail "status: $(cat good/seed111/status.json)"
for n in 2 4; do
    rc 0 ranks $n "$double" "${det[@]}" -o r$n
    same good r$n
done
rc 2 ranks 3 "$double" "${det[@]}" -o r3
# Complete: the same again is nothing to do.
rc 0 "$double" "${det[@]}" -o good
same good r2

# A killed rank ends the job; the next run goes on.
UNMASK_DOUBLE_KILL=20 ranks 2 "$double" "${det[@]}" -o killed >out 2>&1 && fail "a killed rank goes unnoticed"
find killed/seed111 -name "checkpoint-*.h5" | grep -q . || fail "nothing was kept: $(ls killed/seed111)"
rc 0 ranks 4 "$double" "${det[@]}" -o killed
same good killed

# A signal: kept, 75, and gone on with, in the middle of an epoch; a batch that one rank alone saw the signal in too.
for n in 1 2; do
    UNMASK_DOUBLE_MS=200 ranks $n "$double" "${det[@]}" -o stopped$n >out 2>err &
    pid=$!
    # After the 12th step: in the second epoch.
    for _ in $(seq 600); do
        [ "$(grep -c '"kind": "step"' stopped$n/seed111/log.jsonl 2>/dev/null || true)" -ge 12 ] 2>/dev/null && break
        sleep 0.05
    done
    victim=$(pgrep -n -P "$pid" -f unmask_train_double || pgrep -n -f "unmask_train_double.* stopped$n( |\$)")
    kill -USR1 "$victim"
    got=0
    wait "$pid" || got=$?
    [ "$got" = 75 ] || fail "stopped, but exit code $got: $(cat err)"
    grep -q "run the same command again" err || fail "what to do is not said: $(cat err)"
    [ "$(status stopped$n state)" = stopped ] || fail "status: $(cat stopped$n/seed111/status.json)"
    rc 0 ranks $((3 - n)) "$double" "${det[@]}" -o stopped$n
    same good stopped$n
done

# Damage to the newest checkpoint: the older one serves, with a warning; damage to all is an error, not a new beginning.
cp -r good hurt
newest=$(find hurt/seed111 -name 'checkpoint-*.h5' | sort | tail -1)
printf x | dd of="$newest" bs=1 seek=3000 conv=notrunc 2>/dev/null
rc 0 "$double" "${det[@]}" -o hurt
grep -q "warning.*checkpoint.*checksum" err || fail "damage is not told of: $(cat err)"
grep -q "going on from the older" err || fail "the older one is not named: $(cat err)"
same good hurt
for f in hurt/seed111/checkpoint-*.h5; do truncate -s 1000 "$f"; done
rc 65 "$double" "${det[@]}" -o hurt
grep -q -- "--fresh" err || fail "no remedy: $(cat err)"
rc 0 "$double" "${det[@]}" -o hurt --fresh
same good hurt

# Numbers that are none: left out, counted, and without trace in what is kept.
for n in 1 4; do UNMASK_DOUBLE_NAN=3,12-14 rc 0 ranks $n "$double" "${det[@]}" -o nan$n; done
same nan1 nan4
[ "$(status nan1 skipped)" = 4 ] || fail "skipped steps: $(cat nan1/seed111/status.json)"
cmp -s nan1/seed111.h5 good/seed111.h5 && fail "steps were skipped, and nothing changed"
grep -q '"step": 4, "loss": null.*"skipped": true' nan1/seed111/log.jsonl || fail "the log does not tell of it: $(sed -n 5p nan1/seed111/log.jsonl)"
UNMASK_DOUBLE_NAN=14-999 rc 65 ranks 2 "$double" "${det[@]}" -o nan --set max_skipped=3
grep -q "3 steps in a row.*learning_rate" err || fail "giving up is not explained: $(cat err)"
rc 0 ranks 2 "$double" "${det[@]}" -o nan
same good nan

# Damaged crops: others take their place, the same ones for any number of ranks, and it is told.
cp -r store damaged
shard=$(find damaged/shards -name '*-crops.h5' | sort | head -1)
for at in 40000 90000; do head -c 30000 /dev/urandom | dd of="$shard" bs=1 seek=$at conv=notrunc 2>/dev/null; done
hurt=("${det[@]/#store/damaged}")
for n in 1 2; do rc 0 ranks $n "$double" "${hurt[@]}" -o crops$n; done
grep -q "warning: a damaged crop is left out: 'dfdc_train_part_" err || fail "damaged crops are not named: $(cat err)"
same crops1 crops2
[ "$(status crops1 replaced)" -ge 5 ] || fail "replaced crops: $(cat crops1/seed111/status.json)"
[ "$(status crops1 replaced)" = "$(status crops2 replaced)" ] || fail "counts depend on ranks"

# A full disk: 74, what was kept stays, and goes on when there is room.
if mkdir small && mount -t tmpfs -o size=900k tmpfs small 2>/dev/null; then
    rc 74 ranks 2 "$double" "${det[@]}" -o small/out
    grep -q "free space there" err || fail "a full disk is not explained: $(cat err)"
    find small -name '*.tmp' | grep -q . && fail "half-written files are left: $(find small)"
    mount -o remount,size=100m small
    rc 0 "$double" "${det[@]}" -o small/out
    cp -r small/out fuller
    umount small
    same good fuller
else
    echo "not tested here: a full disk (a tmpfs cannot be mounted)"
fi

# Another configuration, other crops, another network.
rc 65 "$double" "${det[@]}" -o good --set optimizer.learning_rate=0.2
grep -q "optimizer.learning_rate = '0.1', not '0.2'" err || fail "the key that differs is not named: $(cat err)"
rc 65 "$double" "${det[@]}" -o good --fold 1
rc 65 "$double" "${base[@]}" -o good
rc 65 "$double" "${det[@]}" -o good --set encoder=w0.2d0.1
"$UNMASK" import random -o other.h5 --arch w0.2d0.1 --size 64 --seed 1 2>/dev/null
rc 65 "$double" "${det[@]}" -o init --init other.h5
grep -q "is a w0.2d0.1, the configuration's encoder is w0.1d0.1" err || fail "a wrong --init is not explained: $(cat err)"
"$UNMASK" import random -o first.h5 --arch w0.1d0.1 --size 64 --seed 1 2>/dev/null
rc 0 "$double" "${det[@]}" -o init --init first.h5
if grep -q "WITHOUT --init" err; then fail "warned in spite of --init"; fi
rc 65 "$double" "${det[@]}" -o init
rc 74 "$double" "${det[@]}" -o no --init none.h5

# Members side by side and in turn; only so many epochs kept, the best one always.
rc 0 ranks 4 "$double" "${base[@]}" --seeds 5,6 -o both --keep last:2 --prefix p_
[ "$(ls both)" = "$(printf 'p_seed5\np_seed5.h5\np_seed6\np_seed6.h5')" ] || fail "members: $(ls both)"
[ "$(cd both/p_seed6 && echo epoch-*)" = "epoch-003.h5 epoch-004.h5" ] || fail "kept: $(ls both/p_seed6)"
[ "$(cd both/p_seed6 && echo checkpoint-* | wc -w)" = 2 ] || fail "checkpoints: $(ls both/p_seed6)"
rc 0 "$double" "${det[@]}" --seeds 111,6 -o turn
cmp turn/seed111.h5 good/seed111.h5 || fail "a member depends on the others"
cmp -s turn/seed6.h5 turn/seed111.h5 && fail "two seeds give one model"
echo "all as it should be"
