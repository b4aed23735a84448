#!/bin/bash
# The command line as a user meets it: help is complete, errors name the remedy, exit codes are those of the contract, one voice under mpirun.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
jobs="doctor import synth detect preprocess folds inspect export"
rc 0 "$UNMASK" --help
cp "$work/out" "$work/list"
for job in $jobs; do
    grep -q "^  $job " "$work/list" || fail "--help does not list $job"
    rc 0 "$UNMASK" "$job" --help
    grep -q "^usage: .*unmask $job" "$work/out" || fail "$job --help has no usage line"
    grep -q -- "--print-config" "$work/out" || fail "$job --help does not list the common options"
    rc 0 "$UNMASK" help "$job"
    rc 2 "$UNMASK" "$job" --no-such-option
    grep -q "unknown option" "$work/err" || fail "$job: an unknown option is not named"
done
rc 0 "$UNMASK" version
grep -Eq "^unmask [0-9]+\.[0-9]+\.[0-9]+$" "$work/out" || fail "version prints $(cat "$work/out")"
rc 2 "$UNMASK"
rc 2 "$UNMASK" preproces
grep -q "did you mean preprocess" "$work/err" || fail "an unknown job names no nearest one"
rc 0 "$UNMASK" preprocess --print-config
python3 -c "import json,sys; c=json.load(sys.stdin); assert c['frames']=='every:10:320' and c['thresholds']=='0.85,0.95,0.95' and c['max-faces']=='2', c" <"$work/out" || fail "--print-config is not the configuration"
# Every key that is printed can be set again with the printed value.
python3 - "$UNMASK" <<'PY' || fail "a printed value is not accepted by --set"
import json, subprocess, sys
program = sys.argv[1]
config = json.loads(subprocess.run([program, "preprocess", "--print-config"], stdout=subprocess.PIPE, check=True).stdout)
words = [w for k, v in config.items() if v != "" for w in ("--set", f"{k}={v}")]
again = json.loads(subprocess.run([program, "preprocess", "--print-config"] + words, stdout=subprocess.PIPE, check=True).stdout)
assert again == config, (again, config)
PY
rc 2 ranks 3 "$UNMASK" preprocess
[ "$(grep -c "unmask preprocess" "$work/err")" = 1 ] || fail "a usage error under mpirun is not said once: $(cat "$work/err")"
rc 74 "$UNMASK" preprocess "$work" --store "$work/s" --detector "$work/none.h5"
grep -q "none.h5" "$work/err" || fail "a missing detector is not named"
rc 74 "$UNMASK" inspect "$work/nothing"
if "$UNMASK" version >/dev/full 2>/dev/null; then fail "a full standard output goes unnoticed"; fi
UNMASK_HOME=$work/home rc 78 env -u UNMASK_HOME UNMASK_HOME="$work/home" "$UNMASK" doctor --detector "$work/none.h5"
grep -q "remedy" "$work/out" || fail "doctor names no remedy"
UNMASK_CUDA_MODULE=$work/none.so "$UNMASK" doctor --selftest >"$work/out" 2>&1 || true # 78 without a detector
grep -Eq '^self-test  cpu: [0-9]{3} kernels .*, 0 wrong' "$work/out" || fail "the self-test on the processor: $(grep -E 'self-test|WRONG' "$work/out")"
echo "all as it should be"
