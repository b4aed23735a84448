#!/usr/bin/env python3
"""compare_augment.py TEST_AUGMENT SECONDS [SEED] [--albumentations DIR] [PICTURE...]: our augmentations' single operations against OpenCV, SciPy and albumentations on random pictures and
numbers, and random cuts of the pictures named. Needs opencv-python 4.10, numpy, scipy. TEST_AUGMENT is the program built from test_augment.c.

--albumentations: the source of albumentations 0.4.6 (pip download --no-binary :all: albumentations==0.4.6, unpacked): its own functional.py is then used; without it its formulas are restated
here, line by line. Prints per operation: pictures, the largest difference in grey levels, the share of numbers that differ. Exits 1 where an operation goes beyond its tolerance.
"""
import importlib.util
import subprocess
import sys
import time
import types

import cv2
import numpy as np
from scipy import ndimage

from make_cvresize_golden import KIND, isotropically_resize_image, put_to_center

cv2.setNumThreads(1)
cv2.ipp.setUseIPP(False)
RESIZE = (("area", "cubic"), ("area", "linear"), ("linear", "linear"))
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
TOLERANCE = {"pca": 1}  # grey levels; all others: equal
LANES = 32  # OpenCV on AVX2 turns so many pixels of a row to RGB at once, cut off; those left over are rounded, where ours are cut off too


class Restated:
    """albumentations 0.4.6, albumentations/augmentations/functional.py"""

    @staticmethod
    def brightness_contrast_adjust(img, alpha=1, beta=0, beta_by_max=True):
        lut = np.arange(0, 256).astype("float32")
        if alpha != 1:
            lut *= alpha
        if beta != 0:
            lut += beta * 255
        return cv2.LUT(img, np.clip(lut, 0, 255).astype(np.uint8))

    @staticmethod
    def shift_hsv(img, hue_shift, sat_shift, val_shift):
        hue, sat, val = cv2.split(cv2.cvtColor(img, cv2.COLOR_RGB2HSV))
        lut = np.arange(0, 256, dtype=np.int16)
        hue = cv2.LUT(hue, np.mod(lut + hue_shift, 180).astype(np.uint8))
        sat = cv2.LUT(sat, np.clip(lut + sat_shift, 0, 255).astype(np.uint8))
        val = cv2.LUT(val, np.clip(lut + val_shift, 0, 255).astype(np.uint8))
        return cv2.cvtColor(cv2.merge((hue, sat, val)), cv2.COLOR_HSV2RGB)

    @staticmethod
    def to_gray(img):
        return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)

    @staticmethod
    def gaussian_blur(img, ksize):
        return cv2.GaussianBlur(img, ksize=(ksize, ksize), sigmaX=0)

    @staticmethod
    def image_compression(img, quality, image_type):
        return cv2.imdecode(cv2.imencode(image_type, img, (cv2.IMWRITE_JPEG_QUALITY, quality))[1], cv2.IMREAD_UNCHANGED)

    @staticmethod
    def hflip_cv2(img):
        return cv2.flip(img, 1)

    @staticmethod
    def shift_scale_rotate(img, angle, scale, dx, dy, interpolation, border_mode):
        height, width = img.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
        matrix[0, 2] += dx * width
        matrix[1, 2] += dy * height
        return cv2.warpAffine(img, M=matrix, dsize=(width, height), flags=interpolation, borderMode=border_mode)


def load(folder):
    """functional.py alone: the package itself asks for more than is needed."""
    for name in ("albumentations", "albumentations.augmentations", "scipy.ndimage.filters"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["scipy.ndimage.filters"].gaussian_filter = ndimage.gaussian_filter
    for name in ("bbox_utils", "keypoints_utils"):
        stub = types.ModuleType("albumentations.augmentations." + name)
        stub.denormalize_bbox = stub.normalize_bbox = stub.angle_to_2pi_range = lambda *a, **k: None
        sys.modules[stub.__name__] = stub
    spec = importlib.util.spec_from_file_location("functional", folder + "/albumentations/augmentations/functional.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fancy_pca(img, alpha):
    """Krizhevsky et al. (2012) with one alpha, as albumentations 0.4.6 but for two things: its column_stack turns the matrix of eigenvectors over, and the signs are LAPACK's, which mean nothing.
    Here each vector's largest component is positive."""
    values, vectors = np.linalg.eigh(np.cov(img.reshape(-1, 3) / 255.0, rowvar=False))
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(3)])
    return np.clip(img.astype(float) + vectors @ (alpha * values) * 255, 0, 255).astype(np.uint8)


def ambiguous(img):
    """Two variances, or the two largest components of an eigenvector, as good as equal: then there is no one answer."""
    values, vectors = np.linalg.eigh(np.cov(img.reshape(-1, 3) / 255.0, rowvar=False))
    size = np.sort(np.abs(vectors), axis=0)
    return np.diff(values).min() < 1e-3 * values.max() or (size[2] - size[1]).min() < 1e-6


def line(img, v):
    """remove_eyes and its like: the masked pixels of cv2.line, grown by scipy."""
    mask = cv2.line(np.zeros(img.shape[:2], np.uint8), (v[0], v[1]), (v[2], v[3]), color=1, thickness=2) > 0
    if v[4] > 0:
        mask = ndimage.binary_dilation(mask, iterations=v[4])
    out = img.copy()
    out[mask] = 0
    return out


def half(img, side):
    h, w = img.shape[:2]
    y, x = h // 2, w // 2
    m = np.ones((h, w, 1), np.uint8)
    if side == 0:
        m[:y] = 0
    elif side == 1:
        m[y:] = 0
    elif side == 2:
        m[:, :x] = 0
    elif side == 3:
        m[:, x:] = 0
    elif side == 4:
        m[:y, :x] = 0
        m[y:, x:] = 0
    else:
        m[:y, x:] = 0
        m[y:, :x] = 0
    return img * m


