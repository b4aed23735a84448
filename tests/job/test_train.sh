#!/bin/bash
# train with the real network, small: it learns what tells fakes; 1, 2 and 4 ranks give the same bits where asked to; the reference's configurations work; what it makes can score; wrong keys and values are named.
# usage: test_train.sh MAKE_STORE
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
make_store=${1:?usage: test_train.sh MAKE_STORE}
cd "$work"
"$make_store" root store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
data=(train --store store --folds folds.csv --fold 3)
small=("${data[@]}" --set encoder=w0.2d0.2 --set size=32 --set drop_path=0 --set fp16=false)

# It learns: the loss falls, and a person it never saw is told.
learn=("${small[@]}" --deterministic --seed 7 --set optimizer.type=AdamW --set optimizer.learning_rate=0.01 --set optimizer.batch_size=2 --set optimizer.schedule.type=cosine --set ema=0.9 --no-hardcore)
rc 0 "$UNMASK" "${learn[@]}" --set optimizer.schedule.epochs=5 -o one --preview sheet.png
head -c 8 sheet.png | grep -q PNG || fail "no preview"
python3 - <<'PY' || fail "it did not learn: $(grep '"epoch", ' one/seed7/log.jsonl)"
import json
rows = [json.loads(l) for l in open("one/seed7/log.jsonl")]
steps, epochs = [r for r in rows if r["kind"] == "step"], [r for r in rows if r["kind"] == "epoch"]
assert rows[0]["kind"] == "run" and len(epochs) == 5
assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
assert epochs[-1]["loss"] < 0.8 * epochs[0]["loss"], (epochs[0], epochs[-1])
assert min(e["val_loss"] for e in epochs) < 0.4
assert all(abs(e["val_weighted"] - (1.4 * e["val_fake"] + e["val_real"]) / 2) < 1e-9 for e in epochs)
best = [e["epoch"] for e in epochs if e["best"]][-1]
assert json.load(open("one/seed7/status.json"))["best_epoch"] == best == min(epochs, key=lambda e: e["val_weighted"])["epoch"]
assert open("one/seed7.h5", "rb").read() != b"" and all(k in steps[0] for k in ("fake", "real", "lr", "grad_norm", "images_per_s", "wait_data_s", "wait_ranks_s"))
PY
for n in 1 2 4; do
    rc 0 ranks $n "$UNMASK" "${learn[@]}" --set optimizer.schedule.epochs=2 --set batches_per_epoch=4 -o r$n --threads $((n % 4 + 1))
    for f in r1/seed7.h5 r1/seed7/epoch-*.h5; do cmp "$f" "r$n/${f#*/}" || fail "$n ranks made another ${f#*/}"; done
done
rc 0 "$UNMASK" inspect one/seed7.h5
grep -q "unmask train, seed7, epoch" out || fail "a model does not say where it comes from: $(cat out)"
# It can be begun with, and all models of a folder are found.
# fp16 is what the backend has of it.
rc 0 ranks 2 "$UNMASK" "${small[@]}" --set fp16=true --seed 8 --init one/seed7.h5 --set optimizer.batch_size=8 --set optimizer.schedule.epochs=1 --set optimizer.learning_rate=0.0001 -o one
grep -q '"precision": "\(f32\|bf16\)"' one/seed8/log.jsonl || fail "the log does not say the precision"
grep -q '"precision": "bf16"' one/seed8/log.jsonl || grep -q "fp16: bf16 is not to be had for training on 2 of 2 ranks: f32 is used" err || fail "f32 instead of fp16 is not told of: $(cat err)"
grep -q "begins with the weights of" err || fail "--init is not spoken of: $(cat err)"
if command -v ffmpeg >/dev/null && "$UNMASK" doctor 2>/dev/null | grep -q '^detector .*fingerprint'; then
    ffmpeg -v error -f lavfi -i testsrc=size=160x120:duration=1 -y clip.mp4
    rc 0 "$UNMASK" score clip.mp4 -m one
    grep -q "2 models" err || fail "score does not take what was trained: $(cat err)"
