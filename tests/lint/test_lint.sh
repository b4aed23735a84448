#!/bin/bash
# The lint finds what it is there to find: each rule is broken once in a small tree of its own.
set -euo pipefail
here=${UNMASK_SOURCE:?}/tests/lint
dir=$(mktemp -d "${TMPDIR:-/tmp}/unmask-lint.XXXXXX")
trap 'rm -rf -- "$dir"' EXIT

fresh() {
    rm -rf -- "${dir:?}/tree"
    mkdir -p "$dir/tree"/{src,io,mpi,jobs,tests/lint}
    printf '#pragma once\n/* a.h: for the test of the lint. */\n' | tee "$dir/tree/src/a.h" "$dir/tree/io/a.h" "$dir/tree/mpi/a.h" >"$dir/tree/jobs/a.h"
    # What is allowed, and looks a little like what is not.
    cat >"$dir/tree/mpi/a.c" <<'END'
#include "mpi/a.h"
#include "src/a.h"
#include <mpi.h>
/* printf("not a call") */
int f(void) { return MPI_Abort(MPI_COMM_WORLD, 1) + snprintf(0, 0, "exit(1)"); }
END
    printf '#include "io/a.h"\n#include <hdf5.h>\n' >"$dir/tree/io/a.c"
    # shellcheck disable=SC2016 # text of a script
    printf 'ls "$dir"/root/x "$dir/work/x"; dir="/%s/unmask-XXXXXX"\n' tmp >"$dir/tree/tests/a.sh"
    printf '#include "io/a.h"\n#include "mpi/a.h"\nint main(void) { printf("x"); exit(0); }\n' >"$dir/tree/jobs/a.c"
}

failed=0
refused() { # refused LINT FILE TEXT: with TEXT appended to FILE the lint must fail and name the file
    fresh
    mkdir -p "$(dirname "$dir/tree/$2")"
    printf '%b' "$3" >>"$dir/tree/$2"
    if "$here/$1" "$dir/tree" >"$dir/out" 2>&1 || ! grep -qF "$2" "$dir/out"; then
        echo "FAILED: $1 accepts in $2: $3"
        failed=1
    fi
}

fresh
for lint in lint_layers.sh lint_style.sh; do
    "$here/$lint" "$dir/tree" >"$dir/out" 2>&1 || { cat "$dir/out"; echo "FAILED: $lint refuses a clean tree"; failed=1; }
done

refused lint_layers.sh src/a.c '#include <mpi.h>\n'
refused lint_layers.sh src/a.c '#include <libavcodec/avcodec.h>\n'
refused lint_layers.sh src/a.c '  #  include  <hdf5.h>\n'
refused lint_layers.sh src/a.c '#include "io/a.h"\n'
refused lint_layers.sh io/b.c '#include <mpi.h>\n'
refused lint_layers.sh io/b.c '#include "mpi/a.h"\n'
refused lint_layers.sh io/b.c '#include "jobs/a.h"\n'
refused lint_layers.sh mpi/b.c '#include "io/a.h"\n'
refused lint_layers.sh mpi/b.c '#include <hdf5.h>\n'
refused lint_layers.sh jobs/b.c '#include "../src/a.h"\n'
refused lint_layers.sh src/b.c '#include "a.h"\n'
refused lint_layers.sh src/b.c 'void f(void) { exit(1); }\n'
refused lint_layers.sh src/b.c 'void f(void) { printf("x"); }\n'
refused lint_layers.sh io/b.c 'void f(void) { fprintf(stderr, "x"); }\n'
refused lint_layers.sh mpi/b.c 'void f(void) { assert (1); }\n'
refused lint_layers.sh jobs/b.c 'int f(void) { return MPI_Barrier(0); }\n'
refused lint_style.sh src/b.c 'int\tx;\n'
refused lint_style.sh src/b.c 'int x; \n'
refused lint_style.sh src/b.c '/* TO''DO: x */\n'
refused lint_style.sh src/b.c 'int x;'
refused lint_style.sh src/b.h '/* b.h: no pragma. */\nint x;\n'
refused lint_style.sh io/b.h '#pragma once\nint x;\n'
refused lint_style.sh scripts/b 'cp x /wo''rk/x\n'
refused lint_style.sh scripts/b 'cp x "/wo''rk/x"\n'
refused lint_style.sh scripts/b 'cp x /tm''p/x\n'
refused lint_style.sh src/b.c "$(yes 'int x;' | head -n 701)\\n"
[ "$failed" = 0 ] && echo "every rule was broken once and seen"
exit "$failed"
