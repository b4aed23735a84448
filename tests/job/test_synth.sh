#!/bin/bash
# synth: the form of the data set, the same bytes for the same seed on any number of threads, who may be seen where, and what may be replaced.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
rc 2 "$UNMASK" synth -o "$work/none"
rc 2 "$UNMASK" synth --portraits a.png --from "$work" -o "$work/none"
rc 2 "$UNMASK" synth --portraits a.png --size 641x480 -o "$work/none"
[ ! -e "$work/none" ] || fail "a refused call left a folder"
need_detector
need_portraits
small=(--parts 3 --originals 6 --fakes 1 --seconds 0.4 --size 320x240)
make=("$UNMASK" synth --quiet --portraits "${portraits[@]:0:3}" "${small[@]}")
sums() { (cd "$1" && find . -type f ! -name synth.json -print0 | sort -z | xargs -0 sha256sum); }

rc 0 "${make[@]}" --seed 5 -o "$work/a"
rc 0 "${make[@]}" --seed 5 --set threads=1 -o "$work/b"
rc 0 "${make[@]}" --seed 6 -o "$work/c"
[ "$(sums "$work/a")" = "$(sums "$work/b")" ] || fail "the same seed gave other bytes"
[ -z "$(comm -12 <(sums "$work/a" | cut -c1-64 | sort) <(sums "$work/c" | cut -c1-64 | sort))" ] || fail "another seed gave the same bytes"

python3 - "$work/a" "${portraits[@]:0:3}" <<'PY' || fail "the data set is not as promised"
import json, os, re, sys
root = sys.argv[1]
config = json.load(open(f"{root}/synth.json"))["config"]
assert config["seed"] == "5" and all(p in config["portraits"] for p in sys.argv[2:]), config
assert sorted(os.listdir(root)) == ["dfdc_train_part_0", "dfdc_train_part_1", "dfdc_train_part_2", "synth.json"]
for part in range(3):
    folder = f"{root}/dfdc_train_part_{part}"
    meta = json.load(open(f"{folder}/metadata.json"))
    assert sorted(meta) + ["metadata.json"] == sorted(meta) + [f for f in os.listdir(folder) if f not in meta]
    assert all(os.path.getsize(f"{folder}/{name}") > 1000 and re.fullmatch("[a-z]{10}\\.mp4", name) for name in meta)
    real = [n for n, e in meta.items() if e["label"] == "REAL"]
    fake = [n for n, e in meta.items() if e["label"] == "FAKE"]
    assert len(real) == 6 and len(fake) == 6
    assert sorted(meta[n]["original"] for n in fake) == sorted(real)
    assert all(e["split"] == "train" for e in meta.values()) and not any("original" in meta[n] for n in real)
PY

# What another run made is replaced; anything else stays.
rc 0 "${make[@]}" --seed 6 -o "$work/b"
[ "$(sums "$work/b")" = "$(sums "$work/c")" ] || fail "the old data set was not replaced"
mkdir "$work/mine"
echo mine >"$work/mine/file"
rc 78 "${make[@]}" -o "$work/mine"
[ "$(cat "$work/mine/file")" = mine ] || fail "a folder of the user's was touched"

# Cut from videos: here from what was just made.
rc 0 "$UNMASK" synth --quiet --from "$work/a/dfdc_train_part_2" --parts 2 --originals 2 --fakes 1 --seconds 0.3 --size 160x120 -o "$work/cut"
[ "$(find "$work/cut" -name '*.mp4' | wc -l)" = 8 ] || fail "cuts of real videos are missing"
[ -z "$(find "$work" -name '*.tmp')" ] || fail "temporary folders were left"
echo "synth: 36 videos twice the same"
