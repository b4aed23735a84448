#!/usr/bin/env python3
"""Kills preprocessing at random moments and resumes it with changing rank counts until it is complete.

usage: kill_preprocess.py --root ROOT [--count 10] [--seed 1] [--unmask PROGRAM] [--work DIR]

Kills are spread over the whole run (its length is measured first) and hit a random rank, several ranks, or mpirun itself. After each kill the store must load and be undamaged (inspect --digest reads every row and pixel), no
acknowledged unit may be gone, and no process may be left over. After the last kill of a round the run is completed and its digest must be that of an undisturbed run. Prints one JSON line."""
import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--root", required=True)
parser.add_argument("--count", type=int, default=10, help="kills in all")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--unmask", default=os.environ.get("UNMASK", "build/release/unmask"))
parser.add_argument("--work")
args = parser.parse_args()
rng = random.Random(args.seed)
work = args.work or tempfile.mkdtemp()
env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")


def command(store, ranks):
    return ["mpirun", "--bind-to", "none", "-n", str(ranks), args.unmask, "preprocess", args.root, "--store", store, "--quiet", "--set", "store.seal_mb=1", "--set", "store.seal_s=0.05"]


def run(cmd, **kw):
    return subprocess.run(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def digest(store):
    r = run([args.unmask, "inspect", store, "--digest"])
    if r.returncode != 0:
        sys.exit(f"FAILED: a killed store does not load: {r.stderr.decode()}")
    return r.stdout.decode().strip()


def units_done(store):
    if not os.path.exists(f"{store}/manifest.jsonl"):
        return 0
    digest(store)
    r = run([args.unmask, "inspect", store, "--json"])
    if r.returncode != 0:
        sys.exit(f"FAILED: a killed store does not load: {r.stderr.decode()}")
    return json.loads(r.stdout)["units_done"]


def processes(word):
    """pids whose command line holds `word`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def children(pid):
    found = []
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{other}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(other))
        except OSError:
            pass
    return found


start = time.time()
reference = f"{work}/reference"
shutil.rmtree(reference, ignore_errors=True)
r = run(command(reference, 2))
if r.returncode != 0:
    sys.exit(f"FAILED: the undisturbed run: {r.stderr.decode()}")
length = time.time() - start
want, total = digest(reference), units_done(reference)

kills = rounds = survived = late = 0
while kills < args.count:
    rounds += 1
    store = f"{work}/store{rounds}"
    shutil.rmtree(store, ignore_errors=True)
    done = 0
    for _ in range(rng.randint(1, 3)):
        if kills == args.count or done == total:
            break
        ranks = rng.randint(1, 4)
        p = subprocess.Popen(command(store, ranks), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        # The run gets shorter as it is resumed: aim at what is left of it.
        wait = rng.uniform(0.1, max(0.3, length * (1 - done / total)))
        try:
            p.wait(wait)
            late += 1  # it was complete before the kill
        except subprocess.TimeoutExpired:
            victims = children(p.pid)
            if rng.random() < 0.15 or not victims:
                victims = [p.pid]
            elif rng.random() < 0.6:
                victims = [rng.choice(victims)]
            for v in victims:
                try:
                    os.kill(v, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            kills += 1
        p.wait()
        deadline = time.time() + 15
        while processes(store) and time.time() < deadline:
            time.sleep(0.05)
        left = processes(store)
        if left:
            sys.exit(f"FAILED: processes {left} were left over")
        now = units_done(store)
        if now < done:
            sys.exit(f"FAILED: {done} units had been acknowledged, {now} are there")
        survived += now > 0
        done = now
    r = run(command(store, rng.randint(1, 4)))
    if r.returncode != 0:
        sys.exit(f"FAILED: completing a killed run: {r.stderr.decode()}")
    if digest(store) != want:
        sys.exit(f"FAILED: round {rounds}: another digest after the kills")
    shutil.rmtree(store)
if kills >= 5 and survived * 4 < kills:
    sys.exit(f"FAILED: work survived only {survived} of {kills} kills: the test kills too early to show anything")
print(json.dumps({"kills": kills, "rounds": rounds, "survived_with_work": survived, "complete_before_kill": late, "units": total, "seconds": round(time.time() - start, 1), "digest": want}))
if not args.work:
    shutil.rmtree(work)
