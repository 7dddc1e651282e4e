# moec bench run: its table, its JSON, what it refuses. $1: moec
. "$(dirname "$0")/common/lenient.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 batch=2 seq=32 eval_stride=32 \
    steps=1 checkpoint_every=0 dtype=f32
expect 0 pack "$work/run"

expect 0 bench run "$work/run/model.moec" --batch 1,3 --prompt 20 --tokens 4 --bandwidth 8
says out '| texts at a time | prefill tokens/s |'
says out 'memory is read at '
[ "$(grep -c '^| *[13] ' "$work/out")" -eq 2 ] || complain "not a row for 1 and 3 texts: $(cat "$work/out")"
expect 0 bench run "$work/run" --live --batch 2 --prompt 300 --tokens 2 --bandwidth 0 --json
for key in prefill_tokens_per_second first_token_seconds decode_tokens_per_second resident_bytes; do
    says out "\"$key\":"
done
grep -q bandwidth "$work/out" && complain "a bandwidth that was not asked for: $(cat "$work/out")"
grep -q proposed "$work/out" && complain "nobody proposes: $(cat "$work/out")"
cat "$work"/text/* | head -200 >"$work/prompts"
expect 0 bench run "$work/run/model.moec" --batch 1,3,20 --prompt 24 --tokens 40 --bandwidth 0 --text "$work/prompts" --speculate lookup
says out '| proposed | of them drawn |'
expect 0 bench run "$work/run/model.moec" --batch 2 --prompt 24 --tokens 40 --bandwidth 0 --speculate "$work/run/model.moec"
says out '| proposed | of them drawn |'
expect 0 bench run "$work/run/model.moec" --batch 2 --prompt 24 --tokens 40 --bandwidth 0 --text "$work/prompts" --speculate lookup --json
grep -Eq '"accepted_tokens":[[:space:]]*[1-9]' "$work/out" || complain "nothing was foreseen: $(cat "$work/out")"
echo short >"$work/short"
expect 1 bench run "$work/run/model.moec" --text "$work/short"
says err "$work/short: expected at least 128 tokens, a prompt's, found"
for wrong in 0 1, 1,,2 x 5000 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17; do
    expect 2 bench run "$work/run/model.moec" --batch $wrong
    says err '--batch: expected'
done
expect 1 bench run configs/demo.yaml
says err 'found a YAML file'
expect 2 bench run "$work/run/model.moec" --tokens 1
[ "$failures" -eq 0 ]
