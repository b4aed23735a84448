#!/usr/bin/env python3
"""Compares `unmask preprocess` with the reference's five passes on the same tree, file by file.

    compare_preprocess.py ROOT [--unmask PROGRAM] [--detector FILE] [--ranks N] [--keep DIR]

Checked, with every face kept (--max-faces 1000) and frames halved (--scale 0.5) as the reference does:
  boxes      on every 10th frame below 320: the same faces within 0.05 px of the half-size frame, in the same order
  crops      where both boxes give the same rectangle: the same names, and the same pixels
  landmarks  of originals: found on the same crops, points within 1 px
  masks      of fakes: within 1 grey level, except pixels where the reference wraps (a channel's similarity below 0), which are counted
  folds      the same rows as far as the reference goes (two faces a frame), where the tree allows folds by part
and with --scale 1 the boxes alone, against facenet-pytorch on OpenCV's frames.

A face that one side lacks counts against us unless the peer itself loses or gains it when its thresholds move by 1e-4. A box whose coordinates lie on both sides of a whole number by float noise gives another
rectangle: such crops, and the landmarks and masks made from them, are counted apart (crops_other_rectangle).

Prints one JSON line; exit status 1 when something differs. Needs: torch, facenet-pytorch, opencv-python-headless 4, Pillow, scikit-image, numpy.
"""
import argparse
import csv
import json
import os
import shutil
import sys
import tempfile

import cv2
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import peer  # noqa: E402
import reference_passes as ref  # noqa: E402

BOX_PX, NEAR = 0.05, 1e-4


class Count(dict):
    def add(self, key, n=1):
        self[key] = self.get(key, 0) + n

    def most(self, key, value):
        self[key] = max(self.get(key, 0.0), round(float(value), 6))


class Comparison:
    def __init__(self, tree, ours, theirs):
        self.tree, self.ours, self.theirs, self.count, self.wrong = tree, ours, theirs, Count(), []
        self.match = {}  # (original, frame) -> {peer's face number: (our number, same rectangle)}

    def fail(self, text):
        self.count.add("failures")
        if len(self.wrong) < 20:
            self.wrong.append(text)


def borderline_detector(thresholds):
    """Finds faces with all three thresholds moved a little down and up."""
    low, high = (ref.new_detector([t + d for t in thresholds]) for d in (-NEAR, NEAR))
    return lambda picture, landmarks: [d.detect(picture, landmarks=landmarks) for d in (low, high)]


def equal_boxes(a, b, px):
    a, b = a or [], b or []
    return len(a) == len(b) and all(np.abs(np.subtract(x, y)).max() <= px for x, y in zip(a, b))


def pair_up(theirs, ours, px):
    """{peer's number: our number} when the same faces are there, in whatever order; None otherwise."""
    if len(theirs) != len(ours):
        return None
    left, out = set(range(len(ours))), {}
    for i, box in enumerate(theirs):
        near = [j for j in left if np.abs(np.subtract(box, ours[j])).max() <= px]
        if not near:
            return None
        out[i] = min(near, key=lambda j: np.abs(np.subtract(box, ours[j])).max())
        left.remove(out[i])
    return out


def frames_wanted(boxes):
    return sorted(int(n) for n in boxes if int(n) % ref.STRIDE == 0 and int(n) < ref.FRAME_LIMIT)


def one_frame(path, number, picture_of):
    for n, frame in ref.frames_of(path, every=ref.STRIDE):
        if n == number:
            return picture_of(frame)
    return None


def compare_boxes(c, theirs_of, ours_of, scale, picture_of, label):
    """Boxes of every original. theirs_of(video), ours_of(video): {frame: boxes or null} in pixels of the searched frame; scale: those pixels per source pixel."""
    border = None
    for video, path in sorted(c.tree.originals.items()):
        theirs, ours = theirs_of(video), ours_of(video)
        if ours is None:
            c.fail(f"{label}: no boxes of {video}")
            continue
        wanted = frames_wanted(theirs)
        if frames_wanted(ours) != wanted:
            c.fail(f"{label}: {video}: frames {frames_wanted(ours)} instead of {wanted}")
        size = None
        for n in wanted:
            a, b = theirs.get(str(n)) or [], ours.get(str(n)) or []
            c.count.add(label + "_frames")
            c.count.add(label + "_faces", len(a))
            pairs = pair_up(a, b, BOX_PX)
            if pairs is None:
                border = border or borderline_detector(ref.DETECT_THRESHOLDS)
                picture = one_frame(path, n, picture_of)
                shifted = [found[0] for found in border(picture, False)]
                if any(equal_boxes(None if s is None else s.tolist(), b, BOX_PX) for s in shifted):
                    c.count.add(label + "_frames_borderline")
                else:
                    c.fail(f"{label}: {video} frame {n}: {b} instead of {a}")
                continue
            if any(i != j for i, j in pairs.items()):
                c.count.add(label + "_frames_other_order")
            for i, j in pairs.items():
                c.count.most(label + "_worst_px", np.abs(np.subtract(a[i], b[j])).max())
            if scale == 0.5 and a:
                size = size or video_size(path)
                c.match[video, n] = {i: (j, ref.cut_rectangle(a[i], *size) == ref.cut_rectangle(b[j], *size)) for i, j in pairs.items()}


