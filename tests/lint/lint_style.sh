#!/bin/bash
# Small habits that a machine can check. usage: lint_style.sh [TREE]
set -euo pipefail
cd "${1:-${UNMASK_SOURCE:?}}"

bad=0
say() {
    echo "$1"
    bad=1
}

# What is committed or about to be; without git (an unpacked archive), every file outside of what is made.
if git rev-parse --show-toplevel >/dev/null 2>&1 && [ "$(git rev-parse --show-toplevel)" = "$(pwd -P)" ]; then
    mapfile -d '' -t files < <(git ls-files -z --cached --others --exclude-standard)
else
    mapfile -d '' -t files < <(find . \( -path ./build -o -path ./share -o -path ./.git -o -name __pycache__ \) -prune -o -type f -printf '%P\0')
fi

# check WHY PATTERN FILE: no line of the file may match.
check() {
    local hit
    while IFS= read -r hit; do
        [ -z "$hit" ] || say "$3:${hit%%:*}: $1"
    done < <(grep -nE -- "$2" "$3" || true)
}

tab=$'\t'
for file in "${files[@]}"; do
    [ -f "$file" ] || continue # deleted, not yet committed
    grep -Iq . "$file" || continue # binary or empty
    case $file in
    tests/golden/data/* | tests/fuzz/corpus/* | tests/data/*) continue ;; # data, not text of ours
    LICENSE) continue ;;
    esac
    [ "${file##*/}" = Makefile ] || check "tab" "$tab" "$file"
    check "space at the end of the line" '[[:blank:]]$' "$file"
    check "carriage return" $'\r' "$file"
    check "a note to self: finish it or file an issue" '\b(TOD[O]|FIXM[E]|XX[X])\b' "$file"
    # Folders of one machine; "$dir"/x is none. A temporary folder is asked of mktemp, or mkdtemp with its XXXXXX.
    start='(^|[^A-Za-z0-9_.$}/"-]|(^|[^A-Za-z0-9_}])")'
    check "path of one machine" "$start/(wor[k]|hom[e]|roo[t]|opt/pee[r])/[A-Za-z0-9_.]" "$file"
    check "fixed temporary path: use mktemp" "$start/tm[p]/([^X]|X[^X])*\$" "$file"
    [ -z "$(tail -c 1 "$file")" ] || say "$file: no newline at the end"
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 700 ] && ! grep -qF -- "$file: " tests/lint/long_files.txt 2>/dev/null; then
        say "$file: $lines lines: split it by subject, or say in tests/lint/long_files.txt why not"
    fi
    case $file in
    src/*.h | io/*.h | mpi/*.h | jobs/*.h)
        [ "$(sed -n 1p "$file")" = "#pragma once" ] || say "$file:1: the first line of a header is #pragma once"
        sed -n 2p "$file" | grep -q '^/\* ' || say "$file:2: a header begins with what it is for: /* ${file##*/}: ..."
        ;;
    esac
done

[ "$bad" = 0 ] && echo "style: ${#files[@]} files looked at"
exit "$bad"
