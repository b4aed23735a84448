#!/bin/bash
# index.h5 as other programs read it: h5py, from another working directory, by the lines of docs/format.md. Pictures are whole, masks belong to fakes, texts are text, and the rows are those that inspect counts.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
h5py_python || skip "no Python with h5py: scripts/setup installs python3-h5py"
need_detector
need_portraits

"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o "$work/root" --parts 1 --originals 2 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 5
(cd "$work" && rc 0 "$UNMASK" preprocess root --store store)
"$UNMASK" inspect "$work/store" --json >"$work/inspect.json"

# The examples of the manual, as they stand there: the first on this store, the second on a model.
awk -v dir="$work" '/^...python$/ { on = 1; n++; next } /^...$/ { on = 0 } on { print >(dir "/example" (n > 1 ? n : "") ".py") }' "$UNMASK_SOURCE/docs/format.md"
grep -q index.h5 "$work/example.py" || fail "docs/format.md has no example in Python"
grep -q model.h5 "$work/example2.py" || fail "docs/format.md has no example in Python of a model"
(cd "$work" && rc 0 "$UNMASK" import random --arch w0.2d0.2 --size 64 -o model.h5 && "$python" example2.py | grep -q "'arch': 'w0.2d0.2'") || fail "the example of docs/format.md does not read a model"
sed -i "s|DIR/|$work/store/|" "$work/example.py"

mkdir "$work/elsewhere"
cd "$work/elsewhere"
"$python" "$work/example.py" >"$work/example.out" || fail "the example of docs/format.md does not run"
"$python" - "$work/store/index.h5" "$work/inspect.json" "$work/example.out" <<'PY' || fail "the index is not what docs/format.md says"
import json, struct, sys, zlib
import h5py

index, inspected, example = sys.argv[1:]
info = json.load(open(inspected))


def check_png(data, rect, colour_type):
    """A whole PNG (ISO/IEC 15948) of the rectangle's size: every chunk and its CRC, and as many samples as IHDR says."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    at, kinds, packed = 8, [], b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body), kind
        kinds.append(kind)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND" and at == len(data), kinds
    x0, y0, x1, y1 = (int(v) for v in rect)
    assert (width, height, depth, colour) == (x1 - x0, y1 - y0, 8, colour_type), (width, height, depth, colour, rect)
    assert len(zlib.decompress(packed)) == height * (1 + width * (3 if colour_type == 2 else 1))


with h5py.File(index, "r") as f:
    assert f.attrs["format"] in ("unmask-store 1", b"unmask-store 1"), f.attrs["format"]
    assert json.loads(f.attrs["config"]) == info["config"]
    videos, faces, images, masks = f["videos"][:], f["faces"][:], f["images"], f["masks"]
    assert len(videos) == len(info["videos"]) == 4
    assert len(faces) == info["faces"] > 0
    for i, (v, w) in enumerate(zip(videos, info["videos"])):
        for field in ("id", "label", "original", "path", "status", "message"):
            assert isinstance(v[field], bytes), (field, type(v[field]))
            v[field].decode("utf-8")
        assert (v["path"].decode(), v["label"].decode(), v["status"].decode()) == (w["path"], w["label"], w["status"])
        assert (v["original_index"] >= 0) == (v["label"] == b"FAKE")
        assert int((faces["video"] == i).sum()) == w["faces"]
    n = {"image": 0, "mask": 0}
    for r in faces:
        v = videos[r["video"]]
        assert r["key"] == v["key"]
        for kind, data, colour_type in (("image", images, 2), ("mask", masks, 0)):
            at, size = int(r[kind + "_at"]), int(r[kind + "_bytes"])
            if at < 0:
                continue
            n[kind] += 1
            assert r[kind + "_format"] == 0
            check_png(data[at:at + size].tobytes(), r["crop"], colour_type)
        if v["label"] != b"FAKE":
            assert r["mask_at"] < 0, "a mask of a video that is no fake"
    assert n["image"] == info["crops"] > 0 and n["mask"] == info["masks"] > 0, (n, info["crops"], info["masks"])
    assert len(images) == info["image_bytes"] and len(masks) == info["mask_bytes"]
    assert len(open(example).readlines()) >= n["image"]
PY
echo "all as it should be"
