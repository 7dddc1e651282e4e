# moec data: what it writes, that it is repeatable, and what it refuses. $1: moec
. "$(dirname "$0")/common/lenient.sh"

refuses() { # STATUS MESSAGE arguments…: one line, and nothing is left behind
    wanted=$1 message=$2
    shift 2
    expect "$wanted" data "$@"
    says err "$message"
    set -- "$work"/new*
    [ ! -e "$1" ] || complain "$1 was left behind"
}

# The source code of moec is text that is always there.
expect 0 data "$work/a/" --domain c=src --domain=tests=tests --vocab 800 --max-bytes 200000 --heldout 0.1
says out "bytes/token"
for name in a_train_000000.bin a_train_000000.docs.tsv a_val_000000.bin a_val_000000.docs.tsv heldout.txt \
    tokenizer.model data.json; do
    [ -s "$work/a/$name" ] || complain "$name is missing"
done
[ "$(awk -F '\t' '{ bytes += $3 } END { print bytes }' "$work/a/a_val_000000.docs.tsv")" = \
    "$(wc -c <"$work/a/heldout.txt" | tr -d ' ')" ] || complain "the documents' bytes are not those of heldout.txt"
[ "$(cut -f 4 "$work/a/a_val_000000.docs.tsv" | uniq | tr '\n' ' ')" = "c tests " ] || complain "order of domains"

# The same seed gives the same bytes, another one another split; what is there is not overwritten by accident.
mkdir "$work/again"
expect 0 data "$work/again/a" --domain c=src --domain tests=tests --vocab 800 --max-bytes 0.2MB --heldout 0.1
diff -r "$work/a" "$work/again/a" >&2 || complain "two runs differ"
expect 1 data "$work/a" --domain c=src
says err "--overwrite replaces it"
expect 0 data "$work/a" --domain c=src --domain tests=tests --tokenizer "$work/again/a/tokenizer.model" --overwrite \
    --max-bytes 200000 --seed 2
cmp -s "$work/a/heldout.txt" "$work/again/a/heldout.txt" && complain "the seed changes nothing"
cmp "$work/a/tokenizer.model" "$work/again/a/tokenizer.model" || complain "the tokenizer was changed"
expect 1 data "$work" --domain c=src --overwrite
says err "a data.json of moec's to replace"

# What fails leaves the old folder as it was, and nothing beside it.
cp -r "$work/a" "$work/before"
MOEC_FAIL_WRITE_AFTER=20000 expect 1 data "$work/a" --domain c=src --vocab 400 --overwrite --max-bytes 100000
says err "No space left"
expect 1 data "$work/a" --domain x=/nowhere --overwrite
diff -r "$work/before" "$work/a" >&2 || complain "a run that failed changed the folder that it was to replace"
for left in "$work"/a.*; do [ ! -e "$left" ] || complain "$left was left behind"; done
echo mine >"$work/a/notes.txt"
expect 0 data "$work/a" --domain c=src --vocab 400 --overwrite --max-bytes 100000
says out "kept, since moec data did not make it: $work/a/notes.txt"
[ "$(cat "$work/a/notes.txt")" = mine ] || complain "a file that moec data did not make is gone"

