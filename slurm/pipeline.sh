#!/bin/bash
# Submits all stages, each after the one before it. See --help below.
set -euo pipefail

usage() {
    cat <<'END'
usage: slurm/pipeline.sh [--dry-run] ROOT OUT --config FILE.json [options]

Submits preprocess, folds, train, evaluate and score, each to begin when the one before it has completed (afterok); one that fails takes
those after it out of the queue. Bad inputs do not fail a stage, unless they are more than its --max-bad.

ROOT is the folder that holds dfdc_train_part_*, OUT the folder to write: OUT/store, OUT/folds.csv, OUT/models, OUT/evaluate, OUT/scores.csv,
OUT/logs. Both must be seen by all nodes. The same command again continues what was stopped; it is refused while jobs of OUT are queued.

  --config FILE.json   network and schedule for training, such as configs/b7.json (required)
  --seeds X,Y,...      members of the ensemble (default: 111,555,777,888,999)
  --array              a job for each seed, in an array, instead of one job that trains all (seeds below the site's MaxArraySize, often 1001)
  --score PATH         what to score (default: ROOT)
  --sbatch OPTIONS     options of sbatch for the stages with many ranks (all but folds), such as "--nodes 4 --ntasks 128"
  --gpus N             asks for N GPUs on each node (--gres=gpu:N) for all stages but folds. train, evaluate and score compute
                       their networks on them where each rank can have one; preprocess computes on processors
  --preprocess OPTIONS, --folds OPTIONS, --train OPTIONS, --evaluate OPTIONS, --score-options OPTIONS
                       options of the unmask command of that stage
  --dry-run            print the sbatch commands and submit nothing

OPTIONS are split at blanks; quotes and backslashes keep blanks, as in a shell: --train "--init 'my models/encoder.h5'". Nothing else of a
shell is done with them.

Prints a line a stage, its name and its job's number with a tab between; the same lines are in OUT/jobs.tsv. If a stage cannot be submitted,
those before it are cancelled. What all jobs need goes into the environment or slurm/site.env: SBATCH_ACCOUNT, SBATCH_PARTITION, UNMASK
(see site.env.example, and --help of each stage). With --export=NONE: call this from the folder above slurm/, settings in slurm/site.env.
Exit codes: 0 submitted, 1 not submitted, 2 usage, 78 configuration.
END
}

die() {
    echo "pipeline.sh: $*; --help tells the usage" >&2
    exit 2
}

# words OPTION TEXT: TEXT in words, with quotes as a shell has them, in the array $words. xargs does that, and evaluates nothing.
words() {
    mapfile -d '' -t words < <(xargs -r printf '%s\0' <<<"$2")
    wait $! || die "$1 cannot be split into words: $2"
}

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=slurm/common.sh
. "$here/common.sh"
dry=0
array=0
config=
seeds=111,555,777,888,999
score=
gpus=0
operands=()
sbatch_options=() preprocess=() folds=() train=() evaluate=() score_options=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --dry-run) dry=1 ;;
    --array) array=1 ;;
    --config | --seeds | --score | --gpus | --sbatch | --preprocess | --folds | --train | --evaluate | --score-options)
        [ $# -ge 2 ] || die "$1 needs a value"
        case $1 in
        --config) config=$(realpath -m -- "$2") ;;
        --seeds) seeds=$2 ;;
        --gpus) gpus=$2 ;;
        --score) score=$(realpath -m -- "$2") ;;
        --sbatch) words "$1" "$2" && sbatch_options=("${words[@]}") ;;
        --preprocess) words "$1" "$2" && preprocess=("${words[@]}") ;;
        --folds) words "$1" "$2" && folds=("${words[@]}") ;;
        --train) words "$1" "$2" && train=("${words[@]}") ;;
        --evaluate) words "$1" "$2" && evaluate=("${words[@]}") ;;
        --score-options) words "$1" "$2" && score_options=("${words[@]}") ;;
        esac
        shift
        ;;
    -*) die "unknown option '$1'" ;;
    *) operands+=("$1") ;;
    esac
    shift