fi

# The reference's files, as they are: their values, and others' on top.
for b in 5 7; do
    rc 0 "$UNMASK" train --store store --folds folds.csv --config "$UNMASK_SOURCE/configs/b$b.json" -o no --print-config --set optimizer.batch_size=3
    python3 - "$b" <<'PY' || fail "configs/b$b.json: $(cat out)"
import json, sys
c, b = json.load(open("out")), sys.argv[1]
want = {"encoder": f"tf_efficientnet_b{b}_ns", "size": "380", "fp16": "true", "batches_per_epoch": "2500", "optimizer.type": "SGD", "optimizer.momentum": "0.9", "optimizer.nesterov": "true", "optimizer.weight_decay": "0.0001",
        "optimizer.learning_rate": "0.01", "optimizer.schedule.type": "poly", "optimizer.schedule.mode": "step", "optimizer.schedule.epochs": {"7": "40", "5": "30"}[b],
        "optimizer.schedule.params.max_iter": {"7": "100500", "5": "75100"}[b], "losses.BinaryCrossentropy": "1", "optimizer.batch_size": "3", "normalize.std": "0.229,0.224,0.225"}
assert all(c[k] == v for k, v in want.items()), {k: c.get(k) for k, v in want.items() if c.get(k) != v}
PY
done

common=("${small[@]}" --deterministic --set optimizer.batch_size=2 --set batches_per_epoch=3 --set optimizer.schedule.epochs=2)

# Validation by a list: those videos and their groups are not trained on, the held-out fold is not looked at.
printf 'o0_000\ndfdc_train_part_0/f0_000_1.mp4\r\n\n' >list
rc 0 "$UNMASK" "${common[@]}" --val-list list -o listed
grep -q "training on 132 crops of 33 videos (44 real, 88 fake), validating on 4 of 2 (2 real, 2 fake)" err || fail "--val-list: $(cat err)"
rc 65 "$UNMASK" "${common[@]}" --val-list folds.csv -o no
rc 0 "$UNMASK" "${common[@]}" --val-videos 5 -o few
grep -q "validating on 10 of 5" err || fail "--val-videos: $(cat err)"

# What is wrong is named.
no() { # no RC WORDS ARGUMENTS...
    local want=$1 text=$2
    shift 2
    rc "$want" "$UNMASK" "$@"
    grep -q -- "$text" err || fail "$* does not say $text: $(cat err)"
    [ ! -e no ] || fail "$* left something behind"
}
no 2 "did you mean optimizer.learning_rate" "${data[@]}" -o no --set optimizer.learning_rat=1
no 2 "is not one of SGD|AdamW|RMSprop" "${data[@]}" -o no --set optimizer.type=Adam
printf '{"size": 64, "optimizer": {"typ": "SGD"}}' >bad.json
no 78 "bad.json': unknown key 'optimizer.typ'; did you mean optimizer.type" "${data[@]}" -o no --config bad.json
printf '{"size": 64,\n "fp16": maybe}' >bad.json
no 78 "line 2" "${data[@]}" -o no --config bad.json
no 78 "none.json" "${data[@]}" -o no --config none.json
no 78 "no architecture 'b9'" "${data[@]}" -o no --set encoder=b9
no 78 "milestones is missing" "${data[@]}" -o no --set optimizer.schedule.type=multistep
no 78 "mixup.*pairs" "${data[@]}" -o no --set mixup=0.5
no 2 "last:3" "${data[@]}" -o no --keep last:0
no 2 "stands there twice" "${data[@]}" -o no --seeds 1,1
no 2 "-o DIR is missing" "${data[@]}"
no 65 "nothing\|no crop to validate on" "${data[@]}" -o no --fold 99
no 74 "none.csv" train --store store --folds none.csv -o no
no 74 "none" train --store none --folds folds.csv -o no
rc 78 "$UNMASK" "${small[@]}" -o no --set optimizer.batch_size=4000
grep -q "fewer than the 4000 of one step" err || fail "too large a batch is not explained: $(cat err)"
echo "all as it should be"