def video_size(path):
    for _, frame in ref.frames_of(path, limit=1):
        return frame.shape[1], frame.shape[0]
    return 0, 0


def names(folder, suffix=""):
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def compare_crops(c):
    for video in sorted([*c.tree.originals, *(fake for _, fake in c.tree.pairs)]):
        original = video if video in c.tree.originals else c.tree.fakes[video][1]
        theirs, ours = os.path.join(c.theirs, "crops", video), os.path.join(c.ours, "crops", video)
        left = names(ours)
        for name in sorted(names(theirs)):
            n, face = (int(x) for x in name[:-4].split("_"))
            if n >= ref.FRAME_LIMIT:
                c.count.add("crops_beyond_limit")
                continue
            j, same = c.match.get((original, n), {}).get(face, (None, False))
            if j is None:
                c.count.add("crops_of_borderline_faces")
                left.discard(name)
                continue
            our_name = f"{n}_{j}.png"
            if our_name not in left:
                c.fail(f"crops: {video}/{our_name} is missing")
                continue
            left.discard(our_name)
            if not same:
                c.count.add("crops_other_rectangle")
                continue
            c.count.add("crops")
            if not np.array_equal(cv2.imread(os.path.join(theirs, name)), cv2.imread(os.path.join(ours, our_name))):
                c.fail(f"crops: {video}/{name} has other pixels")
        for name in sorted(left):
            if (original, int(name.split("_")[0])) in c.match:
                c.fail(f"crops: {video}/{name} is not the peer's")


def compare_landmarks(c):
    border = None
    for video in sorted(c.tree.originals):
        theirs, ours = os.path.join(c.theirs, "landmarks", video), os.path.join(c.ours, "landmarks", video)
        for (v, n), faces in sorted(c.match.items()):
            for i, (j, same) in faces.items():
                if v != video or i >= ref.FACE_LIMIT or not same:
                    continue
                crop = os.path.join(c.theirs, "crops", video, f"{n}_{i}.png")
                if not os.path.exists(crop):
                    continue
                a, b = os.path.join(theirs, f"{n}_{i}.npy"), os.path.join(ours, f"{n}_{j}.npy")
                a, b = (np.load(p) if os.path.exists(p) else None for p in (a, b))
                if a is None and b is None:
                    c.count.add("landmarks_none_both")
                    continue
                c.count.add("landmarks")
                if a is not None and b is not None and b.shape == (5, 2) and b.dtype == np.int16:
                    worst = np.abs(a.astype(int) - b.astype(int)).max()
                    c.count.most("landmarks_worst_px", worst)
                    c.count.add("landmarks_equal", int(worst == 0))
                    if worst <= 1:
                        continue
                border = border or borderline_detector(ref.LANDMARK_THRESHOLDS)
                from PIL import Image
                shifted = [f[2] for f in border(Image.fromarray(cv2.cvtColor(cv2.imread(crop), cv2.COLOR_BGR2RGB)), True)]
                shifted = [None if s is None else np.around(np.asarray(s[0], dtype=np.float32)) for s in shifted]
                if any((s is None and b is None) or (s is not None and b is not None and np.abs(s - b).max() <= 1) for s in shifted):
                    c.count.add("landmarks_borderline")
                else:
                    c.fail(f"landmarks: {video}/{n}_{i}: {None if b is None else b.tolist()} instead of {None if a is None else a.tolist()}")


def compare_masks(c):
    for original, fake in c.tree.pairs:
        for name in sorted(names(os.path.join(c.theirs, "diffs", fake))):
            n, face = (int(x) for x in name.split("_")[:2])
            j, same = c.match.get((original, n), {}).get(face, (None, False))
            if not same:
                continue
            c.count.add("masks")
            a = cv2.imread(os.path.join(c.theirs, "diffs", fake, name), cv2.IMREAD_UNCHANGED)
            path = os.path.join(c.ours, "diffs", fake, f"{n}_{j}_diff.png")
            b = cv2.imread(path, cv2.IMREAD_UNCHANGED) if os.path.exists(path) else None
            if b is None or a.shape != b.shape:
                c.fail(f"masks: {fake}/{name} is missing or has another shape")
                continue
            real, other = (cv2.imread(os.path.join(c.theirs, "crops", v, f"{n}_{face}.png")) for v in (original, fake))
            # 255.99 is still truncated to 255: uint8 wraps from 256 on.
            wraps = (ref.difference(real, other) >= 256).any(axis=2)
            off = np.abs(a.astype(int) - b.astype(int))
            c.count.add("mask_pixels", int(a.size))
            c.count.add("mask_pixels_wrapped_by_peer", int(wraps.sum()))
            c.count.add("mask_pixels_off_by_one", int((off[~wraps] == 1).sum()))
            worst = int(off[~wraps].max(initial=0))
            c.count.most("masks_worst_level", worst)
            if worst > 1:
                c.fail(f"masks: {fake}/{name}: off by {worst}")


