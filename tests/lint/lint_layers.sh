#!/bin/bash
# Who may include whom: tests -> jobs -> {io, mpi} -> src, and nothing the other way; io and mpi never see each other. src knows neither
# MPI nor HDF5 nor FFmpeg. Only jobs print and exit. usage: lint_layers.sh [TREE]
set -euo pipefail
cd "${1:-${UNMASK_SOURCE:?}}"

bad=0
say() {
    echo "$1"
    bad=1
}

# The files of a folder, without build products.
sources() { find "$1" -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null | LC_ALL=C sort; }

# forbid FOLDER WHY PATTERN: no #include in FOLDER may match the extended regular expression.
forbid() {
    local hit
    while IFS= read -r hit; do
        [ -z "$hit" ] || say "$hit: $2"
    done < <(sources "$1" | xargs -r grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($3)" || true)
}

forbid src "src knows no MPI or NCCL: use src/nn/comm.h" 'mpi\.h|mpi-ext|nccl'
forbid src "src knows no file formats: io fills its structs" 'hdf5|H5|libav|libsw|jansson|zip\.h|zipconf|turbojpeg|spng'
forbid src "src includes only src" '(io|mpi|jobs|tests)/'
forbid io "io never communicates" 'mpi\.h|mpi-ext|nccl'
forbid io "io includes only io and src" '(mpi|jobs|tests)/'
forbid mpi "mpi knows no file formats" 'hdf5|H5|libav|libsw|jansson|zip\.h|turbojpeg|spng'
forbid mpi "mpi includes only mpi and src" '(io|jobs|tests)/'
forbid jobs "jobs include no tests" 'tests/'
# jobs/main.c and the jobs are the top: their headers serve jobs and tests only, which the three lines above keep true.
for folder in src io mpi jobs; do
    forbid "$folder" "includes are written from the root of the repository" '\.\.?/'
    while IFS=: read -r file line rest; do
        header=${rest#*\"}
        header=${header%%\"*}
        [ -e "$header" ] || say "$file:$line: no file $header: includes are written from the root of the repository"
    done < <(sources "$folder" | xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' || true)
done

# Calls, seen without comments and strings. A file is exempt from one word only where the list says why.
exempt() {
    case $1:$2 in
    io/decod*.c:_exit | io/video*.c:_exit) return 0 ;; # the decoder's child ends without the parent's exit handlers
    *) return 1 ;;
    esac
}
for folder in src io mpi; do
    while IFS= read -r file; do
        while IFS=: read -r line word; do
            exempt "$file" "$word" || say "$file:$line: $word(): only jobs print and end the program; return a status (src/core/err.h)"
        done < <(perl -0777 -pe 's{/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'"'"'(?:\\.|[^'"'"'\\\n])*'"'"'}{my $m = $&; $m =~ tr/\n//cd; $m}gse' "$file" |
            grep -noE '\b(printf|vprintf|puts|putchar|perror|exit|_exit|_Exit|quick_exit|abort|assert)[[:space:]]*\(' |
            sed -E 's/[[:space:]]*\($//' || true)
    done < <(sources "$folder")
done
# Writing to a stream of the terminal's is printing too.
while IFS= read -r hit; do
    [ -z "$hit" ] || say "$hit: only jobs print"
done < <({ sources src; sources io; sources mpi; } | xargs -r grep -nHE '\b(f?printf|fputs|fwrite|fputc|putc)\b.*\b(stdout|stderr)\b' || true)
# MPI is spoken in mpi only, so that the rest runs and is tested without it. jobs may name the null communicator to hand it on.
while IFS= read -r hit; do
    [ -z "$hit" ] || say "$hit: calls of MPI belong in mpi/"
done < <({ sources src; sources io; sources jobs; } | xargs -r grep -nHE '\bMPI_[A-Z][a-z][A-Za-z_]*[[:space:]]*\(' || true)

[ "$bad" = 0 ] && echo "layers: src, io, mpi and jobs keep to their places"
exit "$bad"
