#!/usr/bin/env python3
"""Is the whole more than its parts? `unmask preprocess` on one rank beside decoding, detection and encoding measured alone, on the same tree.

    bench_stages.py ROOT --detector MTCNN_H5 [--scale 0.5] [--unmask PROGRAM] [--program BENCH_STAGES] [--rounds 5]

Whole and parts take turns. One JSON line (medians over the rounds):
  ratio        whole / (decode + detect + encode): the goal is 1.15 at most. The whole also finds landmarks and makes masks; decoding runs in a process of its own, beside the rest where there is a core for it
  ratio_same   `--stages detect,crops` / (decode + detect + encode): the same work on both sides
  ratio_all    whole / the sum of all six parts
  start_s      a run on the finished store: start-up, reading the store, writing index.h5; it is in every whole
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import peer  # noqa: E402

THREE, SIX = ("decode", "detect", "encode"), ("decode", "detect", "encode", "landmarks", "masks", "encode_masks")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("root")
    p.add_argument("--detector", required=True, help="mtcnn.h5")
    p.add_argument("--scale", default="0.5", help="a factor; 0 is the rule by size, --scale auto")
    p.add_argument("--unmask", default=peer.unmask_default())
    p.add_argument("--program", help="default: beside --unmask, tests/bench/bench_stages")
    p.add_argument("--rounds", type=int, default=5)
    o = p.parse_args()
    program = o.program or os.path.join(os.path.dirname(os.path.abspath(o.unmask)), "tests", "bench", "bench_stages")
    scale = "auto" if float(o.scale) == 0 else o.scale
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench_stages.") as work:
        store = os.path.join(work, "store")

        def whole(*more, again=False):
            if not again:
                shutil.rmtree(store, ignore_errors=True)
            return peer.seconds(lambda: peer.run([o.unmask, "preprocess", o.root, "--store", store, "--scale", scale, "--detector", o.detector, "--quiet", *more]))

        for _ in range(o.rounds):
            row = json.loads(peer.run([program, o.root, o.detector, o.scale]))
            row["detect_and_crops_s"] = whole("--stages", "detect,crops")
            row["whole_s"] = whole()
            row["start_s"] = whole(again=True)
            three = sum(row[k] for k in THREE)
            row.update(sum_s=three, sum_all_s=sum(row[k] for k in SIX), ratio=row["whole_s"] / three, ratio_same=row["detect_and_crops_s"] / three, ratio_all=row["whole_s"] / sum(row[k] for k in SIX))
            rows.append(row)
        info = json.loads(peer.run([o.unmask, "inspect", store, "--json"]))
    if info["crops"] != rows[0]["crops"] or info["masks"] != rows[0]["n_masks"]:
        sys.exit(f"not the same work: the store has {info['crops']} crops and {info['masks']} masks, the parts made {rows[0]['crops']} and {rows[0]['n_masks']}")
    peer.report({"bench": "stages", "scale": scale, "rounds": o.rounds, "goal": 1.15, **{k: round(statistics.median(r[k] for r in rows), 4) for k in rows[0]},
                 "ratio_min": round(min(r["ratio"] for r in rows), 3), "ratio_max": round(max(r["ratio"] for r in rows), 3)})


if __name__ == "__main__":
    main()
