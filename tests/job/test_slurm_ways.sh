#!/bin/bash
# Other ways into Slurm, on a real one of two nodes: the line that unmask plan prints, submitted as it is; srun with ranks bound to NUMA domains; GPUs by --gres, a rank each (emulated ones: $1 is the module); and a time limit, whose signal Slurm
# itself sends, with all that follows. Needs root.
[ -n "${UNMASK_TIMED:-}" ] || UNMASK_TIMED=1 exec timeout 460 "$0" "$@"
module=${1:-}
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
# shellcheck source=tests/job/minislurm.sh
. "$(dirname "$0")/minislurm.sh"
cd "$work"
data=$work/data
rc 0 "$UNMASK" synth --portraits "${portraits[@]}" -o "$data" --parts 4 --originals 2 --fakes 1 --seconds 1 --size 320x240 --seed 5
rc 0 "$UNMASK" import random -o model.h5 --arch w0.25d0.2 --size 32
export UNMASK

# ended NAME JOB: waits for the end of a job, which must be COMPLETED.
ended() {
    if ! await "$2" 240 || [ "$(state "$2")" != COMPLETED ]; then
        cat "$work/$1.log" >&2
        scontrol show job "$2" >&2
        fail "$1: the job is $(state "$2")"
    fi
}

# The plan's line, from the folder above slurm/, with nothing added but where the log goes.
rc 0 "$UNMASK" plan preprocess "$data" --store "$work/store" --nodes 2 --ranks-per-node 2 --quiet
line=$(grep '^sbatch ' "$work/out") || fail "the plan has no line for sbatch: $(cat "$work/out")"
job=$(cd "$UNMASK_SOURCE" && SBATCH_OUTPUT=$work/planned.log bash -c "$line" | grep -oE '[0-9]+')
ended planned "$job"
grep -q ' on 4 ranks' planned.log || fail "planned: not on 4 ranks: $(cat planned.log)"
rc 0 ranks 2 "$UNMASK" preprocess "$data" --store "$work/want"
[ "$("$UNMASK" inspect --digest store)" = "$("$UNMASK" inspect --digest want)" ] || fail "the planned job made another store"

if srun --mpi=list 2>&1 | grep -q pmix; then
    job=$(UNMASK_LAUNCH="srun --mpi=pmix --cpu-bind=verbose,ldoms" sbatch --parsable --nodes 2 --ntasks 4 --ntasks-per-node 2 -o bound.log "$UNMASK_SOURCE/slurm/score.sbatch" bound.csv "$data" -m model.h5)
    ended bound "$job"
    [ "$(grep -c '^cpu-bind' bound.log)" -ge 4 ] || fail "srun said nothing of binding 4 ranks: $(cat bound.log)"
    rc 0 "$UNMASK" score "$data" -m model.h5 -o alone.csv
    cmp alone.csv bound.csv || fail "bound by srun: other scores"

    if [ -n "$module" ] && [ -e "$module" ]; then
        # Each rank sees the one GPU that Slurm gave it, as number 0; which it is, its place on the bus says.
        export UNMASK_CUDA_MODULE=$module EMU_DEVICES=2 UNMASK_LAUNCH="srun --mpi=pmix --gpus-per-task=1"
        job=$(sbatch --parsable --nodes 2 --ntasks 4 --ntasks-per-node 2 --gres=gpu:2 -o gpus.log "$UNMASK_SOURCE/slurm/score.sbatch" gpus.csv "$data" -m model.h5 --device gpu --set gpu.batch=4 --set gpu.frames=0)
        ended gpus "$job"
        rc 0 "$UNMASK" score "$data" -m model.h5 -o emulated.csv --device gpu --set gpu.batch=4 --set gpu.frames=0
        cmp emulated.csv gpus.csv || fail "GPUs by --gres: other scores"
        # One GPU for two ranks is refused.
        UNMASK_LAUNCH="srun --mpi=pmix"
        job=$(sbatch --parsable --nodes 1 --ntasks 2 --gres=gpu:1 -o shared.log "$UNMASK_SOURCE/slurm/score.sbatch" shared.csv "$data" -m model.h5 --device gpu)
        await "$job" 60 || fail "two ranks on one GPU: $(state "$job"), not over"
        [ "$(state "$job")" = FAILED ] || fail "two ranks on one GPU: $(state "$job"): $(cat shared.log)"
        grep -q -- '--share-gpus' shared.log || fail "two ranks on one GPU, without a remedy: $(cat shared.log)"
        unset UNMASK_CUDA_MODULE EMU_DEVICES
    fi
    unset UNMASK_LAUNCH
fi

# A minute, of which Slurm takes 20 to 50 seconds for the warning: it looks every half minute.
rc 0 "$UNMASK" synth --portraits "${portraits[@]}" -o "$work/long" --parts 4 --originals 10 --fakes 1 --seconds 4 --size 480x360 --seed 6
options=(--frames all --scale 1 --set store.seal_s=1)
job=$(sbatch --parsable --nodes 2 --ntasks 2 --ntasks-per-node 1 --time=00:01:00 --signal=B:USR1@20 -o limit.log "$UNMASK_SOURCE/slurm/preprocess.sbatch" "$work/long" limit "${options[@]}")
ended limit "$job"
if grep -q ', start 2, on node' limit.log; then
    grep -q 'stopped early; back in the queue' limit.log || fail "the time limit: not stopped by the warning: $(cat limit.log)"
    grep -qF '(the others are done)' limit.log || fail "the time limit: the second start found nothing done: $(cat limit.log)"
    limit="a time limit was met and got over"
else
    limit="the machine was too fast for the time limit"
fi
echo "the plan's line, srun's binding, GPUs by --gres; $limit"
