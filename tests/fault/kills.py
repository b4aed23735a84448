"""kills.py: what kill_preprocess.py, kill_score.py and kill_train.py share: a command is killed at random moments, started again with changing rank counts until it is complete, and must end as an undisturbed run does.

Kills are spread over the whole run (its length is measured first) and hit a random rank, several ranks, or mpirun itself."""
import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time

launchers_hung = 0
ENV = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")


def arguments(doc):
    """The parser with what both scripts take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="kills in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unmask", default=os.environ.get("UNMASK", "build/release/unmask"))
    parser.add_argument("--work")
    return parser


def mpirun(ranks, *command):
    return ["mpirun", "--bind-to", "none", "-n", str(ranks), *command]


def run(command):
    return subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


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


def wait_for(p):
    """Waits for mpirun to end. Open MPI 4.1.4's mpirun sometimes waits for itself for ever in PMIx_server_finalize after a rank was killed, when all ranks are gone: that is not ours to judge, but it is counted."""
    global launchers_hung
    alone = 0
    while True:
        try:
            return p.wait(1)
        except subprocess.TimeoutExpired:
            alone = alone + 1 if not any(alive(pid) for pid in children(p.pid)) else 0
        if alone == 30:
            launchers_hung += 1
            p.kill()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill_once(rng, command, wait, word, signals=(signal.SIGKILL,)):
    """Starts the command and kills something of it after `wait` seconds, with one of `signals`; False when it was complete before. `word` marks its processes, of which none may be left."""
    p = subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    killed = False
    try:
        p.wait(wait)
    except subprocess.TimeoutExpired:
        victims = children(p.pid)
        if rng.random() < 0.15 or not victims:
            victims = [p.pid]
        elif rng.random() < 0.6:
            victims = [rng.choice(victims)]
        how = signals[0] if len(signals) == 1 else rng.choice(signals)
        for v in victims:
            try:
                os.kill(v, how)
            except ProcessLookupError:
                pass
        killed = True
    wait_for(p)
    deadline = time.time() + 15
    while processes(word) and time.time() < deadline:
        time.sleep(0.05)
    left = processes(word)
    if left:
        sys.exit(f"FAILED: processes {left} were left over")
    return killed


def campaign(args, command, units_done, result, remove, signals=(signal.SIGKILL,)):
    """command(place, ranks): the command line; units_done(place): how much is acknowledged there, after checking that what is there can be used; result(place): what a complete run must give, comparable."""
    rng = random.Random(args.seed)
    work = args.work or tempfile.mkdtemp()
    os.makedirs(work, exist_ok=True)
    start = time.time()
    reference = f"{work}/reference"
    remove(reference)
    r = run(command(reference, 2))
    if r.returncode != 0:
        sys.exit(f"FAILED: the undisturbed run: {r.stderr.decode()}")
    length = time.time() - start
    want, total = result(reference), units_done(reference)
    if total == 0:
        sys.exit("FAILED: the undisturbed run found nothing to do")

    kills = rounds = survived = late = 0
    while kills < args.count:
        rounds += 1
        place = f"{work}/round{rounds}."
        remove(place)
        done = 0
        for _ in range(rng.randint(1, 3)):
            if kills == args.count or done == total:
                break
            # The run gets shorter as it is resumed: aim at what is left of it.
            if kill_once(rng, command(place, rng.randint(1, 4)), rng.uniform(0.1, max(0.3, length * (1 - done / total))), place, signals):
                kills += 1
            else:
                late += 1
            now = units_done(place)
            if now < done:
                sys.exit(f"FAILED: {done} units had been acknowledged, {now} are there")
            survived += now > 0
            done = now
        r = run(command(place, rng.randint(1, 4)))
        if r.returncode != 0:
            sys.exit(f"FAILED: completing a killed run: {r.stderr.decode()}")
        if result(place) != want:
            sys.exit(f"FAILED: round {rounds}: another result after the kills")
        remove(place)
    if kills >= 5 and survived * 4 < kills:
        sys.exit(f"FAILED: work survived only {survived} of {kills} kills: the test kills too early to show anything")
    print(json.dumps({"kills": kills, "rounds": rounds, "survived_with_work": survived, "complete_before_kill": late, "units": total, "launchers_hung": launchers_hung, "seconds": round(time.time() - start, 1)}))
    if not args.work:
        shutil.rmtree(work)
