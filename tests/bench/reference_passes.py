#!/usr/bin/env python3
"""The five preprocessing passes of the DFDC challenge's winning solution, restated from what they do: the peer of `unmask preprocess`.

    reference_passes.py ROOT OUTDIR [--passes detect,crops,landmarks,masks,folds]

prints one JSON line {"detect": seconds, ...} and leaves boxes/, crops/, landmarks/, diffs/ and folds.csv in OUTDIR. Each pass reads what the one before left, as there.
Times are of the work alone: starting Python and importing torch is not in them (there, each pass is a program of its own and pays it again).

Needs: torch, facenet-pytorch (and tqdm), opencv-python-headless 4 (5 obeys a stream's colour matrix, and the published weights were not trained on such pixels: docs/numerics.md), Pillow, scikit-image, numpy.
"""
import argparse
import csv
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time

PASSES = ("detect", "crops", "landmarks", "masks", "folds")
DETECT_THRESHOLDS = (0.85, 0.95, 0.95)
LANDMARK_THRESHOLDS = (0.65, 0.75, 0.75)
STRIDE, FRAME_LIMIT, FACE_LIMIT, BATCH = 10, 320, 2, 32
CORES = len(os.sched_getaffinity(0))


class Tree:
    """A data root: (id, path) of each original, and (id, path, original's id, part) of each fake, from the parts' metadata.json; ids are file names without extension."""

    def __init__(self, root):
        self.originals, self.fakes, self.part = {}, {}, {}
        for folder in sorted(os.listdir(root)):
            found = re.fullmatch(r".*dfdc.*_(\d+)", folder)
            listing = os.path.join(root, folder, "metadata.json")
            if not found or not os.path.isfile(listing):
                continue
            with open(listing, encoding="utf-8") as f:
                rows = json.load(f)
            for name, row in rows.items():
                path = os.path.join(root, folder, name)
                video = os.path.splitext(name)[0]
                if not os.path.isfile(path):
                    continue
                self.part[video] = int(found.group(1))
                if row.get("original"):
                    self.fakes[video] = (path, os.path.splitext(row["original"])[0])
                else:
                    self.originals[video] = path
        self.pairs = [(original, fake) for fake, (_, original) in sorted(self.fakes.items()) if original in self.originals]


def frames_of(path, every=1, limit=None):
    """(number, BGR frame) as OpenCV decodes it; frames between are grabbed but not converted."""
    import cv2
    capture = cv2.VideoCapture(path)
    for i in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        if limit is not None and i >= limit:
            break
        capture.grab()
        if i % every:
            continue
        good, frame = capture.retrieve()
        if good:
            yield i, frame
    capture.release()


