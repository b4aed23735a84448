#!/bin/bash
# Looks at all scripts with shellcheck. usage: lint_shell.sh [TREE]
set -euo pipefail
cd "${1:-${UNMASK_SOURCE:?}}"
command -v shellcheck >/dev/null || { echo "skipped: shellcheck is not installed"; exit 77; }
mapfile -t scripts < <(find scripts .ci slurm tests -type f -exec sh -c 'head -c 64 "$1" | head -n 1 | grep -q "^#!.*sh\$"' _ {} \; -print)
[ "${#scripts[@]}" -gt 0 ] || { echo "no scripts found"; exit 1; }
shellcheck -x --source-path="$PWD" -e SC2012 -- "${scripts[@]}"
echo "shellcheck: ${#scripts[@]} scripts"
