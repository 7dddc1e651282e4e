# moec study, and moec pack that shares bytes out: tables and plots of a tiny run, a study that goes on, recipes and budgets.
# usage: study.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() { grep -qF -e "$2" "$work/$1" || die "$1 lacks \"$2\": $(cat "$work/$1")"; }

write_text "$work/text" 60
expect 0 "$moec" data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.3
run=$work/run
expect 0 "$moec" train configs/test-tiny.yaml model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 dtype=f32 \
    calibration_batches=2 data="$work/data" vocab_size=320 run="$run" steps=8

# ---- pack ----
expect 0 "$moec" pack "$run" -o "$work/a.moec" --bits 3.5
says out "shared out by what errors do to the loss, quantiser trellis"
says out "a further 1,000 bytes"
[ -s "$work/a.moec.candidates" ] || die "no candidates were kept"
bytes=$(wc -c <"$work/a.moec" | tr -d ' ')
expect 0 "$moec" pack "$run" -o "$work/a.moec" --budget "${bytes}B" --verbose
[ "$(wc -c <"$work/a.moec")" -le "$bytes" ] || die "larger than the budget"
says out "blocks.0.attn.c_q.weight"
expect 0 "$moec" pack "$run" -o "$work/a.moec" --budget "$((bytes / 1000))000"
cp "$work/a.moec" "$work/thousands.moec"
expect 0 "$moec" pack "$run" -o "$work/a.moec" --budget "$((bytes / 1000))kB"
cmp "$work/a.moec" "$work/thousands.moec" || die "a budget in kB is another one"
expect 0 "$moec" eval "$work/a.moec" --data "$work/data" --tokens 500
expect 0 "$moec" pack "$run" -o "$work/a.moec" --bits 3.5 --sample 4096 # other candidates than those that are there
expect 2 "$moec" pack "$run" -o "$work/a.moec" --sample 4096
says err "--sample is a part of what shares bytes out"
printf -- '- {component: attention, float16: true}\n' >"$work/recipe.yaml"
expect 0 "$moec" pack "$run" -o "$work/b.moec" --bits 3 --recipe "$work/recipe.yaml" --verbose
grep -q 'attn.c_q.weight *float16' "$work/out" || die "the recipe was not kept"
printf -- '- {name: "*", rate: 3}\n' >"$work/recipe.yaml"
expect 0 "$moec" pack "$run" -o "$work/given.moec" --bits 5 --recipe "$work/recipe.yaml" --verbose
grep -q 'attn.c_q.weight *trellis *3.00 ' "$work/out" || die "the rate is not the recipe's"
[ -s "$work/given.moec.candidates" ] && die "rates that were given have been measured"
# What such a file takes is found out by building it: the dial alone refuses none that fits, and passes none that does not.
printf -- '- {name: "*", rate: 8}\n' >"$work/recipe.yaml"
expect 0 "$moec" pack "$run" -o "$work/given.moec" --bits 8 --recipe "$work/recipe.yaml"
found=$(sed -n 's/^  all matrices, all in *\([0-9.]*\) .*/\1/p' "$work/out")
more=$(awk -v x="$found" 'BEGIN { print x + 0.01 }') less=$(awk -v x="$found" 'BEGIN { print x - 0.5 }')
awk -v x="$more" 'BEGIN { exit !(x < 8) }' || die "expected less than the dial's 8 bits, found $found"
expect 0 "$moec" pack "$run" -o "$work/given.moec" --bits "$more" --recipe "$work/recipe.yaml"
expect 1 "$moec" pack "$run" -o "$work/less.moec" --bits "$less" --recipe "$work/recipe.yaml"
says err 'bits a weight, which the coarsest grids need here'
[ -e "$work/less.moec" ] && die "bits that cannot be met left a file"
printf -- '- {component: bigram, bits: 3}\n- {name: "nobody.*", bits: 3}\n' >"$work/recipe.yaml"
expect 2 "$moec" pack "$run" -o "$work/c.moec" --bits 3 --recipe "$work/recipe.yaml"
[ -e "$work/c.moec" ] && die "a recipe that is refused left a file"
expect 1 "$moec" pack "$run" -o "$work/c.moec" --budget 4K
says err "expected a budget of at least about"
[ -e "$work/c.moec" ] && die "a budget that cannot be met left a file"
expect 2 "$moec" pack "$run" --bits 3 --grid 4
says err "expected one of the two ways"
expect 2 "$moec" pack "$run" --bits 9
for bytes in -1 nan 4e6 1.5 10000000T 16M/s; do
    expect 2 "$moec" pack "$run" --budget=$bytes
    says err "--budget: expected bytes from 0 to 9223372036854775807, such as 16000000, 150M, 1.5GB or 64KiB, found \`$bytes\`"
