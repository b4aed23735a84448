#!/bin/bash
# slurm/preprocess.sbatch with the real program under a real Slurm of two nodes, all on this machine: ranks on both nodes, USR1 in the middle and a node that
# dies, each continued by Slurm itself to the store of a run that nobody disturbed. Needs root, since each node lives in namespaces of its own.

# ctest's time limit kills without a word and would leave the daemons behind: this one comes before it.
[ -n "${UNMASK_TIMED:-}" ] || UNMASK_TIMED=1 exec timeout 240 "$0"
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
[ "$(id -u)" -eq 0 ] || skip "a Slurm of two nodes on one machine needs root"
PATH=$PATH:/usr/sbin:/sbin
for tool in slurmctld slurmd sbatch munged unshare; do
    command -v "$tool" >/dev/null || skip "$tool is not installed (Debian: slurmctld slurmd slurm-client munge)"
done
need_detector
need_portraits
unshare --uts --mount --propagation private true 2>/dev/null || skip "no namespaces of their own for the nodes: unshare is not permitted here"

slurm=$work/slurm
# Before anything that asks Slurm: never a cluster that this machine may belong to.
unset "${!SLURM_@}" "${!SBATCH_@}" UNMASK_LAUNCH
export UNMASK_SLURM=$UNMASK_SOURCE/slurm
export SLURM_CONF=$slurm/slurm.conf
stop() {
    local file pid
    [ ! -e "$slurm/slurm.conf" ] || scancel --user root 2>/dev/null || true
    for file in "$slurm"/slurmctld.pid "$slurm"/slurmd-node1.pid "$slurm"/slurmd-node2.pid "$slurm"/munged.pid; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || true
        # The file goes when its daemon has ended; the process may stay as a zombie where nobody reaps.
        for _ in $(seq 100); do
            [ -e "$file" ] || continue 2
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf -- "$work"
}
trap stop EXIT
trap 'fail "not done in time"' TERM

# Ports that nobody uses: the controller's and one for each node, in a row.
for _ in $(seq 50); do
    port=$((20000 + RANDOM % 10000))
    used=0
    for p in "$port" $((port + 1)) $((port + 2)); do
        ! (: <"/dev/tcp/127.0.0.1/$p") 2>/dev/null || used=1
    done
    [ "$used" = 1 ] || break
done
mkdir -p "$slurm"/{state,log,spool/node1,spool/node2,tmp/node1,tmp/node2,munge}
chmod 755 "$work" "$slurm"
chmod 700 "$slurm/munge"
(umask 077 && head -c 128 /dev/urandom >"$slurm/munge/key")
munged --force --key-file="$slurm/munge/key" --socket="$slurm/munged.socket" --pid-file="$slurm/munged.pid" --log-file="$slurm/munge/log" \
    --seed-file="$slurm/munge/seed" >"$slurm/log/munged" 2>&1 || skip "munged does not start here: $(tail -n 1 "$slurm/log/munged")"

# A requeued job starts again cred_expire seconds later; 5 is the least that Slurm takes, below it uses its 120.
cat >"$slurm/slurm.conf" <<CONF
ClusterName=unmask
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$slurm/munged.socket,cred_expire=5
StateSaveLocation=$slurm/state
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmctldLogFile=$slurm/log/slurmctld
SlurmdSpoolDir=$slurm/spool/%n
SlurmdPidFile=$slurm/slurmd-%n.pid
SlurmdLogFile=$slurm/log/slurmd-%n
TmpFS=$slurm/tmp/%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
NodeName=node1 NodeHostname=node1 NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2 RealMemory=8000 State=UNKNOWN
NodeName=node2 NodeHostname=node2 NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
# Slurm 22.05 looks for cgroups even where no plugin uses them, and finds none in some containers.
echo 'CgroupPlugin=cgroup/v1' >"$slurm/cgroup.conf"
slurmctld -c -f "$SLURM_CONF" || skip "slurmctld does not start here"
for node in node1 node2; do
    # Shared memory of its own, so that ranks of the two nodes cannot meet there.
    # shellcheck disable=SC2016 # expanded by the shell inside
    unshare --uts --mount --propagation private bash -c \
        'hostname "$1" && mount -t tmpfs tmpfs /dev/shm && exec slurmd -f "$SLURM_CONF" -N "$1"' node "$node" || skip "slurmd does not start here"
done
for _ in $(seq 100); do
    [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c '^idle')" != 2 ] || break
    sleep 0.2
done
[ "$(sinfo -h -N -o %T 2>/dev/null | grep -c '^idle')" = 2 ] || skip "the two nodes do not come up here: $(tail -qn 1 "$slurm"/log/slurm* | tail -n 1)"

