#!/bin/bash
# Submits all stages, each after the one before it. See --help below.
set -euo pipefail

usage() {
    cat <<'END'
usage: slurm/pipeline.sh [--dry-run] ROOT OUT --config FILE.json [options]

Submits preprocess, folds, train, evaluate and score, each to begin when the one before it has completed (afterok); one that fails takes
those after it out of the queue. Bad inputs do not fail a stage, unless they are more than its --max-bad.

ROOT is the folder that holds dfdc_train_part_*, OUT the folder to write: OUT/store, OUT/folds.csv, OUT/models, OUT/evaluate, OUT/scores.csv,
OUT/logs. The same command again continues what was stopped. Both must be seen by all nodes.

  --config FILE.json   network and schedule for training, such as configs/b7.json (required)
  --seeds X,Y,...      members of the ensemble (default: 111,555,777,888,999)
  --array              a job for each seed, in an array, instead of one job that trains all
  --score PATH         what to score (default: ROOT)
  --sbatch OPTIONS     options of sbatch for the stages with many ranks, such as "--nodes 4 --ntasks 128"
  --preprocess OPTIONS, --folds OPTIONS, --train OPTIONS, --evaluate OPTIONS, --score-options OPTIONS
                       options of the unmask command of that stage, split at blanks
  --dry-run            print the sbatch commands and submit nothing

Prints a line a stage, its name and its job's number with a tab between; the same lines are in OUT/jobs.tsv.
There is no GPU backend yet: no stage asks for --gres.
END
}

die() { echo "pipeline.sh: $*" >&2; usage >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
dry=0
array=0
config=
seeds=111,555,777,888,999
score=
operands=()
sbatch_options=() preprocess=() folds=() train=() evaluate=() score_options=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --dry-run) dry=1 ;;
    --array) array=1 ;;
    --config | --seeds | --score | --sbatch | --preprocess | --folds | --train | --evaluate | --score-options)
        [ $# -ge 2 ] || die "$1 needs a value"
        case $1 in
        --config) config=$(realpath -m -- "$2") ;;
        --seeds) seeds=$2 ;;
        --score) score=$(realpath -m -- "$2") ;;
        --sbatch) read -r -a sbatch_options <<<"$2" ;;
        --preprocess) read -r -a preprocess <<<"$2" ;;
        --folds) read -r -a folds <<<"$2" ;;
        --train) read -r -a train <<<"$2" ;;
        --evaluate) read -r -a evaluate <<<"$2" ;;
        --score-options) read -r -a score_options <<<"$2" ;;
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
root=$(realpath -m -- "${operands[0]}")
out=$(realpath -m -- "${operands[1]}")
if [ "$dry" = 0 ]; then
    [ -d "$root" ] || die "there is no folder $root"
    [ -f "$config" ] || die "there is no file $config"
    mkdir -p -- "$out/logs"
    : >"$out/jobs.tsv"
fi
export UNMASK_SLURM=$here

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
    job=$("${command[@]}")
    job=${job%%;*}
    printf '%s\t%s\n' "$stage" "$job" | tee -a "$out/jobs.tsv"
}

log=(-o "$out/logs/%x-%j.log")
submit preprocess "${log[@]}" "${sbatch_options[@]}" "$here/preprocess.sbatch" "$root" "$out/store" "${preprocess[@]}"
submit folds "${log[@]}" "$here/folds.sbatch" "$out/folds.csv" --store "$out/store" "${folds[@]}"
members=(--store "$out/store" --folds "$out/folds.csv" --config "$config" "${train[@]}")
if [ "$array" = 1 ]; then
    submit train -o "$out/logs/%x-%A_%a.log" --array "$seeds" "${sbatch_options[@]}" "$here/train.sbatch" "$out/models" "${members[@]}"
else
    submit train "${log[@]}" "${sbatch_options[@]}" "$here/train.sbatch" "$out/models" "${members[@]}" --seeds "$seeds"
fi
submit evaluate "${log[@]}" "${sbatch_options[@]}" "$here/evaluate.sbatch" "$out/evaluate" --store "$out/store" --folds "$out/folds.csv" -m "$out/models" "${evaluate[@]}"
submit score "${log[@]}" "${sbatch_options[@]}" "$here/score.sbatch" "$out/scores.csv" "${score:-$root}" -m "$out/models" "${score_options[@]}"
