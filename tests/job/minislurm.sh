# shellcheck shell=bash disable=SC2154 # $work is common.sh's
# A real Slurm of two nodes, all on this machine, for the test that sources this after common.sh; skips the test where that is not possible. Stopped when it exits.
[ "$(id -u)" -eq 0 ] || skip "a Slurm of two nodes on one machine needs root"
PATH=$PATH:/usr/sbin:/sbin
for tool in slurmctld slurmd sbatch munged unshare; do
    command -v "$tool" >/dev/null || skip "$tool is not installed (Debian: slurmctld slurmd slurm-client munge)"
done
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
TaskPlugin=task/affinity
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
NodeName=node1 NodeHostname=node1 NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
NodeName=node2 NodeHostname=node2 NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
# Two GPUs a node, as far as Slurm is concerned: device files that every machine has.
echo 'Name=gpu File=/dev/null' >"$slurm/gres.conf"
echo 'Name=gpu File=/dev/zero' >>"$slurm/gres.conf"
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

# state JOB: what has become of it; nothing once Slurm has forgotten it. A busy controller may leave a call without an answer: asked again then.
state() {
    local said
    for _ in 1 2 3; do
        if said=$(scontrol show job "$1" 2>/dev/null); then
            sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' <<<"$said"
            return 0
        fi
        sleep 0.2
    done
}

# over JOB: it is, for good. Slurm passes through states that last a moment (SIGNALING, REQUEUED), which are not an end.
over() { case $(state "$1") in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL | OUT_OF_MEMORY | BOOT_FAIL | DEADLINE) ;; *) false ;; esac }

# await JOB SECONDS: waits for its end, with all starts it needs; false when that did not come.
await() {
    local i
    for ((i = 0; i < $2 * 10; i++)); do
        ! over "$1" || return 0
        sleep 0.1
    done
    false
}

# node2_dies JOB: in the middle of the job, which Slurm queues again; a node that still answers comes back by itself (ReturnToService=2).
node2_dies() {
    scontrol update nodename=node2 state=down reason=test
    for _ in $(seq 100); do
        [ "$(state "$1")" = RUNNING ] || break
        sleep 0.1
    done
    scontrol update nodename=node2 state=resume 2>/dev/null || true
}
