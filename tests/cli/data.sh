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
expect 0 data "$work/again/a" --domain c=src --domain tests=tests --vocab 800 --max-bytes 200000 --heldout 0.1
diff -r "$work/a" "$work/again/a" >&2 || complain "two runs differ"
expect 1 data "$work/a" --domain c=src
says err "--overwrite replaces it"
expect 0 data "$work/a" --domain c=src --domain tests=tests --tokenizer "$work/again/a/tokenizer.model" --overwrite \
    --max-bytes 200000 --seed 2
cmp -s "$work/a/heldout.txt" "$work/again/a/heldout.txt" && complain "the seed changes nothing"
cmp "$work/a/tokenizer.model" "$work/again/a/tokenizer.model" || complain "the tokenizer was changed"
expect 1 data "$work" --domain c=src --overwrite
says err "data.json to replace"

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
printf 'Only a few words are here.\n\n%16000s\n\nAnd a few are there.\n' x >"$work/few.txt"
: >"$work/empty.txt"
refuses 1 "latin.txt: expected UTF-8 text, found the byte 0xFF at byte offset 3" "$work/new" --domain "x=$work/latin.txt"
refuses 1 "empty.txt: expected text, found an empty file" "$work/new" --domain "x=$work/empty.txt"
refuses 1 "too small" "$work/new" --domain "x=$work/few.txt" --heldout 0
refuses 1 "nowhere" "$work/new" --domain x=/nowhere
refuses 1 "latin.txt: expected a SentencePiece model" "$work/new" --domain c=src --tokenizer "$work/latin.txt"
refuses 2 "expected at least one" "$work/new"
refuses 2 "NAME=PATH" "$work/new" --domain src
refuses 2 "given twice" "$work/new" --domain c=src --domain c=tests
refuses 2 "exclude each other" "$work/new" --domain c=src --vocab 500 --tokenizer t.model
refuses 2 "--vocab" "$work/new" --domain c=src --vocab many

[ "$failures" -eq 0 ]
