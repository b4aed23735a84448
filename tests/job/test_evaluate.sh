#!/bin/bash
# evaluate: crops of a store through models, the baseline, epochs, scores beside labels, calibration, curves; the same bytes for any number of ranks; what is left out is told; what is wrong is named.
# usage: test_evaluate.sh MAKE_STORE
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
make_store=${1:?usage: test_evaluate.sh MAKE_STORE}
cd "$work"
"$make_store" root store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
"$UNMASK" train --store store --folds folds.csv --fold 3 --set encoder=w0.2d0.2 --set size=32 --set drop_path=0 --set fp16=false --seeds 7,8 --set optimizer.type=AdamW --set optimizer.learning_rate=0.01 \
    --set optimizer.batch_size=8 --set optimizer.schedule.type=cosine --set optimizer.schedule.epochs=4 --no-hardcore -o models >/dev/null 2>&1
store=(evaluate --store store --folds folds.csv --fold 3)

# Models, their mean, the baseline; a person understands the table, a program the JSON.
rc 0 "$UNMASK" "${store[@]}" -m models --baseline --svg curves --log models/seed7/log.jsonl --log models/seed8/log.jsonl
grep -q "^12 videos: 8 fakes, 4 reals; 24 crops" out || fail "the table does not say what was looked at: $(cat out)"
for w in seed7 seed8 baseline "ensemble of 2" "best by (1.4 fake + real) / 2: seed" "resamples: AUC"; do grep -qF "$w" out || fail "the table has no $w: $(cat out)"; done
for n in 1 2 3; do rc 0 ranks $n "$UNMASK" "${store[@]}" -m models --baseline --json r$n.json --csv r$n.csv --threads $((4 - n)); done
for n in 2 3; do
    cmp r1.json r$n.json || fail "$n ranks say something else"
    cmp r1.csv r$n.csv || fail "$n ranks say something else of a video"
done
python3 - <<'PY' || fail "the numbers do not fit together"
import csv, json, math, xml.etree.ElementTree as et
r = json.load(open("r1.json"))
rows = list(csv.DictReader(open("r1.csv")))
assert r["videos"] == len(rows) == 12 and r["crops"] == 24 and r["main"] == "ensemble of 2" and [j["kind"] for j in r["judges"]] == ["model", "model", "baseline", "ensemble"]
for j in r["judges"]:
    p = [(float(row[j["name"]]), row["label"] == "FAKE") for row in rows]
    loss = lambda side: sum(-math.log(min(max(x if fake else 1 - x, 1e-7), 1 - 1e-7)) for x, fake in p if fake == side) / sum(fake == side for _, fake in p)
    m = j["of_videos"]
    assert abs(m["log_loss_fake"] - loss(True)) < 1e-9 and abs(m["log_loss_real"] - loss(False)) < 1e-9
    assert abs(m["log_loss_weighted"] - (1.4 * loss(True) + loss(False)) / 2) < 1e-9
    auc = sum((a > b) + (a == b) / 2 for a, f in p if f for b, g in p if not g) / 32
    assert abs(m["auc"] - auc) < 1e-9
for row in rows:
    assert abs(float(row["ensemble of 2"]) - (float(row["seed7"]) + float(row["seed8"])) / 2) < 1e-12
models = [j for j in r["judges"] if j["kind"] == "model"]
assert r["best_model"] == min(models, key=lambda j: j["of_videos"]["log_loss_weighted"])["name"]
low, high = r["interval_95"]["log_loss_mean"]
assert low <= r["judges"][-1]["of_videos"]["log_loss_mean"] <= high
# What training said of its best epoch is what evaluation says of the model.
for seed in "78":
    best = min((e for e in map(json.loads, open(f"models/seed{seed}/log.jsonl")) if e["kind"] == "epoch"), key=lambda e: e["val_weighted"])
    said = next(j for j in models if j["name"] == f"seed{seed}")["of_videos"]["log_loss_weighted"]
    assert abs(best["val_weighted"] - said) < 1e-3 * (1 + said), (best, said)