# Only the loopback interface joins the nodes.
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
data=$work/data
rc 0 "$UNMASK" synth --portraits "${portraits[@]}" -o "$data" --parts 4 --originals 2 --fakes 1 --seconds 2 --size 480x270 --seed 5
options=(--frames every:2 --scale 2 --set store.seal_s=0.1)
rc 0 ranks 2 "$UNMASK" preprocess "$data" --store "$work/want" "${options[@]}"
want=$("$UNMASK" inspect --digest "$work/want")

state() { scontrol show job "$1" 2>/dev/null | sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p'; }

# submit NAME [sbatch option]...: the job's number in $job
submit() {
    local name=$1
    shift
    job=$(cd "$work" && sbatch --parsable --nodes 2 --ntasks 4 --ntasks-per-node 2 -o "$work/$name.log" "$@" "$UNMASK_SOURCE/slurm/preprocess.sbatch" \
        "$data" "$work/$name" "${options[@]}")
}

# sealed NAME: waits until something has been sealed, so that there is work to keep, and says so if the job was over before.
sealed() {
    for _ in $(seq 1200); do
        [ -z "$(find "$work/$1" -name '*.h5' -print -quit 2>/dev/null)" ] || return 0
        case $(state "$job") in PENDING | RUNNING | CONFIGURING) ;; *) break ;; esac
        sleep 0.05
    done
    cat "$work/$1.log" >&2
    fail "$1: nothing was sealed while the job ran"
}

# complete NAME: waits for the end of the job, and for all starts it needs; the store must be that of the undisturbed run.
complete() {
    for _ in $(seq 1200); do
        case $(state "$job") in PENDING | RUNNING | CONFIGURING | COMPLETING | REQUEUED) sleep 0.1 ;; *) break ;; esac
    done
    [ "$(state "$job")" = COMPLETED ] || {
        cat "$work/$1.log" >&2
        fail "$1: the job ended as $(state "$job")"
    }
    [ "$("$UNMASK" inspect --digest "$work/$1")" = "$want" ] || fail "$1: another digest than an undisturbed run's"
}

# restarted NAME: the second start found work of the first.
restarted() {
    if ! grep -q ', start 2, on node' "$work/$1.log" || ! grep -qF '(the others are done)' "$work/$1.log"; then
        cat "$work/$1.log" >&2
        fail "$1: the job did not continue in a second start"
    fi
}

submit plain
complete plain
grep -q ', start 1, on node\[1-2\]: mpirun' "$work/plain.log" || fail "plain: not on both nodes: $(head -n 1 "$work/plain.log")"
grep -q ' on 4 ranks' "$work/plain.log" || fail "plain: not on 4 ranks: $(cat "$work/plain.log")"

launchers=(mpirun)
if srun --mpi=list 2>&1 | grep -q pmix; then launchers+=(srun); fi
for launcher in "${launchers[@]}"; do
    name=signal_$launcher
    if [ "$launcher" = mpirun ]; then unset UNMASK_LAUNCH; else export UNMASK_LAUNCH="srun --mpi=pmix"; fi
    submit "$name"
    sealed "$name"
    scancel --batch --signal=USR1 "$job"
    complete "$name"
    grep -q 'stopped early; back in the queue' "$work/$name.log" || fail "$name: not stopped by the signal: $(cat "$work/$name.log")"
    restarted "$name"
done
unset UNMASK_LAUNCH

# A job that does not go back by itself is continued by one that is submitted anew, of another size.
export UNMASK_MAX_RESTARTS=0
submit again
sealed again
scancel --batch --signal=USR1 "$job"
for _ in $(seq 600); do
    case $(state "$job") in FAILED) break ;; esac
    sleep 0.1
done
scontrol show job "$job" | grep -q 'ExitCode=75:0' || fail "again: the job's exit code is not 75: $(scontrol show job "$job" | grep ExitCode)"
unset UNMASK_MAX_RESTARTS
submit again --open-mode=truncate --ntasks 2 --ntasks-per-node 1
complete again
grep -q '(the others are done)' "$work/again.log" || fail "again: the second job did not continue the first: $(cat "$work/again.log")"

submit dead
sealed dead
scontrol update nodename=node2 state=down reason=test
for _ in $(seq 100); do
    [ "$(state "$job")" != RUNNING ] || { sleep 0.1; continue; }
    break
done
# A node that still answers comes back by itself (ReturnToService=2).
scontrol update nodename=node2 state=resume 2>/dev/null || true
complete dead
restarted dead
echo "two nodes, USR1 under ${launchers[*]}, a job submitted again, a node that died: all end with digest $want"
