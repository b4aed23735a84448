#!/bin/bash
# evaluate --device gpu with the emulated GPU says what the processor says, for one rank and for two. usage: test_emu_evaluate.sh MAKE_STORE MODULE
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
make_store=$1
cd "$work"
"$make_store" root store 4 4 2 4
"$UNMASK" folds --store store -o folds.csv --splits 4 >/dev/null 2>&1
mkdir models
"$UNMASK" import random -o models/one.h5 --arch w0.25d0.2 --size 32 --seed 1 2>/dev/null
"$UNMASK" import random -o models/two.h5 --arch w0.25d0.2 --size 32 --seed 2 2>/dev/null
store=(evaluate --store store --folds folds.csv --fold 3 -m models)
rc 0 "$UNMASK" "${store[@]}" --csv cpu.csv
export UNMASK_CUDA_MODULE=$2 EMU_DEVICES=2
rc 0 "$UNMASK" "${store[@]}" --csv gpu1.csv --device gpu
grep -q emulated err || fail "nothing says that the GPU is emulated: $(cat err)"
rc 0 ranks 2 "$UNMASK" "${store[@]}" --csv gpu2.csv --device gpu
cmp gpu1.csv gpu2.csv || fail "2 ranks say something else"
rc 78 ranks 3 "$UNMASK" "${store[@]}" --csv no.csv --device gpu
python3 - <<'END' || fail "the GPU says something else than the processor"
import csv
cpu, gpu = (list(csv.reader(open(f))) for f in ("cpu.csv", "gpu1.csv"))
assert len(cpu) == len(gpu) == 13 and cpu[0] == gpu[0]
n = 0
for a, b in zip(cpu[1:], gpu[1:]):
    assert a[:2] == b[:2]
    for x, y in zip(a[2:], b[2:]):
        n += 1
        assert abs(float(x) - float(y)) < 2e-5, (x, y)
assert n >= 24
END
echo "12 videos, two models: as the processor says"
