#!/bin/bash
# preprocess end to end, as a user calls it: the same digest for every rank count, over TCP, for stages run one after another, after a stop; configuration changes refused; folds, inspect and export agree
# with the store; h5py reads the index.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
root=$work/root
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o "$root" --parts 3 --originals 2 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 3
digest() { "$UNMASK" inspect "$1" --digest; }

rc 0 "$UNMASK" preprocess "$root" --store "$work/s1"
want=$(digest "$work/s1")
[ "${#want}" = 64 ] || fail "the digest is not 64 hex digits: $want"
for n in 2 3 4; do
    rc 0 ranks $n "$UNMASK" preprocess "$root" --store "$work/s$n"
    [ "$(digest "$work/s$n")" = "$want" ] || fail "digest of $n ranks differs"
done
rc 0 ranks 2 --mca btl tcp,self --mca btl_tcp_if_include lo "$UNMASK" preprocess "$root" --store "$work/tcp"
[ "$(digest "$work/tcp")" = "$want" ] || fail "digest over TCP differs"

for stage in detect crops landmarks masks; do rc 0 ranks 2 "$UNMASK" preprocess "$root" --store "$work/staged" --stages $stage; done
[ "$(digest "$work/staged")" = "$want" ] || fail "digest of stages run one after another differs"
rc 78 "$UNMASK" preprocess "$root" --store "$work/early" --stages masks

# Two runs on one store at once: both complete, nothing is lost or doubled.
rm -rf "$work/two"
ranks 2 "$UNMASK" preprocess "$root" --store "$work/two" --set store.seal_s=0.1 >/dev/null 2>"$work/two.err" &
other=$!
rc 0 ranks 2 "$UNMASK" preprocess "$root" --store "$work/two" --set store.seal_s=0.1
wait "$other" || fail "the other of two runs at once: $(cat "$work/two.err")"
[ "$(digest "$work/two")" = "$want" ] || fail "digest of two runs at once differs"

# Asked to stop it ends with 75 and what was sealed stays; the next run completes. A run that was quicker than the signal is complete. mpirun forwards USR1; at TERM it ends the ranks itself, with a code of its own.
for signal in USR1 TERM; do
    rm -rf "$work/stopped"
    mpirun --bind-to none -n 2 "$UNMASK" preprocess "$root" --store "$work/stopped" --set store.seal_s=0.1 >/dev/null 2>"$work/stop.err" &
    run=$!
    for _ in $(seq 200); do
        [ -e "$work/stopped/journal" ] && break
        sleep 0.02
    done
    kill -$signal "$run" 2>/dev/null || true
    got=0
    wait "$run" || got=$?
    case $got in
    75) grep -q "run the same command again" "$work/stop.err" || fail "a stopped run does not say how to go on" ;;
    0) ;;
    *) [ $signal = TERM ] || fail "a run that got $signal exited with $got: $(cat "$work/stop.err")" ;;
    esac
    rc 0 ranks 3 "$UNMASK" preprocess "$root" --store "$work/stopped"
    [ "$(digest "$work/stopped")" = "$want" ] || fail "digest after $signal and continuation differs"
done

# What a rerun does: nothing, a refusal, a fresh start.
before=$(ls "$work/s1/shards" | sort)
rc 0 "$UNMASK" preprocess "$root" --store "$work/s1"
[ "$(ls "$work/s1/shards" | sort)" = "$before" ] || fail "a rerun of a complete store wrote shards"
rc 78 "$UNMASK" preprocess "$root" --store "$work/s1" --frames every:5
grep -q "frames" "$work/err" || fail "the refusal does not name the key that differs"
rc 0 "$UNMASK" preprocess "$root" --store "$work/s1" --frames every:5 --fresh
[ "$(digest "$work/s1")" != "$want" ] || fail "other frames, same digest"

# --limit, then the rest.
rc 0 "$UNMASK" preprocess "$root" --store "$work/limit" --limit 2
rc 0 ranks 2 "$UNMASK" preprocess "$root" --store "$work/limit"
[ "$(digest "$work/limit")" = "$want" ] || fail "digest after --limit and continuation differs"

