# shellcheck shell=bash
# What the sbatch files share: finding the program, starting the ranks, handing signals on, going back in the queue. Sourced, after usage() is defined.
set -euo pipefail

common_usage() {
    cat <<'END'

The same file runs without Slurm too. --dry-run as the first argument prints the command and ends.
train, evaluate and score compute on GPUs, where --gres asks for them and each rank can have one; the other stages need none.

Settings from the environment, or from the file that UNMASK_SITE names (default: slurm/site.env beside common.sh; see site.env.example):
  UNMASK              the program (default: the one that was installed together with these scripts; build/release/unmask in the folder sbatch
                      was called from; the one in PATH)
  UNMASK_LAUNCH       what starts the ranks: srun or mpirun, with options (default: mpirun, or srun where there is no mpirun; ranks are
                      bound to NUMA domains where the job owns its nodes whole, and not bound where it shares them)
  UNMASK_MAX_RESTARTS how often a job that ran out of time puts itself back in the queue (default: 20)
  UNMASK_SLURM        the folder slurm/ (default: the one below the folder sbatch was called from; the one installed with the unmask in PATH)
With --export=NONE a job sees nothing of the environment: call sbatch from the folder above slurm/, and put settings into slurm/site.env.

Slurm sends USR1 five minutes before the time limit; unmask then keeps what it has and exits with 75, and the job is queued again.
Exit codes: 0 complete (also with some bad inputs), 2 usage, 3 more bad inputs than --max-bad, 65 data mismatch, 74 input or output,
75 stopped early, 78 configuration.
END
}

# um_site: the site's settings.
um_site() {
    local site=${UNMASK_SITE:-$(dirname "${BASH_SOURCE[0]}")/site.env}
    if [ -e "$site" ]; then
        # shellcheck source=/dev/null
        . "$site"
    elif [ -n "${UNMASK_SITE:-}" ]; then
        echo "UNMASK_SITE names $site, which is not there" >&2
        exit 78
    fi
}

# um_begin LEAST ARGUMENT...: --help, --dry-run, the number of operands, the site's settings. The arguments that are left are in $arguments.
um_begin() {
    local least=$1
    shift
    dry=0
    case ${1:-} in
    -h | --help)
        usage
        common_usage
        exit 0
        ;;
    --dry-run)
        dry=1
        shift
        ;;
    esac
    if [ $# -lt "$least" ]; then
        usage >&2
        exit 2
    fi
    # shellcheck disable=SC2034 # for the file that sources this one
    arguments=("$@")
    um_site
}

# um_program: the program in $program.
um_program() {
    program=${UNMASK:-}
    [ -z "$program" ] || return 0
    program=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
    program=${program%/share/unmask/slurm}/bin/unmask # installed
    [ ! -x "$program" ] || return 0
    program=${SLURM_SUBMIT_DIR:-$PWD}/build/release/unmask
    [ ! -x "$program" ] || return 0
    command -v unmask >/dev/null || {
        echo "unmask is neither at $program nor in PATH; set UNMASK" >&2
        exit 78
    }
    program=unmask
}

