#!/bin/bash
# slurm/preprocess.sbatch with the real program under a real Slurm of two nodes, all on this machine: ranks on both nodes, USR1 in the middle and a node that
# dies, each continued by Slurm itself to the store of a run that nobody disturbed. Needs root, since each node lives in namespaces of its own.

# ctest's time limit kills without a word and would leave the daemons behind: this one comes before it.
[ -n "${UNMASK_TIMED:-}" ] || UNMASK_TIMED=1 exec timeout 240 "$0"
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
# shellcheck source=tests/job/minislurm.sh
. "$(dirname "$0")/minislurm.sh"

data=$work/data
rc 0 "$UNMASK" synth --portraits "${portraits[@]}" -o "$data" --parts 4 --originals 2 --fakes 1 --seconds 2 --size 480x270 --seed 5
options=(--frames every:2 --scale 2 --set store.seal_s=0.1)
rc 0 ranks 2 "$UNMASK" preprocess "$data" --store "$work/want" "${options[@]}"
want=$("$UNMASK" inspect --digest "$work/want")

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
        ! over "$job" || break
        sleep 0.05
    done
    cat "$work/$1.log" >&2
    fail "$1: nothing was sealed while the job ran"
}

# complete NAME: waits for the end of the job, and for all starts it needs; the store must be that of the undisturbed run.
complete() {
    if ! await "$job" 120 || [ "$(state "$job")" != COMPLETED ]; then
        cat "$work/$1.log" >&2
        scontrol show job "$job" >&2
        fail "$1: the job is $(state "$job")"
    fi
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
grep -q ': mpirun .*--bind-to numa ' "$work/plain.log" || fail "plain: ranks are not bound, though the job owns its nodes: $(head -n 1 "$work/plain.log")"
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
await "$job" 60 || fail "again: the job is $(state "$job")"
scontrol show job "$job" | grep -q 'ExitCode=75:0' || fail "again: the job's exit code is not 75: $(scontrol show job "$job" | grep ExitCode)"
unset UNMASK_MAX_RESTARTS
submit again --open-mode=truncate --ntasks 2 --ntasks-per-node 1
complete again
grep -q '(the others are done)' "$work/again.log" || fail "again: the second job did not continue the first: $(cat "$work/again.log")"

submit dead
sealed dead
node2_dies "$job"
complete dead
restarted dead
echo "two nodes, USR1 under ${launchers[*]}, a job submitted again, a node that died: all end with digest $want"
