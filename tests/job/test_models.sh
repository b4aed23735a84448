#!/bin/bash
# Weights as a user handles them: import, inspect, export, what doctor says, and what is told about files that do not fit. A file is made here without PyTorch.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"

# make KIND FILE: a small network's weights as safetensors, in the standard library's Python. KIND: sound, encoder, short (one tensor less).
make() {
    python3 - "$@" <<'PY'
import json, math, struct, sys
kind, path = sys.argv[1:]
tensors = []
def add(name, *shape): tensors.append((name, shape))
def bn(name, c):
    for p in ("weight", "bias", "running_mean", "running_var"): add(f"{name}.{p}", c)
    tensors.append((f"{name}.num_batches_tracked", None))
add("encoder.conv_stem.weight", 8, 3, 3, 3); bn("encoder.bn1", 8)
x = 8
for s, (r, e, o) in enumerate([(3, 1, 8), (3, 6, 8), (5, 6, 8), (3, 6, 8), (5, 6, 16), (5, 6, 24), (3, 6, 32)]):
    b, m = f"encoder.blocks.{s}.0", x * e
    names = iter(("bn1", "bn2", "bn3"))
    if e > 1: add(f"{b}.conv_pw.weight", m, x, 1, 1); bn(f"{b}.{next(names)}", m)
    add(f"{b}.conv_dw.weight", m, 1, r, r); bn(f"{b}.{next(names)}", m)
    h = max(1, x // 4)
    add(f"{b}.se.conv_reduce.weight", h, m, 1, 1); add(f"{b}.se.conv_reduce.bias", h)
    add(f"{b}.se.conv_expand.weight", m, h, 1, 1); add(f"{b}.se.conv_expand.bias", m)
    add(f"{b}.conv_pwl.weight" if e > 1 else f"{b}.conv_pw.weight", o, m, 1, 1); bn(f"{b}.{next(names)}", o)
    x = o
add("encoder.conv_head.weight", 128, x, 1, 1); bn("encoder.bn2", 128)
add("encoder.classifier.weight", 1000, 128); add("encoder.classifier.bias", 1000)
add("fc.weight", 1, 128); add("fc.bias", 1)
if kind == "encoder": tensors = [(n[8:], s) for n, s in tensors if n.startswith("encoder.")]
if kind == "short": tensors = [t for t in tensors if t[0] != "encoder.blocks.3.0.bn2.bias"]
header, data = {}, bytearray()
for name, shape in tensors:
    if shape is None: raw, dtype, dims = struct.pack("<q", 7), "I64", []
    else:
        n = math.prod(shape)
        raw, dtype, dims = struct.pack(f"<{n}f", *(((i * 31 + len(name)) % 17 + 1) / 16 for i in range(n))), "F32", list(shape)
    header[name] = {"dtype": dtype, "shape": dims, "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
PY
}

cd "$work"
make sound w.safetensors
rc 0 "$UNMASK" import classifier w.safetensors -o model.h5 --arch w0.1d0.1 --size 64
grep -q "EfficientNet-w0.1d0.1 for 64 px, .* parameters, fingerprint [0-9a-f]\{16\}, from 'w.safetensors' (SHA-256 $(sha256sum w.safetensors | cut -d' ' -f1))" err || fail "import does not say what it made: $(cat err)"
grep -q "2 tensors of a classifier of other classes, 22 counters num_batches_tracked, 0 entries" err || fail "import does not say what it left out: $(cat err)"
rc 0 "$UNMASK" inspect model.h5
grep -q "classifier, EfficientNet-w0.1d0.1 (width 0.1, depth 0.1)" out || fail "inspect: $(cat out)"
rc 0 "$UNMASK" inspect model.h5 --json
python3 - <<'PY' || fail "inspect --json: $(cat out)"
import hashlib, json
m = json.load(open("out"))
assert m["kind"] == "model" and m["arch"] == "w0.1d0.1" and m["size"] == 64 and m["head"] is True, m
assert all(abs(a - b) < 1e-6 for a, b in zip(m["mean"] + m["std"], [0.485, 0.456, 0.406, 0.229, 0.224, 0.225])), m
assert m["source"] == "w.safetensors" and m["source_sha256"] == hashlib.sha256(open("w.safetensors", "rb").read()).hexdigest(), m
PY
fingerprint=$(python3 -c 'import json; print(json.load(open("out"))["fingerprint"])')
rc 0 "$UNMASK" inspect model.h5 --digest
[ "$(cat out)" = "$fingerprint" ] || fail "--digest is not the fingerprint"

# Out, and in again: the same numbers, name for name; what is exported twice is the same file.
rc 0 "$UNMASK" export model model.h5 -o out.safetensors
rc 0 "$UNMASK" export model model.h5 -o again.safetensors
cmp out.safetensors again.safetensors || fail "two exports differ"
python3 - <<'PY' || fail "the export is not what was imported"
import json, struct
def read(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    meta = head.pop("__metadata__", None)
    return {k: (v["shape"], raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in head.items()}, meta
a, _ = read("w.safetensors")
b, meta = read("out.safetensors")
a = {k: v for k, v in a.items() if not k.startswith("encoder.classifier.") and not k.endswith("num_batches_tracked")}
assert a == b, set(a) ^ set(b)
assert meta == {"format": "pt", "arch": "w0.1d0.1", "size": "64"}, meta
PY
rc 0 "$UNMASK" import classifier out.safetensors -o again.h5
rc 0 "$UNMASK" inspect again.h5 --digest
[ "$(cat out)" = "$fingerprint" ] || fail "export and import change the fingerprint"

# timm's own: an encoder, and said so.
make encoder timm.safetensors
rc 0 "$UNMASK" import classifier timm.safetensors -o encoder.h5 --arch w0.1d0.1
grep -q "encoder.h5' is an encoder: the file has no head" err || fail "an encoder is not told of: $(cat err)"
rc 0 "$UNMASK" inspect encoder.h5
grep -q "encoder without head" out || fail "inspect does not say that it is an encoder: $(cat out)"

# What does not fit: named, nothing written.
make short short.safetensors
rc 65 "$UNMASK" import classifier short.safetensors -o bad.h5 --arch w0.1d0.1
grep -q "cannot import 'short.safetensors'.*1 missing: 'encoder.blocks.3.0.bn2.bias'" err || fail "a missing tensor is not named: $(cat err)"
rc 65 "$UNMASK" import classifier w.safetensors -o bad.h5
grep -q -- "--arch w<width>d<depth>" err || fail "no remedy for an unknown architecture: $(cat err)"
rc 65 "$UNMASK" import classifier w.safetensors -o bad.h5 --arch b7
grep -q "b7 has stem 64, head 2560, blocks 4-7-7-10-10-13-4, the file has stem 8" err || fail "a wrong --arch is not explained: $(cat err)"
head -c 9000 w.safetensors >cut.safetensors
rc 65 "$UNMASK" import classifier cut.safetensors -o bad.h5
rc 65 "$UNMASK" import classifier model.h5 -o bad.h5
grep -q "a file of unmask's own: use it as it is" err || fail "a model of ours is not told apart: $(cat err)"
rc 2 "$UNMASK" import classifier w.safetensors -o bad.h5 --arch b9
rc 2 "$UNMASK" import classifier w.safetensors -o bad.h5 --size 16
rc 2 "$UNMASK" import classifier w.safetensors out.safetensors -o bad.h5
rc 2 "$UNMASK" import mtcnn x -o bad.h5 --arch b0
rc 2 "$UNMASK" import nonsense x -o bad.h5
grep -q "what can be imported: mtcnn, classifier" err || fail "what can be imported is not said: $(cat err)"
rc 2 "$UNMASK" export nonsense x -o bad.h5
rc 74 "$UNMASK" import classifier none.pth -o bad.h5
rc 65 "$UNMASK" export model w.safetensors -o bad.safetensors
if [ -e bad.h5 ] || [ -e bad.safetensors ]; then fail "something was written after a failure"; fi

# doctor looks where scoring does.
mkdir home
cp model.h5 encoder.h5 home/
UNMASK_HOME=$work/home "$UNMASK" doctor >out 2>err || true
grep -q "^model  .*home/model.h5', classifier EfficientNet-w0.1d0.1 at 64 px, fingerprint $fingerprint" out || fail "doctor does not list a model: $(cat out)"
grep -q "^model  .*home/encoder.h5', encoder" out || fail "doctor does not list an encoder: $(cat out)"
printf x | dd of=home/model.h5 bs=1 seek=5000 conv=notrunc 2>/dev/null
rc 78 env UNMASK_HOME="$work/home" "$UNMASK" doctor
grep -q "DAMAGED.*home/model.h5.*checksum" out || fail "doctor does not name a damaged model: $(cat out)"
grep -q "remedy: import it again" out || fail "doctor names no remedy: $(cat out)"
echo "all as it should be"
