# common.sh: what the job tests share. Sourced; needs UNMASK (the program) and UNMASK_SOURCE in the environment, as ctest sets them.
set -euo pipefail
: "${UNMASK:?run me through ctest, or set UNMASK to the program}" "${UNMASK_SOURCE:?set UNMASK_SOURCE to the source folder}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# Open MPI keeps memory until the end of the process, from modules that cannot be named to the leak detector; our own leaks are looked for in the unit tests.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# skip REASON: exit 77 is shown as skipped, not as passed.
skip() {
    echo "SKIPPED: $*"
    exit 77
}

need_detector() {
    "$UNMASK" doctor 2>/dev/null | grep -q '^detector .*fingerprint' || skip "no detector: scripts/setup and scripts/build put it beside the program"
}

# portraits: sets the array `portraits` to the pictures of faces that set-up fetched.
need_portraits() {
    portraits=("$UNMASK_SOURCE"/share/unmask/portraits/*.*)
    [ -e "${portraits[0]}" ] || skip "no portraits: scripts/setup fetches them to share/unmask/portraits"
}

# h5py_python: sets `python` to an interpreter that has h5py; set-up installs Debian's, which need not be the first on PATH. Fails where none has it.
h5py_python() {
    for python in /usr/bin/python3 python3; do
        if "$python" -c 'import h5py' 2>/dev/null; then return 0; fi
    done
    return 1
}

# ranks N command...: under mpirun.
ranks() {
    local n=$1
    shift
    mpirun --bind-to none -n "$n" "$@"
}

# rc WANT command...: the command must exit with WANT; its output goes to $work/out and $work/err.
rc() {
    local want=$1 got=0
    shift
    "$@" >"$work/out" 2>"$work/err" || got=$?
    [ "$got" = "$want" ] || {
        cat "$work/out" "$work/err" >&2
        fail "$* exited with $got, want $want"
    }
}
