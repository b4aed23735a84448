#!/bin/bash
# The sbatch files of slurm/ without Slurm: a stand-in for unmask and for scontrol. The exit code is passed on, a signal reaches the program,
# 75 puts the job back in the queue, but only so often.
set -euo pipefail
cd "${UNMASK_SOURCE:?}"
dir=$(mktemp -d "${TMPDIR:-/tmp}/unmask-sbatch.XXXXXX")
trap 'rm -rf -- "$dir"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

mkdir "$dir/bin"
cat >"$dir/bin/unmask" <<'END'
#!/bin/bash
printf '%s\n' "$@" >"$FAKE_DIR/arguments"
trap 'exit 75' USR1
: >"$FAKE_DIR/started"
if [ "$FAKE_EXIT" = wait ]; then
    while :; do sleep 0.05; done
fi
exit "$FAKE_EXIT"
END
cat >"$dir/bin/scontrol" <<'END'
#!/bin/bash
echo "$*" >>"$FAKE_DIR/scontrol"
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

rm -f "$dir/started" "$dir/scontrol"
FAKE_EXIT="wait" bash slurm/preprocess.sbatch root store >"$dir/out" 2>&1 &
job=$!
for _ in $(seq 200); do
    [ ! -e "$dir/started" ] || break
    sleep 0.05
done
[ -e "$dir/started" ] || fail "the program was not started"
kill -USR1 "$job"
status=0
wait "$job" || status=$?
[ "$status" = 75 ] || fail "after USR1 the exit code is $status instead of 75: $(cat "$dir/out")"
[ "$(cat "$dir/scontrol" 2>/dev/null)" = "requeue 17" ] || fail "a job that was signalled is not queued again"
echo "slurm/preprocess.sbatch passes on exit codes, arguments and signals"
