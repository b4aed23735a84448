#!/usr/bin/env python3
"""Kills scoring at random moments and resumes it with changing rank counts until it is complete (kills.py).

usage: kill_score.py [--count 10] [--seed 1] [--unmask PROGRAM] [--work DIR] [--options "-m model.h5 ..."] PATH...

No acknowledged row (a whole record in a journal) may be gone after a kill; results and details must appear whole or not at all, and in the end be those of an undisturbed run, byte for byte. Prints one JSON line."""
import glob, json, os, shutil, sys

import kills

parser = kills.arguments(__doc__)
parser.add_argument("path", nargs="+")
parser.add_argument("--options", default="", help="options of unmask score, separated by spaces")
args = parser.parse_args()


def command(place, ranks):
    return kills.mpirun(ranks, args.unmask, "score", *args.path, "-o", f"{place}csv", "--details", f"{place}jsonl", "--submission", f"{place}sub", "--quiet", *args.options.split())


def records(path):
    """Payloads of a journal up to the first that is not whole."""
    data, at = open(path, "rb").read(), 0
    while data.startswith(b"UMJ1 ", at):
        head = data[at:at + 24].split(b" ")
        if len(head) < 4 or not head[1].isdigit():
            return
        begin = at + 5 + len(head[1]) + 10
        end = begin + int(head[1])
        if data[end:end + 1] != b"\n":
            return
        yield data[begin:end]
        at = end + 1


def rows(place):
    """CSV, details, submission; None where one is not there."""
    return [open(place + name, "rb").read() if os.path.exists(place + name) else None for name in ("csv", "jsonl", "sub")]


complete = None


def units_done(place):
    there = rows(place)
    if complete is not None and any(is_ is not None and is_ != want for is_, want in zip(there, complete)):
        sys.exit("FAILED: a result is there that is not whole, or not that of an undisturbed run")
    done = set()
    for path in glob.glob(glob.escape(f"{place}csv.journal") + "/*.jnl"):
        for payload in records(path):
            record = json.loads(payload.decode("utf-8", "surrogateescape"))
            if record["t"] == "done":
                done.add(record["unit"])
    return len(done)


def result(place):
    global complete
    is_ = rows(place)
    complete = complete or is_
    status = json.load(open(f"{place}csv.status.json"))
    if not status["complete"] or None in is_:
        sys.exit(f"FAILED: it ended with 0 but is not complete: {status}")
    left = [n for n in os.listdir(os.path.dirname(place)) if n.startswith(os.path.basename(place)) and n.endswith(".tmp")]
    if left and place.endswith("reference"):
        sys.exit(f"FAILED: {left} were left over")
    return is_


def remove(place):
    for path in glob.glob(glob.escape(place) + "*"):
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


kills.campaign(args, command, units_done, result, remove)
