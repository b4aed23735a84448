"""classifier_peer.py: the reference's classifier on timm, as the golden scripts and benches use it. Needs torch, timm, numpy.

DeepFakeClassifier: a tf_efficientnet_* encoder, global mean, dropout, one logit. build() knows "b0".."b7" and "w<width>d<depth>"."""
import re

import numpy as np
import torch
from timm.models import efficientnet as timm_efficientnet

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
ARCHS = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8), "b5": (1.6, 2.2), "b6": (1.8, 2.6), "b7": (2.0, 3.1)}


class Classifier(torch.nn.Module):
    """The reference's DeepFakeClassifier: same names, same order of the state dict."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.avg_pool = torch.nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = torch.nn.Dropout(0.0)
        self.fc = torch.nn.Linear(encoder.num_features, 1)

    def forward(self, x):
        x = self.encoder.forward_features(x)
        x = self.avg_pool(x).flatten(1)
        return self.fc(self.dropout(x))


def build(arch):
    if arch in ARCHS:
        encoder = getattr(timm_efficientnet, "tf_efficientnet_" + arch)(pretrained=False)
    else:
        m = re.fullmatch(r"w([0-9.]+)d([0-9.]+)", arch)
        if not m:
            raise SystemExit(f"no architecture {arch!r}: b0..b7 or w<width>d<depth>")
        encoder = timm_efficientnet._gen_efficientnet("tf_efficientnet_b0", channel_multiplier=float(m[1]), depth_multiplier=float(m[2]), bn_eps=1e-3, pad_type="same")
    return Classifier(encoder)


def parameters(net):
    """(name, tensor) of what the network computes with, in the order of the state dict."""
    return [(name, t) for name, t in net.state_dict().items() if not name.endswith("num_batches_tracked") and not name.startswith("encoder.classifier.")]


def to_input(images):
    """(N,H,W,3) u8 RGB -> (N,3,H,W) f32 normalised as ours: (x/255 - mean) / std."""
    x = images.astype(np.float32) / np.float32(255)
    x = (x - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def logits(net, images, batch=None):
    """Logits of (N,H,W,3) u8 pictures, f32."""
    net.eval()
    with torch.no_grad():
        parts = [net(to_input(images[i:i + (batch or len(images))])) for i in range(0, len(images), batch or len(images))]
    return torch.cat(parts).numpy()[:, 0].astype(np.float64)


def pictures(n, size, seed=0):
    """n pictures size x size of integer arithmetic alone (tests/golden/classifier_golden.h makes the same): blocks of colour, edges, and noise."""
    i, y, x, c = np.meshgrid(np.arange(n, dtype=np.uint64) + np.uint64(seed), *[np.arange(size, dtype=np.uint64)] * 2, np.arange(3, dtype=np.uint64), indexing="ij")
    m = np.uint64(0xFFFFFFFF)

    def mix(v):
        v = v & m
        v ^= v >> np.uint64(15)
        v = v * np.uint64(0x2C1B3C6D) & m
        v ^= v >> np.uint64(12)
        v = v * np.uint64(0x297A2D39) & m
        v ^= v >> np.uint64(15)
        return v

    key = i * np.uint64(0x9E3779B1)
    cell = np.uint64(8) + i % np.uint64(5) * np.uint64(4)
    block = mix(key + x // cell * np.uint64(73856093) + y // cell * np.uint64(19349663) + c * np.uint64(83492791)) >> np.uint64(8) & np.uint64(127)
    tone = (x * (i % np.uint64(3) + np.uint64(1)) + y * (i % np.uint64(4) + np.uint64(1)) + c * np.uint64(40)) % np.uint64(97)
    noise = mix(key + x * np.uint64(2654435) + y * np.uint64(40503) + c * np.uint64(97) + np.uint64(1)) >> np.uint64(9) & np.uint64(31)
    return (block + tone + noise).astype(np.uint8)


def _mix(v):
    v = v & np.uint64(0xFFFFFFFF)
    v = v ^ v >> np.uint64(15)
    v = v * np.uint64(0x2C1B3C6D) & np.uint64(0xFFFFFFFF)
    v = v ^ v >> np.uint64(12)
    v = v * np.uint64(0x297A2D39) & np.uint64(0xFFFFFFFF)
    return v ^ v >> np.uint64(15)


def _range(name, shape):
    """golden_range() of classifier_golden.h."""
    m = re.match(r"encoder\.blocks\.(\d+)\.(\d+)\.", name)
    first, block = (m[1] == "0", int(m[2])) if m else (False, -1)
    last = bool(m) and (".bn2." if first else ".bn3.") in name
    depthwise = bool(m) and (".bn1." if first else ".bn2.") in name
    if len(shape) > 1:
        hi = np.sqrt(3 / float(np.prod(shape[1:])))
        hi = hi * 8 if name == "fc.weight" else hi
        return -hi, hi
    norm = re.search(r"\bbn\d\.(\w+)$", name)
    if not norm:
        return -0.2, 0.2
    if norm[1] == "weight":
        return (0.1, 0.3) if last and block > 0 else (0.8, 1.2)
    if norm[1] == "bias":
        return (-0.04, 0.04) if last and block > 0 else (-0.2, 0.2)
    if norm[1] == "running_mean":
        return -0.1, 0.1
    about = 0.12 if last else 0.35 if depthwise else 1.3 if m or name.startswith("encoder.bn2.") else 0.75
    return 0.8 * about, 1.2 * about


def fill(net, seed):
    """golden_params() of classifier_golden.h: parameters of integer arithmetic, the same bits on both sides."""
    with torch.no_grad():
        for t, (name, tensor) in enumerate(parameters(net)):
            lo, hi = _range(name, tuple(tensor.shape))
            base = int(_mix(np.array([(seed * 0x9E3779B1 + t) & 0xFFFFFFFF], np.uint64))[0])
            u = _mix(np.uint64(base) + np.arange(tensor.numel(), dtype=np.uint64) * np.uint64(0x85EBCA77)) >> np.uint64(8)
            tensor.copy_(torch.from_numpy((lo + (hi - lo) * (u.astype(np.float64) / 16777216.0)).astype(np.float32).reshape(tuple(tensor.shape))))
    return net