def reference(F, name, img, v):
    if name == "line":
        return line(img, [int(x) for x in v])
    if name == "half":
        return half(img, v[0])
    if name == "fit":
        down, up = RESIZE[v[1]]
        return put_to_center(isotropically_resize_image(img, v[0], KIND[down], KIND[up]), v[0])
    if name == "brightness":
        return F.brightness_contrast_adjust(img, v[0], v[1], beta_by_max=True)
    if name == "pca":
        return fancy_pca(img, v[0])
    if name == "hsv":
        return F.shift_hsv(img, *v)
    if name == "grey":
        return F.to_gray(img)
    if name == "blur":
        return F.gaussian_blur(img, 3)
    if name == "jpeg":
        return F.image_compression(img, v[0], ".jpg")
    if name == "flip":
        return F.hflip_cv2(img)
    if name == "shuffle":
        return np.ascontiguousarray(img[..., ORDERS[v[0]]])
    if name == "warp":
        return F.shift_scale_rotate(img, *v, interpolation=cv2.INTER_LINEAR, border_mode=cv2.BORDER_CONSTANT)
    raise KeyError(name)


def draw(rng, w, h):
    """An operation with numbers; some beyond what training draws."""
    u = rng.uniform
    name = ("line", "half", "fit", "brightness", "pca", "hsv", "grey", "blur", "jpeg", "flip", "shuffle", "warp")[int(rng.integers(12))]
    if name == "line":
        out = 5 if rng.random() < 0.2 else 0
        a = rng.integers(-out, [w + out, h + out])
        b = rng.integers(-out, [w + out, h + out]) if rng.random() < 0.5 else np.clip(a + rng.integers(-12, 13, 2), -out, [w - 1 + out, h - 1 + out])
        return name, [int(a[0]), int(a[1]), int(b[0]), int(b[1]), int(rng.integers(0, 30))]
    wide = 1 if rng.random() < 0.7 else 5
    return name, {
        "half": lambda: [int(rng.integers(6))],
        "fit": lambda: [int(rng.choice([64, 128, 224, 380])), int(rng.integers(3))],
        "brightness": lambda: [1 + u(-0.2, 0.2) * wide, u(-0.2, 0.2) * wide],
        "pca": lambda: [rng.normal(0, 0.1) * wide],
        "hsv": lambda: [u(-20, 20) * wide, u(-30, 30) * wide, u(-20, 20) * wide],
        "jpeg": lambda: [int(rng.integers(60, 101))],
        "shuffle": lambda: [int(rng.integers(1, 6))],
        "warp": lambda: [u(-10, 10) * wide, 1 + u(-0.2, 0.2) * min(wide, 3), u(-0.1, 0.1) * wide, u(-0.1, 0.1) * wide],
    }.get(name, lambda: [])()


def source(rng, real, w, h):
    how = int(rng.integers(4 if real else 3))
    if how == 3:
        p = real[int(rng.integers(len(real)))]
        h, w = min(h, p.shape[0]), min(w, p.shape[1])
        y, x = int(rng.integers(p.shape[0] - h + 1)), int(rng.integers(p.shape[1] - w + 1))
        return np.ascontiguousarray(p[y:y + h, x:x + w])
    noise = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    if how == 2:
        noise = cv2.GaussianBlur(noise, (0, 0), 3)
    return (noise > 128).astype(np.uint8) * 255 if how == 1 else noise


def main():
    args = sys.argv[1:]
    F = Restated
    if "--albumentations" in args:
        at = args.index("--albumentations")
        F = load(args[at + 1])
        del args[at:at + 2]
    program, seconds = args[0], float(args[1])
    rng = np.random.default_rng(int(args[2]) if len(args) > 2 else 1)
    real = [cv2.cvtColor(cv2.imread(p), cv2.COLOR_BGR2RGB) for p in args[3:]]
    ours = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    end, seen, bad = time.time() + seconds, {}, 0
    while time.time() < end:
        hi = (20, 200, 500)[int(rng.integers(3))]
        p = source(rng, real, int(rng.integers(1, hi)), int(rng.integers(1, hi)))
        h, w = p.shape[:2]
        name, v = draw(rng, w, h)
        if name == "pca" and (h * w < 2 or ambiguous(p)):
            continue
        want = reference(F, name, p, v)
        head = " ".join([name, str(w), str(h), str(len(v)), *(repr(float(x)) for x in v)])
        ours.stdin.write(head.encode() + b"\n" + p.tobytes())
        ours.stdin.flush()
        got = np.frombuffer(ours.stdout.read(want.size), np.uint8).reshape(want.shape)
        diff = np.abs(got.astype(int) - want)
        if name == "hsv" and diff.max() <= 1:
            diff = diff[:, :w // LANES * LANES]
            if diff.size == 0:
                continue
        n = seen.setdefault(name, [0, 0, 0, 0])
        n[0] += 1
        n[1] = max(n[1], int(diff.max()))
        n[2] += int((diff > 0).sum())
        n[3] += diff.size
        if diff.max() > TOLERANCE.get(name, 0):
            bad += 1
            if bad < 20:
                print(f"DIFFERS: {name} {v} of {w}x{h}: {(diff > 0).sum()} of {diff.size} numbers, by up to {diff.max()}")
    ours.stdin.close()
    for name, (pictures, largest, differ, numbers) in sorted(seen.items()):
        print(f"{name}: {pictures} pictures, largest difference {largest}, {differ / numbers:.2g} of the numbers differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
