# What somebody types who does not know moec yet: each time one line that says what would have been right. $1: moec
. "$(dirname "$0")/common/lenient.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 batch=2 seq=32 eval_stride=32 \
    steps=2 checkpoint_every=0 dtype=f32
expect 0 pack "$work/run"
artifact=$work/run/model.moec

# told STATUS MESSAGE arguments…
told() {
    wanted=$1 message=$2
    shift 2
    expect "$wanted" "$@" </dev/null
    [ "$(wc -l <"$work/err")" -eq 1 ] || complain "moec $*: not one line: $(cat "$work/err")"
    says err "$message"
}

# ---- options: misspelt, without their value, with one too many, by another program's name, keys with dashes ----
told 2 'generate: unknown option --tokns; the nearest is --tokens' generate "$artifact" hello --tokns 5
told 2 'generate: unknown option --tokns=5; the nearest is --tokens' generate "$artifact" hello --tokns=5
told 2 'generate: unknown option -tokens; the nearest is --tokens' generate "$artifact" hello -tokens 5
told 2 'generate: unknown option --top_k; the nearest is --top-k' generate "$artifact" hello --top_k 5
told 2 'generate: unknown option --temp; the nearest is --temperature' generate "$artifact" hello --temp 1
told 2 'generate: unknown option --dtyp; the nearest is --dtype' generate "$artifact" hello --dtyp f32
told 2 'generate: unknown option --frobnicate; moec generate --help lists' generate "$artifact" --frobnicate
told 2 'pack: unknown option -b; moec pack --help lists' pack "$work/run" -b 6
told 2 'data: unknown option --vocab-sizes; the nearest is --vocab' data "$work/x" --domain a=src --vocab-sizes 500
told 2 'generate: --tokens: expected a value behind it, found nothing' generate "$artifact" hello --tokens
told 2 'generate: -n: expected a value behind it, found nothing' generate "$artifact" hello -n
told 2 'generate: --tokens: expected a value behind it, found nothing' generate "$artifact" --tokens --seed 3
told 2 'generate: --tokens: expected a value behind it, found `--verbose`' generate "$artifact" --tokens --verbose
told 2 'generate: --no-echo takes no value, found `--no-echo=1`' generate "$artifact" hello --no-echo=1
told 2 'data: --domain: expected a value behind it, found nothing' data "$work/x" --domain
told 2 'unknown option --max-new-tokens; --tokens N is how many' generate "$artifact" hello --max-new-tokens 5
told 2 'unknown option --prompt; the prompt is the argument behind the model' generate "$artifact" --prompt hello
told 2 'unknown option --out; -o FILE says where' pack "$work/run" --out x
told 2 'train: --matrix-lr: keys of the configuration are given without dashes: matrix_lr=0.1' \
    train configs/demo.yaml --matrix-lr 0.1
told 2 'train: --steps=5: keys of the configuration are given without dashes: steps=5' train configs/demo.yaml --steps=5
told 2 'override steps: expected key=value, with nothing between: steps=VALUE' train configs/demo.yaml steps 5
expect 0 generate "$artifact" '-5 degrees' --tokens 1 # no option
expect 0 generate "$artifact" '- item' --tokens 1

# ---- the order of arguments ----
told 2 "generate: expected a model (an artifact, a checkpoint, a run folder, a Hugging Face folder or a GGUF file) first, found \`hello\`, and $artifact behind it" \
    generate hello "$artifact"
told 2 'train: expected a preset (a YAML file as those in configs/) first' train run="$work/x" configs/demo.yaml
told 2 'bench: expected what to time first: moec bench train configs/demo.yaml' bench configs/demo.yaml
told 2 'bench: expected train, run or machine, found traim; usage: moec bench train' bench traim configs/demo.yaml
told 2 'data: expected only OUT, the folder to write, found `src` too; --domain NAME=src names a text' data "$work/x" src
told 2 'data: expected only OUT, the folder to write, found `a=src` too; --domain a=src names a text' data "$work/x" a=src
told 2 '--domain: expected NAME=PATH, found `src`; for example text=src' data "$work/x" --domain src
told 2 '--domain: expected NAME=PATH, found `a=`' data "$work/x" --domain a=
told 2 'pack: expected only the run, found `x.moec` too; -o x.moec says where' pack "$work/run" x.moec
told 2 'keys for every run stand there under common:' sweep configs/sweeps/a-time.yaml steps=5

# ---- another kind of thing than the command takes ----
told 1 "found a folder made by moec data; the text goes behind the preset: moec train configs/demo.yaml data=$work/data" \
    train "$work/data"
told 1 "expected a run folder, a checkpoint, a Hugging Face folder or a GGUF file, found an artifact; it is packed already" pack "$artifact"
for command in eval generate pack; do
    told 1 "found a YAML file; moec train configs/demo.yaml makes a model" $command configs/demo.yaml
    told 1 "found a folder made by moec data; that is text to train on: moec train configs/demo.yaml data=$work/data" \
        $command "$work/data"
    told 1 "found the folder of a run's checkpoints; the folder that it lies in is the run" $command "$work/run/checkpoints"
done
told 1 'found a tokenizer' inspect "$work/data/tokenizer.model"
told 1 'found a token shard' inspect "$work/data/data_train_000000.bin"
told 1 'expected a preset (a YAML file as those in configs/), found a run folder' bench train "$work/run"
told 1 "expected a sweep (a YAML file as those in configs/sweeps), found a run folder; moec eval $work/run scores it" \
    sweep "$work/run"

# ---- a path that is not there ----
told 1 'configs/dmeo.yaml: no such file or folder; the nearest is configs/demo.yaml' train configs/dmeo.yaml
told 1 "$work/run/model.moc: no such file or folder; the nearest is $artifact" generate "$work/run/model.moc" hello
told 1 "$work/runn: no such file or folder; the nearest is $work/run" eval "$work/runn"
told 1 'nowhere/at/all: no such file or folder' inspect nowhere/at/all

[ ! -e "$work/x" ] || complain "a refused command left something"
[ "$failures" -eq 0 ]