for name, lines in (("roc", 5), ("calibration", 2), ("loss", 6)):
    tree = et.parse(f"curves/{name}.svg").getroot()
    drawn = [p for p in tree.iter("{http://www.w3.org/2000/svg}path") if p.get("stroke-width") == "2" and "L" in p.get("d")]
    assert tree.tag.endswith("svg") and len(drawn) >= lines - 1, (name, len(drawn))
PY

# Epochs side by side.
rc 0 "$UNMASK" "${store[@]}" -m models/seed7
grep -q "best by .*: epoch-00" out || fail "no epoch is called the best: $(cat out)"
[ "$(grep -c '^epoch-00' out)" = 4 ] || fail "not 4 epochs: $(cat out)"
# By a list, as in training.
printf 'o0_000\nf0_000_1.mp4\n' >list
rc 0 "$UNMASK" "${store[@]}" -m models/seed7.h5 --val-list list --csv -
[ "$(grep -c 0_000 out)" = 2 ] || fail "--val-list: $(cat out)"

# All videos may be looked at: who only evaluates needs nothing to train on. The baseline does.
cut -d, -f1 folds.csv | tail -n +2 | sort -u | sed 's/$/.mp4/' >everyone
rc 0 "$UNMASK" "${store[@]}" -m models/seed7.h5 --val-list everyone
grep -q "^$(wc -l <everyone) videos: " out || fail "not all videos are looked at: $(head -1 out)"
rc 65 "$UNMASK" "${store[@]}" -m models/seed7.h5 --val-list everyone --baseline
grep -q "0 real and 0 fake crops are left to train on" err || fail "the baseline does not say what it lacks: $(cat err)"

# Scores beside labels: what is left out is told.
cat >scores.csv <<'END'
path,verdict,score,status
in/part_0/a.mp4,fake,0.9,OK
in/part_0/b.mp4,real,0.2,OK
in/part_1/a.mp4,real,0.1,PARTIAL
in/part_1/c.mp4,unknown,,NO_FACE
elsewhere/x.mp4,fake,0.7,OK
END
mkdir -p lab/part_0 lab/part_1
echo '{"a.mp4": {"label": "FAKE", "original": "b.mp4", "split": "train"}, "b.mp4": {"label": "REAL", "split": "train"}, "gone.mp4": {"label": "REAL"}}' >lab/part_0/metadata.json
printf 'path,label\nlab/part_1/a.mp4,0\nlab/part_1/c.mp4,fake\n' >labels.csv
rc 0 "$UNMASK" evaluate --scores scores.csv --labels lab/part_0 --labels labels.csv --csv s.csv
for w in "4 videos: 2 fakes, 2 reals" "left out: 1 rows without a label" "left out: 1 labels without a row" "counted as 0.5: 1 rows without a score" "2 rows have a status other than OK"; do grep -qF "$w" out || fail "not told: $w: $(cat out)"; done
grep -qF "in/part_0/a.mp4,FAKE,0.9" s.csv || fail "a row went wrong: $(cat s.csv)"
grep -qF "in/part_1/a.mp4,REAL,0.1" s.csv || fail "two files of one name were taken for one: $(cat s.csv)"
rc 0 "$UNMASK" evaluate --scores scores.csv --labels lab/part_0/metadata.json --labels labels.csv --missing skip --json -
python3 -c 'import json; r = json.load(open("out")); assert r["videos"] == 3 and r["without_score"] == 1 and r["judges"][0]["of_videos"]["auc"] == 1, r'
printf 'filename,label\na.mp4,0.3\nb.mp4,0.6\n' >submission.csv
rc 0 "$UNMASK" evaluate --scores submission.csv --labels lab/part_0
printf 'filename,label\nb.mp4,0.6\n' >submission.csv
rc 0 "$UNMASK" evaluate --scores submission.csv --labels lab/part_0
for w in "all videos are reals" "n/a"; do grep -q "$w" out || fail "one class is not told: $(cat out)"; done

