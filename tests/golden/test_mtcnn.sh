#!/bin/bash
# Faces of the portraits that set-up fetches equal facenet-pytorch's (data/mtcnn_*.csv, made by make_mtcnn_golden.py): the same faces at three threshold sets, coordinates and landmarks within 0.05 px, probabilities
# within 1e-4; and the same bytes at every instruction-set level.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
need_detector
need_portraits
for level in base avx2 avx512; do
    UNMASK_ISA=$level rc 0 "$UNMASK" detect "${portraits[0]}" --scale 0.5 --landmarks --quiet -o "$work/$level.jsonl"
    cmp "$work/base.jsonl" "$work/$level.jsonl" || fail "$level gives other bits than base"
done
for thresholds in .85,.95,.95 .7,.8,.8 .65,.75,.75; do
    rc 0 "$UNMASK" detect "${portraits[@]}" --scale 1 --landmarks --quiet --thresholds $thresholds -o "$work/$thresholds.jsonl"
done
python3 - "$work" "$UNMASK_SOURCE/tests/golden/data" <<'PY' || fail "faces differ from facenet-pytorch's"
import csv, json, os, sys
work, data = sys.argv[1:]
compared = 0
for thresholds in (".85,.95,.95", ".7,.8,.8", ".65,.75,.75"):
    key = [float(t) for t in thresholds.split(",")]
    for row in map(json.loads, open(f"{work}/{thresholds}.jsonl")):
        name = os.path.splitext(os.path.basename(row["path"]))[0]
        if not os.path.exists(f"{data}/mtcnn_{name}.csv"):
            continue
        lines = [l for l in open(f"{data}/mtcnn_{name}.csv") if not l.startswith("#")]
        want = [v[3:] for v in ([float(x) for x in r] for r in csv.reader(lines)) if v[:3] == key]
        got = [f["box"] + [f["probability"]] + [x for p in f["landmarks"] for x in p] for f in row["faces"]]
        assert len(want) == len(got) > 0, (name, thresholds, len(want), len(got))
        for w, g in zip(want, got):
            compared += 1
            assert abs(w[4] - g[4]) <= 1e-4, (name, thresholds, w[4], g[4])
            assert max(abs(a - b) for i, (a, b) in enumerate(zip(w, g)) if i != 4) <= 0.05, (name, thresholds, w, g)
print(f"{compared} faces compared")
sys.exit(compared < 12)
PY
echo "all as it should be"
