# moec data: what it writes, that it is repeatable, and what it refuses. $1: moec
moec=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

complain() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# expect STATUS arguments…: runs moec data, keeps its output in $scratch/out and $scratch/err
expect() {
    wanted=$1
    shift
    "$moec" data "$@" >"$scratch/out" 2>"$scratch/err"
    found=$?
    [ "$found" -eq "$wanted" ] || complain "moec data $*: exit $found, expected $wanted: $(cat "$scratch/err")"
}
says() { grep -qF -e "$2" "$scratch/$1" || complain "$1 lacks \"$2\": $(cat "$scratch/$1")"; }
refuses() { # STATUS MESSAGE arguments…: one line, and nothing is left behind
    wanted=$1 message=$2
    shift 2
    expect "$wanted" "$@"
    says err "$message"
    set -- "$scratch"/new*
    [ ! -e "$1" ] || complain "$1 was left behind"
}

# The source code of moec is text that is always there.
expect 0 "$scratch/a/" --domain c=src --domain=tests=tests --vocab 800 --max-bytes 200000 --heldout 0.1
says out "bytes/token"
for name in a_train_000000.bin a_train_000000.docs.tsv a_val_000000.bin a_val_000000.docs.tsv heldout.txt \
    tokenizer.model data.json; do
    [ -s "$scratch/a/$name" ] || complain "$name is missing"
done
[ "$(awk -F '\t' '{ bytes += $3 } END { print bytes }' "$scratch/a/a_val_000000.docs.tsv")" = \
    "$(wc -c <"$scratch/a/heldout.txt" | tr -d ' ')" ] || complain "the documents' bytes are not those of heldout.txt"
[ "$(cut -f 4 "$scratch/a/a_val_000000.docs.tsv" | uniq | tr '\n' ' ')" = "c tests " ] || complain "order of domains"

# The same seed gives the same bytes, another one another split; what is there is not overwritten by accident.
mkdir "$scratch/again"
expect 0 "$scratch/again/a" --domain c=src --domain tests=tests --vocab 800 --max-bytes 200000 --heldout 0.1
diff -r "$scratch/a" "$scratch/again/a" >&2 || complain "two runs differ"
expect 1 "$scratch/a" --domain c=src
says err "--overwrite replaces it"
expect 0 "$scratch/a" --domain c=src --domain tests=tests --tokenizer "$scratch/again/a/tokenizer.model" --overwrite \
    --max-bytes 200000 --seed 2
cmp -s "$scratch/a/heldout.txt" "$scratch/again/a/heldout.txt" && complain "the seed changes nothing"
cmp "$scratch/a/tokenizer.model" "$scratch/again/a/tokenizer.model" || complain "the tokenizer was changed"
expect 1 "$scratch" --domain c=src --overwrite
says err "data.json to replace"

printf 'abc\377def' >"$scratch/latin.txt"
printf 'Only a few words are here.\n\n%16000s\n\nAnd a few are there.\n' x >"$scratch/few.txt"
: >"$scratch/empty.txt"
refuses 1 "latin.txt: expected UTF-8 text, found the byte 0xFF at byte offset 3" "$scratch/new" --domain "x=$scratch/latin.txt"
refuses 1 "empty.txt: expected text, found an empty file" "$scratch/new" --domain "x=$scratch/empty.txt"
refuses 1 "too small" "$scratch/new" --domain "x=$scratch/few.txt" --heldout 0
refuses 1 "nowhere" "$scratch/new" --domain x=/nowhere
refuses 1 "latin.txt: expected a SentencePiece model" "$scratch/new" --domain c=src --tokenizer "$scratch/latin.txt"
refuses 2 "expected at least one" "$scratch/new"
refuses 2 "NAME=PATH" "$scratch/new" --domain src
refuses 2 "given twice" "$scratch/new" --domain c=src --domain c=tests
refuses 2 "exclude each other" "$scratch/new" --domain c=src --vocab 500 --tokenizer t.model
refuses 2 "--vocab" "$scratch/new" --domain c=src --vocab many

[ "$failures" -eq 0 ]
