#!/usr/bin/env python3
"""Lets the n-th allocation of our own code fail, in each command, once and from then on.

usage: malloc_fault.py --library malloc_fault.so --root ROOT --picture FILE [--weights FILE] [--count 6 | --stride 1] [--only NAME] [--unmask PROGRAM] [--work DIR]

Counts the allocations of each command first, then fails --count of them, spread evenly (or each --stride-th; --stride 1: all). Wanted of every run: it ends by itself, without a signal, with exit code 70 and the word
"memory" on stderr. Where the allocation belongs to the process that decodes, the run may also end well, with a status for the video that is not CRASH. Afterwards the same command without a fault must go through on what was
left. Prints one JSON line; exit code 1 if anything was not as wanted. Of each finding the place in the program is told (addr2line -e PROGRAM -f ADDRESS, in a build with symbols)."""
import argparse, glob, json, os, shutil, signal, subprocess, sys, tempfile

TIME_S = 120
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--library", required=True)
parser.add_argument("--root", required=True, help="a small tree of parts")
parser.add_argument("--picture", required=True)
parser.add_argument("--weights", help="the wheel or folder for import mtcnn (left out without)")
parser.add_argument("--count", type=int, default=6)
parser.add_argument("--stride", type=int)
parser.add_argument("--only")
parser.add_argument("--unmask", default=os.environ.get("UNMASK", "build/release/unmask"))
parser.add_argument("--work")
args = parser.parse_args()
work = args.work or tempfile.mkdtemp()
env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1")
store, made, log = os.path.join(work, "store"), os.path.join(work, "made"), os.path.join(work, "log")
ready, model, scored = os.path.join(work, "ready"), os.path.join(work, "model.h5"), os.path.join(work, "scored")


def run(command, at=None, mode="once", who="main"):
    """(exit code, stderr, lines of the log)"""
    if os.path.exists(log):
        os.unlink(log)
    fault = {} if at is None else {"LD_PRELOAD": args.library, "MALLOC_FAULT_AT": str(at), "MALLOC_FAULT_MODE": mode, "MALLOC_FAULT_WHO": who, "MALLOC_FAULT_LOG": log}
    try:
        done = subprocess.run([args.unmask, *command], env=dict(env, **fault), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIME_S, check=False)
    except subprocess.TimeoutExpired:
        return "no end", "", []
    lines = [line.split() for line in open(log)] if os.path.exists(log) else []
    return done.returncode, done.stderr.decode(errors="replace"), lines


def fresh():
    shutil.rmtree(store, ignore_errors=True)
    for name in glob.glob(glob.escape(made) + "*"):
        shutil.rmtree(name) if os.path.isdir(name) else os.unlink(name)
    for name in glob.glob(glob.escape(scored) + "*"):
        copy = shutil.copytree if os.path.isdir(name) else shutil.copy2
        copy(name, made + ".again" + name[len(scored):])


commands = {
    "detect": ["detect", args.picture, "--landmarks", "-o", made + ".jsonl"],
    "preprocess": ["preprocess", args.root, "--store", store],
    "inspect": ["inspect", ready, "--json"],
    "folds": ["folds", "--store", ready, "-o", made + ".csv", "--reals", "all", "--by", "group", "--splits", "2"],
}
# A new run, and one over a complete one, which reads manifest and journals: nothing in them may be taken for damage and scored again.
scoring = ["score", args.root, "-m", model, "--frames", "spread:8", "--threads", "1"]
commands["random"] = ["import", "random", "--arch", "w0.1d0.1", "--size", "32", "-o", made]
commands["score"] = [*scoring, "-o", made + ".csv", "--details", made + ".jsonl"]
commands["score again"] = [*scoring, "-o", made + ".again"]
if args.weights:
    commands = {"import": ["import", "mtcnn", args.weights, "-o", made], **commands}
code, err, _ = run(["preprocess", args.root, "--store", ready])
if code != 0:
    sys.exit(f"preprocess without a fault exits with {code}: {err}")
for command in (["import", "random", "--arch", "w0.1d0.1", "--size", "32", "-o", model], [*scoring, "-o", scored]):
    code, err, _ = run(command)
    if code != 0:
        sys.exit(f"{command[0]} without a fault exits with {code}: {err}")

findings, runs, totals = [], 0, {}


def report(*_):
    print(json.dumps({"test": "malloc_fault", "allocations": totals, "runs": runs, "findings": len(findings)}), flush=True)
    sys.exit(1 if findings else 0)


signal.signal(signal.SIGTERM, report)  # a time limit: what was done until then counts
for name, command in commands.items():
    if args.only and name != args.only:
        continue
    for who in ("main", "child") if name == "preprocess" else ("main",):
        fresh()
        code, err, lines = run(command, at=0, who=who)
        total = max([int(line[2]) for line in lines if line[1] == "total"], default=0)
        if code != 0 or (total == 0 and who == "main"):
            sys.exit(f"{name} without a fault exits with {code} after {total} allocations: {err}")
        totals[f"{name}, {who}"] = total
        step = args.stride or max(1, total // max(1, args.count))
        for mode in ("once", "on"):
            for at in range(1 + (step // 2 if not args.stride else 0), total + 1, step):
                fresh()
                code, err, lines = run(command, at, mode, who)
                runs += 1
                failed = [line for line in lines if line[1] != "total"]
                good = code == 70 and "memory" in err
                if who == "child":
                    good = good or (code == 0 and "CRASH" not in err)
                good = good or (not failed and code == 0)  # the count moves a little from run to run: it was not reached
                if good and name == "preprocess" and at % 5 == 0:
                    code, err, _ = run(command)
                    good = code == 0
                if not good:
                    findings.append({"command": name, "who": who, "mode": mode, "at": at, "exit": code, "where": failed[:1], "stderr": err[-400:]})
                    print(json.dumps(findings[-1]), file=sys.stderr, flush=True)
if not args.work:
    shutil.rmtree(work)
report()
