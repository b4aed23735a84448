#!/usr/bin/env python3
"""make_mtcnn_golden.py PICTURE...: facenet-pytorch's faces of each picture into data/mtcnn_<picture>.csv. Needs torch, facenet-pytorch,
opencv-python, numpy. The pictures are those that set-up fetches to share/unmask/portraits, pinned by hash; libjpeg-turbo decodes JPEG to the same pixels here and
there. Lines: thresholds p r o, then a face's box, probability and landmarks; largest face first. test_mtcnn.sh compares."""
import os
import sys

import cv2
import facenet_pytorch
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mtcnn_peer  # noqa: E402


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
    version = getattr(facenet_pytorch, "__version__", "2.6.0")
    peer = mtcnn_peer.Peer()
    for path in sys.argv[1:]:
        name = os.path.splitext(os.path.basename(path))[0]
        rgb = cv2.imread(path)[:, :, ::-1].copy()
        with open(os.path.join(folder, f"mtcnn_{name}.csv"), "w") as f:
            f.write(f"# facenet-pytorch {version}, torch {torch.__version__}, make_mtcnn_golden.py: p,r,o,x0,y0,x1,y1,probability,5 landmarks x,y\n")
            f.write(f"# picture {rgb.shape[1]}x{rgb.shape[0]}\n")
            for thresholds in mtcnn_peer.SETS:
                for face in peer.detect(rgb, thresholds):
                    f.write(",".join(f"{v:.6g}" for v in list(thresholds)) + "," + ",".join(f"{v:.7g}" for v in face) + "\n")


if __name__ == "__main__":
    main()
