# A teacher's cache: what it says, that it goes on after a kill to the same bytes, and what is refused.
# usage: teach.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

one_line() { [ "$(wc -l <"$work/err")" -eq 1 ] || complain "not one line: $(cat "$work/err")"; }

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 model_dim=32 rope_dims=8 \
    batch=2 seq=32 eval_stride=32 dtype=f32 steps=4

expect 0 teach "$work/run" --data "$work/data" -o "$work/whole" --held-out --dtype f32
for word in teacher text windows cache "taught now" "the top"; do says out "$word "; done
says out "in 2 shards"
says out "bytes a token"
says err "results in $work/whole"
for part in train val; do
    [ -s "$work/whole/data_${part}_000000.teacher" ] || complain "no file of the $part shard"
done
[ ! -e "$work/whole/lock" ] || complain "a lock is left"

# ---- JSON is UTF-8, whatever the bytes of a path ----
odd=$work/$(printf 'odd\377')
expect 0 teach "$work/run" --data "$work/data" -o "$odd" --dtype f32 --json
says out "$(printf '"%s/odd\357\277\275"' "$work")"

# ---- stopped at any moment, it goes on to the same bytes ----
for seconds in 0.05 0.15 0.3 0.6; do
    "$moec" teach "$work/run" --data "$work/data" -o "$work/cut" --held-out --dtype f32 --json >/dev/null 2>&1 &
    sleep $seconds
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
done
expect 0 teach "$work/run" --data "$work/data" -o "$work/cut" --held-out --dtype f32 --json
says out '"top":'
says out '"tokens_per_second":'
rm -f "$work/cut/lock" # of a killed process
diff -r "$work/whole" "$work/cut" >/dev/null || complain "a killed teaching left other bytes"
mv "$work/cut/data_train_000000.teacher" "$work/cut/data_train_000000.teacher.part"
truncate -s 30000 "$work/cut/data_train_000000.teacher.part"
expect 0 teach "$work/run" --data "$work/data" -o "$work/cut" --held-out --dtype f32
diff -r "$work/whole" "$work/cut" >/dev/null || complain "what was cut became other bytes"
expect 0 teach "$work/run" --data "$work/data" -o "$work/cut" --held-out
says out "nothing: all of it was there"

# ---- a full disk: what was written stays, and it goes on ----
MOEC_FAIL_WRITE_AFTER=2000 expect 1 teach "$work/run" --data "$work/data" -o "$work/full" --held-out --dtype f32
says err "No space left on device"
expect 0 teach "$work/run" --data "$work/data" -o "$work/full" --held-out --dtype f32
diff -r "$work/whole" "$work/full" >/dev/null || complain "a full disk left other bytes"

# ---- refused, each in one line ----
refuse() { # STATUS MESSAGE arguments…
    wanted_message=$2
    expect "$1" teach "$3" --data "$4" -o "$5" $6
    one_line
    says err "$wanted_message"
}
refuse 1 "has the top 20 of each token, expected the top 5" "$work/run" "$work/data" "$work/cut" "--top 5"
refuse 1 "made in windows of 32 by 32 tokens, expected 16 by 16" "$work/run" "$work/data" "$work/cut" "--seq 16"
refuse 2 "expected the name of a folder, found an empty one" "$work/run" "$work/data" "" ""
refuse 2 "--stride: expected at most 32" "$work/run" "$work/data" "$work/new" "--stride 33"
refuse 2 "--top: expected an integer from 1 to 256" "$work/run" "$work/data" "$work/new" "--top 300"
refuse 1 "$work/none" "$work/run" "$work/none" "$work/new" ""
refuse 2 "--held-out: expected --data with a folder" "$work/run" "$work/data/data_val_000000.bin" "$work/new" "--held-out"
refuse 1 "expected a folder" "$work/run" "$work/data" "$work/text/0.txt" ""
expect 2 teach "$work/run" --data "$work/data"
one_line
says err "expected -o"
expect 2 teach "$work/run" -o "$work/new"
one_line
says err "expected --data"
expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/other" vocab_size=320 model_dim=32 rope_dims=8 \
    batch=2 seq=32 eval_stride=32 dtype=f32 steps=4 seed=2
refuse 1 "made by another teacher" "$work/other" "$work/data" "$work/cut" ""
expect 0 data "$work/another" --domain "text=$work/text" --vocab 300 --heldout 0.1
refuse 1 "its tokens are not those of the teacher" "$work/run" "$work/another" "$work/new" ""
[ ! -e "$work/new" ] || complain "what was refused left a folder"

[ "$failures" -eq 0 ]