printf 'abc\377def' >"$work/latin.txt"
: >"$work/empty.txt"
refuses 1 "latin.txt: expected UTF-8 text, found the byte 0xFF at byte offset 3" "$work/new" --domain "x=$work/latin.txt"
refuses 1 "empty.txt: expected text, found an empty file" "$work/new" --domain "x=$work/empty.txt"
refuses 1 "nowhere" "$work/new" --domain x=/nowhere
refuses 1 "latin.txt: expected a SentencePiece model" "$work/new" --domain c=src --tokenizer "$work/latin.txt"
refuses 2 "expected at least one" "$work/new"
refuses 2 "NAME=PATH" "$work/new" --domain src
refuses 2 "given twice" "$work/new" --domain c=src --domain c=tests
refuses 2 "exclude each other" "$work/new" --domain c=src --vocab 500 --tokenizer t.model
refuses 2 "--vocab" "$work/new" --domain c=src --vocab many
refuses 2 "--vocab: expected an integer from 300 to 1048576" "$work/new" --domain c=src --vocab 299
refuses 2 "--vocab: expected an integer from 300 to 1048576" "$work/new" --domain c=src --vocab 1048577
expect 0 data --help # the same limits, and the tokenizer trains at both
says out 'trained on the text, 300 to 1048576 (4096)'
for vocab in 300 1048576; do expect 0 data "$work/limit-$vocab" --domain c=src/base --vocab $vocab; done
refuses 2 "--heldout" "$work/new" --domain c=src --heldout 1.1
printf '{"text": "a row that is long enough"}\n{"text": "one"} {"text": "two"}\n' >"$work/two.jsonl"
refuses 1 "two.jsonl:2: expected one JSON object and nothing else" "$work/new" --domain "x=$work/two.jsonl"
printf '\346\210\221\350\203\275\345\220\236\344\270\213\347\216\273\347\222\203\350\200\214\344\270\215\344\274\244\350\272\253\344\275\223\343\200\202' \
    >"$work/chinese.txt"
refuses 1 "(--heldout 0 trains on all of it" "$work/new" --domain "x=$work/chinese.txt"

# One sentence without a space trains a tokenizer, which is as small as that, and a model.
expect 0 data "$work/chinese" --domain "x=$work/chinese.txt" --heldout 0
says err "pieces of the 4096 that a vocabulary may have"
expect 0 train configs/test-tiny.yaml data="$work/chinese" run="$work/run" vocab_size=320 model_dim=32 rope_dims=8 batch=1 \
    seq=8 eval_stride=8 steps=2 val_every=0 dtype=f32
# So do words of 200,000 letters.
head -c 150000 /dev/urandom | base64 -w 0 >"$work/base64.txt"
mkdir "$work/long"
mv "$work/base64.txt" "$work/long/1.txt"
head -c 150000 /dev/urandom | base64 -w 8 >"$work/long/2.txt"
expect 0 data "$work/base64" --domain "x=$work/long" --vocab 800 --heldout 0.5

# A corpus that is only for scoring: no shard to train on, and its own tokenizer or another's.
expect 0 data "$work/score" --domain c=src --vocab 500 --heldout 1 --max-bytes 100000
says err "of held-out text: nothing else is there"
[ ! -e "$work/score/score_train_000000.bin" ] || complain "a training shard of a corpus for scoring"
[ -s "$work/score/score_val_000000.bin" ] || complain "no shard to score"
expect 0 data "$work/score2" --domain c=src --tokenizer "$work/a/tokenizer.model" --heldout 1 --max-bytes 100000
expect 1 train configs/test-tiny.yaml data="$work/score" run="$work/run2" vocab_size=512
says err "expected shards named *_train_*.bin"

# Ctrl-C while the tokenizer is trained, which is a child's work: one line, 130, nothing left.
head -c 3000000 /dev/urandom | base64 >"$work/noise.txt"
"$moec" data "$work/new" --domain "x=$work/noise.txt" --vocab 30000 >"$work/out" 2>"$work/err" &
child=$!
tries=0
until [ -n "$(cat /proc/$child/task/$child/children)" ] || [ $tries -eq 500 ]; do
    sleep 0.02
    tries=$((tries + 1))
done
kill -INT $child
wait $child
found=$?
[ $found -eq 130 ] || complain "interrupted while the tokenizer trains: exit $found, expected 130"
[ "$(cat "$work/err")" = "moec: interrupted; $work/new is as it was" ] || complain "not one line: $(cat "$work/err")"
set -- "$work"/new*
[ ! -e "$1" ] || complain "$1 was left behind"

[ "$failures" -eq 0 ]