# What other programs write: a byte order mark, CR LF, NaN. A row that stands there twice counts once.
printf '\xef\xbb\xbfpath,score\r\na.mp4,0.9\r\nb.mp4,NaN\r\na.mp4,0.9\r\nb.mp4,\r\n' >other.csv
rc 0 "$UNMASK" evaluate --scores other.csv --labels lab/part_0
for w in "2 videos: 1 fakes, 1 reals" "left out: 2 rows that stand there twice" "counted as 0.5: 1 rows"; do grep -qF "$w" out || fail "not told: $w: $(cat out)"; done

# A calibration is fitted here and applied there.
python3 - <<'PY'
import random
random.seed(1)
with open("cal.csv", "w") as f, open("callab.csv", "w") as g:
    print("path,score", file=f), print("path,label", file=g)
    for i in range(200):
        fake = i % 2
        print(f"v{i}.mp4,{min(max(0.3 + 0.25 * fake + random.gauss(0, 0.12), 0), 1)}", file=f), print(f"v{i}.mp4,{fake}", file=g)
PY
rc 0 "$UNMASK" evaluate --scores cal.csv --labels callab.csv --fit-calibration cal.json --svg curves2
rc 0 "$UNMASK" evaluate --scores cal.csv --labels callab.csv --calibration cal.json --json -
python3 - <<'PY' || fail "the calibration does not fit"
import json
c, r = json.load(open("cal.json")), json.load(open("out"))
assert c["videos"] == 200 and c["mean_log_loss_after"] < 0.8 * c["mean_log_loss_before"]
assert abs(r["calibration"]["of_videos"]["log_loss_mean"] - c["mean_log_loss_after"]) < 1e-6 and not r["calibration"]["fitted_here"]
assert r["calibration"]["of_videos"]["auc"] == r["judges"][0]["of_videos"]["auc"]
assert r["calibration"]["reliability"]["expected_calibration_error"] < r["reliability"]["expected_calibration_error"]
PY
rc 0 "$UNMASK" evaluate --log models/seed7/log.jsonl --svg only
if [ ! -e only/loss.svg ] || [ -e only/roc.svg ]; then fail "a log alone does not give its curve alone"; fi

# What is wrong is named.
no() { # no RC WORDS ARGUMENTS...
    local want=$1 text=$2
    shift 2
    rc "$want" "$UNMASK" evaluate "$@"
    grep -q -- "$text" err || fail "$* does not say $text: $(cat err)"
}
no 2 "what is to be evaluated"
no 2 "labels FILE is missing" --scores scores.csv
no 2 "folds FILE is missing" --store store
no 2 "one of them" --store store --folds folds.csv --scores scores.csv
no 2 "svg DIR is missing" --log models/seed7/log.jsonl
no 74 "none.csv" --scores none.csv --labels lab/part_0
no 65 "not one of the 5 videos" --scores scores.csv --labels callab.csv
printf 'path,score\na.mp4,1.5\n' >bad.csv
no 65 "line 2: '1.5' is not a number from 0 to 1" --scores bad.csv --labels lab/part_0
printf 'path,score\na.mp4,0.1\na.mp4,0.2\n' >bad.csv
no 65 "'a.mp4' has two rows with different scores" --scores bad.csv --labels lab/part_0
printf 'path,label\na.mp4,maybe\n' >bad.csv
no 65 "line 2: the label 'maybe'" --scores scores.csv --labels bad.csv
printf 'path,label\na.mp4,1\na.mp4,0\n' >bad.csv
no 65 "is called real and fake" --scores scores.csv --labels bad.csv
no 65 "is no calibration" --scores cal.csv --labels callab.csv --calibration r1.json
no 74 "none" --store store --folds folds.csv -m none
no 65 "no crop to validate on" --store store --folds folds.csv --fold 99 -m models
mkdir empty
no 74 "holds no model" --store store --folds folds.csv --fold 3 -m empty
rc 0 "$UNMASK" help evaluate
echo "all as it should be"
