#!/bin/bash
# detect on pictures, a video, a folder with other things in it: one JSON line each, boxes where the face is, the same for a picture and a lossless copy of it.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
mkdir -p "$work/in/deep"
cp "${portraits[0]}" "$work/in/a.${portraits[0]##*.}"
cp "${portraits[1]}" "$work/in/deep/b.${portraits[1]##*.}"
echo "no picture" >"$work/in/broken.png"
echo "nothing" >"$work/in/notes.txt"
ln -s .. "$work/in/deep/loop"
"$UNMASK" synth --quiet --portraits "${portraits[0]}" "${portraits[1]}" -o "$work/data" --parts 1 --originals 1 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 1
videos=("$work"/data/dfdc_train_part_0/*.mp4)
video=${videos[0]}
rc 0 "$UNMASK" detect "$work/in" "$video" "$work/missing.mp4" --landmarks --draw "$work/drawn" -o "$work/faces.jsonl"
python3 - "$work" "$video" <<'PY' || fail "faces.jsonl is not as expected"
import json, os, sys
work, video = sys.argv[1:]
rows = [json.loads(line) for line in open(f"{work}/faces.jsonl")]
by = {}
for r in rows:
    assert set(r) - {"message"} == {"path", "frame", "time_s", "width", "height", "status", "faces"}, r
    by.setdefault(r["path"], []).append(r)
pictures = [p for p in by if p.startswith(f"{work}/in") and by[p][0]["status"] == "OK"]
assert len(pictures) == 2, by.keys()
for p in pictures:
    faces = by[p][0]["faces"]
    assert faces, p
    areas = []
    for f in faces:
        x0, y0, x1, y1 = f["box"]
        assert 0.7 < f["probability"] <= 1 and x1 > x0 and y1 > y0
        areas.append((x1 - x0) * (y1 - y0))
        w, h = x1 - x0, y1 - y0
        for x, y in f["landmarks"]:
            assert x0 - w / 2 < x < x1 + w / 2 and y0 - h / 2 < y < y1 + h / 2
        (lx, ly), (rx, ry), (nx, ny), (mx, my), (kx, ky) = faces[0]["landmarks"]
        assert lx < rx and mx < kx and (ly + ry) / 2 < ny < (my + ky) / 2, "eyes, nose and mouth are out of order"
    assert areas == sorted(areas, reverse=True), "not largest first"
assert by[f"{work}/in/broken.png"][0]["status"] in ("CORRUPT", "UNSUPPORTED_FORMAT", "NO_VIDEO") and by[f"{work}/in/broken.png"][0]["frame"] is None
assert by[f"{work}/missing.mp4"][0]["status"] == "MISSING"
assert [r["frame"] for r in by[video]] == [0, 10, 20], by[video]
assert all(r["faces"] for r in by[video])
assert not any("notes.txt" in p for p in by)
assert len(os.listdir(f"{work}/drawn")) == 5, os.listdir(f"{work}/drawn")
PY
grep -q "1 files in folders" "$work/err" || fail "files left out are not counted"
rc 0 "$UNMASK" detect "$video" --frames spread:2
[ "$(wc -l <"$work/out")" = 2 ] || fail "spread:2 does not give two lines on the standard output"
echo "all as it should be"
