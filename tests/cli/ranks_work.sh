# What else several processes do together under mpirun: eval has the figures of one process, teach writes its bytes, sweep makes its runs.
# usage: ranks_work.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/ranks.sh"

write_text "$work/text" 40
mkdir "$work/more"
for file in "$work/text"/1?.txt; do sed 's/birds/fish/g; s/likes/dislikes/g' "$file" >"$work/more/${file##*/}"; done
expect 0 data "$work/data" --domain "text=$work/text" --domain "more=$work/more" --vocab 320 --heldout 0.2
train 0 1 run="$work/run" steps=8 dtype=f32
expect 0 pack "$work/run" --uniform

# together STATUS N arguments…: output in $work/out and $work/err
together() {
    wanted=$1 many=$2
    shift 2
    ranks "$many" "$@" >"$work/out" 2>"$work/err"
    found=$?
    [ "$found" -eq "$wanted" ] || complain "$many ranks, $*: exit $found, expected $wanted: $(cat "$work/err")"
}
# as_one NAME N: the output is that of one process, without its seconds
as_one() {
    sed '/seconds/d' "$work/out" >"$work/$1-$2"
    [ "$2" -eq 1 ] || cmp "$work/$1-1" "$work/$1-$2" || complain "$1: $2 ranks found something else: $(diff "$work/$1-1" "$work/$1-$2" | head -5)"
    [ -s "$work/$1-$2" ] || complain "$1: $2 ranks said nothing"
}

# ---- eval: more windows than ranks, fewer than ranks, a sample, files, llama.cpp's chunks ----
for n in 1 2 4; do
    together 0 $n eval "$work/run" --dtype f32 --seq 16 --stride 8 --json
    as_one run $n
    sed '/seconds/d' "$work/run/summary.json" >"$work/out"
    as_one summary $n
    together 0 $n eval "$work/run/model.moec" --dtype f32 --json
    as_one artifact $n
    together 0 $n eval "$work/run/model.moec" --dtype f32 --tokens 300 --seq 16 --json
    as_one sample $n
    together 0 $n eval "$work/run/model.moec" --dtype f32 --text "$work/more/11.txt" --json
    as_one file $n
    cat "$work/text"/?.txt >"$work/all.txt"
    together 0 $n eval "$work/run/model.moec" --dtype f32 --text "$work/all.txt" --protocol llama.cpp --seq 8 --json
    as_one chunks $n
done
grep -q '"chunk_losses":' "$work/chunks-1" || complain "eval does not say what each chunk lost"
grep -q '"entropy' "$work/run-1" || complain "eval of a mixture says nothing of its routers"

