#!/bin/bash
# score --device gpu with the emulated GPU: the processor's scores, the same bytes for any number of ranks, GPUs shared out, and every way in which there is no GPU told. usage: test_emu_score.sh MODULE MODULE-THAT-POSES-AS-REAL
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
module=$1
need_detector
need_portraits
cd "$work"
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o root --parts 1 --originals 2 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 4
mkdir videos models
find root -name '*.mp4' -exec mv {} videos/ \;
printf 'no video' >videos/broken.mp4
"$UNMASK" import random -o models/one.h5 --arch w0.25d0.5 --size 32 --seed 1 2>/dev/null
"$UNMASK" import random -o models/two.h5 --arch w0.25d0.2 --size 40 --seed 2 2>/dev/null

rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o cpu.csv --device cpu
export UNMASK_CUDA_MODULE=$module EMU_DEVICES=2
rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o r1.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -q "emulated" err || fail "nothing says that the GPU is emulated: $(cat err)"
! grep -Eq "never freed|never waited" err || fail "the emulator says: $(cat err)"
grep -q "cuda" err || fail "nothing names the backend: $(cat err)"
rc 0 ranks 2 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o r2.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
cmp r1.csv r2.csv || fail "2 ranks made another csv"
EMU_SEED=7 rc 0 ranks 3 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o r3.csv --device gpu --set gpu.batch=2 --set gpu.frames=0 --share-gpus
cmp r1.csv r3.csv || fail "3 ranks on 2 GPUs made another csv"
python3 - <<'END' || fail "scores of the GPU differ from the processor's"
import csv
cpu, gpu = ([r for r in csv.DictReader(open(f))] for f in ("cpu.csv", "r1.csv"))
assert len(cpu) == len(gpu) >= 3
n = 0
for a, b in zip(cpu, gpu):
    assert {k: v for k, v in a.items() if "score" not in k and k != "label" and not k.startswith("model")} .keys() == {k: v for k, v in b.items() if "score" not in k and k != "label" and not k.startswith("model")}.keys()
    assert a["status"] == b["status"], (a, b)
    if a["score"]:
        n += 1
        assert abs(float(a["score"]) - float(b["score"])) < 2e-5, (a["score"], b["score"])
assert n >= 2
END
# detect alone, which never opens MPI.
clip=$(find videos -name '*.mp4' ! -name 'broken*' | sort | head -1)
rc 0 "$UNMASK" detect "$clip" --frames spread:5 --landmarks -o cpu_faces.jsonl --device cpu
rc 0 "$UNMASK" detect "$clip" --frames spread:5 --landmarks -o gpu_faces.jsonl --device gpu --set gpu.frames=3
! grep -Eq "never freed|never waited" err || fail "the emulator says: $(cat err)"
python3 - <<'END' || fail "detect finds other faces on the GPU"
import json
a, b = ([json.loads(l) for l in open(f)] for f in ("cpu_faces.jsonl", "gpu_faces.jsonl"))
assert len(a) == len(b) == 5 and sum(len(x["faces"]) for x in a) >= 3
for x, y in zip(a, b):
    assert x["frame"] == y["frame"] and len(x["faces"]) == len(y["faces"])
    for f, g in zip(x["faces"], y["faces"]):
        for p, q in zip(f["box"] + sum(f["landmarks"], []), g["box"] + sum(g["landmarks"], [])): assert abs(p - q) < 1e-2, (p, q)
END

# With frames searched on the GPU too: in batches of three, of which the last is not full.
few=(score videos -m models --frames spread:4 --set persons.min_faces=2 --details)
rc 0 "$UNMASK" "${few[@]}" cpu.jsonl -o few_cpu.csv --device cpu
rc 0 "$UNMASK" "${few[@]}" gpu.jsonl -o few_gpu.csv --device gpu --set gpu.batch=2 --set gpu.frames=3
! grep -Eq "never freed|never waited" err || fail "the emulator says: $(cat err)"
rc 0 ranks 2 "$UNMASK" "${few[@]}" gpu2.jsonl -o few_gpu2.csv --device gpu --set gpu.batch=2 --set gpu.frames=2
cmp few_gpu.csv few_gpu2.csv || fail "2 ranks and other batches of frames made another csv"
cmp gpu.jsonl gpu2.jsonl || fail "2 ranks and other batches of frames found other faces"
EMU_MEMORY=200000000 rc 0 "$UNMASK" "${few[@]}" none.jsonl -o few_none.csv --device gpu --set gpu.batch=1 --set gpu.frames=64
grep -q "frames were searched for faces by processors" err || fail "no word of frames that the GPU has no room for: $(cat err)"
python3 - <<'END' || fail "faces of the GPU differ from the processor's"
import json
cpu, gpu = ([json.loads(l) for l in open(f)] for f in ("cpu.jsonl", "gpu.jsonl"))
n = 0
def same(a, b, path=""):
    global n
    assert type(a) == type(b), (path, a, b)
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for k in a: same(a[k], b[k], path + "/" + k)
    elif isinstance(a, list):
        assert len(a) == len(b), (path, len(a), len(b))
        for i, (x, y) in enumerate(zip(a, b)): same(x, y, f"{path}[{i}]")
    elif isinstance(a, float):
        n += 1
        assert abs(a - b) < 2e-3 + 1e-4 * abs(a), (path, a, b)
    else: assert a == b, (path, a, b)
