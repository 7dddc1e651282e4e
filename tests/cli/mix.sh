# Domains drawn by weight: what a training says and logs of it, and that it resumes exactly.
# usage: mix.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/domains.sh"

make_domains
train() {
    code=$1 run=$2
    shift 2
    expect "$code" train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 dtype=f32 steps=10 checkpoint_every=1 keep_checkpoints=20 "$@"
}
last=checkpoints/step-00000010/model.safetensors

train 0 run mix='{text: 4, numbers: 1}'
# The domains stand in the order in which they appear in the shard, which is random.
said() { # PATTERN of each of two domains
    for pattern in "$@"; do grep -Eq "$pattern" "$work/err" || complain "\"$pattern\" is not said: $(cat "$work/err")"; done
}
logged() { # RECORD PATTERN…
    record=$1
    shift
    for pattern in "$@"; do
        grep "$record" "$work/run/log.jsonl" | grep -Eq "$pattern" || complain "the log lacks \"$pattern\""
    done
}
said '^mix: .*text 80 % \(of [0-9.]+ M tokens of text\)' '^mix: .*numbers 20 % \('
said '^drawn: .*text 80 % \(0\.000512 M tokens, [0-9.]+ times its text\)' '^drawn: .*numbers 20 % \(0\.000128 M tokens'
logged '"record":"header"' '"mix":{.*"text":0\.8' '"mix":{.*"numbers":0\.(2|19)'
logged '"step":5,' '"drawn":{.*"text":256' '"drawn":{.*"numbers":64'
grep -q '^  mix: {text: 4, numbers: 1}$' "$work/run/config.yaml" || complain "no mix in config.yaml"
grep '"record":"step"' "$work/run/log.jsonl" | sed 's/,"seconds.*"drawn"/,"drawn"/' >"$work/steps"
cp "$work/run/$last" "$work/whole"

rm -r "$work/run/checkpoints/step-00000010" "$work/run/checkpoints/step-0000000"[4-9]
expect 0 train "$work/run" --resume
grep '"record":"step"' "$work/run/log.jsonl" | sed 's/,"seconds.*"drawn"/,"drawn"/' | cmp -s - "$work/steps" ||
    complain "the steps after resuming are others"
cmp -s "$work/run/$last" "$work/whole" || complain "the weights after resuming are others"
expect 2 train "$work/run" --resume steps=12 mix='{text: 1, numbers: 1}'
says err "mix {text: 4, numbers: 1} -> {text: 1, numbers: 1}; --allow-changes"
expect 0 train "$work/run" --resume steps=12 mix='{text: 1, numbers: 1}' --allow-changes

train 0 plain
! grep -q '"drawn"\|"mix"' "$work/plain/log.jsonl" || complain "drawn by domain without a mix"
cmp -s "$work/plain/$last" "$work/whole" && complain "the mix changed nothing"
train 2 new mix='{text: 1, nubmers: 1}'
says err "mix: unknown domain nubmers; the domains of $work/data are "
train 2 new mix='{text: 0}'
train 2 new mix='{text: -1}'
says err "text: expected a number from 0 to 1e+09, found \`-1\`"
[ ! -e "$work/new" ] || complain "a refused mix left a folder"
expect 0 pack "$work/run" --calibration 1

[ "$failures" -eq 0 ]
