"""What the bench scripts share: which machine this is, two things timed in turns, one JSON line at the end.

    import peer
    t = peer.interleaved(theirs, ours, rounds=5)
    peer.report({"bench": "ssim", **t})

Neighbours of a virtual machine move absolute times by a factor of two, so a ratio counts only when both sides ran in turns.
"""
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time


def cores():
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def machine():
    """{"cpu", "cores", "date"}: what a figure must name. The processor as lscpu has it, with family and model, because virtual machines often hide the name."""
    info = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for line in f:
                key, _, value = line.partition(":")
                info.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = info.get("model name", platform.processor() or platform.machine())
    if "cpu family" in info:
        name += f" (family {info['cpu family']}, model {info.get('model', '?')})"
    return {"cpu": name, "cores": cores(), "date": datetime.date.today().isoformat()}


def seconds(fn):
    """Seconds that fn takes: what it returns when that is a number (it timed itself), else the wall time of the call."""
    start = time.perf_counter()
    result = fn()
    wall = time.perf_counter() - start
    return float(result) if isinstance(result, (int, float)) and not isinstance(result, bool) else wall


def interleaved(theirs, ours, rounds=5):
    """Calls both in turns, `rounds` times. {"peer_s", "ours_s": medians, "ratio": median of the rounds' peer / ours, "ratio_min", "ratio_max", "rounds"}.
    The ratio is taken within each round, where both sides had the same neighbours."""
    a, b = [], []
    for _ in range(rounds):
        a.append(seconds(theirs))
        b.append(seconds(ours))
    ratios = [x / y for x, y in zip(a, b)]
    return {"peer_s": round(statistics.median(a), 6), "ours_s": round(statistics.median(b), 6), "ratio": round(statistics.median(ratios), 3),
            "ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3), "rounds": rounds}


def run(command, **more):
    """Runs a command and ends this script with the command's own words when it fails. Returns its stdout."""
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
    env.update(more.pop("env", {}))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, check=False, **more)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace")[-2000:] + done.stderr.decode(errors="replace")[-4000:])
        sys.exit(f"failed with {done.returncode}: {' '.join(map(str, command))}")
    return done.stdout.decode(errors="replace")


def mpirun(ranks):
    """The words before a program that runs on `ranks` ranks of this machine."""
    return ["mpirun", "--bind-to", "none", "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []


def unmask_default():
    """The program: $UNMASK, else the release build of this source tree."""
    return os.environ.get("UNMASK", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release", "unmask"))


def report(result):
    """One JSON line on stdout, with the machine."""
    print(json.dumps({**result, "machine": machine()}), flush=True)
