#!/usr/bin/env python3
"""Makes a checkpoint like the reference's: random weights that are seeded and tame, saved by PyTorch.

usage: make_checkpoints.py --arch b0 --seed 1 [--size 380] [--faces DIR] [--half] -o FILE.pth      needs torch, timm, numpy; with --faces also opencv-python and,
for videos, facenet-pytorch

A deep net with random weights is chaotic: rounding errors grow from layer to layer until no two f32 programs agree. A trained one is not. So the last batch norm of each residual branch has weights of 0.1 to 0.3,
batch-norm statistics are those of real crops (one pass in training mode, averaged over its batches), and the head is scaled so that the logits of the crops have mean 0 and deviation 1.

--faces: a folder with crops (pictures, used whole) or videos (faces are cut as the reference cuts them, margin a third). Without it, patterns of classifier_peer.pictures().
The file holds {epoch, state_dict, bce_best} with the names of the reference: "module." before each, encoder.classifier.* and num_batches_tracked included. --half stores f16, as published files may.
"""
import argparse
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import classifier_peer as peer  # noqa: E402


def to_square(rgb, size):
    """As the reference's scoring: the longer side becomes `size` (area down, cubic up), centred on black."""
    import cv2
    h, w = rgb.shape[:2]
    if max(h, w) != size:
        scale = size / max(h, w)
        h, w = (size, int(w * scale)) if h >= w else (int(h * scale), size)
        rgb = cv2.resize(rgb, (max(w, 1), max(h, 1)), interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
        h, w = rgb.shape[:2]
    out = np.zeros((size, size, 3), np.uint8)
    y, x = (size - h) // 2, (size - w) // 2
    out[y:y + h, x:x + w] = rgb
    return out


def faces(folder, size, most=24):
    """At most `most` crops of the pictures and videos under `folder`, (N,size,size,3) u8 RGB, in order of name."""
    import cv2
    paths = sorted(os.path.join(d, f) for d, _, names in os.walk(folder) for f in names)
    pictures = [p for p in paths if p.lower().endswith((".png", ".jpg", ".jpeg"))]
    videos = [p for p in paths if p.lower().endswith((".mp4", ".avi", ".mkv", ".mov", ".webm"))]
    out = []
    if videos:
        from facenet_pytorch import MTCNN
        detector = MTCNN(margin=0, thresholds=[0.7, 0.8, 0.8], device="cpu", keep_all=True)
        each = max(1, -(-most // len(videos)))
        for path in videos:
            v = cv2.VideoCapture(path)
            n = int(v.get(cv2.CAP_PROP_FRAME_COUNT))
            for at in np.linspace(0, max(n - 1, 0), each + 2).astype(int)[1:-1]:
                v.set(cv2.CAP_PROP_POS_FRAMES, int(at))
                ok, frame = v.read()
                if not ok:
                    continue
                frame = frame[:, :, ::-1].copy()
                small = cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)
                boxes, _ = detector.detect(small)
                for box in ([] if boxes is None else boxes[:1]):
                    x0, y0, x1, y1 = [int(b * 2) for b in box]
                    py, px = (y1 - y0) // 3, (x1 - x0) // 3
                    crop = frame[max(y0 - py, 0):y1 + py, max(x0 - px, 0):x1 + px]
                    if crop.size:
                        out.append(to_square(crop, size))
    for path in pictures[:: max(1, len(pictures) // most)]:
        image = cv2.imread(path)
        if image is not None:
            out.append(to_square(image[:, :, ::-1].copy(), size))
    if len(out) < 4:
        sys.exit(f"fewer than 4 faces in {folder}")
    return np.stack(out[:most])


def tame(net, seed, images, batch=8):
    """Fills `net` with seeded weights and the statistics of `images` ((N,S,S,3) u8)."""
    g = torch.Generator().manual_seed(seed)

    def uniform(t, lo, hi):
        t.copy_(torch.rand(t.shape, generator=g) * (hi - lo) + lo)

    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                w = module.weight
                w.copy_(torch.randn(w.shape, generator=g) * (w.shape[1] * w.shape[2] * w.shape[3]) ** -0.5)
                if module.bias is not None:
                    uniform(module.bias, -0.2, 0.2)
            elif isinstance(module, torch.nn.BatchNorm2d):
                uniform(module.weight, 0.8, 1.2)
                uniform(module.bias, -0.2, 0.2)
                module.reset_running_stats()
                module.momentum = None  # the mean over the batches
            elif isinstance(module, torch.nn.Linear):
                w = module.weight
                w.copy_(torch.randn(w.shape, generator=g) * w.shape[1] ** -0.5)
                uniform(module.bias, -0.1, 0.1)
        for stage in net.encoder.blocks:
            for block in stage:
                if block.has_skip:
                    last = block.bn3 if hasattr(block, "bn3") else block.bn2
                    uniform(last.weight, 0.1, 0.3)
                    last.bias.mul_(0.2)
        net.train()
        for i in range(0, len(images) - batch // 2, batch):
            net(peer.to_input(images[i:i + batch]))
        net.eval()
        z = peer.logits(net, images, batch)
        scale = 1 / max(z.std(), 1e-6)
        bias = net.fc.bias.item()
        net.fc.weight.mul_(scale)
        net.fc.bias.fill_(-(z.mean() - bias) * scale)
    return net


def checkpoint(net, half=False):
    state = {"module." + name: t.half() if half and t.dtype == torch.float32 else t for name, t in net.state_dict().items()}
    return {"epoch": 17, "state_dict": state, "bce_best": 0.31}


def make(arch, seed, size=380, folder=None):
    images = faces(folder, size) if folder else peer.pictures(16, size, seed)
    return tame(peer.build(arch), seed, images), images


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", default="b0")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--size", type=int, default=380)
    p.add_argument("--faces", metavar="DIR")
    p.add_argument("--half", action="store_true")
    p.add_argument("-o", "--out", required=True)
    a = p.parse_args()
    net, images = make(a.arch, a.seed, a.size, a.faces)
    torch.save(checkpoint(net, a.half), a.out)
    z = peer.logits(net, images, 8)
    print(f"{a.out}: {a.arch}, seed {a.seed}, {len(images)} pictures of {a.size} px, logits {z.min():.3f} .. {z.max():.3f}, deviation {z.std():.3f}")


if __name__ == "__main__":
    main()
