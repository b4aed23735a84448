#!/bin/bash
# cmake --install: nothing but what a user needs is put in its place, and it runs from there, from any folder and by a link, with the build tree out of the way.
source "$UNMASK_SOURCE/tests/job/common.sh"
prefix=$work/opt/unmask
cmake --install "${UNMASK_BUILD:?}" --prefix "$prefix" >"$work/log" || fail "cmake --install: $(cat "$work/log")"

cat >"$work/want" <<'END'
bin/unmask
share/doc/unmask/LICENSE
share/doc/unmask/README.md
share/man/man1/unmask.1
share/bash-completion/completions/unmask
share/unmask/README
share/unmask/configs/b5.json
share/unmask/configs/b7.json
share/unmask/configs/small.json
share/unmask/detector.txt
share/unmask/scripts/demo
share/unmask/scripts/demo_result.py
share/unmask/slurm/common.sh
share/unmask/slurm/evaluate.sbatch
share/unmask/slurm/folds.sbatch
share/unmask/slurm/pipeline.sh
share/unmask/slurm/preprocess.sbatch
share/unmask/slurm/score.sbatch
share/unmask/slurm/site.env.example
share/unmask/slurm/train.sbatch
share/unmask/slurm/unmask.def
END
[ ! -e "$UNMASK_BUILD/libunmask_cuda.so" ] || echo lib/unmask/libunmask_cuda.so >>"$work/want"
(cd "$UNMASK_SOURCE" && printf 'share/doc/unmask/%s\n' docs/*.md) >>"$work/want"
(cd "$prefix" && find . -type f -printf '%P\n') | LC_ALL=C sort >"$work/got"
LC_ALL=C sort "$work/want" | diff - "$work/got" >"$work/diff" || fail "what was installed (>) is not what is wanted (<): $(cat "$work/diff")"
find "$prefix" -type f -perm /111 -printf '%P\n' | LC_ALL=C sort | grep -v '\.so$' | paste -sd ' ' >"$work/got"
[ "$(cat "$work/got")" = "bin/unmask share/unmask/scripts/demo share/unmask/slurm/pipeline.sh" ] || fail "what can be executed: $(cat "$work/got")"
! readelf -d "$prefix/bin/unmask" | grep -qE 'RPATH|RUNPATH' || fail "the installed program names a folder of this machine to search for libraries"

# From elsewhere, in an environment that knows nothing of the source; a link in PATH is enough.
mkdir "$work/bin" "$work/elsewhere"
ln -s "$prefix/bin/unmask" "$work/bin/unmask"
cd "$work/elsewhere"
run() { env -i PATH="$work/bin:/usr/bin:/bin" HOME="$work" ASAN_OPTIONS="$ASAN_OPTIONS" "$@"; }
rc 0 run unmask version
grep -q "^unmask $("$UNMASK" version | cut -d ' ' -f 2)$" "$work/out" || fail "version: $(cat "$work/out")"
rc 78 run unmask doctor
grep -qF "nor at '$prefix/share/unmask/mtcnn.h5'" "$work/out" || fail "doctor does not say where the detector belongs: $(cat "$work/out")"
rc 0 run unmask import random --arch w0.2d0.2 --size 64 -o "$prefix/share/unmask/random.h5"
rc 78 run unmask doctor
grep -qF "$prefix/share/unmask/random.h5" "$work/out" || fail "a model in share/unmask is not found: $(cat "$work/out")"
if [ -e "$UNMASK_BUILD/share/unmask/mtcnn.h5" ]; then
    cp "$UNMASK_BUILD/share/unmask/mtcnn.h5" "$prefix/share/unmask/"
    rc 0 run unmask doctor
    grep -qF "$prefix/share/unmask/mtcnn.h5" "$work/out" || fail "the detector in share/unmask is not found: $(cat "$work/out")"
fi

# The scripts of Slurm find common.sh and the program that they came with; Slurm's copy of one by the program in PATH.
slurm=$prefix/share/unmask/slurm
rc 0 run bash "$slurm/score.sbatch" --dry-run s.csv v
grep -qF " $prefix/bin/unmask score v " "$work/out" || fail "score.sbatch starts $(cat "$work/out")"
cp "$slurm/score.sbatch" slurm_script
rc 0 run SLURM_SUBMIT_DIR="$PWD" bash slurm_script --dry-run s.csv v
grep -qF " $prefix/bin/unmask score v " "$work/out" || fail "Slurm's copy starts $(cat "$work/out")"
rc 78 env -i PATH=/usr/bin:/bin bash slurm_script --dry-run s.csv v
rc 0 run "$slurm/pipeline.sh" --dry-run data run --config "$prefix/share/unmask/configs/b7.json"
[ "$(grep -cF " $slurm/" "$work/out")" = 5 ] || fail "pipeline.sh: $(cat "$work/out")"

# The detector's package is pinned the same for who installs and for who builds.
read -r package hash <"$prefix/share/unmask/detector.txt"
grep -F "\"${package%%==*}\": (\"${package##*==}\"," -A 1 "$UNMASK_SOURCE/scripts/fetch.py" | grep -qF "\"${hash##*:}\"" || fail "detector.txt is not what scripts/fetch.py fetches"
echo "installed files are the $(wc -l <"$work/want") wanted, and work from $prefix"
