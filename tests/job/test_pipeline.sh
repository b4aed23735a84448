#!/bin/bash
# slurm/pipeline.sh under a real Slurm of two nodes: from a folder of videos, one of them broken, to scores. Seeds as an array under srun and all in one job under mpirun; scancel, USR1 and a node that
# dies in between. The results are those of the same commands by hand, bit for bit. A stage that fails takes those after it out of the queue, and so does a submission that fails.
[ -n "${UNMASK_TIMED:-}" ] || UNMASK_TIMED=1 exec timeout 280 "$0"
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
# shellcheck source=tests/job/minislurm.sh
. "$(dirname "$0")/minislurm.sh"

# As a user has it: the source folder, the program built in it, settings in slurm/site.env, nothing in the environment.
mkdir -p "$work/src/build/release"
cp -r "$UNMASK_SOURCE/slurm" "$work/src/slurm"
rm -f "$work/src/slurm/site.env"
ln -s "$UNMASK" "$work/src/build/release/unmask"
unmask=$UNMASK
unset UNMASK UNMASK_SLURM UNMASK_SITE
cd "$work/src"
{ env | grep '^OMPI_' | sed 's/^/export /'; } >slurm/site.env

data=$work/data
rc 0 "$unmask" synth --portraits "${portraits[@]}" -o "$data" --parts 4 --originals 2 --fakes 1 --seconds 2 --size 480x270 --seed 5
broken=$(find "$data/dfdc_train_part_0" -name '*.mp4' | sort | head -n 1)
head -c 3000 "$broken" >"$work/broken"
mv "$work/broken" "$broken"
echo '{"encoder": "w0.2d0.2", "size": 32, "fp16": false, "batches_per_epoch": 250, "optimizer": {"batch_size": 1, "type": "SGD", "learning_rate": 0.01, "schedule": {"type": "poly", "epochs": 2}}}' >"$work/small.json"
preprocess=(--frames every:2 --scale 2 --set store.seal_s=0.1)
train=(--fold 3 --deterministic --checkpoint-steps 25)
score=(--frames spread:8)

# By hand.
by=$work/by_hand
rc 0 ranks 2 "$unmask" preprocess "$data" --store "$by/store" "${preprocess[@]}"
grep -q 'OK 15 CORRUPT 1' "$work/out" || fail "the broken video is not told of: $(cat "$work/out")"
rc 0 "$unmask" folds --store "$by/store" -o "$by/folds.csv" --splits 4
rc 0 ranks 2 "$unmask" train --store "$by/store" --folds "$by/folds.csv" --config "$work/small.json" "${train[@]}" --seeds 1,2 -o "$by/models"
rc 0 ranks 2 "$unmask" evaluate --store "$by/store" --folds "$by/folds.csv" --fold 3 -m "$by/models" --json "$by/evaluate.json"
rc 0 ranks 2 "$unmask" score "$data" -m "$by/models" "${score[@]}" -o "$by/scores.csv"
grep -q '\.mp4,fake,\|\.mp4,real,' "$by/scores.csv" || fail "nothing was scored: $(cat "$by/scores.csv")"

# chain OUT PREPROCESS-OPTION... -- OPTION...: submits; the jobs' numbers are in the array `jobs`, by stage.
declare -A jobs
chain() {
    local out=$1 stage job more=()
    shift
    while [ "$1" != -- ]; do
        more+=("$1")
        shift
    done
    shift
    rc 0 slurm/pipeline.sh "$data" "$out" --config "$work/small.json" --preprocess "${preprocess[*]} ${more[*]}" --folds "--splits 4" --train "${train[*]} --preview '$out/a picture.png'" --evaluate "--fold 3" \
        --score-options "${score[*]}" "$@"
    jobs=()
    while IFS=$'\t' read -r stage job; do jobs[$stage]=$job; done <"$out/jobs.tsv"
    [ "$(cut -f 1 "$out/jobs.tsv" | paste -sd ' ')" = "preprocess folds train evaluate score" ] || fail "jobs.tsv: $(cat "$out/jobs.tsv")"
    cmp "$work/out" "$out/jobs.tsv" || fail "other jobs are printed than kept"
}

