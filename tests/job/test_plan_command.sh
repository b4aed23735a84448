#!/bin/bash
# plan as a user calls it: every stage takes the arguments of the command it plans, leaves nothing behind, says what was asked as text and as JSON, and refuses what it cannot know.
# usage: test_plan_command.sh MAKE_STORE
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
make_store=${1:?usage: test_plan_command.sh MAKE_STORE}
need_detector
need_portraits
cd "$work"
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o root --parts 2 --originals 2 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 5 2>/dev/null
printf 'no video' >root/dfdc_train_part_0/broken.mp4
"$UNMASK" import random -o "a model.h5" --arch b0 --size 64 --seed 1 2>/dev/null
ls >before

# preprocess: inputs, a sample on two ranks, a table, the line for sbatch; nothing stays.
rc 0 ranks 2 "$UNMASK" plan preprocess root --store new/../s --frames every:5 --nodes 4 --ranks-per-node 8 --ranks 1,2,4,...,4096
for word in "8 videos in 4 units" "h264 100 %" "measured on" "by 2 ranks" "node-hours" "assuming that" "4 nodes with 8 ranks of 1 thread"; do grep -q "$word" out || fail "the plan does not say '$word': $(cat out)"; done
[ "$(grep -cE '^ +[0-9]+  .* %' out)" = 13 ] || fail "the table has not 1 to 4096 ranks: $(cat out)"
tail -1 out | grep -q '^sbatch --nodes=4 --ntasks=32 --ntasks-per-node=8 --cpus-per-task=1 --mem-per-cpu=[0-9]*M --time=00:15:00 slurm/preprocess.sbatch root new/../s --frames every:5$' || fail "the line for sbatch: $(tail -1 out)"
rc 0 "$UNMASK" plan preprocess root --store s --json p.json
rc 0 "$UNMASK" plan preprocess root --store s --costs p.json --simulate --json q.json
rc 0 "$UNMASK" plan preprocess root --store s --no-measure --headers 3 --json r.json
python3 - <<'PY' || fail "the plans as JSON: $(cat p.json)"
import json
p, q, r = (json.load(open(f)) for f in ("p.json", "q.json", "r.json"))
for x in p, q, r:
    assert x["format"] == "unmask-plan 1" and x["stage"] == "preprocess" and x["inputs"]["videos"] == 8 and x["inputs"]["units"] == 4 and x["sbatch"].startswith("sbatch ")
