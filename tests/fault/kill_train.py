#!/usr/bin/env python3
"""Kills training (SIGKILL and SIGTERM) at random moments and resumes it with 1, 2 or 4 ranks until it is complete (kills.py).

usage: kill_train.py --store DIR --folds FILE [--count 10] [--seed 1] [--unmask PROGRAM] [--work DIR] [--options "--config FILE --set key=value ..."]

Every file under a final name must be whole after a kill, and no checkpoint may be lost. In the end each epoch's model, the best one, the last checkpoint and all numbers of the log must be those of an undisturbed run, bit for
bit. Prints one JSON line."""
import glob, json, os, re, shutil, signal, sys

import kills

parser = kills.arguments(__doc__)
parser.add_argument("--store", required=True)
parser.add_argument("--folds", required=True)
parser.add_argument("--options", default="", help="options of unmask train, separated by spaces")
args = parser.parse_args()


def command(place, ranks):
    return kills.mpirun(4 if ranks == 3 else ranks, args.unmask, "train", "--store", args.store, "--folds", args.folds, "-o", f"{place}out", "--deterministic", "--seed", "111", "--quiet", *args.options.split())


def checkpoints(place):
    return sorted(glob.glob(glob.escape(f"{place}out/seed111") + "/checkpoint-*.h5"))


def units_done(place):
    for model in glob.glob(glob.escape(f"{place}out") + "/**/*.h5", recursive=True):
        if "/checkpoint-" in model:
            continue
        r = kills.run([args.unmask, "inspect", model])
        if r.returncode != 0:
            sys.exit(f"FAILED: {model} is not whole after a kill: {r.stderr.decode()}")
    newest = checkpoints(place)
    return int(re.search(r"checkpoint-(\d+)", newest[-1]).group(1)) if newest else 0


def log(place):
    """Lines without what a clock says, or how often the run was begun."""
    lines = []
    for line in open(f"{place}out/seed111/log.jsonl"):
        row = json.loads(line)
        if row["kind"] != "run":
            lines.append({k: v for k, v in row.items() if k not in ("images_per_s", "seconds", "wait_data_s", "wait_ranks_s")})
    return lines


def result(place):
    files = {name: open(f"{place}out/{name}", "rb").read() for name in ["seed111.h5"] + [f"seed111/{os.path.basename(f)}" for f in glob.glob(glob.escape(f"{place}out/seed111") + "/epoch-*.h5")]}
    return files, open(checkpoints(place)[-1], "rb").read(), log(place)


kills.campaign(args, command, units_done, result, lambda place: shutil.rmtree(f"{place}out", ignore_errors=True), (signal.SIGKILL, signal.SIGTERM))
