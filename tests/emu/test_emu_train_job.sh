#!/bin/bash
# train --device gpu with the emulated GPU: 1, 2 and 4 ranks learn what the processor learns, weights and batch norm's statistics; uneven and empty parts of a batch; killed, stopped, failing and silent ranks, and going on to the same bits; too
# little memory. usage: test_emu_train_job.sh MAKE_STORE MODULE
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
make_store=$1
export UNMASK_CUDA_MODULE=$2 EMU_DEVICES=2
cd "$work"
"$make_store" root store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
train=("$UNMASK" train --store store --folds folds.csv --fold 3 --set encoder=w0.2d0.2 --set size=32 --set drop_path=0.1 --seed 7 --set optimizer.learning_rate=0.001 --set batches_per_epoch=4 --no-hardcore)
f32=("${train[@]}" --set optimizer.schedule.epochs=2)
gpu=("${f32[@]}" --device gpu --share-gpus)

# As the processor.
rc 0 "${f32[@]}" --set optimizer.batch_size=4 --device cpu -o cpu
rc 0 "${gpu[@]}" --set optimizer.batch_size=4 -o gpu1
grep -q "the GPU is emulated" err || fail "nothing says that the GPU is emulated: $(cat err)"
grep -q '"device": "cuda"' gpu1/seed7/log.jsonl || fail "the log does not say the device"
rc 0 ranks 2 "${gpu[@]}" --set optimizer.batch_size=2 -o gpu2
rc 0 ranks 4 "${gpu[@]}" --set optimizer.batch_size=1 -o gpu4
rc 0 ranks 2 "${gpu[@]}" --set optimizer.batch_size=2 --set gpu.in_order=true -o gpu2o
cmp gpu2/seed7/epoch-001.h5 gpu2o/seed7/epoch-001.h5 || fail "sums in order make other bits"
# A batch that was begun by one rank goes on with three, of 1, 1 and 2 pictures, and with six, two of which have none.
for n in 3 6; do
    rc 0 "${train[@]}" --set optimizer.schedule.epochs=1 --set optimizer.batch_size=4 --device gpu -o "gpu$n"
    rc 0 ranks $n "${gpu[@]}" --set optimizer.batch_size=4 -o "gpu$n"
done
for d in cpu gpu1 gpu2 gpu3 gpu4 gpu6; do "$UNMASK" export model $d/seed7/epoch-001.h5 -o $d.safetensors >/dev/null 2>&1; done
python3 - <<'PY' || fail "a GPU learns something else than the processor"
import array, json, struct
def tensors(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + n])
    return {k: array.array("f", data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in head.items() if k != "__metadata__" and v["dtype"] == "F32"}
def rows(path, kind): return [r for r in map(json.loads, open(f"{path}/seed7/log.jsonl")) if r["kind"] == kind]
want, steps, epochs = tensors("cpu.safetensors"), rows("cpu", "step"), rows("cpu", "epoch")
assert len(want) > 50 and len(steps) == 8 and len(epochs) == 2
for name in ("gpu1", "gpu2", "gpu3", "gpu4", "gpu6"):
    got = tensors(f"{name}.safetensors")
    assert got.keys() == want.keys()
    worst = 0
    for k, b in want.items():
        a = got[k]
        assert len(a) == len(b)
        by = 1 if k.endswith(("bias", "running_mean")) else (sum(x * x for x in b) / len(b)) ** 0.5
        far = max(abs(x - y) for x, y in zip(a, b)) / by
        worst = max(worst, far)
    assert worst < 2e-4, (name, worst)
    for a, b in zip(rows(name, "step"), steps, strict=True):
        assert a["step"] == b["step"] and abs(a["loss"] - b["loss"]) < 1e-4 and abs(a["grad_norm"] / b["grad_norm"] - 1) < 1e-3, (name, a, b)
    for a, b in zip(rows(name, "epoch"), epochs, strict=True): assert abs(a["val_weighted"] - b["val_weighted"]) < 1e-4 and a["val_crops"] == b["val_crops"], (name, a, b)
    print(f"{name}: weights and statistics off by at most {worst:.1e}")
PY

# bf16 where it is asked for; on GPUs before sm_80 f32.
rc 0 "${train[@]}" --set optimizer.schedule.epochs=1 --set optimizer.batch_size=4 --device gpu -o half --set fp16=true
grep -q '"precision": "bf16"' half/seed7/log.jsonl || fail "fp16 is not bf16 on a GPU"
EMU_SM=70 rc 0 "${train[@]}" --set optimizer.schedule.epochs=1 --set optimizer.batch_size=4 --device gpu -o old --set fp16=true
grep -q '"precision": "f32"' old/seed7/log.jsonl || fail "bf16 on a GPU that has none"

# Whatever stops it, the same command goes on to the same bits.
same() { cmp gpu2/seed7/epoch-001.h5 "$1/seed7/epoch-001.h5" || fail "$1: other bits than without interruption"; }
two=("${gpu[@]}" --set optimizer.batch_size=2 --checkpoint-steps 1)
rc 75 mpirun --bind-to none -n 1 "${two[@]}" -o broken : -n 1 env EMU_NCCL_ERROR=300 "${two[@]}" -o broken
grep -q "a sum over ranks failed: NCCL" err || fail "the broken sum is not told: $(cat err)"
grep -q "run the same command again" err || fail "the remedy is not told: $(cat err)"
rc 0 ranks 2 "${two[@]}" -o broken
grep -q "going on with" err || fail "it began anew: $(cat err)"
same broken
rc 75 mpirun --bind-to none -n 1 "${two[@]}" -o failing : -n 1 env EMU_FAIL=cudaGraphLaunch:3 "${two[@]}" -o failing
rc 0 ranks 2 "${two[@]}" -o failing
same failing
ranks 2 "${two[@]}" -o stopped --set patience=3 --set loader.ahead=1 >out 2>err &
job=$!
for ((i = 0; i < 600; i++)); do
    if ls stopped/seed7/checkpoint-*.h5 >/dev/null 2>&1; then break; fi
    sleep 0.05
done
pids=$(pgrep -f -- "unmask train .* -o stopped" | tail -1)
kill -STOP "$pids" || fail "there is no rank to stop"
got=0
wait $job || got=$?
[ "$got" = 75 ] || fail "a silent rank: exit code $got, want 75: $(cat err)"
grep -q "no answer from rank [01]" err || fail "the silent rank is not named: $(cat err)"
rc 0 ranks 2 "${two[@]}" -o stopped
same stopped

EMU_MEMORY=40000000 rc 70 "${gpu[@]}" --set optimizer.batch_size=64 -o none
grep -Eq "batches of [0-9]+ would fit" err || fail "no word of what would fit: $(cat err)"
rc 2 "${gpu[@]}" --deterministic -o none
EMU_DRIVER=none rc 78 "${gpu[@]}" -o none
grep -q "there is no NVIDIA driver" err || fail "no driver: $(cat err)"
EMU_DRIVER=old rc 78 "${gpu[@]}" -o none
echo "as the processor learns; broken, failing and silent ranks cost nothing but the time"
