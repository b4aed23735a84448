#!/usr/bin/env python3
"""Does a plan come true? `unmask plan preprocess` and `unmask plan score` beside the real runs, in turns: plan, run, plan, run, ..., plan, so that both see the same load of the machine.

    bench_plan.py [--root ROOT] [--models FILE|DIR] [--ranks 2] [--rounds 3] [--sample 8] [--unmask PROGRAM]

Without --root a data set is made by `unmask synth` (--portraits FILE...), without --models random weights. A run is compared with the mean of the plan before it and the plan after it. The plan and the run are started with as many ranks,
and the plan works at most --sample units, fewer than there are, so that something is left to be told.
One JSON line a stage: ratio = planned / real, the median over the rounds, and the ratio of each round; the goal is 0.75 to 1.25.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import peer  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--root", help="DFDC folders")
    p.add_argument("--portraits", nargs="*", help="for synth; default: share/unmask/portraits of the source tree")
    p.add_argument("--models", help="default: a random B0 for 224 px")
    p.add_argument("--stages", default="preprocess,score")
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--sample", type=int, default=8)
    p.add_argument("--sample-seconds", type=float, default=60)
    p.add_argument("--unmask", default=peer.unmask_default())
    o = p.parse_args()
    ranks = ["mpirun", "--bind-to", "none", "-n", str(o.ranks)]
    with tempfile.TemporaryDirectory(prefix="bench_plan.") as work:
        root, models = o.root, o.models
        if root is None:
            root = os.path.join(work, "root")
            portraits = o.portraits or glob.glob(os.path.join(here, "..", "..", "share", "unmask", "portraits", "*.*"))
            peer.run([o.unmask, "synth", "--quiet", "--portraits", *portraits, "-o", root, "--parts", "2", "--originals", "10", "--fakes", "2", "--seconds", "4", "--size", "640x480"])
        if models is None:
            models = os.path.join(work, "model.h5")
            peer.run([o.unmask, "import", "random", "-o", models, "--arch", "b0", "--size", "224"])
        for stage in o.stages.split(","):
            store, scores = os.path.join(work, "store"), os.path.join(work, "scores.csv")
            command = ["preprocess", root, "--store", store] if stage == "preprocess" else ["score", root, "-m", models, "--threads", "1", "-o", scores]

            def plan():
                return json.loads(peer.run([*ranks, o.unmask, "plan", *command, "--quiet", "--ranks-per-node", str(o.ranks), "--sample", str(o.sample), "--sample-seconds", str(o.sample_seconds), "--json", "-"]))

            def real():
                seconds = peer.seconds(lambda: peer.run([*ranks, o.unmask, *command, "--quiet"]))
                shutil.rmtree(store, ignore_errors=True)
                for f in glob.glob(scores + "*"):
                    shutil.rmtree(f) if os.path.isdir(f) else os.unlink(f)
                return seconds

            plans, runs = [plan()], []
            for _ in range(o.rounds):
                runs.append(real())
                plans.append(plan())
            planned = [(a["wall_s"] + b["wall_s"]) / 2 for a, b in zip(plans, plans[1:])]
            ratios = [a / b for a, b in zip(planned, runs)]
            peer.report({"bench": "plan", "stage": stage, "ranks": o.ranks, "units": plans[0]["inputs"]["units"], "sample": plans[0]["sample"]["units"], "planned_s": [round(x, 2) for x in planned], "real_s": [round(x, 2) for x in runs],
                         "goal": "0.75 to 1.25", "ratio": round(statistics.median(ratios), 3), "ratios": [round(x, 3) for x in ratios]})


if __name__ == "__main__":
    main()
