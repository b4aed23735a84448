#!/bin/bash
# The sbatch files of slurm/ and pipeline.sh without Slurm: a stand-in for unmask and for Slurm's commands. The exit code is passed on, a signal reaches the program,
# 75 puts the job back in the queue, but only so often; ranks are bound on whole nodes only; the chain's jobs, or none of them, are submitted.
set -euo pipefail
cd "${UNMASK_SOURCE:?}"
dir=$(mktemp -d "${TMPDIR:-/tmp}/unmask-sbatch.XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

mkdir "$dir/bin"
cat >"$dir/bin/unmask" <<'END'
#!/bin/bash
printf '%s\n' "$@" >"$FAKE_DIR/arguments"
trap 'exit ${FAKE_SIGNALLED:-75}' USR1
: >"$FAKE_DIR/started"
if [ "$FAKE_EXIT" = wait ]; then
    while :; do sleep 0.05; done
fi
exit "$FAKE_EXIT"
END
cat >"$dir/bin/scontrol" <<'END'
#!/bin/bash
case $1 in
show) [ "${*:4}" = "${SLURM_JOB_NODELIST:-}" ] && cat "$FAKE_DIR/nodes" ;;
*) echo "$*" >>"$FAKE_DIR/scontrol" ;;
esac
END
chmod +x "$dir/bin/unmask" "$dir/bin/scontrol"
export PATH="$dir/bin:$PATH" FAKE_DIR="$dir" UNMASK="$dir/bin/unmask" UNMASK_LAUNCH=env
unset SLURM_JOB_ID SLURM_RESTART_COUNT SLURM_JOB_NODELIST SLURM_SUBMIT_DIR

run() { # run EXIT ARGUMENTS...: the exit code in $status
    rm -f "$dir/started" "$dir/scontrol"
    status=0
    FAKE_EXIT=$1 bash slurm/preprocess.sbatch "${@:2}" >"$dir/out" 2>&1 || status=$?
}

run 0 "a root" store --max-faces 1
[ "$status" = 0 ] || fail "exit code $status instead of 0: $(cat "$dir/out")"
[ "$(cat "$dir/arguments")" = "$(printf '%s\n' preprocess "a root" --store store --max-faces 1)" ] || fail "arguments: $(cat "$dir/arguments")"
FAKE_EXIT=0 bash slurm/score.sbatch "the scores.csv" "a folder" -m model.h5 >"$dir/out" 2>&1 || fail "score.sbatch: $(cat "$dir/out")"
[ "$(cat "$dir/arguments")" = "$(printf '%s\n' score "a folder" -m model.h5 -o "the scores.csv")" ] || fail "arguments of score: $(cat "$dir/arguments")"
FAKE_EXIT=0 bash slurm/train.sbatch "an out" --store "a store" --folds f.csv >"$dir/out" 2>&1 || fail "train.sbatch: $(cat "$dir/out")"
[ "$(cat "$dir/arguments")" = "$(printf '%s\n' train --store "a store" --folds f.csv -o "an out")" ] || fail "arguments of train: $(cat "$dir/arguments")"
FAKE_EXIT=0 bash slurm/evaluate.sbatch "$dir/an eval" --store s --folds f.csv -m m >"$dir/out" 2>&1 || fail "evaluate.sbatch: $(cat "$dir/out")"
[ "$(cat "$dir/arguments")" = "$(printf '%s\n' evaluate --store s --folds f.csv -m m --json "$dir/an eval/evaluate.json" --svg "$dir/an eval")" ] ||
    fail "arguments of evaluate: $(cat "$dir/arguments")"
for stage in preprocess train evaluate score; do
    bash "slurm/$stage.sbatch" --help | grep -q 'UNMASK_LAUNCH' || fail "$stage.sbatch --help does not tell of the settings"
    rm -f "$dir/started"
    bash "slurm/$stage.sbatch" --dry-run a b c d >"$dir/out" || fail "$stage.sbatch --dry-run fails"
    grep -q "^env .*/unmask $stage " "$dir/out" || fail "$stage.sbatch --dry-run prints $(cat "$dir/out")"
    [ ! -e "$dir/started" ] || fail "$stage.sbatch --dry-run starts the program"