# ---- teach: the bytes of one process, also where several of them go on with what one began ----
for n in 1 2 3; do
    together 0 $n teach "$work/run" --data "$work/data" -o "$work/cache-$n" --held-out --dtype f32 --seq 16 --batch 3 --top 5
    for file in "$work/cache-1"/*.teacher; do
        cmp "$file" "$work/cache-$n/${file##*/}" || complain "teach: $n ranks wrote another ${file##*/}"
    done
done
says out "taught now"
# A disk that is full after so many bytes of each process: what is there stays, and another number of ranks goes on.
for n in 3 2 1; do
    rm -rf "$work/full"
    MOEC_FAIL_WRITE_AFTER=9000 together 1 $n teach "$work/run" --data "$work/data" -o "$work/full" --held-out --dtype f32 --seq 16 --batch 3 --top 5
    says err "No space left on device"
    ls "$work/full"/*.part >"$work/out" 2>&1 || complain "teach, $n ranks: a full disk left no part of a cache"
    for goes_on in 2 1 3; do
        rm -rf "$work/copy"
        cp -a "$work/full" "$work/copy"
        together 0 $goes_on teach "$work/run" --data "$work/data" -o "$work/copy" --held-out --dtype f32 --seq 16 --batch 3 --top 5
        for file in "$work/cache-1"/*.teacher; do
            cmp "$file" "$work/copy/${file##*/}" || complain "teach: $goes_on ranks went on after $n to another ${file##*/}"
        done
        [ ! -e "$work/copy/lock" ] && ! ls "$work/copy" | grep -q part || complain "teach: something is left: $(ls "$work/copy")"
    done
done
together 0 2 teach "$work/run" --data "$work/data" -o "$work/cache-1" --held-out --dtype f32 --seq 16 --batch 3 --top 5
says out "nothing: all of it was there"

# ---- pack: candidates that ranks measured, and one process; what is measured is kept, and not measured again ----
# Layers 1 and 2 are looped, 2 is a mixture: their Hessians are of both passes.
expect 0 inspect "$work/run/model.moec"
says out "layers 1 to 2 in 2 passes"
for n in 1 2 3; do
    together 0 $n pack "$work/run" --bits 4 --quantizer gptq --calibration 2 --dtype f32 -o "$work/packed-$n.moec"
    [ "$(sort "$work/packed-$n.moec.candidates" | cksum)" = "$(sort "$work/packed-1.moec.candidates" | cksum)" ] ||
        complain "pack: $n ranks measured something else"
done
for n in 2 3; do cmp "$work/packed-1.moec" "$work/packed-$n.moec" || complain "pack: $n ranks wrote another file"; done
[ "$(grep -c 'results in' "$work/err")" -eq 1 ] || complain "pack: not rank 0 alone ends it: $(cat "$work/err")"
# With what was measured there rank 0 alone asks for Hessians, and the others help; a plain grid everywhere, GPTQ or rounded.
for n in 1 2 4; do
    cp "$work/packed-1.moec.candidates" "$work/again-$n.moec.candidates"
    together 0 $n pack "$work/run" --bits 3 --quantizer gptq --calibration 3 --dtype f32 -o "$work/other-$n.moec"
    together 0 $n pack "$work/run" --bits 4 --quantizer gptq --calibration 2 --dtype f32 -o "$work/again-$n.moec"
    together 0 $n pack "$work/run" --uniform --calibration 5 --dtype f32 -o "$work/uniform-$n.moec"
    together 0 $n pack "$work/run" --round --dtype f32 -o "$work/round-$n.moec"
    together 0 $n pack "$work/run" --record --calibration 3 --dtype f32 -o "$work/record-$n.moec"
    for way in other again uniform round record; do
        cmp "$work/$way-1.moec" "$work/$way-$n.moec" || complain "pack, $way: $n ranks wrote another file"
    done
    cmp "$work/again-1.moec" "$work/packed-1.moec" || complain "pack: what was known made another file"
done
together 1 3 pack "$work/run" --uniform --budget 1000 -o "$work/small.moec"
says err "expected at most 1000 bytes (the budget)"
[ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "expected one line of moec's: $(cat "$work/err")"
together 1 2 pack "$work/run" --budget 10 -o "$work/small.moec"
says err "expected a budget of at least about"
[ ! -e "$work/small.moec" ] || complain "pack: a file that is too large was written"
together 2 2 pack "$work/run" --bits 4 --tune-steps 1 -o "$work/small.moec"
says err "pack: --tune is one process's work"

# ---- sweep: each run is made once, by one rank, and is the run of one process ----
cat >"$work/sweep.yaml" <<END
seeds: [1, 2]
steps: 4
config: $PWD/configs/test-tiny.yaml
common: {data: $work/data, vocab_size: 320, model_dim: 32, rope_dims: 8, batch: 2, seq: 32, eval_stride: 32, accumulate: 1, dtype: f32}
runs:
  - {name: one}
  - {name: other, overrides: {matrix_lr: 0.01}}
  - {name: third, overrides: {matrix_lr: 0.005}}
END
for n in 1 3; do
    together 0 $n sweep "$work/sweep.yaml" --out "$work/sweep-$n"
    [ "$(wc -l <"$work/sweep-$n/results.jsonl")" -eq 6 ] || complain "sweep, $n ranks: not six results"
    [ "$(grep -c 'results in' "$work/err")" -eq 1 ] || complain "sweep, $n ranks: not rank 0 alone ends it: $(cat "$work/err")"
done
for run in one other third; do
    for seed in 1 2; do
        file=$run/seed-$seed/checkpoints/step-00000004/model.safetensors
        cmp "$work/sweep-1/$file" "$work/sweep-3/$file" || complain "sweep: $run, seed $seed is another run"
    done
done
together 0 2 sweep "$work/sweep.yaml" --out "$work/sweep-3"
[ "$(wc -l <"$work/sweep-3/results.jsonl")" -eq 6 ] || complain "sweep: finished runs were made again"

sed 's/matrix_lr: 0.01/expert_ranks: 2/' "$work/sweep.yaml" >"$work/spread.yaml"
for n in 1 2; do
    together 2 $n sweep "$work/spread.yaml" --out "$work/spread"
    says err "spread.yaml:7: run other: expert_ranks: expected 1 in a sweep, each of whose runs is one process's, found 2"
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "expected one line of moec's: $(cat "$work/err")"
    [ ! -e "$work/spread" ] || complain "a sweep that was refused left a folder"
done

# ---- one line, and a failure of all ----
one_line() {
    says err "$1"
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "expected one line of moec's: $(cat "$work/err")"
}
together 1 2 eval "$work/none"
one_line "none"
together 2 2 eval "$work/run" --seqq 3
one_line "--seqq"
together 2 2 eval "$work/run" --trace "$work/trace.csv"
one_line "--trace: is written by one process"
together 2 2 teach "$work/run" --data "$work/data" -o "$work/cache-9" --seq 16 --stride 17
one_line "--stride: expected at most 16"
together 1 2 sweep "$work/none.yaml"
one_line "none.yaml"
for command in "generate $work/run" "inspect configs/demo.yaml" "probe $work/run" "verify $work/run/model.moec" \
    "export $work/run -o $work/x" "study $work/run" "simulate configs/demo.yaml configs/machines/h100.yaml"; do
    # shellcheck disable=SC2086
    together 2 2 $command
    one_line "${command%% *}: works in one process"
done
mpirun --oversubscribe --bind-to none -n 3 sh -c "exec \$0 eval $work/run --seq \$((16 + 8 * (OMPI_COMM_WORLD_RANK == 1)))" "$moec" \
    >"$work/out" 2>"$work/err" && complain "ranks with different options went on"
one_line "rank 1: another command line than rank 0"

[ "$failures" -eq 0 ]
