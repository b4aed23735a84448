#!/usr/bin/env python3
"""Kills preprocessing at random moments and resumes it with changing rank counts until it is complete (kills.py).

usage: kill_preprocess.py --root ROOT [--count 10] [--seed 1] [--unmask PROGRAM] [--work DIR]

After each kill the store must load and be undamaged (inspect --digest reads every row and pixel), no acknowledged unit may be gone, and no process may be left over. After the last kill of a round the run is completed and
its digest must be that of an undisturbed run. Prints one JSON line."""
import json, os, shutil, sys

import kills

parser = kills.arguments(__doc__)
parser.add_argument("--root", required=True)
args = parser.parse_args()


def command(store, ranks):
    return kills.mpirun(ranks, args.unmask, "preprocess", args.root, "--store", store, "--quiet", "--set", "store.seal_mb=1", "--set", "store.seal_s=0.05")


def inspect(store, option):
    r = kills.run([args.unmask, "inspect", store, option])
    if r.returncode != 0:
        sys.exit(f"FAILED: a killed store does not load: {r.stderr.decode()}")
    return r.stdout.decode().strip()


def units_done(store):
    if not os.path.exists(f"{store}/manifest.jsonl"):
        return 0
    inspect(store, "--digest")
    return json.loads(inspect(store, "--json"))["units_done"]


kills.campaign(args, command, units_done, lambda store: inspect(store, "--digest"), lambda store: shutil.rmtree(store, ignore_errors=True))
