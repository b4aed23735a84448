#!/bin/bash
# Every kind of bad video in a folder and in a list: one row each with its status, the run goes on and ends with 0; hostile playlists open nothing; a decoder that crashes or hangs costs its own row.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
need_detector
command -v ffmpeg >/dev/null || skip "no ffmpeg program: scripts/setup installs it"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work"
bash "$here/make_bad_videos.sh" "$work/bad"
"$UNMASK" import random -o model.h5 --arch b0 --size 64 --seed 1 2>/dev/null
python3 - "$here/expected_status.tsv" bad names0 expected.json <<'PY'
import json, os, sys
table, folder, names, expected = sys.argv[1:]
want = {}
for line in open(table, "rb").read().split(b"\n"):
    if not line or line.startswith(b"#"):
        continue
    name, status = line.split(b"\t")[:2]
    out, i = b"", 0
    while i < len(name):
        if name[i:i + 1] == b"%":
            out += bytes([int(name[i + 1:i + 3], 16)])
            i += 3
        else:
            out += name[i:i + 1]
            i += 1
    want[folder + "/" + os.fsdecode(out)] = status.decode()
# Listed: a folder among them would be walked, so it is not named; what the corpus could not make here is MISSING.
want = {p: s if os.path.lexists(p) else "MISSING" for p, s in want.items() if not os.path.isdir(p)}
open(names, "wb").write(b"".join(os.fsencode(p) + b"\0" for p in want))
json.dump(want, open(expected, "w"))
PY
rc 0 ranks 2 "$UNMASK" score --list names0 -m model.h5 -o scores.csv --details scores.jsonl --set decoder.cpu_s=20
cp out summary
python3 - <<'PY' || fail "statuses are not as expected"
import csv, json, sys
want = json.load(open("expected.json"))
rows = {r["path"]: r for r in csv.DictReader(open("scores.csv", newline="", encoding="utf-8", errors="surrogateescape"))}
messages = {d["path"]: d["message"] for d in map(json.loads, open("scores.jsonl"))}
bad = [(p, "no row") for p in want if p not in rows] + [(p, "not asked for") for p in rows if p not in want]
for p, statuses in want.items():
    is_ = rows.get(p, {}).get("status")
    allowed = statuses.split("|")
    if "OK" in allowed or "PARTIAL" in allowed:
        allowed += ["NO_FACE", "PARTIAL"] if "PARTIAL" in allowed else ["NO_FACE"]  # test patterns have no faces
    if is_ not in allowed:
        bad.append((p, is_, messages.get(p), statuses))
    if is_ != "OK" and not messages.get(p):
        bad.append((p, is_, "no message"))
for b in bad:
    print(*map(ascii, b), file=sys.stderr)
print(len(want), "inputs;", open("summary").read().strip())
sys.exit(bool(bad))
PY
rc 0 "$UNMASK" score --list names0 -m model.h5 -o one.csv --set decoder.cpu_s=20
cmp one.csv scores.csv || fail "one rank gives other rows"
# The same in a folder: what is a video by name or content has its row.
rc 0 ranks 2 "$UNMASK" score bad -m model.h5 -o folder.csv --set decoder.cpu_s=20
# Test hooks of the decoder's child (io/video_worker.h).
mkdir hooked
for word in CRASHME1 SPINME22; do { printf '\0\0\0\020free%s' $word; cat bad/good.mp4; } >hooked/$word.mp4; done
cp bad/good.mp4 hooked
UNMASK_TEST_DECODER=crash:CRASHME1,spin:SPINME22 rc 0 ranks 2 "$UNMASK" score hooked -m model.h5 -o hooked.csv --set decoder.cpu_s=1
for want in CRASHME1.mp4,unknown,,CRASH SPINME22.mp4,unknown,,TIMEOUT good.mp4,unknown,,NO_FACE; do grep -q "hooked/$want" hooked.csv || fail "a hooked decoder: no $want in $(cat hooked.csv)"; done
echo "all as it should be"
