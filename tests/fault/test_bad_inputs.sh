#!/bin/bash
# A data root where nearly everything is wrong: every input has one row with its status, the run goes on, the exit code is 0; --max-bad, a full disk, a read-only place and a wrong root have theirs.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
need_detector
need_portraits
command -v ffmpeg >/dev/null || skip "no ffmpeg program: scripts/setup installs it"
here=$(dirname "$0")
root=$work/root
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o "$root" --parts 2 --originals 2 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 9
bash "$here/make_bad_videos.sh" "$work/bad"
python3 "$here/bad_root.py" "$root" "$work/bad" "$here/expected_status.tsv" >"$work/expected.json"

rc 0 ranks 2 "$UNMASK" preprocess "$root" --store "$work/store"
cp "$work/out" "$work/summary"
python3 - "$work" <<'PY' || fail "statuses are not as expected"
import json, os, subprocess, sys
work = sys.argv[1]
want = json.load(open(f"{work}/expected.json"))
info = json.loads(subprocess.run([os.environ["UNMASK"], "inspect", f"{work}/store", "--json"], stdout=subprocess.PIPE, check=True).stdout)
rows = {}
for v in info["videos"]:
    assert v["path"] not in rows, ("two rows", v["path"])
    rows[v["path"]] = v
bad = [(p, "no row", s) for p, s in want.items() if p not in rows]
bad += [(p, rows[p]["status"], rows[p]["message"], s) for p, s in want.items() if p in rows and rows[p]["status"] not in s.split("|")]
bad += [(p, "not expected", rows[p]["status"]) for p in rows if p not in want]
bad += [(p, "no message", v["status"]) for p, v in rows.items() if v["status"] not in ("OK", "PENDING") and not v["message"]]
for b in bad:
    print(*map(ascii, b), file=sys.stderr)
print(f"{len(want)} inputs, {sum(s != 'OK' for s in want.values())} of them bad or odd; statuses:", info["status"])
sys.exit(bool(bad) or len([s for s in want.values() if s != "OK"]) < 60)
PY
digest=$("$UNMASK" inspect "$work/store" --digest)
rc 0 "$UNMASK" preprocess "$root" --store "$work/again"
[ "$("$UNMASK" inspect "$work/again" --digest)" = "$digest" ] || fail "another digest with one rank"

rc 3 "$UNMASK" preprocess "$root" --store "$work/store" --max-bad 10
rc 65 "$UNMASK" preprocess "$work/bad" --store "$work/none"
rc 74 "$UNMASK" preprocess "$work/nothing" --store "$work/none"
rc 74 "$UNMASK" preprocess "$root" --store /proc/unmask-store
rc 2 "$UNMASK" preprocess "$root"
rc 2 "$UNMASK" preprocess "$root" --store "$work/s" --frame every:3
grep -q "did you mean frames" "$work/err" || fail "an unknown option names no nearest one"

# A video that crashes its decoder and one that keeps it busy for ever (test hooks of the worker, io/video_worker.h) cost their own rows only.
mkdir -p "$work/hooked/dfdc_train_part_0"
for word in CRASHME1 SPINME22; do
    { printf '\0\0\0\020free%s' $word; cat "$root"/dfdc_train_part_91/orig.mp4; } >"$work/hooked/dfdc_train_part_0/$word.mp4"
done
cp "$root"/dfdc_train_part_91/orig.mp4 "$work/hooked/dfdc_train_part_0/good.mp4"
printf '{"CRASHME1.mp4": {"label": "REAL"}, "SPINME22.mp4": {"label": "REAL"}, "good.mp4": {"label": "REAL"}}' >"$work/hooked/dfdc_train_part_0/metadata.json"
UNMASK_TEST_DECODER=crash:CRASHME1,spin:SPINME22 rc 0 ranks 2 "$UNMASK" preprocess "$work/hooked" --store "$work/hooked.store" --set decoder.cpu_s=1
for want in "CRASH 1" "TIMEOUT 1" "OK 1"; do grep -q "$want" "$work/out" || fail "a hooked decoder: no $want in $(cat "$work/out")"; done

# A full disk: 74, and a rerun with room completes to the same digest. Shards appear whole or not at all.
mkdir "$work/small"
if mount -t tmpfs -o size=600k tmpfs "$work/small" 2>/dev/null; then
    trap 'umount "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
    rc 74 ranks 2 "$UNMASK" preprocess "$root" --store "$work/small/store" --set store.ignore_space=true --set store.seal_s=0.1
    grep -q "No space left" "$work/err" || fail "a full disk is not named"
    mount -o remount,size=2g "$work/small"
    rc 0 ranks 2 "$UNMASK" preprocess "$root" --store "$work/small/store"
    [ "$("$UNMASK" inspect "$work/small/store" --digest)" = "$digest" ] || fail "another digest after a full disk"
else
    echo "not tested here: a full disk (a tmpfs cannot be mounted)"
fi
echo "all as it should be"