# Lossy crops: stages together or apart see the same pixels.
rc 0 "$UNMASK" preprocess "$root" --store "$work/j1" --crop-format jpeg
for stage in detect,crops landmarks,masks; do rc 0 "$UNMASK" preprocess "$root" --store "$work/j2" --crop-format jpeg --stages $stage; done
[ "$(digest "$work/j1")" = "$(digest "$work/j2")" ] || fail "jpeg: digest of stages run apart differs"

# folds, export, index.
rc 0 "$UNMASK" folds --store "$work/s2" -o "$work/folds.csv" --by group --splits 3
[ "$(head -1 "$work/folds.csv")" = "video,file,label,original,frame,fold" ] || fail "folds.csv has another header"
rc 65 "$UNMASK" folds --store "$work/s2" -o "$work/no.csv"
grep -q -- "--by group --splits 5" "$work/err" || fail "the refusal of an empty fold names no remedy"
[ ! -e "$work/no.csv" ] || fail "a refused folds.csv was written"
# Two videos of one stem: refused by both that name videos by it.
mkdir -p "$work/twins/dfdc_train_part_0" "$work/twins/dfdc_train_part_1"
original=$(python3 -c "import json,sys; m=json.load(open(sys.argv[1])); print(sorted(n for n in m if m[n]['label']=='REAL')[0])" "$root/dfdc_train_part_0/metadata.json")
for part in 0 1; do
    cp "$root/dfdc_train_part_0/$original" "$work/twins/dfdc_train_part_$part/twin.mp4"
    echo '{"twin.mp4": {"label": "REAL", "split": "train"}}' >"$work/twins/dfdc_train_part_$part/metadata.json"
done
rc 0 "$UNMASK" preprocess "$work/twins" --store "$work/twins.store"
rc 65 "$UNMASK" folds --store "$work/twins.store" -o "$work/no.csv" --reals all --by group --splits 2
grep -q "dfdc_train_part_0/twin.mp4.*dfdc_train_part_1/twin.mp4" "$work/err" || fail "two videos of one stem are not both named"
rc 65 "$UNMASK" export store "$work/twins.store" -o "$work/no.dir"
rc 0 "$UNMASK" export store "$work/s2" --layout reference -o "$work/reference"
h5py_python || echo "no Python with h5py (scripts/setup installs python3-h5py): the index is not read here"
"$python" - "$work" <<'PY' || fail "index, folds and export disagree"
import csv, glob, json, os, subprocess, sys
work = sys.argv[1]
info = json.loads(subprocess.run([os.environ["UNMASK"], "inspect", f"{work}/s2", "--json"], stdout=subprocess.PIPE, check=True).stdout)
assert len(info["videos"]) == 12 and info["crops"] > 0 and info["masks"] > 0 and info["landmarks"] > 0, info["status"]
rows = list(csv.DictReader(open(f"{work}/folds.csv")))
assert len(rows) == info["crops"], (len(rows), info["crops"])
folds = {}
for r in rows:
    assert os.path.getsize(f"{work}/reference/crops/{r['video']}/{r['file']}") > 100, r
    assert folds.setdefault(r["original"], r["fold"]) == r["fold"], "leak"
    assert (r["label"] == "0") == (r["video"] == r["original"])
assert len(glob.glob(f"{work}/reference/crops/*/*.png")) == info["crops"]
assert len(glob.glob(f"{work}/reference/diffs/*/*_diff.png")) == info["masks"]
assert len(glob.glob(f"{work}/reference/landmarks/*/*.npy")) == info["landmarks"]
for name in glob.glob(f"{work}/reference/boxes/*.json"):
    boxes = json.load(open(name))
    assert list(boxes) == ["0", "10", "20"], (name, list(boxes))
try:
    import h5py
except ImportError:
    sys.exit(0)  # set-up installs it; without it the rest was still checked
with h5py.File(f"{work}/s2/index.h5") as f:
    faces, images = f["faces"], f["images"]
    assert len(f["videos"]) == 12 and len(faces) == info["crops"]
    for face in faces[:]:
        png = images[int(face["image_at"]):int(face["image_at"]) + int(face["image_bytes"])].tobytes()
        assert png[:4] == b"\x89PNG", png[:8]
PY
echo "all as it should be; digest $want"
