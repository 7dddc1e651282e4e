# moec train with experts on different ranks: any product of data and expert ranks has the weights, averages, optimisers and losses of one
# process; a run goes on in another layout; what cannot be spread is refused in one line.
# usage: ranks_experts.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/ranks.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1

# Ranks, and of these so many with the experts between them.
layouts="2:2 4:2 4:4"
looped='events=[{at: 0.30, do: upcycle, layers: [2], experts: 4}, {at: 0.35, do: loop}, {below_lr: 0.15, do: qat, bits: 6}]'

# ---- the looped mixture, upcycled on the way ----
final=50
for type in f32 $(bf16_where_there_is); do
    train 0 1 run="$work/$type" steps=$final dtype="$type" "$looped"
    train 0 2 run="$work/$type-data" steps=$final dtype="$type" "$looped"
    same "$work/$type" "$work/$type-data"
    for layout in $layouts; do
        train 0 ${layout%:*} run="$work/$type-$layout" steps=$final dtype="$type" "$looped" expert_ranks=${layout#*:}
        same "$work/$type" "$work/$type-$layout"
    done
    says err "4 ranks (mpi), experts on 4, each 1 threads"
    final=20
done
grep -q '"expert_ranks":4' "$work/f32-4:4/log.jsonl" || complain "the log does not say how many ranks have the experts"

# ---- a mixture from the start: two experts a token, a shared one, a bias that balances, blocks run again, means in bf16 ----
final=20
sparse="moe_layers=[1,2] moe_num_experts=4 moe_top_k=2 moe_gate=renormalized moe_shared_mult=1 moe_shared_gate=true moe_bias_rate=0.01
moe_z_weight=0.01 moe_noise_std=0.1 looping=true recompute=true matrix_optimizer=adamw state_dtype=bf16 average=swa swa_every=2 events=[] dtype=f32"
# shellcheck disable=SC2086
train 0 1 run="$work/sparse" steps=20 $sparse
for layout in 2:2 4:2; do
    # shellcheck disable=SC2086
    train 0 ${layout%:*} run="$work/sparse-$layout" steps=20 $sparse expert_ranks=${layout#*:}
    same "$work/sparse" "$work/sparse-$layout"
done

# ---- begins with another model's weights, of which the experts stay as they are ----
train 0 1 run="$work/begun" steps=20 init="$work/sparse" dtype=f32 events=[] freeze=[experts]
train 0 2 run="$work/begun-2:2" steps=20 init="$work/sparse" dtype=f32 events=[] freeze=[experts] expert_ranks=2
same "$work/begun" "$work/begun-2:2"

# ---- goes on in another layout, from before and from behind the upcycle ----
final=20
kept="steps=20 dtype=f32 checkpoint_every=5 keep_checkpoints=9"
# shellcheck disable=SC2086
train 0 1 run="$work/whole" $kept "$looped"
# shellcheck disable=SC2086
train 0 4 run="$work/kept" $kept "$looped" expert_ranks=2
same "$work/whole" "$work/kept"
for moves in 05/1:1 05/4:4 10/2:2 10/4:1; do
    step=${moves%/*} layout=${moves#*/}
    rm -rf "$work/moved"
    cp -a "$work/kept" "$work/moved"
    find "$work/moved/checkpoints" -mindepth 1 -maxdepth 1 ! -name "step-000000$step" -exec rm -rf {} +
    # shellcheck disable=SC2086
    train 0 ${layout%:*} run="$work/moved" $kept "$looped" expert_ranks=${layout#*:} --resume
    says err "resumed at step ${step#0}"
    same "$work/whole" "$work/moved"
done

# ---- what cannot be ----
one_line() {
    says err "$1"
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "expected one line of moec's: $(cat "$work/err")"
}
train 2 4 run="$work/refused" expert_ranks=3
one_line "expert_ranks: expected a number that divides the 4 ranks, found 3"
train 2 4 run="$work/refused" expert_ranks=4
one_line "expert_ranks: expected a number that divides the 2 experts, found 4"
train 2 1 run="$work/refused" expert_ranks=2
one_line "expert_ranks: expected a number that divides the 1 rank, found 2"
train 2 2 run="$work/refused" expert_ranks=2 moe_gate=soft
one_line "expert_ranks: expected 1 where every token goes to every expert (moe_gate soft), found 2"
train 2 2 run="$work/refused" expert_ranks=2 events=[]
one_line "expert_ranks: expected 1 for a model without experts, found 2"
[ ! -e "$work/refused" ] || complain "a training that was refused left a folder"

# ---- a rank that hangs while others wait for its tokens ends the job, by its name ----
mkdir "$work/hung"
if command -v pgrep >/dev/null 2>&1; then
    MOEC_RANK_TIMEOUT=4 mpirun --oversubscribe --bind-to none -n 4 "$moec" train configs/test-tiny.yaml data="$work/data" $tiny \
        run="$work/hung" steps=5000 dtype=f32 val_every=0 expert_ranks=4 moe_layers=[2] moe_num_experts=4 events=[] \
        >"$work/out" 2>"$work/err" &
    job=$!
    until grep -q '"record":"step"' "$work/hung/log.jsonl" 2>/dev/null || ! kill -0 "$job" 2>/dev/null; do sleep 0.01; done
    for process in $(pgrep -P "$job"); do
        tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=2" && kill -STOP "$process"
    done
    wait "$job" && complain "a hung rank: mpirun ended with 0"
    grep -q 'rank.* 2.*: not heard from for 4 s (MOEC_RANK_TIMEOUT): the job ends' "$work/err" || complain "not the rank that hangs: $(cat "$work/err")"
fi

# ---- the bench says what goes from rank to rank for the experts ----
ranks 2 bench train configs/test-tiny.yaml --after-events --steps 2 expert_ranks=2 >"$work/out" 2>"$work/err" || complain "bench: $(cat "$work/err")"
says out "experts on 2 ranks"

[ "$failures" -eq 0 ]
