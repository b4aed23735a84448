#!/bin/bash
# The manual page and the completion, which the program prints from its own tables: all jobs and options are there, troff has nothing to complain of, and bash completes what a user types.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
cd "$work"
rc 0 "$UNMASK" manual man
cp out unmask.1
rc 0 "$UNMASK" manual bash
cp out unmask.bash
rc 2 "$UNMASK" manual
rc 2 "$UNMASK" manual odt

mapfile -t jobs < <("$UNMASK" --help | sed -n '/^jobs:/,/^$/s/^  \(.\{15\}\) .*/\1/p' | sed 's/ *$//')
[ "${#jobs[@]}" -ge 14 ] || fail "only ${#jobs[@]} jobs were found in --help"
for job in "${jobs[@]}"; do
    grep -qx "\.SS unmask $job" unmask.1 || fail "$job is not in the manual"
    # shellcheck disable=SC2086 # two words
    while IFS= read -r option; do
        grep -qF "\\fB${option//-/\\-}\\fR" unmask.1 || fail "$option of $job is not in the manual"
    done < <("$UNMASK" $job --help | grep -oE '^ +(-[a-z], +)?--[a-z-]+' | grep -oE -- '--[a-z-]+' | grep -vx -- '--set')
done
for code in 0 2 3 65 70 74 75 78; do grep -qx "\.B $code" unmask.1 || fail "exit code $code is not in the manual"; done
if command -v groff >/dev/null; then
    groff -ww -man -Tutf8 unmask.1 >page 2>complaints
    [ ! -s complaints ] || fail "troff complains: $(head -3 complaints)"
    [ "$(wc -l <page)" -gt 500 ] || fail "the page is short"
fi

# complete WORD...: what bash offers for the last of these words.
complete_words() {
    bash -c 'source ./unmask.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _unmask; printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | LC_ALL=C sort | paste -sd ' '
}
offers() {
    local want=$1 got
    shift
    got=$(complete_words "$@")
    [ "$got" = "$want" ] || fail "'$*' offers '$got', not '$want'"
}
offers "preprocess" unmask prep
offers "plan" unmask plan
offers "preprocess score train" unmask plan ''
offers "score" unmask plan sc
offers "--precision --print-config" unmask score --pr
offers "bf16 f32" unmask score --precision ''
offers "auto" unmask score videos -m x --device a
offers "reference" unmask export store --layout ''
offers "gpu.batch= gpu.frames=" unmask score --set gpu
offers "bash man" unmask manual ''
touch some.h5
offers "some.h5" unmask score -m so
offers "some.h5" unmask score so
[ "$(complete_words unmask '' | wc -w)" -ge 13 ] || fail "jobs: $(complete_words unmask '')"
echo "${#jobs[@]} jobs in the manual and in the completion"
