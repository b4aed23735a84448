#!/bin/bash
# What the GPU backend is worth, on a machine with a GPU: the self-test first, then training and inference of B7 beside PyTorch's, one table. Nobody has run it yet (docs/gpu.md).
# usage: tests/bench/gpu.sh [--build DIR] [--python PYTHON] [--quick]        PYTHON has torch with CUDA, timm, numpy. --quick: B0, fewer rounds
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/release python=python3 options=()
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2 && shift 2 ;;
    --python) python=$2 && shift 2 ;;
    --quick) options=(--arch b0 --size 224 --rounds 2 --steps 5) && shift ;;
    *) sed -n '2,3s/^# //p' "$0" && exit 2 ;;
    esac
done
if ! "$build/unmask" doctor | grep '^gpu ' | grep -v none; then
    echo "no GPU is used here: $("$build/unmask" doctor | grep '^gpu ')"
    exit 77
fi
"$build/unmask" doctor --selftest | tee "$build/gpu-selftest.txt"
if grep -q WRONG "$build/gpu-selftest.txt"; then
    echo "the self-test found wrong results: nothing is timed"
    exit 1
fi
"$python" -c 'import torch, timm, sys; sys.exit(not torch.cuda.is_available())' || { echo "$python has no torch with CUDA, or no timm: --python"; exit 77; }
rm -f "$build/gpu-bench.jsonl"
for run in "train 48" "train 12" "infer 32" "infer 128"; do
    read -r what batch <<<"$run"
    "$python" tests/bench/bench_gpu.py "$what" --batch "$batch" --build "$build" "${options[@]}" | tee -a "$build/gpu-bench.jsonl"
done
"$python" - "$build/gpu-bench.jsonl" <<'PY'
import json, sys
goals = {("gpu train", 48): ("G1", 1.6, 2.2), ("gpu train", 12): ("G2", 2, 3), ("gpu infer", 32): ("G3", 1.8, 2.5), ("gpu infer", 128): ("G3", 1.8, 2.5)}
print("| goal | what | batch | pictures/s | PyTorch's best | ratio (goal) | reference's way: ratio (goal) | GB, of PyTorch's |")
print("|---|---|---|---|---|---|---|---|")
for line in open(sys.argv[1]):
    r = json.loads(line)
    name, best, eager = goals.get((r["bench"], r["batch"]), ("-", 0, 0))
    b, m = r["modes"][r["best"]], r["memory_bytes"]
    other = r["modes"]["eager" if "train" in r["bench"] else "reference"]
    print(f"| {name} | {r['bench']} {r['arch']} at {r['size']} | {r['batch']} | {r['ours_images_per_s']:.0f} | {b['peer_images_per_s']:.0f} ({r['best']}) | {b['ratio']} ({best}) | {other['ratio']} ({eager}) | {m['ours'] / 1e9:.1f}, {m['ours'] / m[r['best']]:.2f} |")
PY
