#!/bin/bash
# bench_gpu, which tests/bench/gpu.sh runs on a machine with a GPU, works: on the emulated one it trains and classifies. No time is looked at. usage: test_emu_bench.sh BENCH_GPU MODULE
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
cd "$work"
"$UNMASK" import random -o m.h5 --arch w0.25d0.2 --size 32 --seed 1 2>/dev/null
"$UNMASK" export model m.h5 -o m.safetensors >/dev/null 2>&1
python3 - <<'PY'
import json, struct
data = open("m.safetensors", "rb").read()
n = struct.unpack("<Q", data[:8])[0]
head = {k: v for k, v in json.loads(data[8:8 + n]).items() if k != "__metadata__" and v["dtype"] == "F32"}
open("params", "wb").write(b"".join(data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in sorted(head.items(), key=lambda e: e[1]["data_offsets"][0])))
open("images", "wb").write(bytes((i * 7919 >> 3) & 255 for i in range(4 * 32 * 32 * 3)))
PY
for what in train infer; do
    printf 'values\ntime 2\nbytes\n' | rc 0 "$1" "$2" $what w0.25d0.2 32 bf16 4 params images
    [ "$(wc -l <out)" = 3 ] || fail "$what: $(cat out err)"
    grep -q nan out && fail "$what: $(cat out)"
done
! "$UNMASK_SOURCE/tests/bench/gpu.sh" --build "$(dirname "$UNMASK")" >out 2>&1 || [ -e /dev/nvidia0 ] || fail "gpu.sh measures without a GPU"
echo "trains and classifies"