# um_whole_nodes: whether all processors of the job's nodes are the job's.
um_whole_nodes() {
    local mine all
    [ -n "${SLURM_JOB_ID:-}" ] && [ -n "${SLURM_JOB_CPUS_PER_NODE:-}" ] && [ -n "${SLURM_JOB_NODELIST:-}" ] || return 1
    mine=$(tr ',' '\n' <<<"$SLURM_JOB_CPUS_PER_NODE" | sed 's/(x\([0-9]*\))/ \1/' | awk '{ n += $1 * ($2 == "" ? 1 : $2) } END { print n }') # 64(x3),32
    # What jobs can have of a node (CPUEfctv), where this Slurm says so.
    all=$(scontrol show node -o "$SLURM_JOB_NODELIST" 2>/dev/null | awk '
        { total = 0; some = -1; for (i = 1; i <= NF; i++) { if (split($i, p, "=") == 2) { if (p[1] == "CPUTot") total = p[2]; if (p[1] == "CPUEfctv") some = p[2] } } n += some >= 0 ? some : total }
        END { print n + 0 }')
    [ "$mine" -gt 0 ] && [ "$mine" -eq "$all" ]
}

# um_launch: what starts the ranks, in $launch.
um_launch() {
    local whole=0
    ! um_whole_nodes || whole=1
    if [ -n "${UNMASK_LAUNCH:-}" ]; then
        read -r -a launch <<<"$UNMASK_LAUNCH"
    elif command -v mpirun >/dev/null; then
        # Bound to a NUMA domain a rank has its memory near, and its threads and its decoder's process still move among the domain's cores. On a node
        # shared with other jobs mpirun does not know which cores are whose: every job's ranks would be bound to the same first ones.
        if [ "$whole" = 1 ]; then launch=(mpirun --map-by numa --bind-to numa); else launch=(mpirun --bind-to none); fi
        # Outside a Slurm job mpirun cannot ask it for the number of ranks.
        [ -n "${SLURM_JOB_ID:-}" ] || launch+=(-n "${SLURM_NTASKS:-2}")
    else
        if [ "$whole" = 1 ]; then launch=(srun --cpu-bind=ldoms); else launch=(srun --cpu-bind=none); fi
    fi
    # srun does not take this over from sbatch (since 22.05). mpirun starts its daemons by srun: they would have no more processors than one rank.
    [ "${launch[0]##*/}" != srun ] || [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    # After sbatch --export=NONE the ranks would lack what this shell and the site's file have set.
    [ "${SLURM_EXPORT_ENV:-}" != NONE ] || export SLURM_EXPORT_ENV=ALL
}

# um_run ARGUMENT...: runs unmask with these on all ranks, to the end of the job.
um_run() {
    local launch child signalled status told=0
    um_program
    um_launch
    if [ "$dry" = 1 ]; then
        printf '%q ' "${launch[@]}" "$program" "$@"
        echo
        exit 0
    fi

    echo "$(date '+%F %T') job ${SLURM_JOB_ID:-none}, start $((${SLURM_RESTART_COUNT:-0} + 1)), on ${SLURM_JOB_NODELIST:-$(hostname)}: ${launch[*]}" \
        "(SLURM_RESTART_COUNT=${SLURM_RESTART_COUNT:-0})"

    # Started in the background so that the shell can take the signal and hand it on: srun passes it to every rank, and so does mpirun.
    "${launch[@]}" "$program" "$@" &
    child=$!
    trap 'signalled=1; told=1; kill -USR1 "$child" 2>/dev/null || true' USR1
    trap 'signalled=1; kill -TERM "$child" 2>/dev/null || true' TERM INT

    # A trapped signal ends wait at once, with a status of its own, while the ranks still run: wait again.
    while :; do
        signalled=0
        status=0
        wait "$child" || status=$?
        [ "$signalled" = 1 ] || break
    done

    # USR1 before the ranks can take it ends them by the signal, or mpirun by an error of its own.
    if [ "$told" = 1 ]; then
        case $status in
        0 | 2 | 3 | 65 | 70 | 74 | 75 | 78) ;;
        *)
            echo "$(date '+%F %T') signalled while the ranks were being started (exit code $status)"
            status=75
            ;;
        esac
    fi
    if [ "$status" -eq 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
        if [ "${SLURM_RESTART_COUNT:-0}" -lt "${UNMASK_MAX_RESTARTS:-20}" ]; then
            echo "$(date '+%F %T') stopped early; back in the queue"
            scontrol requeue "$SLURM_JOB_ID"
        else
            echo "$(date '+%F %T') stopped early for the $((${SLURM_RESTART_COUNT:-0} + 1))th time: not queued again; submit it again to continue" >&2
        fi
    fi
    exit "$status"
}