assert p["sample"]["measured"] and p["sample"]["units"] == 4 and p["inputs"]["headers_read"] == 8 and p["inputs"]["frames"] > 8 * 20
assert all(c["seconds"] >= 0 for c in p["costs"]["parts"]) and p["wall_s"] > 0 and p["costs"]["memory_rank_bytes"] > 1e7
assert p["result_bytes"] > 1000 and p["node_hours"] > 0 and p["forecast"]["efficiency"] <= 1 + 1e-9
assert [x["ranks"] for x in q["simulated"]] == [1 << k for k in range(13)] and not q["sample"]["measured"]
assert q["simulated"][0]["wall_s"] >= q["simulated"][-1]["wall_s"] and abs(q["work_s"] - p["work_s"]) < 1e-6 * p["work_s"]
assert r["inputs"]["headers_read"] == 3 and "wall_s" not in r and any("3 of 8 files" in a for a in r["assumptions"])
PY
rm -f out err ./*.json
[ "$(ls)" = "$(cat before)" ] || fail "a plan left something behind: $(ls)"

# What is done already is not planned again.
rc 0 "$UNMASK" preprocess root --store s
rc 0 "$UNMASK" plan preprocess root --store s
grep -q "0 videos in 0 units (4 of 4 units are done)" out || fail "what is done is planned again: $(cat out)"

# score
rc 0 "$UNMASK" plan score root -m "a model.h5" --threads 2 --threshold .7 --sample 2 --json -
python3 - out <<'PY' || fail "the plan of score: $(cat out)"
import json, shlex, sys
p = json.load(open(sys.argv[1]))
assert p["stage"] == "score" and p["inputs"]["videos"] == 9 and p["inputs"]["headers_failed"] == 1 and p["sample"]["units"] == 2 and p["threads"] == 2 and p["wall_s"] > 0
words = shlex.split(p["sbatch"])
assert words[words.index("slurm/score.sbatch"):] == ["slurm/score.sbatch", "scores.csv", "root", "--model", "a model.h5", "--threshold", "0.7", "--threads", "2"], words
PY
rc 0 "$UNMASK" score root -m "a model.h5" -o x.csv
rc 0 "$UNMASK" plan score root -m "a model.h5" -o x.csv
grep -q "0 videos in 0 units (9 of 9" out || fail "what is scored is planned again: $(cat out)"

# train: what is counted, what is measured; the keys of a configuration file are not repeated.
"$make_store" tiny store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
printf '{"network": "DeepFakeClassifier", "encoder": "w0.2d0.2", "size": 32, "fp16": false, "optimizer": {"batch_size": 2, "schedule": {"epochs": 3}}}' >tiny.json
data=(plan train --store store --folds folds.csv --fold 3 --config tiny.json)
rm out err
ls >before
rc 0 ranks 2 "$UNMASK" "${data[@]}" --sample 2 --seeds 1,2 --nodes 2 --ranks-per-node 2 --json -
python3 - out <<'PY' || fail "the plan of train: $(cat out)"
import json, shlex, sys
p = json.load(open(sys.argv[1]))
t, c = p["training"], p["traffic"]
assert t["members"] == 2 and t["members_at_once"] == 2 and t["member_ranks"] == 2 and t["batch"] == 4 and t["epochs"] == 3 and t["network"] == "w0.2d0.2"
assert c["gradient_bytes"] == 4 * c["parameters"] and c["norm_bytes"] == 8 * (4 * c["norm_channels"] + c["batch_norms"]) and c["small_messages"] == 2 * c["batch_norms"] + 3
assert p["wall_s"] > 0 and p["sample"]["steps"] >= 1 and len(c["networks"]) == 3
words = shlex.split(p["sbatch"])
assert words[words.index("slurm/train.sbatch"):] == ["slurm/train.sbatch", "models", "--store", "store", "--folds", "folds.csv", "--config", "tiny.json", "--seeds", "1,2", "--fold", "3"], words
PY
rc 0 "$UNMASK" "${data[@]}" --no-measure
grep -q "nothing is said of time" out || fail "a plan without costs speaks of time: $(cat out)"
rm -f out err
[ "$(ls)" = "$(cat before)" ] || fail "plan train left something behind: $(ls)"

# Refusals.
rc 2 "$UNMASK" plan
grep -q "plan preprocess, plan train, plan score" err || fail "plan alone does not say what there is: $(cat err)"
rc 2 "$UNMASK" plan evaluation
rc 2 "$UNMASK" plan score root --simulat
grep -q "did you mean simulate" err || fail "a misspelt option: $(cat err)"
rc 2 "$UNMASK" plan preprocess root --store s --ranks 4,2
rc 2 "$UNMASK" "${data[@]}" --simulate
rc 65 "$UNMASK" plan score root -m "a model.h5" --costs tiny.json
for stage in "preprocess root --store s" "score root" "train --store store --folds folds.csv"; do
    # shellcheck disable=SC2086
    rc 78 "$UNMASK" plan $stage --gpus-per-node 1
    grep -q "nothing of unmask has run on a GPU" err || fail "a plan for GPUs is not refused: $(cat err)"
done
for stage in preprocess train score; do
    rc 0 "$UNMASK" plan $stage --help
    for option in --nodes --ranks-per-node --gpus-per-node --no-measure --costs --json --simulate; do grep -q -- "  $option" out || fail "plan $stage --help lacks $option"; done
done