def compare_folds(c, unmask, store):
    """Rows of both, where every fold has both sides; the rows of faces that only we keep left out."""
    path = os.path.join(c.ours, "..", "folds.csv")
    import subprocess
    done = subprocess.run([unmask, "folds", "--store", store, "-o", path, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode == 65:
        c.count["folds"] = "not compared: this tree has too few parts for folds by part"
        return
    if done.returncode != 0:
        c.fail("folds: " + done.stderr.decode(errors="replace")[-300:])
        return
    def rows(name):
        with open(name, newline="", encoding="utf-8") as f:
            return {tuple(r[k] for k in ("video", "file", "label", "original", "frame", "fold")) for r in csv.DictReader(f)}
    theirs, ours = rows(os.path.join(c.theirs, "folds.csv")), rows(path)
    ours = {r for r in ours if int(r[1].split("_")[1][:-4]) < ref.FACE_LIMIT}
    border = {(v, str(n)) for v in c.tree.originals for n in range(0, ref.FRAME_LIMIT, ref.STRIDE) if (v, n) not in c.match}
    theirs, ours = ({r for r in x if (r[3], r[4]) not in border} for x in (theirs, ours))
    c.count["folds"] = len(theirs)
    if theirs != ours:
        c.fail(f"folds: {len(theirs - ours)} rows are missing, {len(ours - theirs)} are not the peer's, such as {sorted(theirs ^ ours)[:2]}")


def load_json(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def compare(root, unmask, detector=None, ranks=1, work=None, scale_one=True):
    """Runs both and compares. Returns the summary; summary["failures"] is 0 when all is equal. Leaves work/reference, work/store (not removed) when `work` is given."""
    folder = work or tempfile.mkdtemp(prefix="compare_preprocess.")
    try:
        store, ours, theirs = (os.path.join(folder, d) for d in ("store", "ours", "reference"))
        weights = ["--detector", detector] if detector else []

        def preprocess(to, *more):
            peer.run([*peer.mpirun(ranks), unmask, "preprocess", root, "--store", to, "--max-faces", "1000", "--fresh", "--quiet", *weights, *more])
            return to

        preprocess(store, "--scale", "0.5")
        peer.run([unmask, "export", "store", store, "--layout", "reference", "-o", ours, "--quiet"])
        shutil.rmtree(theirs, ignore_errors=True)
        os.makedirs(theirs)
        ref.run_passes(root, theirs)
        c = Comparison(ref.Tree(root), ours, theirs)
        if not c.tree.originals:
            sys.exit(f"{root} holds no originals")
        compare_boxes(c, lambda v: load_json(os.path.join(theirs, "boxes", v + ".json")), lambda v: load_json(os.path.join(ours, "boxes", v + ".json")), 0.5, ref.half_size, "boxes")
        compare_crops(c)
        compare_landmarks(c)
        compare_masks(c)
        compare_folds(c, unmask, store)
        if scale_one:
            whole(c, unmask, preprocess, os.path.join(folder, "store1"), os.path.join(folder, "ours1"))
        c.count.setdefault("failures", 0)
        return {"compare": "preprocess", "root": root, "originals": len(c.tree.originals), "fakes": len(c.tree.pairs), **c.count, "wrong": c.wrong}
    finally:
        if work is None:
            shutil.rmtree(folder, ignore_errors=True)


def whole(c, unmask, preprocess, store, ours):
    """--scale 1: facenet-pytorch on OpenCV's frames as they are, every 10th."""
    preprocess(store, "--scale", "1", "--stages", "detect")
    peer.run([unmask, "export", "store", store, "--layout", "reference", "-o", ours, "--quiet"])
    import torch
    from PIL import Image
    torch.set_num_threads(ref.CORES)
    detector = ref.new_detector(ref.DETECT_THRESHOLDS)

    def picture(frame):
        return Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))

    def theirs(video):
        out = {}
        for n, frame in ref.frames_of(c.tree.originals[video], every=ref.STRIDE, limit=ref.FRAME_LIMIT):
            boxes, _ = detector.detect(picture(frame))
            out[str(n)] = None if boxes is None else np.asarray(boxes, dtype=float).tolist()
        return out

    def exported(video):
        boxes = load_json(os.path.join(ours, "boxes", video + ".json"))
        # The layout has boxes in half-size pixels whatever the scale was.
        return None if boxes is None else {n: None if b is None else [[2 * x for x in box] for box in b] for n, b in boxes.items()}

    compare_boxes(c, theirs, exported, 1, picture, "whole_boxes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("root")
    p.add_argument("--unmask", default=peer.unmask_default())
    p.add_argument("--detector", help="mtcnn.h5 (default: where the program looks)")
    p.add_argument("--ranks", type=int, default=1)
    p.add_argument("--keep", help="folder to leave both outputs in")
    o = p.parse_args()
    if o.keep:
        os.makedirs(o.keep, exist_ok=True)
    summary = compare(o.root, o.unmask, o.detector, o.ranks, o.keep)
    peer.report(summary)
    return 1 if summary["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
