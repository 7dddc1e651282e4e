# moec pack --low-rank: corrections that matrices of a run get where they are worth their bytes, what the report says of them, what reads
# the file, and what is refused.
# usage: low_rank.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/llama.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
write_llama false 80 0
expect 0 train "$work/llama.yaml" steps=80

bytes_of() { wc -c <"$1" | tr -d ' '; }
# below A B: whether A < B, both of them numbers
below() { [ -n "$1" ] && [ -n "$2" ] && awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
# "name coding" of the matrices that the report shows with a correction
corrected() { sed -n 's/^  \([^ ]*\.weight\) *\([a-z]*+[0-9]*\) .*/\1 \2/p' "$work/out"; }
foretold() { sed -n 's/^  expected loss *+*\([-0-9.]*\) .*/\1/p' "$work/out"; }

# ---- all matrices at 2 bits, and bytes for twice as many: what is left goes to corrections ----
echo '- {up_to: 1000000, rate: 2}' >"$work/recipe.yaml"
pack_with() { # NAME options…
    name=$1
    shift
    expect 0 pack "$work/run" -o "$work/$name.moec" --bits 4 --quantizer round --calibration 2 --recipe "$work/recipe.yaml" --verbose "$@"
}
pack_with plain
[ -z "$(corrected)" ] || complain "corrections without --low-rank: $(corrected)"
loss=$(foretold)
pack_with none --low-rank 0
cmp "$work/plain.moec" "$work/none.moec" || complain "--low-rank 0 makes another file"
pack_with corrected --low-rank 16
[ "$(corrected | wc -l)" -ge 5 ] || complain "next to no corrections: $(cat "$work/out")"
corrected | grep -q ' round+16$' || complain "no correction of rank 16: $(corrected)"
corrected | grep -Eqv ' round\+(16|4|1|10|2)$' && complain "ranks that are no 16, 4 or 1, and of matrices of 16 rows no 10 or 2: $(corrected)"
below "$(foretold)" "$loss" || complain "expected loss $(foretold), without corrections $loss"
below "$(sed -n 's/^  all matrices, all in *\([0-9.]*\) .*/\1/p' "$work/out")" 4.0001 || complain "more than 4 bits: $(cat "$work/out")"

# ---- a budget ----
budget=$(($(bytes_of "$work/plain.moec") + 3000))
expect 0 pack "$work/run" -o "$work/budget.moec" --budget $budget --quantizer round --low-rank 4 --calibration 2 --recipe "$work/recipe.yaml" --verbose
[ "$(bytes_of "$work/budget.moec")" -le $budget ] || complain "larger than the budget"
corrected | grep -q ' round+[14]$' || complain "no correction in a budget of $budget: $(cat "$work/out")"

# ---- a recipe that means nothing of the model is refused before what takes long ----
echo '- {component: router, layers: [77], bits: 3}' >"$work/wrong.yaml"
expect 2 pack "$work/run" -o "$work/wrong.moec" --bits 4 --quantizer round --calibration 2 --recipe "$work/wrong.yaml"
says err 'wrong.yaml:1: expected a rule that names a matrix'
grep -q calibrate "$work/err" && complain "calibrated for a recipe that is wrong: $(cat "$work/err")"

# ---- a recipe: of some alone ----
echo '- {name: lm_head.weight, rank: 8, rank_bits: 6}' >>"$work/recipe.yaml"
pack_with head
[ "$(corrected)" = "lm_head.weight round+8" ] || complain "not the head alone has a correction of rank 8: $(corrected)"

# ---- what reads the file ----
measure() { # MODEL: bits per byte of the held-out text
    expect 0 eval "$1" --data "$work/data" --dtype f32 --json
    tr -d ' \n\t' <"$work/out" | sed 's/.*"\(live\|model\)":{"all":\([0-9.]*\).*/\2/'
}
live=$(measure "$work/run") plain=$(measure "$work/plain.moec") bpb=$(measure "$work/corrected.moec")
below "$bpb" "$plain" || complain "corrections lose more: live $live, without $plain, with $bpb bits per byte"
expect 0 export "$work/corrected.moec" -o "$work/hf" --to llama --type f32
other=$(measure "$work/hf")
below "$bpb" "$(awk "BEGIN { print $other + 1e-5 }")" && below "$other" "$(awk "BEGIN { print $bpb + 1e-5 }")" ||
    complain "its export has $other bits per byte, the file $bpb"
for bits in stored 8 4 exact; do
    expect 0 generate "$work/corrected.moec" 'the cat' --tokens 10 --run-bits $bits
    says out 'the cat'
done
inspected() { # NAME: bytes of the head
    expect 0 inspect "$work/$1.moec"
    sed -n 's/^  head  *1 .* \([0-9,]*\)$/\1/p' "$work/out" | tr -d ,
}
below "$(inspected plain)" "$(inspected corrected)" || complain "inspect counts no bytes of the head's correction"
expect 0 inspect "$work/corrected.moec"
says out "$(bytes_of "$work/corrected.moec" | sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta')"

# ---- a recipe that leaves no grid has nothing to share out, and a file all the same ----
echo '- {name: "*", float16: true}' >"$work/floats.yaml"
expect 0 pack "$work/run" -o "$work/floats.moec" --budget 1000000 --recipe "$work/floats.yaml"
[ -s "$work/floats.moec" ] || complain "no file of float16"

# ---- what is refused, in one line and with nothing left ----
refused() { # MESSAGE options…
    message=$1
    shift
    expect 2 pack "$work/run" -o "$work/refused.moec" "$@"
    says err "$message"
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "$*: not one line: $(cat "$work/err")"
    [ ! -e "$work/refused.moec" ] || complain "$*: left a file"
}
for rank in -1 1025 1.5 x nan 99999999999999999999; do
    refused "--low-rank: expected an integer from 0 to 1024, found \`$rank\`" --bits 4 --low-rank=$rank
done
for grids in '' --uniform --round --record '--grid 4'; do
    # shellcheck disable=SC2086
    refused "--low-rank is a part of what shares bytes out: expected --bits or --budget" --low-rank 4 $grids
done
refused "expected nothing pruned beside corrections, found prune_fraction 0.2" --bits 4 --low-rank 4 --prune 0.2 --calibration 1

[ "$failures" -eq 0 ]