def half_size(frame):
    """A BGR frame as the RGB picture of half its sides that the reference's detector sees."""
    import cv2
    from PIL import Image
    picture = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return picture.resize([side // 2 for side in picture.size])


def new_detector(thresholds):
    import warnings
    from facenet_pytorch import MTCNN
    warnings.filterwarnings("ignore")
    return MTCNN(margin=0, thresholds=list(thresholds), device="cpu")


# ---- a: faces in every frame of the originals ----

class HalfFrames:
    """One item a video; torch's DataLoader decodes ahead in processes where there are cores to spare, as the reference does."""

    def __init__(self, videos):
        self.videos = videos

    def __len__(self):
        return len(self.videos)

    def __getitem__(self, i):
        video, path = self.videos[i]
        frames = [(number, half_size(frame)) for number, frame in frames_of(path)]
        return video, [n for n, _ in frames], [picture for _, picture in frames]


def first(items):
    return items[0]


def detect(tree, out):
    import torch
    from torch.utils.data import DataLoader
    torch.set_num_threads(CORES)
    detector = new_detector(DETECT_THRESHOLDS)
    os.makedirs(os.path.join(out, "boxes"), exist_ok=True)
    for video, numbers, pictures in DataLoader(HalfFrames(sorted(tree.originals.items())), batch_size=1, shuffle=False, num_workers=max(CORES - 2, 0), collate_fn=first):
        found = []
        for start in range(0, len(pictures), BATCH):
            boxes, _ = detector.detect(pictures[start:start + BATCH], landmarks=False)
            found += [None if b is None else [list(map(float, box)) for box in b] for b in boxes]
        with open(os.path.join(out, "boxes", video + ".json"), "w", encoding="utf-8") as f:
            json.dump({str(n): b for n, b in zip(numbers, found)}, f)


# ---- b: crops of originals and fakes ----

def cut_rectangle(box, width, height):
    """The rectangle of a box in half-size pixels: truncated to whole source pixels, a third more on each side, clipped."""
    x0, y0, x1, y1 = (int(b * 2) for b in box)
    w, h = x1 - x0, y1 - y0
    return max(x0 - w // 3, 0), max(y0 - h // 3, 0), min(x1 + w // 3, width), min(y1 + h // 3, height)


def crop_one(job):
    import cv2
    video, path, boxes_path, folder = job
    with open(boxes_path, encoding="utf-8") as f:
        boxes = json.load(f)
    folder = os.path.join(folder, video)
    os.makedirs(folder, exist_ok=True)
    for number, frame in frames_of(path, every=STRIDE):
        for face, box in enumerate(boxes.get(str(number)) or []):
            x0, y0, x1, y1 = cut_rectangle(box, frame.shape[1], frame.shape[0])
            if x1 > x0 and y1 > y0:
                cv2.imwrite(os.path.join(folder, f"{number}_{face}.png"), frame[y0:y1, x0:x1])


def crops(tree, out):
    folder = os.path.join(out, "crops")
    jobs = [(video, path, os.path.join(out, "boxes", video + ".json"), folder) for video, path in tree.originals.items()]
    jobs += [(fake, tree.fakes[fake][0], os.path.join(out, "boxes", original + ".json"), folder) for original, fake in tree.pairs]
    with multiprocessing.Pool(CORES) as pool:
        for _ in pool.imap_unordered(crop_one, jobs):
            pass


# ---- c: landmarks on the originals' crops ----

_detector = None


def landmark_start():
    global _detector
    import torch
    torch.set_num_threads(1)
    _detector = new_detector(LANDMARK_THRESHOLDS)


def kept(folder, video):
    """(name, path) of the crops within the reference's limits: frames below 320, the first two faces."""
    for frame in range(0, FRAME_LIMIT, STRIDE):
        for face in range(FACE_LIMIT):
            path = os.path.join(folder, video, f"{frame}_{face}.png")
            if os.path.exists(path):
                yield f"{frame}_{face}", path


def landmark_one(job):
    import cv2
    import numpy as np
    from PIL import Image
    video, out = job
    folder = os.path.join(out, "landmarks", video)
    os.makedirs(folder, exist_ok=True)
    for name, path in kept(os.path.join(out, "crops"), video):
        picture = Image.fromarray(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB))
        _, _, points = _detector.detect(picture, landmarks=True)
        if points is not None:
            np.save(os.path.join(folder, name), np.around(np.asarray(points[0], dtype=np.float32)).astype(np.int16))


def landmarks(tree, out):
    with multiprocessing.Pool(CORES, initializer=landmark_start) as pool:
        for _ in pool.imap_unordered(landmark_one, [(video, out) for video in sorted(tree.originals)]):
            pass


# ---- d: where a fake differs from its original ----

def difference(real, fake):
    """(1 - ssim) * 255 per channel, float64, of two BGR crops."""
    from skimage.metrics import structural_similarity
    _, similarity = structural_similarity(real, fake, channel_axis=2, full=True, data_range=255)
    return (1 - similarity) * 255


def mask_one(job):
    import cv2
    import numpy as np
    original, fake, out = job
    folder = os.path.join(out, "diffs", fake)
    os.makedirs(folder, exist_ok=True)
    for name, path in kept(os.path.join(out, "crops"), fake):
        real_path = os.path.join(out, "crops", original, name + ".png")
        if not os.path.exists(real_path):
            continue
        real, other = cv2.imread(real_path), cv2.imread(path)
        if real.shape != other.shape or min(real.shape[:2]) < 7:
            continue
        with np.errstate(invalid="ignore"):
            grey = cv2.cvtColor(difference(real, other).astype(np.uint8), cv2.COLOR_BGR2GRAY)
        cv2.imwrite(os.path.join(folder, name + "_diff.png"), grey)


def masks(tree, out):
    with multiprocessing.Pool(CORES) as pool:
        for _ in pool.imap_unordered(mask_one, [(original, fake, out) for original, fake in tree.pairs]):
            pass


# ---- e: folds ----

def list_one(job):
    video, label, original, out = job
    return [(video, name + ".png", label, original, int(name.split("_")[0])) for name, _ in kept(os.path.join(out, "crops"), video)]


def folds(tree, out, splits=16, seed=777):
    parts = max([49, *tree.part.values()]) + 1
    size = max(parts // splits, 1)
    paired = sorted({original for original, _ in tree.pairs})
    jobs = [(v, 0, v, out) for v in paired] + [(fake, 1, original, out) for original, fake in tree.pairs]
    rows = []
    with multiprocessing.Pool(CORES) as pool:
        for listed in pool.imap_unordered(list_one, jobs):
            rows += [(*row, min(tree.part[row[0]] // size, splits - 1)) for row in listed]
    fold_of = {}
    for row in rows:
        if fold_of.setdefault(row[3], row[5]) != row[5]:
            sys.exit(f"leak: {row[3]} is in folds {fold_of[row[3]]} and {row[5]}")
    rows.sort()
    random.Random(seed).shuffle(rows)
    with open(os.path.join(out, "folds.csv"), "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["video", "file", "label", "original", "frame", "fold"])
        writer.writerows(rows)


def run_pass(name, root, out):
    """Does one pass in this process; returns its seconds, without imports."""
    import cv2  # noqa: F401: imported before the clock starts, so that a forked worker has them too
    import numpy  # noqa: F401
    if int(cv2.__version__.split(".")[0]) > 4:
        sys.exit(f"OpenCV {cv2.__version__} converts colours otherwise than the reference's: install opencv-python-headless<5")
    if name in ("detect", "landmarks"):
        import facenet_pytorch  # noqa: F401
        import torch  # noqa: F401
    if name == "masks":
        import skimage.metrics  # noqa: F401
    tree = Tree(root)
    start = time.perf_counter()
    globals()[name](tree, out)
    return time.perf_counter() - start


def run_passes(root, out, passes=PASSES):
    """Each pass in a process of its own, as there: {"detect": seconds, ..., "sum": s, "with_start_up": s}. (A process that has used torch's threads must not fork workers that use them too.)"""
    times, start = {}, time.perf_counter()
    for name in passes:
        done = subprocess.run([sys.executable, os.path.abspath(__file__), root, out, "--passes", name, "--here"], stdout=subprocess.PIPE, check=True)
        times[name] = json.loads(done.stdout)[name]
    wall = time.perf_counter() - start
    times["sum"] = sum(times[name] for name in passes)
    times["with_start_up"] = wall
    return {k: round(v, 3) for k, v in times.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("root")
    p.add_argument("outdir")
    p.add_argument("--passes", default=",".join(PASSES))
    p.add_argument("--here", action="store_true", help="one pass, in this process")
    o = p.parse_args()
    passes = o.passes.split(",")
    if not set(passes) <= set(PASSES):
        p.error(f"passes are {','.join(PASSES)}")
    os.makedirs(o.outdir, exist_ok=True)
    if o.here and len(passes) == 1:
        print(json.dumps({passes[0]: run_pass(passes[0], o.root, o.outdir)}))
    else:
        print(json.dumps(run_passes(o.root, o.outdir, passes)))


if __name__ == "__main__":
    main()
