#!/bin/bash
# score as a user calls it, with a stand-in for models and decoder (score_double.c): the same bytes for every rank count, for two runs at once, after signals; what is refused and why; strikes; every input one row.
# shellcheck source=tests/job/common.sh
. "$(dirname "$0")/../job/common.sh"
double=${1:?usage: test_score_double.sh UNMASK_DOUBLE}
cd "$work"
mkdir -p videos/sub/deep
for i in $(seq 30); do printf 'video %d' "$i" >"videos/v$i.mp4"; done
printf 'BAD' >videos/sub/bad.avi
: >videos/sub/empty.mp4
printf 'x' >videos/$'new\nline, "quoted".mp4'
printf 'y' >videos/$'not\xff\xfeutf8.mkv'
printf '....ftypisom........' >videos/sub/deep/a_video_by_content
printf '....ftypM4A ........' >videos/sub/deep/sound
echo text >videos/notes.txt
ln -s .. videos/sub/deep/loop
ln -s nowhere videos/sub/dangling.mp4
ln -s ring.mp4 videos/sub/ring.mp4
mkfifo videos/sub/fifo.mp4
n=$((30 + 9 - 1))

# Any number of ranks, also over TCP; arguments in another order, threads, a smaller journal group.
rc 0 "$double" score videos -o r1.csv --details r1.jsonl --submission r1.sub
for ranks in 2 3 4; do
    rc 0 ranks $ranks "$double" score videos -o r$ranks.csv --details r$ranks.jsonl --submission r$ranks.sub --threads 2 --set journal.records=1
    for kind in csv jsonl sub; do cmp r1.$kind r$ranks.$kind || fail "$kind of $ranks ranks differs"; done
    # Each video that was looked at (not the two links without an end and the pipe) is counted, whichever rank had it and however late it told.
    grep -q "this run: $((n - 3)) videos" "$work/err" || fail "$ranks ranks: $(grep 'this run' "$work/err")"
done
rc 0 ranks 3 --mca btl tcp,self --mca btl_tcp_if_include lo "$double" score videos/sub videos videos/v1.mp4 -o tcp.csv
cmp r1.csv tcp.csv || fail "csv over TCP, from other arguments, differs"
python3 - $n <<'PY' || fail "the files are not as promised"
import csv, json, os, sys
rows = list(csv.DictReader(open("r1.csv", newline="", encoding="utf-8", errors="surrogateescape")))
assert list(rows[0]) == "path,verdict,score,status,frames_wanted,frames_decoded,frames_with_faces,persons,start_s,end_s".split(","), list(rows[0])
assert len(rows) == int(sys.argv[1]), len(rows)
paths = [os.fsencode(r["path"]) for r in rows]
assert paths == sorted(set(paths))
for p in (b'videos/new\nline, "quoted".mp4', b"videos/not\xff\xfeutf8.mkv", b"videos/sub/deep/a_video_by_content"):
    assert p in paths, p
status = {r["path"]: r["status"] for r in rows}
for path, want in (("sub/bad.avi", "CORRUPT"), ("sub/empty.mp4", "ZERO_FRAMES"), ("sub/dangling.mp4", "MISSING"), ("sub/ring.mp4", "UNREADABLE"), ("sub/fifo.mp4", "UNREADABLE")):
    assert status["videos/" + path] == want, (path, status["videos/" + path])
details = [json.loads(line) for line in open("r1.jsonl")]
assert [os.fsencode(d["path"]) for d in details] == paths
for d, r in zip(details, rows):
    assert d["models"] == ["first", "second"] and d["status"] == r["status"]
    assert (repr(d["score"]) if d["score"] is not None else "") == r["score"], "digits of a score"
    assert len(d["persons"]) == int(r["persons"]) and all(len(f["scores"]) == 2 and len(f["box"]) == 4 for f in d["faces"])
    assert (d["verdict"] == "unknown") == (d["score"] is None)
sub = list(csv.reader(open("r1.sub", newline="", encoding="utf-8", errors="surrogateescape")))
assert sub[0] == ["filename", "label"] and len(sub) == len(rows) + 1
names = [os.fsencode(s[0]) for s in sub[1:]]
assert names == sorted(os.path.basename(p) for p in paths)
score = {os.path.basename(p): r["score"] for p, r in zip(paths, rows)}
assert all(s[1] == (score[os.fsencode(s[0])] or "0.5") for s in sub[1:])
info = json.load(open("r1.csv.status.json"))
assert info["complete"] and info["inputs"] == len(rows) and info["others"] == 2 and info["left"] == 0 and sum(info["status"].values()) == len(rows), info
PY

