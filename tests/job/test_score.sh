#!/bin/bash
# score with the real thing: random models, made faces. The same bytes for 1 to 4 ranks, for any number of threads, for a video alone and in company; both pools; models in any order; nothing but a model needed for a table.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/common.sh"
need_detector
need_portraits
cd "$work"
"$UNMASK" synth --quiet --portraits "${portraits[@]}" -o root --parts 2 --originals 2 --fakes 1 --seconds 1 --size 320x240 --strength visible --seed 4
mkdir videos models
find root -name '*.mp4' -exec mv {} videos/ \;
cp "$(find videos -name '*.mp4' | sort | head -1)" videos/no_name
printf 'no video' >videos/broken.mp4
head -c 300 videos/no_name >videos/cut.mp4
"$UNMASK" import random -o models/one.h5 --arch b0 --size 64 --seed 1 2>/dev/null
"$UNMASK" import random -o models/two.h5 --arch b0 --size 96 --seed 2 2>/dev/null

rc 0 "$UNMASK" score videos -m models -o r1.csv --details r1.jsonl --threads 1
for n in 2 3 4; do
    rc 0 ranks $n "$UNMASK" score videos -m models/two.h5 -m models/one.h5 -m models -o r$n.csv --details r$n.jsonl --threads $n
    cmp r1.csv r$n.csv || fail "$n ranks made another csv"
    cmp r1.jsonl r$n.jsonl || fail "$n ranks made other details"
done
[ "$(wc -l <r1.csv)" = 12 ] || fail "not every input has its row: $(cat r1.csv)"
grep -q '^videos/broken.mp4,unknown,,UNSUPPORTED_FORMAT,0,0,0,0,,$' r1.csv || fail "the row of a broken video: $(grep broken r1.csv)"
[ "$(grep -c ',OK,' r1.csv)" -ge 8 ] || fail "videos are not OK: $(cat r1.csv)"
cut -d, -f2- <<<"$(grep no_name r1.csv)" | grep -qxF -f - <(grep -v no_name r1.csv | cut -d, -f2-) || fail "one content under two names has two scores"
for f in videos/*.mp4 videos/no_name; do
    rc 0 "$UNMASK" score "$f" -m models -o alone.csv --fresh
    grep -qxF -- "$(tail -1 alone.csv)" r1.csv || fail "$f alone has another row: $(tail -1 alone.csv)"
done

# The reference's pool: a score for everything, 0.5 for what failed.
rc 0 ranks 2 "$UNMASK" score videos -m models -o faces.csv --pool faces --submission faces.sub
grep -q '^videos/broken.mp4,unknown,0.5,UNSUPPORTED_FORMAT' faces.csv || fail "--pool faces: $(grep broken faces.csv)"
grep -q '^broken.mp4,0.5$' faces.sub || fail "the submission has no 0.5 for a failure"

# Another model is refused; so is an encoder, by name.
rc 65 "$UNMASK" score videos -m models/one.h5 -o r1.csv
grep -q "models" err || fail "the refusal does not name the models"
rc 65 "$UNMASK" score videos -m videos/broken.mp4 -o no.csv
rc 74 "$UNMASK" score videos -m videos -o no.csv
rc 74 "$UNMASK" score videos -m nothing.h5 -o no.csv

# A table with the models of $UNMASK_HOME.
mkdir home && cp models/one.h5 home
UNMASK_HOME=$work/home rc 0 "$UNMASK" score videos/no_name
grep -Eq "no_name' +(real|fake) +0\.[0-9]{3} +OK" out || fail "no table: $(cat out)"
if "$UNMASK" score videos/no_name -m models --precision bf16 -o b.csv >out 2>err; then
    grep -q "bf16" err || fail "bf16 is not spoken of"
else
    fail "bf16 neither works nor falls back: $(cat err)"
fi
echo "all as it should be"