same(cpu, gpu)
assert n > 50, n
END
rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o bf16.csv --device gpu --set gpu.batch=2 --set gpu.frames=0 --precision bf16

# A run that was begun on a processor is not continued on a GPU: other bits.
rc 65 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o cpu.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -q "backend" err || fail "the refusal does not name the backend: $(cat err)"

# More ranks than GPUs; what is missing.
rc 78 ranks 3 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -q "share-gpus" err || fail "no remedy for too many ranks: $(cat err)"
CUDA_VISIBLE_DEVICES=1 rc 78 ranks 2 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
EMU_DRIVER=none rc 78 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -q "no NVIDIA driver" err || fail "no driver: $(cat err)"
EMU_DRIVER=old rc 78 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -q "newer driver" err || fail "an old driver: $(cat err)"
CUDA_VISIBLE_DEVICES='' rc 78 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -q "shows no GPU" err || fail "no GPU: $(cat err)"
EMU_MEMORY=3000000 rc 70 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
grep -Eq "gpu.batch.*out of memory of the GPU|out of memory of the GPU.*gpu.batch" err || fail "memory: $(cat err)"
UNMASK_CUDA_MODULE=$work/nothing.so rc 74 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
cp /bin/true foreign.so
UNMASK_CUDA_MODULE=$work/foreign.so rc 78 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o no.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
[ ! -e no.csv ] || fail "a run without a GPU left a file"

# auto: never the emulator; without a GPU the processor goes on; UNMASK_CUDA decides where the command line does not.
rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o auto.csv
cmp cpu.csv auto.csv || fail "auto is not the processor"
EMU_DRIVER=none rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o auto2.csv
cmp cpu.csv auto2.csv || fail "auto without a driver is not the processor"
UNMASK_CUDA=on rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o on.csv --set gpu.batch=2 --set gpu.frames=0
cmp r1.csv on.csv || fail "UNMASK_CUDA=on is not the GPU"
UNMASK_CUDA=off rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o off.csv

# ... and where the module is a real one, as far as the program can see: GPUs where each rank can have its own, else the processor, and it says so. A rank's own environment changes nothing.
UNMASK_CUDA_MODULE=$2 rc 0 ranks 2 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o real.csv --set gpu.batch=2 --set gpu.frames=0
cmp r1.csv real.csv || fail "auto does not take GPUs"
UNMASK_CUDA_MODULE=$2 rc 0 ranks 3 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o few.csv
cmp cpu.csv few.csv || fail "auto with more ranks than GPUs is not the processor"
grep -q "have no GPU of their own" err || fail "auto does not say why it takes processors: $(cat err)"
rc 0 mpirun --bind-to none -n 1 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o mixed.csv : -n 1 env UNMASK_CUDA=on "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o mixed.csv
cmp cpu.csv mixed.csv || fail "a rank with another UNMASK_CUDA makes other scores"

# A call that fails: an error that names it, nothing wrong in the file, and the next run completes it.
for n in 1 20 150 900; do
    rm -rf f.csv*
    status=0
    EMU_FAIL_AT=$n "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o f.csv --device gpu --set gpu.batch=2 --set gpu.frames=0 >out 2>err || status=$?
    if [ "$status" = 0 ]; then
        cmp r1.csv f.csv || fail "call $n failed, and the run went on with other scores"
    else
        case $status in 70 | 78) ;; *) fail "call $n failed: exit $status: $(cat err)" ;; esac
        grep -q "error:" err || fail "call $n failed without a word"
    fi
    rc 0 "$UNMASK" score videos -m models --frames spread:8 --set persons.min_faces=2 -o f.csv --device gpu --set gpu.batch=2 --set gpu.frames=0
    cmp r1.csv f.csv || fail "after the failure of call $n the run is not completed"
done
echo "all as it should be"
