"""facenet-pytorch beside us: frames, its answers, and when two answers are the same. Needs torch, torchvision, facenet-pytorch, opencv-python, numpy.

An answer of ours must equal facenet-pytorch's: the same faces, coordinates and landmarks within 0.05 px, probabilities within 1e-4. Its answer
itself depends on rounding where a probability meets a threshold, or where a box edge meets a whole number of pixels before it is truncated (then
it differs between its own AVX2 and AVX-512 runs). So where ours differs, the peer is asked again in double precision and with thresholds moved by
1e-4 either way; equal to one of these counts as `marginal` and is listed.
"""
import glob
import os

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

SETS = [(0.85, 0.95, 0.95), (0.7, 0.8, 0.8), (0.65, 0.75, 0.75)]
BOX_PX, PROBABILITY = 0.05, 1e-4


def frames(path, every=10):
    """(name, frame number, RGB array) of every `every`-th frame of the videos and of all pictures under `path`."""
    for name in sorted(glob.glob(os.path.join(path, "**", "*"), recursive=True)):
        low = name.lower()
        if low.endswith((".png", ".jpg", ".jpeg")):
            picture = cv2.imread(name)
            if picture is not None:
                yield name, 0, np.ascontiguousarray(picture[:, :, ::-1])
        elif low.endswith((".mp4", ".mov", ".mkv", ".avi", ".webm")):
            video, i = cv2.VideoCapture(name), 0
            while video.grab():
                if i % every == 0:
                    ok, frame = video.retrieve()
                    if ok:
                        yield name, i, np.ascontiguousarray(frame[:, :, ::-1])
                i += 1


class Peer:
    def __init__(self):
        self.nets = {}

    def detect(self, frame, thresholds, double=False):
        """(n, 15): box, probability, landmarks x0 y0 x1 y1..."""
        key = (tuple(thresholds), double)
        if key not in self.nets:
            net = MTCNN(thresholds=list(thresholds), keep_all=True)
            self.nets[key] = net.double() if double else net
        boxes, probabilities, points = self.nets[key].detect(frame, landmarks=True)
        if boxes is None:
            return np.zeros((0, 15))
        n = len(boxes)
        return np.concatenate([np.asarray(boxes, float).reshape(n, 4), np.asarray(probabilities, float).reshape(n, 1),
                               np.asarray(points, float).reshape(n, 10)], axis=1)

    def write_weights(self, path):
        """The raw file that bench_detector reads: state dicts of the nets in their order."""
        net = MTCNN()
        with open(path, "wb") as f:
            for part in (net.pnet, net.rnet, net.onet):
                for value in part.state_dict().values():
                    f.write(value.contiguous().numpy().astype("<f4").tobytes())


def difference(a, b):
    """(box and landmarks in px, probability), infinite when the number of faces differs."""
    if len(a) != len(b):
        return np.inf, np.inf
    if len(a) == 0:
        return 0.0, 0.0
    d = np.abs(a - b)
    return max(d[:, :4].max(), d[:, 5:].max()), d[:, 4].max()


def same(a, b):
    px, p = difference(a, b)
    return px <= BOX_PX and p <= PROBABILITY


class Tally:
    """Compares frame by frame and keeps count."""

    def __init__(self, peer):
        self.peer, self.frames, self.faces, self.marginal, self.wrong, self.px, self.p = peer, 0, 0, [], [], 0.0, 0.0

    def add(self, name, index, frame, thresholds, ours):
        want = self.peer.detect(frame, thresholds)
        self.frames += 1
        self.faces += len(want)
        if same(ours, want):
            px, p = difference(ours, want)
            self.px, self.p = max(self.px, px), max(self.p, p)
            return
        others = [self.peer.detect(frame, thresholds, double=True)]
        others += [self.peer.detect(frame, [t + s for t in thresholds]) for s in (-1e-4, 1e-4)]
        (self.marginal if any(same(ours, o) for o in others) else self.wrong).append((os.path.basename(name), index, tuple(thresholds)))

    def text(self):
        lines = [f"{self.frames} frames, {self.faces} faces: {len(self.wrong)} differ, {len(self.marginal)} marginal; "
                 f"largest difference {self.px:.2g} px, probability {self.p:.2g}"]
        lines += [f"  DIFFERS {w}" for w in self.wrong] + [f"  marginal {m}" for m in self.marginal]
        return "\n".join(lines)