# A rerun of what is complete changes nothing; without its results it makes them again from the journals.
before=$(ls r2.csv.journal)
rm r2.csv
rc 0 ranks 2 "$double" score videos -o r2.csv --details again.jsonl
cmp r1.csv r2.csv || fail "a rerun made another csv"
cmp r1.jsonl again.jsonl || fail "a rerun made other details"
[ "$(ls r2.csv.journal)" = "$before" ] || fail "a rerun of a complete run wrote a journal"

# Two runs on one output at once.
for i in 1 2 3; do
    rm -rf two.csv*
    UNMASK_DOUBLE_MS=10 ranks 2 "$double" score videos -o two.csv >/dev/null 2>two.err &
    other=$!
    UNMASK_DOUBLE_MS=10 rc 0 ranks $i "$double" score videos -o two.csv
    wait "$other" || fail "the other of two runs at once: $(cat two.err)"
    cmp r1.csv two.csv || fail "two runs at once made another csv"
done

# Asked to stop: 75, no result, and the next run completes.
mpirun --bind-to none -n 2 env UNMASK_DOUBLE_MS=100 "$double" score videos -o stop.csv >/dev/null 2>stop.err &
run=$!
for _ in $(seq 500); do
    grep -qs '"t":"done"' stop.csv.journal/*.jnl && break
    sleep 0.01
done
kill -USR1 "$run"
got=0
wait "$run" || got=$?
[ "$got" = 75 ] || fail "a run that was asked to stop exited with $got: $(cat stop.err)"
grep -q "run the same command again" stop.err || fail "a stopped run does not say how to go on"
[ ! -e stop.csv ] || fail "a stopped run left a result"
grep -q '"complete": false' stop.csv.status.json || fail "a stopped run's status says it is complete"
rc 0 ranks 3 "$double" score videos -o stop.csv
cmp r1.csv stop.csv || fail "csv after a stop differs"

# Refusals name what differs.
refused() { # refused WORD command...
    local word=$1
    shift
    rc 65 "$@"
    grep -q -- "$word" err || fail "the refusal does not name $word: $(cat err)"
}
refused "pool = 'persons', not 'faces'" "$double" score videos -o r1.csv --pool faces
refused "frames" "$double" score videos -o r1.csv --frames spread:16
refused "windows" "$double" score videos -o r1.csv --windows 30,10
refused "precision" "$double" score videos -o r1.csv --precision bf16
UNMASK_DOUBLE_MODEL=3333333333333333 refused "models" "$double" score videos -o r1.csv
UNMASK_DOUBLE_ISA_0=lower refused "instruction set" "$double" score videos -o r1.csv
UNMASK_DOUBLE_ISA_1=lower refused "rank 1: rank 0 works with instruction set = 'any', not 'lower'" ranks 2 "$double" score videos -o other.csv
[ ! -e other.csv.manifest ] || fail "ranks that do not match left a manifest"
refused "is no longer among them" "$double" score videos/v1.mp4 videos/sub videos/v2.mp4 videos/v3.mp4 -o r3.csv
cmp r1.csv r3.csv || fail "a refusal changed the result"
rc 0 "$double" score videos -o r1.csv --windows 60.0,1e1 --threshold .5
rc 2 "$double" score videos -o u.csv --windows 10,60
rc 2 "$double" score videos -o u.csv --frames every:10
rc 2 "$double" score -o u.csv
rc 2 "$double" score videos/notes.txt/.. videos/sub/deep/loop -o u.csv --threshol 1
rc 74 "$double" score videos -o /proc/u.csv
rc 74 "$double" score --list nothing -o u.csv
mkdir twins && cp videos/v1.mp4 twins && mkdir twins/b && cp videos/v2.mp4 twins/b/v1.mp4
rc 2 "$double" score twins -o u.csv --submission u.sub
grep -q "twins/b/v1.mp4.*twins/v1.mp4" err || fail "two inputs of one name are not both named: $(cat err)"
[ ! -e u.csv.manifest ] || fail "a refused run left a manifest"
rc 0 "$double" score twins -o u.csv

# Inputs that come, go and change; --limit; --fresh.
cp -a videos more
rc 0 "$double" score more -o more.csv --limit 5
[ "$(wc -l <more.csv.manifest)" = 7 ] || fail "--limit 5 took $(wc -l <more.csv.manifest) - 2 inputs"
refused "is new" "$double" score more -o more.csv
rc 0 ranks 2 "$double" score more -o more.csv --update
sed 's/^more/videos/; s/^"more/"videos/' more.csv | cmp - r1.csv || fail "--update made other rows"
printf 'video 1, again' >more/v1.mp4
rm more/v2.mp4
printf 'video new' >more/new.mp4
refused "3 differ in all" "$double" score more -o more.csv
rc 0 "$double" score more -o more.csv --update
grep -q "3[0-9]* inputs, 2 to do" err || fail "--update did others than the new ones: $(cat err)"
rc 0 "$double" score more -o more.csv --fresh --pool faces
[ "$(grep -c ',0.5,' more.csv)" -ge 6 ] || fail "--pool faces gives no 0.5 to failures"

# Lists.
printf 'videos/v1.mp4\nnot there.mp4\nvideos/sub\n' >names
printf '%s\0' videos/v1.mp4 "not there.mp4" videos/sub videos/$'new\nline, "quoted".mp4' >names0
rc 0 "$double" score --list names -o l.csv
grep -q '^not there.mp4,unknown,,MISSING' l.csv || fail "a listed name that is not there has no row"
rc 0 "$double" score --list names0 -o l0.csv
[ "$(python3 -c 'import csv; print(len(list(csv.reader(open("l0.csv", newline="")))))')" = $(($(wc -l <l.csv) + 1)) ] || fail "a name with a newline in a list was lost"
rc 3 "$double" score --list names -o l.csv --max-bad 10

# A file that changes while it waits: its row says so.
mkdir slow && for i in 1 2 3 4 5 6; do printf 'slow %d' $i >slow/$i.mp4; done
UNMASK_DOUBLE_MS=150 "$double" score slow -o slow.csv >/dev/null 2>&1 &
run=$!
for _ in $(seq 500); do
    [ -e slow.csv.manifest ] && break
    sleep 0.01
done
printf 'grown by some bytes' >slow/6.mp4
wait $run || fail "a file that changed ended the run"
grep -q '^slow/6.mp4,unknown,,CHANGED' slow.csv || fail "a file that changed has another row: $(cat slow.csv)"

# A crash that the rank's own handler recorded is a strike: twice, and the video is POISON.
mkdir die && for i in 1 2 3; do printf 'fine %d' $i >die/$i.mp4; done
printf 'ABORT' >die/0.mp4
for i in 1 2; do
    got=0
    { UNMASK_DOUBLE_DIE=1 "$double" score die -o die.csv >/dev/null 2>&1; } 2>/dev/null || got=$?
    [ $got -ge 128 ] || grep -q __asan_init "$double" || fail "run $i ended with $got"
done
if grep -q __asan_init "$double"; then
    echo "not tested with a sanitizer: it takes fatal signals itself"
else
    UNMASK_DOUBLE_DIE=1 rc 0 ranks 2 "$double" score die -o die.csv
    grep -q '^die/0.mp4,unknown,,POISON' die.csv || fail "two strikes are no POISON: $(cat die.csv)"
fi
# An unexplained death never is, unless the user says so: the video comes last, then alone.
printf 'KILL' >die/0.mp4
for i in 1 2 3; do
    UNMASK_DOUBLE_DIE=1 "$double" score die -o kill.csv >/dev/null 2>&1 && fail "run $i should have died"
done
UNMASK_DOUBLE_DIE=1 rc 0 "$double" score die -o kill.csv --poison-after 1
grep -q '^die/0.mp4,unknown,,POISON' kill.csv || fail "--poison-after 1 has no POISON: $(cat kill.csv)"
[ "$(grep -c ',OK,\|,NO_FACE,' kill.csv)" = 3 ] || fail "the others have no rows: $(cat kill.csv)"
UNMASK_DOUBLE_DIE=1 rc 0 "$double" score die/1.mp4 die/2.mp4 die/3.mp4 -o fine.csv
cmp <(grep -v 0.mp4 kill.csv) fine.csv || fail "rows depend on company"

# Without -o a table, and nothing is left.
mkdir empty && cd empty
rc 0 ranks 2 "$double" score ../videos/v1.mp4 ../videos/sub/bad.avi
grep -Eq "v1.mp4' +(real|fake|unknown) +[-0-9.]+ +(OK|NO_FACE)" "$work/out" || fail "no table: $(cat "$work/out")"
grep -q "bad.avi.*CORRUPT" "$work/out" || fail "no bad video in the table: $(cat "$work/out")"
[ -z "$(ls)" ] || fail "a run without -o left $(ls)"
"$double" score ../videos/v1.mp4 -o - 2>/dev/null | head -1 | grep -q '^path,verdict' || fail "-o - gives no csv"
[ -z "$(ls)" ] || fail "a run with -o - left $(ls)"
echo "all as it should be"