done
cp slurm/preprocess.sbatch "$dir/slurm_script"
FAKE_EXIT=0 SLURM_SUBMIT_DIR=$PWD bash "$dir/slurm_script" root store >"$dir/out" 2>&1 || fail "Slurm's copy does not find common.sh: $(cat "$dir/out")"
run 65 root store
[ "$status" = 65 ] || fail "exit code $status instead of 65"
run 0 root
[ "$status" = 2 ] || fail "a missing operand gives $status instead of 2"
run 0 --help
[ "$status" = 0 ] || fail "--help gives $status"

status=0
(unset UNMASK; PATH=/usr/bin:/bin SLURM_SUBMIT_DIR="$dir" bash slurm/preprocess.sbatch root store) >"$dir/out" 2>&1 || status=$?
[ "$status" = 78 ] || fail "without a program the exit code is $status instead of 78"
grep -qF "$dir/build/release/unmask" "$dir/out" || fail "it does not say where it looked: $(cat "$dir/out")"

export SLURM_JOB_ID=17
run 75 root store
[ "$status" = 75 ] || fail "exit code $status instead of 75"
[ "$(cat "$dir/scontrol" 2>/dev/null)" = "requeue 17" ] || fail "a job that was stopped is not queued again"
run 74 root store
[ ! -e "$dir/scontrol" ] || fail "a job that failed is queued again"
SLURM_RESTART_COUNT=3 UNMASK_MAX_RESTARTS=3 run 75 root store
[ ! -e "$dir/scontrol" ] || fail "a job is queued again without end"

signalled() { # signalled EXIT: the exit code in $status, of a program that ends with EXIT at USR1
    rm -f "$dir/started" "$dir/scontrol"
    FAKE_SIGNALLED=$1 FAKE_EXIT="wait" bash slurm/preprocess.sbatch root store >"$dir/out" 2>&1 &
    job=$!
    for _ in $(seq 200); do
        [ ! -e "$dir/started" ] || break
        sleep 0.05
    done
    [ -e "$dir/started" ] || fail "the program was not started"
    kill -USR1 "$job"
    status=0
    wait "$job" || status=$?
}
signalled 75
[ "$status" = 75 ] || fail "after USR1 the exit code is $status instead of 75: $(cat "$dir/out")"
[ "$(cat "$dir/scontrol" 2>/dev/null)" = "requeue 17" ] || fail "a job that was signalled is not queued again"
# Ranks that are not yet able to take the signal die of it.
signalled 138
[ "$status" = 75 ] || fail "after USR1 while the ranks start the exit code is $status instead of 75: $(cat "$dir/out")"
[ "$(cat "$dir/scontrol" 2>/dev/null)" = "requeue 17" ] || fail "a job that was signalled while it started is not queued again"
signalled 74
[ "$status" = 74 ] || fail "after USR1 the exit code is $status instead of 74: $(cat "$dir/out")"
[ ! -e "$dir/scontrol" ] || fail "a job that was signalled and failed is queued again"

# Ranks are bound where all processors of the job's nodes are the job's.
printf '#!/bin/bash\n' | tee "$dir/bin/mpirun" >"$dir/bin/srun"
chmod +x "$dir/bin/mpirun" "$dir/bin/srun"
printf '%s\n' "NodeName=a CPUAlloc=0 CPUEfctv=62 CPUTot=64 CPULoad=0" "NodeName=b CPUAlloc=0 CPUTot=32 CPULoad=0" >"$dir/nodes"
launcher() { # launcher CPUS-PER-NODE WANT: what would be started begins with WANT
    (unset UNMASK_LAUNCH && SLURM_JOB_NODELIST="a,b" SLURM_JOB_CPUS_PER_NODE=$1 bash slurm/score.sbatch --dry-run s.csv v >"$dir/out") || fail "--dry-run fails"
    [[ $(cat "$dir/out") == "$2 $UNMASK "* ]] || fail "$1 processors: not $2, but $(cat "$dir/out")"
}
launcher "62,32" "mpirun --map-by numa --bind-to numa"
launcher "47(x2)" "mpirun --map-by numa --bind-to numa"
launcher "62,30" "mpirun --bind-to none"
unset SLURM_JOB_ID
launcher "62,32" "mpirun --bind-to none -n 2"