done
expect 2 "$moec" pack "$run" --bits 3 --quantizer magic
says err "expected one of round, gptq"

# ---- study ----
expect 0 "$moec" study "$run" --tokens 300 --bits 2,4
for part in "Bits of attention and of MLPs" attn5_mlp4 "Bits per byte against bytes" "rate-distortion limit" \
    "The hidden state against" "block 1, pass 2" "The gap of #2102 taken apart" "foretold by the sensitivities"; do says out "$part"; done
for file in study.md study.json five.tsv curve.tsv layers.tsv; do [ -s "$run/study/$file" ] || die "no $file"; done
cp "$work/out" "$work/first"
expect 0 "$moec" study "$run" --tokens 300 --bits 2,4 # nothing is measured again
cmp "$work/first" "$work/out" || die "a second study says other things"
# ---- the gap ----
looped=$work/looped # with the upcycling before its second checkpoint, so that the average has a way
expect 0 "$moec" train configs/test-tiny.yaml model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 dtype=f32 \
    calibration_batches=2 data="$work/data" vocab_size=320 run="$looped" steps=12 checkpoint_every=2 keep_checkpoints=9
expect 0 "$moec" study "$looped" --gap --tokens 300
for part in "The gap of #2102 taken apart" "the script's way" "the average in float32" "no floor under scales" \
    "embedding under its statistics" "Hessians of routed tokens" "clipped by what GPTQ leaves" "small matrices on grids" \
    "straight lines between the run's" "block 1, pass 2"; do says out "$part"; done
for file in gap.tsv gap-layers.tsv; do [ -s "$looped/study/$file" ] || die "no $file"; done
last=$(grep -E '^\| (bits and steps|live weights)' "$work/out" | tail -n 1)
expect 0 "$moec" pack "$looped" --uniform -o "$work/uniform.moec"
bytes=$(wc -c <"$work/uniform.moec" | tr -d ' ' | sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta')
case $last in *" $bytes "*) ;; *) die "the last row is not moec pack's $bytes bytes: $last" ;; esac
expect 0 "$moec" pack "$looped" --record -o "$work/record.moec"
cmp -s "$work/record.moec" "$work/uniform.moec" && die "--record changes nothing"
expect 2 "$moec" pack "$looped" --record --bits 3
expect 0 "$moec" train configs/test-tiny.yaml model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 dtype=f32 \
    calibration_batches=2 data="$work/data" vocab_size=320 run="$work/pruned" steps=2 prune_fraction=0.4 gptq_damp=0.05
expect 0 "$moec" pack "$work/pruned" --uniform
says out "pruned to 0"
grep -q -e --record "$work/out" && die "settings are overruled without --record"
expect 0 "$moec" pack "$work/pruned" --record
grep -q '^--record, not the run.s settings: .*gptq_damp 0.05 -> 0.01, prune_fraction 0.4 -> 0,' "$work/out" ||
    die "--record does not say what it overrules: $(cat "$work/out")"
grep -q "pruned to 0" "$work/out" && die "--record prunes as the run says"
expect 0 "$moec" train configs/test-tiny.yaml model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 dtype=f32 \
    calibration_batches=2 data="$work/data" vocab_size=320 run="$work/one" steps=8 keep_checkpoints=1
expect 0 "$moec" study "$work/one" --gap --tokens 300
says out "no older checkpoint"
says out "the script's way, average in float32"
expect 2 "$moec" study "$run" --bits 2,9
expect 2 "$moec" study "$run" --bits x
expect 1 "$moec" study "$work/nowhere"
