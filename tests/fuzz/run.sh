#!/bin/bash
# Builds the fuzz targets with clang and runs them one after another, each for some minutes, from the corpus and what earlier runs found. Says for each how many inputs were tried and whether
# coverage still grew. Stops at the first input that a target does not survive, and names it.
# usage: tests/fuzz/run.sh [--minutes N] [--build DIR] [TARGET...]      (default: 30 minutes, build/fuzz, all targets)
set -euo pipefail
cd "$(dirname "$0")/../.."
minutes=30 build=build/fuzz
while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    -*) sed -n '2,4s/^# //p' "$0"; exit 2 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- pickle torch safetensors model h5image codec video
command -v clang >/dev/null || { echo "clang is missing. Install it with: apt-get install clang"; exit 77; }
cmake -S . -B "$build" -DCMAKE_C_COMPILER=clang -DUNMASK_FUZZ=ON -DUNMASK_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
cmake --build "$build" -j2 --target "${@/#/fuzz_}" >/dev/null

seconds=$(awk -v m="$minutes" 'BEGIN { print int(m * 60) }')
for target; do
    found=$build/found/$target log=$build/$target.log options=()
    mkdir -p "$found"
    [ ! -e "tests/fuzz/$target.dict" ] || options+=(-dict="tests/fuzz/$target.dict")
    case $target in
    model) options+=(-max_len=65536 -dict=tests/fuzz/safetensors.dict) ;;
    video) options+=(-max_len=65536 -timeout=20) ;;
    *) options+=(-max_len=4096) ;;
    esac
    # Leaks are looked for at the end of a run; HDF5 keeps its own.
    if ! "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -malloc_limit_mb=256 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$found-" "${options[@]}" \
        "$found" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
        echo "$target: FAILED; the input: $(ls -t "$found"-* 2>/dev/null | head -1); $log"
        grep -E "ERROR|SUMMARY|deadly" "$log" | head -5
        exit 1
    fi
    # libFuzzer prints a line at its start (INITED) and with each new input: "#123 NEW cov: 456 ft: ...".
    awk -v t="$target" -v m="$minutes" '
        match($0, /cov: [0-9]+/) { c = substr($0, RSTART + 5, RLENGTH - 5) + 0; n = substr($1, 2) + 0; if (!first) first = c; last = c; if (c > most) { most = c; at = n } }
        /number_of_executed_units/ { runs = $2 }
        /new_units_added/ { new = $2 }
        END { printf "%s: %d inputs in %g minutes, coverage %d at the start, %d at the end; it grew last at input %d (%d %%), %d new inputs kept\n", t, runs, m, first, last, at, (runs > 0 ? 100 * at / runs : 0), new }' "$log"
done
