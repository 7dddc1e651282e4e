# moec train under mpirun: 1, 2 and 4 ranks have the same weights, averages, optimisers and losses; a run goes on with another
# number of ranks; what ranks must share is refused where it differs.
# usage: ranks.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/ranks.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1

# ---- the same bits: an upcycle, a loop and late QAT, an average, looks at held-out text ----
for type in f32 $(bf16_where_there_is); do
    for n in 1 2 4; do train 0 $n run="$work/$type-$n" steps=20 dtype="$type"; done
    same "$work/$type-1" "$work/$type-2"
    same "$work/$type-1" "$work/$type-4"
done
grep -q '"ranks":4' "$work/f32-4/log.jsonl" || complain "the log does not say how many ranks there were"
says err "4 ranks (mpi), each 1 threads"
[ "$(grep -c 'checkpoint saved' "$work/err")" -eq 2 ] || complain "not rank 0 alone says what happens: $(cat "$work/err")"

# ---- means in bf16, a matrix less; a step's events move means to other ranks ----
for n in 1 4; do train 0 $n run="$work/adam-$n" steps=20 dtype=f32 matrix_optimizer=adamw state_dtype=bf16 average=swa swa_every=2; done
same "$work/adam-1" "$work/adam-4"

# ---- goes on with another number of ranks, from before and from behind the upcycle ----
train 0 4 run="$work/kept" steps=20 dtype=f32 checkpoint_every=5 keep_checkpoints=9
same "$work/f32-1" "$work/kept"
for n in 1 2 4; do
    for step in 05 10; do
        rm -rf "$work/moved"
        cp -a "$work/kept" "$work/moved"
        find "$work/moved/checkpoints" -mindepth 1 -maxdepth 1 ! -name "step-000000$step" -exec rm -rf {} +
        train 0 $n run="$work/moved" steps=20 dtype=f32 checkpoint_every=5 keep_checkpoints=9 --resume
        says err "resumed at step ${step#0}"
        same "$work/f32-1" "$work/moved"
    done
done
train 0 2 run="$work/kept" steps=20 dtype=f32 checkpoint_every=5 keep_checkpoints=9 --resume
says out "finished at step 20 already"

# ---- the bench says what ranks cost ----
ranks 2 bench train configs/test-tiny.yaml --steps 2 >"$work/out" 2>"$work/err" || complain "bench: $(cat "$work/err")"
says out "sending and waiting"
says out "computing meanwhile"
for n in 1 2 4; do
    ranks $n bench train configs/test-tiny.yaml --steps 2 --json >"$work/out" 2>"$work/err" || complain "bench, $n ranks: $(cat "$work/err")"
    # With several ranks gradients are under way for a while, of which it cannot compute for more than all; alone nothing is.
    sed 's/.*"ranks":\([0-9]*\),.*"reducing_seconds":\([^,]*\),"behind_seconds":\([^,]*\),"overlap":\([^,]*\),.*/\1 \2 \3 \4/' "$work/out" |
        awk -v n=$n '{ok = $1 == n && (n == 1 ? $2 == 0 && $3 == 0 : $2 > 0 && $3 > 0 && $3 <= $2) && $4 <= 1} END {exit !ok}' ||
        complain "bench, $n ranks: $(cut -c -600 "$work/out")"
done

[ "$failures" -eq 0 ]
