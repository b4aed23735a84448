#!/usr/bin/env python3
"""bad_root.py ROOT BAD EXPECTED.tsv: adds to a data root (made by unmask synth) parts in which nearly everything is wrong, and prints the expected status of every video as JSON {path: "STATUS|STATUS"}.

Part 90: each file of BAD as an original of its own. Part 91: relations between files gone wrong. Part 92: no metadata.json. Part 93: a damaged one. The good parts stay as they are."""
import json, os, shutil, sys

root, bad, table = sys.argv[1:4]
want = {}


def key(part, name):
    return f"dfdc_train_part_{part}/" + name


for folder in sorted(os.listdir(root)):
    if "dfdc" in folder:
        for name in json.load(open(f"{root}/{folder}/metadata.json")):
            want[f"{folder}/{name}"] = "OK"


def part(number):
    path = f"{root}/dfdc_train_part_{number}"
    os.mkdir(path)
    return path


def good():
    folder = next(f for f in sorted(os.listdir(root)) if "dfdc" in f)
    meta = json.load(open(f"{root}/{folder}/metadata.json"))
    fake = next(n for n in sorted(meta) if meta[n]["label"] == "FAKE")
    return f"{root}/{folder}/{meta[fake]['original']}", f"{root}/{folder}/{fake}"


real, fake = good()

# Every bad video is an original; those whose names are not UTF-8 cannot stand in JSON and are files without metadata.
p90, meta = part(90), {}
for line in open(table, "rb").read().decode("utf-8", "surrogateescape").split("\n"):
    if not line or line.startswith("#"):
        continue
    name, status = line.split("\t")[:2]
    name = name.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape") if "\\" in name else name
    source = os.path.join(bad, name)
    if not os.path.lexists(source):
        continue
    base = os.path.basename(name)
    target = os.path.join(p90, base)
    if os.path.lexists(target):
        continue
    os.rename(source, target)
    try:
        base.encode("utf-8")
        if base.endswith((".mp4", ".mov", ".avi", ".mkv", ".webm", ".h264", ".ts")):
            meta[base] = {"label": "REAL", "split": "train"}
            want[key(90, base)] = status.replace("OK", "OK|NO_FACE")  # test patterns have no faces
    except UnicodeEncodeError:
        want[key(90, base)] = "NO_METADATA"
json.dump(meta, open(f"{p90}/metadata.json", "w"))

p91 = part(91)
for name, source in (("orig.mp4", real), ("small.mp4", None), ("fake_ok.mp4", fake), ("no_original.mp4", fake), ("unlisted_original.mp4", fake), ("of_a_fake.mp4", fake), ("of_itself.mp4", fake), ("of_missing.mp4", fake),
                     ("of_corrupt.mp4", fake), ("unlisted.mp4", real), ("fake_corrupt.mp4", None), ("corrupt.mp4", None)):
    if source:
        shutil.copy(source, f"{p91}/{name}")
os.system(f"ffmpeg -v error -y -i '{fake}' -vf scale=160:120 -c:v libx264 -pix_fmt yuv420p '{p91}/small.mp4'")
open(f"{p91}/fake_corrupt.mp4", "wb").write(b"no video at all " * 100)
open(f"{p91}/corrupt.mp4", "wb").write(open(real, "rb").read()[:200])
with open(f"{p91}/readme.txt", "w") as f:
    f.write("not a video, not listed: counted, no row\n")
entries = {
    "orig.mp4": ({"label": "REAL"}, "OK"),
    "fake_ok.mp4": ({"label": "FAKE", "original": "orig.mp4"}, "OK"),
    "small.mp4": ({"label": "FAKE", "original": "orig.mp4"}, "MISMATCH"),
    "no_original.mp4": ({"label": "FAKE"}, "NO_ORIGINAL"),
    "unlisted_original.mp4": ({"label": "FAKE", "original": "nowhere.mp4"}, "NO_ORIGINAL"),
    "of_a_fake.mp4": ({"label": "FAKE", "original": "fake_ok.mp4"}, "NO_ORIGINAL"),
    "of_itself.mp4": ({"label": "FAKE", "original": "of_itself.mp4"}, "NO_ORIGINAL"),
    "of_missing.mp4": ({"label": "FAKE", "original": "gone.mp4"}, "NO_ORIGINAL"),
    "gone.mp4": ({"label": "REAL"}, "MISSING"),
    "fake_gone.mp4": ({"label": "FAKE", "original": "orig.mp4"}, "MISSING"),
    "corrupt.mp4": ({"label": "REAL"}, "CORRUPT|UNSUPPORTED_FORMAT|ZERO_FRAMES|NO_VIDEO"),
    "of_corrupt.mp4": ({"label": "FAKE", "original": "corrupt.mp4"}, "NO_ORIGINAL"),
    "fake_corrupt.mp4": ({"label": "FAKE", "original": "orig.mp4"}, "UNSUPPORTED_FORMAT|CORRUPT"),
}
json.dump({n: m for n, (m, _) in entries.items()}, open(f"{p91}/metadata.json", "w"))
want.update({key(91, n): s for n, (_, s) in entries.items()})
want[key(91, "unlisted.mp4")] = "NO_METADATA"

for number, text in ((92, None), (93, '{"a.mp4": {"label": "REAL"'), (94, "[1, 2]")):
    p = part(number)
    shutil.copy(real, f"{p}/a.mp4")
    want[key(number, "a.mp4")] = "NO_METADATA"
    if text:
        open(f"{p}/metadata.json", "w").write(text)
os.makedirs(f"{root}/other/deep")
os.symlink("..", f"{root}/other/loop")
os.symlink("/nowhere", f"{root}/dfdc_train_part_95")
print(json.dumps(want))
