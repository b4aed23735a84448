#!/bin/bash
# The whole way, made data to scores, with labels that say nothing: in half of the originals of each person, chosen by lot, the files of original and fake have changed places. A person it has not seen is then told at chance;
# what leaks from label to picture on the way (a file name, an order, a mask, a person in two folds, a choice by the test) would show. The same run with right labels shows that it could have learned.
# 74 reals and 74 fakes are tested: at chance the deviation of the AUC is sqrt((2 n + 1) / (12 n^2)) = 0.048 for independent scores (Hanley and McNeil, Radiology 143 (1982)), so 0.15 is three of them. Half of each person exactly, and
# not each with probability 1/2, so that a perfect detector of forgeries has 0.5, too, and training finds no majority.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
[ ${#portraits[@]} -ge 4 ] || skip "four portraits are needed: scripts/setup fetches them"
cd "$work"
cat >config.json <<'END'
{"encoder": "w0.3d0.3", "size": 96, "batches_per_epoch": 40, "fp16": false, "pairs": true, "drop_path": 0, "ema": 0.9,
 "optimizer": {"batch_size": 16, "type": "AdamW", "weight_decay": 0.01, "learning_rate": 0.004, "schedule": {"type": "cosine", "mode": "step", "epochs": 8, "warmup": 20}},
 "augment": {"p_landmarks": 0, "p_hull": 0, "p_blackout": 0, "p_jpeg": 0, "p_noise": 0, "p_blur": 0, "p_colour": 0, "p_tint": 0.8, "p_shuffle": 0.5, "p_grey": 0.3, "p_warp": 0.5, "shift": 0.06, "scale": 0.2, "rotate": 15}}
END
rc 0 "$UNMASK" synth --quiet --portraits "${portraits[@]:0:4}" -o right --parts 4 --originals 74 --fakes 1 --seconds 0.4 --size 320x240 --seed 1
cp -r right shuffled
python3 - <<'PY'
import json, os, random
lot = random.Random(1)
for part in range(4):
    folder = f"shuffled/dfdc_train_part_{part}"
    fakes = sorted((n, e["original"]) for n, e in json.load(open(f"{folder}/metadata.json")).items() if e["label"] == "FAKE")
    assert len(fakes) == 74
    for fake, original in lot.sample(fakes, 37):
        os.rename(f"{folder}/{fake}", f"{folder}/swap")
        os.rename(f"{folder}/{original}", f"{folder}/{fake}")
        os.rename(f"{folder}/swap", f"{folder}/{original}")
# Four originals of each person of training choose nothing that is tested; the last epoch is.
names = []
for part in range(3):
    about = json.load(open(f"right/dfdc_train_part_{part}/metadata.json"))
    some = sorted(n for n, e in about.items() if e["label"] == "REAL")[:4]
    names += [f"dfdc_train_part_{part}/{n}" for n, e in about.items() if n in some or e.get("original") in some]
open("held_back", "w").write("\n".join(names) + "\n")
PY

# try DATA: sets `net` and `baseline`, the AUC on the last person of a network and of the baseline that have seen the other three.
try() {
    rc 0 ranks 2 "$UNMASK" preprocess "$1" --store "$1.store"
    rc 0 "$UNMASK" folds --store "$1.store" -o "$1.csv" --by part --splits 4
    rc 0 "$UNMASK" train --store "$1.store" --folds "$1.csv" --config config.json --fold 3 --val-list held_back --seed 1 --threads 2 -o "$1.model"
    rc 0 ranks 2 "$UNMASK" score "$1/dfdc_train_part_3" -m "$1.model/seed1/epoch-007.h5" -o "$1.scores"
    rc 0 "$UNMASK" evaluate --scores "$1.scores" --labels "$1/dfdc_train_part_3" --json "$1.net.json"
    rc 0 ranks 2 "$UNMASK" evaluate --store "$1.store" --folds "$1.csv" --fold 3 --baseline --json "$1.baseline.json"
    net=$(auc "$1.net.json")
    baseline=$(auc "$1.baseline.json")
    echo "$1: AUC $net, of the baseline $baseline"
}
auc() {
    python3 -c '
import json, sys
m = json.load(open(sys.argv[1]))["judges"][0]["of_videos"]
assert m["fakes"] == m["reals"] == 74, m
print(m["auc"])' "$1" || fail "no AUC: $(cat "$1")"
}
within() { python3 -c 'import sys; a, low, high = map(float, sys.argv[1:]); sys.exit(not low <= a <= high)' "$@"; }

try right
within "$net" 0.7 1 || fail "with right labels the network learned nothing ($net), so that the other run says nothing"
within "$baseline" 0.7 1 || fail "with right labels the baseline learned nothing ($baseline), so that the other run says nothing"
try shuffled
within "$net" 0.35 0.65 || fail "with labels that say nothing the network's AUC on an unseen person is $net"
within "$baseline" 0.35 0.65 || fail "with labels that say nothing the baseline's AUC on an unseen person is $baseline"
