#!/usr/bin/env python3
"""The reference's scoring of a video, restated: what `unmask score --pool faces` must equal.

usage: score_reference.py -m CHECKPOINT.pth [-m ...] [--size 380] [--ipp] VIDEO...      needs torch, timm, facenet-pytorch, Pillow, numpy, opencv-python-headless 4.10

Prints `score<TAB>video`. --ipp lets OpenCV enlarge crops with Intel's library, which differs by 1 in about 5 % of the values; off, so that the pixels are OpenCV's own on every processor.
The four quirks are the reference's: reading stops at the first frame number that comes twice, faces beyond the 127th are dropped, exactly one face gives 0.5, and so does every failure."""
import argparse
import os
import sys

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import classifier_peer as peer  # noqa: E402
from make_cvresize_golden import isotropically_resize_image, put_to_center  # noqa: E402

FRAMES, SLOTS = 32, 4 * 32


def load(path):
    """A checkpoint of the reference; its architecture is told by the head's width and the number of blocks."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = {name.removeprefix("module."): t.float() if t.is_floating_point() else t for name, t in state["state_dict"].items()}
    width, blocks = state["encoder.conv_head.weight"].shape[0], sum(name.endswith("conv_dw.weight") for name in state)
    arch = {(1280, 16): "b0", (1280, 23): "b1", (1408, 23): "b2", (1536, 26): "b3", (1792, 32): "b4", (2048, 39): "b5", (2304, 45): "b6", (2560, 55): "b7"}[width, blocks]
    net = peer.build(arch)
    net.load_state_dict(state, strict=True)
    return net.eval()


def read_frames(path):
    """(RGB frames that the reference reads, frames wanted)."""
    capture = cv2.VideoCapture(path)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if count <= 0:
        return []
    wanted, frames = np.linspace(0, count - 1, FRAMES, endpoint=True, dtype=int), []
    for i in range(wanted[0], wanted[-1] + 1):
        if not capture.grab():
            break
        if len(frames) < len(wanted) and i == wanted[len(frames)]:
            ok, frame = capture.retrieve()
            if not ok or frame is None:
                break
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames


def crops(frames, detector):
    out = []
    for frame in frames:
        half = Image.fromarray(frame).resize([side // 2 for side in (frame.shape[1], frame.shape[0])])
        boxes, _ = detector.detect(half)
        for box in [] if boxes is None else boxes:
            x0, y0, x1, y1 = [int(b * 2) for b in box]
            mx, my = (x1 - x0) // 3, (y1 - y0) // 3
            out.append(frame[max(y0 - my, 0):y1 + my, max(x0 - mx, 0):x1 + mx])
    return out


def confident(pred, t=0.8):
    n = len(pred)
    fakes = np.count_nonzero(pred > t)
    if fakes > n // 2.5 and fakes > 11:
        return np.mean(pred[pred > t])
    if np.count_nonzero(pred < 0.2) > 0.9 * n:
        return np.mean(pred[pred < 0.2])
    return np.mean(pred)


def score(path, models, detector, size=380):
    """(score, logits (models, faces))."""
    x = [put_to_center(isotropically_resize_image(crop, size), size) for crop in crops(read_frames(path), detector)][:SLOTS - 1]
    if len(x) < 2:  # one face: squeeze() leaves a number, indexing it fails
        return 0.5, np.zeros((len(models), len(x)))
    z = [peer.logits(net, np.stack(x), 8) for net in models]
    return float(np.mean([confident((1 / (1 + np.exp(-v))).astype(np.float32)) for v in z])), np.stack(z)


def make_detector():
    return MTCNN(margin=0, thresholds=[0.7, 0.8, 0.8], device="cpu")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("videos", nargs="+", metavar="VIDEO")
    a.add_argument("-m", "--model", action="append", required=True)
    a.add_argument("--size", type=int, default=380)
    a.add_argument("--ipp", action="store_true")
    a = a.parse_args()
    cv2.ipp.setUseIPP(a.ipp)
    models, detector = [load(path) for path in a.model], make_detector()
    for path in a.videos:
        print(f"{score(path, models, detector, a.size)[0]:.6f}\t{path}", flush=True)


if __name__ == "__main__":
    main()