# told OUT WORDS: ends with what the stages said.
told() {
    squeue >&2
    tail -n 20 "$1"/logs/* >&2
    fail "$2"
}

# ended OUT: waits until no job is left in the queue.
ended() {
    local queue
    for _ in $(seq 1000); do
        ! queue=$(squeue -h -o %i) || [ -n "$queue" ] || return 0
        sleep 0.1
    done
    told "$1" "jobs are left"
}

# same OUT: all jobs completed, and made what was made by hand.
same() {
    local stage file
    for stage in preprocess folds train evaluate score; do
        [ "$(state "${jobs[$stage]}" | sort -u)" = COMPLETED ] || told "$1" "$stage ended as $(state "${jobs[$stage]}")"
    done
    [ "$("$unmask" inspect --digest "$1/store")" = "$("$unmask" inspect --digest "$by/store")" ] || told "$1" "another store than by hand"
    for file in folds.csv models/seed1.h5 models/seed2.h5 scores.csv; do cmp "$by/$file" "$1/$file" || told "$1" "another $file than by hand"; done
    cmp "$by/evaluate.json" "$1/evaluate/evaluate.json" || told "$1" "another evaluate.json than by hand"
    [ -s "$1/evaluate/roc.svg" ] || told "$1" "no curves"
}

# A sbatch that is refused, in the middle: what was submitted before it is cancelled.
rc 1 slurm/pipeline.sh "$data" "$work/undone" --config "$work/small.json" --seeds 99999999 --array
if ! grep -q 'cannot submit train' "$work/err" || ! grep -q 'cancelled [0-9]* [0-9]*; nothing stays' "$work/err"; then fail "a submission that fails: $(cat "$work/err")"; fi
ended "$work/undone"
[ ! -s "$work/undone/jobs.tsv" ] || fail "cancelled jobs stay in jobs.tsv"

# A rank a node under srun, a job for each seed, and jobs that see nothing of the environment.
launcher=mpirun
if srun --mpi=list 2>&1 | grep -q pmix; then launcher=srun; fi
[ "$launcher" = mpirun ] || echo 'export UNMASK_LAUNCH="srun --mpi=pmix"' >>slurm/site.env
SBATCH_EXPORT=NONE chain "$work/array" -- --seeds 1,2 --array --sbatch "--nodes 2 --ntasks 2 --ntasks-per-node 1"
rc 1 slurm/pipeline.sh "$data" "$work/array" --config "$work/small.json"
grep -q "still queued: .*scancel .*${jobs[score]}" "$work/err" || fail "a second chain in the same folder: $(cat "$work/err")"
[ "$(wc -l <"$work/array/jobs.tsv")" = 5 ] || fail "a chain that was refused changes jobs.tsv"
ended "$work/array"
same "$work/array"
[ "$(find "$work/array/logs" -name 'unmask-train-*_[12].log' | wc -l)" = 2 ] || told "$work/array" "not a job for each seed"
for stage in preprocess evaluate score; do
    grep -q ", on node\[1-2\]: $launcher" "$work"/array/logs/unmask-$stage-*.log || told "$work/array" "$stage did not run on both nodes under $launcher"
done
sed -i '/UNMASK_LAUNCH/d' slurm/site.env

# All seeds in one job, under mpirun, on whole nodes. scancel in the middle of preprocess takes all stages out of the queue.
out="$work/one %j job"
# shellcheck disable=SC2054 # the commas are of the value
whole=(-- --seeds 1,2 --sbatch "--nodes 2 --ntasks 4 --ntasks-per-node 2")
chain "$out" "${whole[@]}"
for _ in $(seq 1200); do
    [ -z "$(find "$out/store" -name '*.h5' -print -quit 2>/dev/null)" ] || break
    sleep 0.05
done
[ "$(state "${jobs[preprocess]}")" = RUNNING ] || told "$out" "preprocess was over before it could be cancelled"
scancel "${jobs[preprocess]}"
ended "$out"
[ "$(state "${jobs[score]}")" = CANCELLED ] || told "$out" "score ended as $(state "${jobs[score]}")"
[ ! -e "$out/folds.csv" ] || told "$out" "folds ran after a stage that was cancelled"
# The same command again continues. USR1 in the middle of train, then a node dies; Slurm queues it again both times.
chain "$out" "${whole[@]}"
log=$out/logs/unmask-train-${jobs[train]}.log
steps() { { grep '"kind": "step"' "$out/models/seed1/log.jsonl" 2>/dev/null || true; } | wc -l; }
# trained START N: waits for the job's START, and N more steps of the first member.
trained() {
    local before
    for _ in $(seq 1200); do
        ! grep -q ", start $1, on node" "$log" 2>/dev/null || break
        sleep 0.05
    done
    before=$(steps)
    for _ in $(seq 1200); do
        [ "$(steps)" -lt $((before + $2)) ] || break
        sleep 0.05
    done
    [ "$(state "${jobs[train]}")" = RUNNING ] || told "$out" "train is $(state "${jobs[train]}") in start $1, where it should be disturbed"
}
trained 1 40
scancel --batch --signal=USR1 "${jobs[train]}"
trained 2 40
node2_dies "${jobs[train]}"
ended "$out"
same "$out"
grep -q '(the others are done)' "$out/logs/unmask-preprocess-${jobs[preprocess]}.log" || told "$out" "preprocess did not continue what was cancelled"
grep -q 'stopped early; back in the queue' "$log" || told "$out" "train was not stopped by the signal"
grep -q ', start 3, on node.*--bind-to numa .*SLURM_RESTART_COUNT=2' "$log" || told "$out" "train was not queued again twice"
[ -s "$out/a picture.png" ] || told "$out" "an option with a blank did not arrive"

# One bad video, and none is allowed: preprocess fails, nothing after it starts.
rm "$out"/logs/*
chain "$out" --max-bad 0 "${whole[@]}"
ended "$out"
scontrol show job "${jobs[preprocess]}" | grep -q 'JobState=FAILED' || told "$out" "preprocess ended as $(state "${jobs[preprocess]}")"
scontrol show job "${jobs[preprocess]}" | grep -q 'ExitCode=3:0' || told "$out" "not exit code 3: $(scontrol show job "${jobs[preprocess]}" | grep ExitCode)"
[ "$(find "$out/logs" -name '*.log' | wc -l)" = 1 ] || told "$out" "stages ran after one that failed"
echo "from videos to scores over two nodes, under $launcher and mpirun, undisturbed and not: what the same commands make by hand; a stage that failed stopped those after it"