done
[ "${#operands[@]}" -eq 2 ] || die "ROOT and OUT are needed"
[ -n "$config" ] || die "--config is needed"
[[ $seeds =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--seeds takes numbers with commas between, not '$seeds'"
[[ $gpus =~ ^[0-9]+$ ]] || die "--gpus takes a number, not '$gpus'"
[ "$gpus" -eq 0 ] || sbatch_options+=("--gres=gpu:$gpus")
root=$(realpath -m -- "${operands[0]}")
out=$(realpath -m -- "${operands[1]}")
um_site
export UNMASK_SLURM=$here

# Two chains in one folder would write the same files.
queued() {
    local all
    [ -s "$out/jobs.tsv" ] || return 0
    all=$(squeue -h -o %F) || { echo "pipeline.sh: cannot ask Slurm whether jobs of $out/jobs.tsv are queued; nothing was submitted" >&2; exit 1; }
    cut -f 2 "$out/jobs.tsv" | grep -xF -f <(printf '%s\n' "$all") | paste -sd ' ' || true
}

if [ "$dry" = 0 ]; then
    [ -d "$root" ] || die "there is no folder $root"
    [ -f "$config" ] || die "there is no file $config"
    command -v sbatch >/dev/null || { echo "pipeline.sh: sbatch is not in PATH: call this where jobs are submitted" >&2; exit 1; }
    mkdir -p -- "$out/logs"
    left=$(queued)
    if [ -n "$left" ]; then
        echo "pipeline.sh: jobs of $out are still queued: $left; wait for them, or first: scancel $left" >&2
        exit 1
    fi
    : >"$out/jobs.tsv"
fi

submitted=()
undo() {
    trap '' INT TERM
    if [ "${#submitted[@]}" -eq 0 ]; then
        echo "pipeline.sh: nothing was submitted"
    elif scancel "${submitted[@]}"; then
        : >"$out/jobs.tsv"
        echo "pipeline.sh: cancelled ${submitted[*]}; nothing stays in the queue"
    else
        echo "pipeline.sh: cannot cancel all that was submitted; these may stay in the queue: ${submitted[*]}; look with squeue, then: scancel ${submitted[*]}"
    fi >&2
    exit 1
}
trap 'echo "pipeline.sh: interrupted" >&2; undo' INT TERM

# submit STAGE COMMAND...: after the job in $job, whose place it takes.
job=
submit() {
    local stage=$1 command=(sbatch --parsable)
    shift
    [ -z "$job" ] || command+=(--dependency "afterok:$job" --kill-on-invalid-dep=yes)
    command+=("$@")
    if [ "$dry" = 1 ]; then
        job="<$stage>"
        printf '%q ' "${command[@]}"
        echo
        return
    fi
    job=$("${command[@]}") || {
        echo "pipeline.sh: cannot submit $stage" >&2
        undo
    }
    job=${job%%;*}
    submitted+=("$job")
    printf '%s\t%s\n' "$stage" "$job" | tee -a "$out/jobs.tsv"
}

logs=${out//%/%%}/logs # sbatch reads % as the begin of a pattern
log=(-o "$logs/%x-%j.log")
submit preprocess "${log[@]}" "${sbatch_options[@]}" "$here/preprocess.sbatch" "$root" "$out/store" "${preprocess[@]}"
submit folds "${log[@]}" "$here/folds.sbatch" "$out/folds.csv" --store "$out/store" "${folds[@]}"
members=(--store "$out/store" --folds "$out/folds.csv" --config "$config" "${train[@]}")
if [ "$array" = 1 ]; then
    submit train -o "$logs/%x-%A_%a.log" --array "$seeds" "${sbatch_options[@]}" "$here/train.sbatch" "$out/models" "${members[@]}"
else
    submit train "${log[@]}" "${sbatch_options[@]}" "$here/train.sbatch" "$out/models" "${members[@]}" --seeds "$seeds"
fi
submit evaluate "${log[@]}" "${sbatch_options[@]}" "$here/evaluate.sbatch" "$out/evaluate" --store "$out/store" --folds "$out/folds.csv" -m "$out/models" "${evaluate[@]}"
submit score "${log[@]}" "${sbatch_options[@]}" "$here/score.sbatch" "$out/scores.csv" "${score:-$root}" -m "$out/models" "${score_options[@]}"
