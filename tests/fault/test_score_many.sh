#!/bin/bash
# 100,000 names in, 100,000 rows out, whatever they are; time, and memory of the largest rank. usage: test_score_many.sh UNMASK_DOUBLE [COUNT]
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
double=${1:?usage: test_score_many.sh UNMASK_DOUBLE [COUNT]}
count=${2:-100000}
if [ -w /dev/shm ]; then # a hundred thousand small files are slow on a busy disk
    rm -rf "$work"
    work=$(mktemp -d /dev/shm/unmask-many.XXXXXX)
fi
cd "$work"
python3 - "$count" "$double" <<'PY'
import csv, json, os, resource, subprocess, sys, time
count, double = int(sys.argv[1]), sys.argv[2]
os.mkdir("v")
names = []
for i in range(count):
    folder = f"v/{i // 1000:03d}"
    if i % 1000 == 0:
        os.mkdir(folder)
    name = f"{folder}/some_name_of_a_video_{i:06d}.mp4"
    names.append(name)
    if i % 10 == 9:
        continue  # MISSING
    with open(name, "w") as f:
        f.write("" if i % 10 == 8 else "BAD" if i % 10 == 7 else f"video {i}")
with open("names", "w") as f:
    f.write("\n".join(names))
for step, ranks in (("all", 2), ("again", 3)):
    start = time.time()
    r = subprocess.run(["mpirun", "--bind-to", "none", "-n", str(ranks), double, "score", "--list", "names", "-o", "x.csv", "--details", "x.jsonl", "--submission", "x.sub", "--quiet"], stdout=subprocess.PIPE)
    assert r.returncode == 0, r.returncode
    rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{step}: {count} names, {ranks} ranks, {time.time() - start:.1f} s, largest process {rss // 1024} MB")
with open("x.csv", newline="") as f:
    rows = list(csv.DictReader(f))
assert [r["path"] for r in rows] == sorted(names)
assert sum(r["status"] == "MISSING" for r in rows) == count // 10 == sum(r["status"] == "CORRUPT" for r in rows) == sum(r["status"] == "ZERO_FRAMES" for r in rows)
with open("x.jsonl") as f:
    assert sum(1 for _ in f) == count
with open("x.sub") as f:
    assert sum(1 for _ in f) == count + 1
info = json.load(open("x.csv.status.json"))
assert info["complete"] and info["inputs"] == count and info["bad"] == 3 * count // 10, info
print("journals:", sum(os.path.getsize("x.csv.journal/" + n) for n in os.listdir("x.csv.journal")) >> 20, "MB, manifest:", os.path.getsize("x.csv.manifest") >> 20, "MB, details:", os.path.getsize("x.jsonl") >> 20, "MB")
PY
