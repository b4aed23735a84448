#!/usr/bin/env python3
"""bench_train.py --store DIR --folds FILE [--options "--config FILE ..."] [--size 380] [--batch 4] [--steps 20] [--rounds 3] [--build build/release]

What a training step costs beside the network: unmask train beside unmask_train_still, whose pictures are made once (reading, decoding and augmenting cost nothing), one rank with two threads; and two ranks beside one, a thread
each, the same pictures a rank. In turns; prints one JSON line of medians: images per second as the log has them (steps after the first five), and their ratios. Nothing is asserted: the machine should be calm."""
import argparse, json, os, shutil, statistics, subprocess, tempfile

ENV = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--store", required=True)
p.add_argument("--folds", required=True)
p.add_argument("--options", default="")
p.add_argument("--size", type=int, default=380)
p.add_argument("--batch", type=int, default=4)
p.add_argument("--steps", type=int, default=20)
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--build", default="build/release")
a = p.parse_args()
work = tempfile.mkdtemp()


def run(program, ranks, threads):
    out = f"{work}/out"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(["mpirun", "--bind-to", "none", "-n", str(ranks), program, "train", "--store", a.store, "--folds", a.folds, *a.options.split(), "--set", f"size={a.size}", "--set", f"optimizer.batch_size={a.batch}",
                    "--set", f"batches_per_epoch={a.steps}", "--set", "optimizer.schedule.epochs=1", "--val-videos", "1", "--threads", str(threads), "--seed", "1", "--quiet", "-o", out],
                   env=dict(ENV, STILL_PX=str(a.size)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    steps = [json.loads(line) for line in open(f"{out}/seed1/log.jsonl")]
    steps = [s for s in steps if s["kind"] == "step"][5:]
    return a.batch * ranks * len(steps) / sum(s["seconds"] for s in steps)


real, still = f"{a.build}/unmask", f"{a.build}/tests/bench/unmask_train_still"
rows = [(run(real, 1, 2), run(still, 1, 2), run(real, 1, 1), run(real, 2, 1)) for _ in range(a.rounds)]
m = [statistics.median(r[i] for r in rows) for i in range(4)]
print(json.dumps({"images_per_s": {"with loader": m[0], "step alone": m[1], "1 rank, 1 thread": m[2], "2 ranks, 1 thread each": m[3]},
                  "loader_cost": statistics.median(r[1] / r[0] for r in rows), "two_ranks_of_twice_one": statistics.median(r[3] / r[2] / 2 for r in rows), "rounds": rows}))
shutil.rmtree(work)