# pipeline.sh. A job's number is the count of jobs so far; FAKE_REFUSED is refused.
cat >"$dir/bin/sbatch" <<'END'
#!/bin/bash
case "$*" in *"/$FAKE_REFUSED.sbatch"*) echo "refused" >&2; exit 1 ;; esac
printf '<%s>' "$@" >>"$FAKE_DIR/submitted"
echo >>"$FAKE_DIR/submitted"
wc -l <"$FAKE_DIR/submitted"
END
cat >"$dir/bin/squeue" <<'END'
#!/bin/bash
cat "$FAKE_DIR/queue"
END
cat >"$dir/bin/scancel" <<'END'
#!/bin/bash
echo "$*" >>"$FAKE_DIR/cancelled"
[ -z "${FAKE_STAYS:-}" ]
END
chmod +x "$dir/bin/sbatch" "$dir/bin/squeue" "$dir/bin/scancel"
mkdir "$dir/data"
echo '{}' >"$dir/c.json"
pipeline() { # pipeline WANT ARGUMENTS...: the exit code must be WANT
    local want=$1
    shift
    rm -f "$dir/submitted" "$dir/cancelled"
    status=0
    slurm/pipeline.sh "$dir/data" "$dir/a run" --config "$dir/c.json" "$@" >"$dir/out" 2>"$dir/err" || status=$?
    [ "$status" = "$want" ] || fail "pipeline.sh $*: exit code $status instead of $want: $(cat "$dir/err")"
}
: >"$dir/queue"
export FAKE_REFUSED=none
# shellcheck disable=SC2016 # it is not to be expanded by anybody
blanks=(--train "--init 'my models/e.h5'" --preprocess '--a\ b "c d" $HOME')
pipeline 0 --dry-run --gpus 2 "${blanks[@]}"
[ ! -e "$dir/submitted" ] || fail "--dry-run submits"
[ ! -e "$dir/a run" ] || fail "--dry-run leaves a folder"
[ "$(grep -c -- --gres=gpu:2 "$dir/out")" = 4 ] || fail "not four stages with GPUs: $(cat "$dir/out")"
! grep -F folds.sbatch "$dir/out" | grep -q gres || fail "folds asks for a GPU"
pipeline 0 "${blanks[@]}" --sbatch "--nodes 2"
[ "$(cut -f 2 "$dir/a run/jobs.tsv" | paste -sd ' ')" = "1 2 3 4 5" ] || fail "jobs.tsv: $(cat "$dir/a run/jobs.tsv")"
# shellcheck disable=SC2016 # as above
grep -qF '<--a b><c d><$HOME>' "$dir/submitted" || fail "options with blanks: $(cat "$dir/submitted")"
grep -qF '<my models/e.h5>' "$dir/submitted" || fail "options with blanks: $(cat "$dir/submitted")"
grep -qF '<--dependency><afterok:4><--kill-on-invalid-dep=yes>' "$dir/submitted" || fail "score does not wait for evaluate: $(cat "$dir/submitted")"
pipeline 2 --train "--init 'my models"
pipeline 2 --gpus many
printf '%s\n' 3 33 5 >"$dir/queue"
pipeline 1
grep -q 'still queued: 3 5; .*scancel 3 5$' "$dir/err" || fail "jobs that are queued: $(cat "$dir/err")"
[ ! -e "$dir/submitted" ] || fail "a second chain is submitted beside the first"
echo 33 >"$dir/queue"
FAKE_REFUSED=train pipeline 1
[ "$(cat "$dir/cancelled")" = "1 2" ] || fail "not cancelled: what was submitted before it was refused"
grep -q 'cannot submit train' "$dir/err" || fail "it does not say what is refused: $(cat "$dir/err")"
[ ! -s "$dir/a run/jobs.tsv" ] || fail "cancelled jobs stay in jobs.tsv"
FAKE_REFUSED=folds FAKE_STAYS=1 pipeline 1
grep -q 'may stay in the queue: 1; .*scancel 1$' "$dir/err" || fail "it does not say what stays: $(cat "$dir/err")"
[ "$(cut -f 2 "$dir/a run/jobs.tsv")" = 1 ] || fail "a job that stays is not in jobs.tsv"
FAKE_REFUSED=preprocess pipeline 1
grep -q 'nothing was submitted' "$dir/err" || fail "$(cat "$dir/err")"
echo "slurm/*.sbatch pass on exit codes, arguments and signals; pipeline.sh submits a chain, or nothing"
