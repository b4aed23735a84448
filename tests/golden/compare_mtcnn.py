#!/usr/bin/env python3
"""compare_mtcnn.py DIR [--unmask PROGRAM] [--detector mtcnn.h5] [--every 10] [--peer-isa default|avx2]: `unmask detect` against facenet-pytorch.

Every 10th frame of the videos and all pictures under DIR become PNG files in a temporary folder (so both sides see the same RGB pixels), `unmask
detect --scale 1 --landmarks` runs over them at three threshold sets, and each face is compared (mtcnn_peer.py says how). Needs torch,
facenet-pytorch, opencv-python, numpy. Exit code 0 when nothing differs.

facenet-pytorch differs from itself between instruction sets: on frame 10 of a 1280x720 video an edge, before it is truncated to whole pixels, is
93.99998 with AVX-512, 94.0 with AVX2 and 94.00002 in double precision, so the box is one pixel off in one of them. --peer-isa avx2 limits the peer
to AVX2 (ONEDNN_MAX_CPU_ISA=AVX2, ATEN_CPU_CAPABILITY=avx2; ours is not limited). Measured on 2026-11-23 over 334 frames at the three threshold sets:
with AVX-512 that frame is listed as marginal, with AVX2 none differs and none is marginal (largest difference 0.0004 px, probability 4.2e-7)."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("data", metavar="DIR")
    a.add_argument("--unmask", default=os.path.join("build", "release", "unmask"))
    a.add_argument("--detector")
    a.add_argument("--every", type=int, default=10)
    a.add_argument("--peer-isa", choices=["default", "avx2"], default="default")
    a = a.parse_args()
    if a.peer_isa == "avx2" and any(os.environ.get(name) != value for name, value in AVX2.items()):
        # torch and its libraries read these as they are loaded: start over with them set.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **AVX2})
    import cv2
    import numpy as np
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import mtcnn_peer
    peer, bad = mtcnn_peer.Peer(), 0
    with tempfile.TemporaryDirectory() as folder:
        names = {}
        for i, (name, index, frame) in enumerate(mtcnn_peer.frames(a.data, a.every)):
            path = os.path.join(folder, f"{i:06d}.png")
            cv2.imwrite(path, frame[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
            names[path] = (name, index)
        if not names:
            sys.exit(f"no videos or pictures in {a.data}")
        for thresholds in mtcnn_peer.SETS:
            out = os.path.join(folder, "faces.jsonl")
            command = [a.unmask, "detect", folder, "--scale", "1", "--landmarks", "--thresholds", ",".join(map(str, thresholds)), "-o", out]
            subprocess.run(command + (["--detector", a.detector] if a.detector else []), check=True)
            rows = {}
            with open(out) as f:
                for line in f:
                    row = json.loads(line)
                    rows[os.path.join(folder, os.path.basename(row["path"]))] = row
            tally = mtcnn_peer.Tally(peer)
            for path, (name, index) in names.items():
                faces = rows[path]["faces"]
                ours = np.array([f["box"] + [f["probability"]] + [v for point in f["landmarks"] for v in point] for f in faces], float).reshape(-1, 15)
                tally.add(name, index, cv2.imread(path)[:, :, ::-1].copy(), thresholds, ours)
            print(thresholds, tally.text(), flush=True)
            bad += len(tally.wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
