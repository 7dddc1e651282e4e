# moec tokenize: ids, pieces, control tokens and back; standard input, parts of a long text, wrong arguments and wrong files.
# usage: tokenize.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

cat >"$work/tokenizer.json" <<'JSON'
{"added_tokens": [{"id": 5, "content": "<|x|>", "special": true}],
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ċ": 4, "Ġab": 6}, "merges": ["a b", "Ġ ab"]}}
JSON
is() { [ "$(cat "$work/out")" = "$1" ] || complain "found $(cat "$work/out"), expected $1"; }

printf 'ab ab<|x|>b\n' >"$work/text" # of "<|x|>" as text no character has a token
for model in "$work/tokenizer.json" "$work"; do
    expect 0 tokenize "$model" "$work/text"
    is '2 6 1 4'
    says err '4 tokens, 12 bytes, 3.00 bytes a token'
done
expect 0 tokenize "$work" "$work/text" --special
is '2 6 5 1 4'
expect 0 tokenize "$work" "$work/text" --special --pieces
is "$(printf '2\tab\n6\tĠab\n5\t<|x|>\n1\tb\n4\tĊ')"
"$moec" tokenize "$work" --ids <"$work/text" >"$work/out" 2>"$work/err" || complain "standard input: $(cat "$work/err")"
is '2 6 1 4'
echo '2, 6 5 1 4' | "$moec" tokenize "$work" - --decode >"$work/out" 2>"$work/err" || complain "--decode: $(cat "$work/err")"
is 'ab abb'

# Several megabytes, encoded in parts, are what they are at once.
line='ab ab b a ab'
yes "$line" | head -n 300000 >"$work/long"
expect 0 tokenize "$work" "$work/long"
mv "$work/out" "$work/ids"
[ "$(tr ' ' '\n' <"$work/ids" | grep -c '^4$')" -eq 300000 ] || complain 'line ends are missing'
expect 0 tokenize "$work" --decode "$work/ids"
cmp -s "$work/long" "$work/out" || complain 'the long text does not come back'

expect 2 tokenize
expect 2 tokenize "$work" "$work/text" --ids --pieces
says err 'exclude each other'
expect 2 tokenize "$work" "$work/text" --decode --special
expect 1 tokenize "$work/absent" "$work/text"
says err 'absent'
expect 1 tokenize "$work" "$work/absent"
says err 'absent'
echo '2 x' | "$moec" tokenize "$work" --decode >"$work/out" 2>"$work/err" && complain 'x is no id'
says err 'expected token ids from 0 to 2147483647, found another at id 1'
echo '2 2000000000' | "$moec" tokenize "$work" --decode >"$work/out" 2>"$work/err" && complain 'an id beyond the vocabulary is no text'
says err "expected token ids below the vocabulary's 7, found 2000000000 at id 1"
echo '{"model": {"type": "WordPiece", "vocab": {}}}' >"$work/tokenizer.json"
expect 1 tokenize "$work" "$work/text"
says err 'expected a model of type BPE, found WordPiece'
[ "$failures" -eq 0 ]
