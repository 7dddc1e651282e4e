# What goes wrong with ranks: what they must share differs, one dies, hangs or is told to end. Always one line that says so, an exit
# status that is not 0 on all, and a run that goes on from its newest checkpoint to the weights of an undisturbed one.
# usage: ranks_faults.sh MOEC [KILLS]
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/ranks.sh"
kills=${2:-3}
command -v pgrep >/dev/null 2>&1 || skip "no pgrep"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1

# one_line TEXT: moec said it once, and nothing else by way of an error
one_line() {
    says err "$1"
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "expected one line of moec's: $(cat "$work/err")"
}
# launch SCRIPT: mpirun with four ranks, each `sh -c SCRIPT moec` with its number in $OMPI_COMM_WORLD_RANK
each() {
    mpirun --oversubscribe --bind-to none -n 4 sh -c "$1" "$moec" >"$work/out" 2>"$work/err"
    found=$?
    [ "$found" -ne 0 ] || complain "four ranks, $1: expected a failure, found none"
}
command="\$0 train configs/test-tiny.yaml data=$work/data $tiny steps=20 dtype=f32 run=$work/refused"

# ---- what must be the same ----
each "exec $command matrix_lr=0.0\$((2 + (OMPI_COMM_WORLD_RANK == 2)))"
one_line "rank 2: another configuration than rank 0: matrix_lr 0.02 -> 0.03"
each "exec $command seed=\$((OMPI_COMM_WORLD_RANK / 3))"
one_line "rank 3: another configuration than rank 0: seed 0 -> 1"
if grep -q avx512f /proc/cpuinfo; then # else there is no other
    each "[ \$OMPI_COMM_WORLD_RANK -eq 1 ] && export MOEC_ISA=avx2; exec $command"
    one_line "rank 1: another instruction set (MOEC_ISA) or dtype than rank 0"
fi
cp "$moec" "$work/other"
echo >>"$work/other"
each "[ \$OMPI_COMM_WORLD_RANK -eq 1 ] && set -- $work/other || set -- \$0; shift 0; exec \$1 ${command#\$0}"
one_line "rank 1: another build of moec than rank 0"
mkdir "$work/elsewhere"
each "[ \$OMPI_COMM_WORLD_RANK -eq 3 ] && exec $command data=$work/elsewhere; exec $command"
[ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "expected one line: $(cat "$work/err")"
[ ! -e "$work/refused" ] || complain "a training that was refused left a folder"

train 2 4 run="$work/refused" accumulate=6
one_line "accumulate: expected a multiple of the 4 ranks, who share the step's micro-batches, found 6"
train 2 2 run="$work/refused" batchh=6
one_line "batchh"
MOEC_RANK_CORES=100000 train 2 2 run="$work/refused"
one_line "MOEC_RANK_CORES: expected at most"
MOEC_RANK_TIMEOUT=never train 2 2 run="$work/refused"
one_line "MOEC_RANK_TIMEOUT: expected seconds above 0, found never"
ranks 2 inspect configs/demo.yaml >"$work/out" 2>"$work/err" && complain "inspect took two ranks"
one_line "inspect: works in one process, and a launcher started 2"

# ---- the weights of an undisturbed run ----
steps=60
train 0 2 run="$work/whole" steps=$steps dtype=f32 checkpoint_every=3
final=checkpoints/step-000000$steps/model.safetensors

# Four ranks in the background: $job is mpirun, `rank N` the process of one of them.
start() {
    mpirun --oversubscribe --bind-to none -n 4 "$moec" train configs/test-tiny.yaml data="$work/data" $tiny run="$1" \
        steps=$steps dtype=f32 checkpoint_every=3 --resume >"$work/out" 2>"$work/err" &
    job=$!
}
rank() {
    for process in $(pgrep -P "$job"); do
        tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$process"
    done
}
ended() { # STATUS: how mpirun ended
    wait "$job"
    found=$?
    [ "$found" -eq "$1" ] || complain "mpirun ended with $found, expected $1: $(cat "$work/err")"
}

# ---- killed at random moments, resumed each time ----
# steps_done FOLDER: as the log says
steps_done() { cat "$1/log.jsonl" 2>/dev/null | grep -c '"record":"step"' || :; }
# until_step FOLDER N: that many steps are in the log, or the job has ended
until_step() {
    while [ "$(steps_done "$1")" -lt "$2" ] && kill -0 "$job" 2>/dev/null; do sleep 0.01; done
}
random() { od -An -N2 -tu2 /dev/urandom | awk -v most="$1" '{print $1 % most}'; } # from 0 on
mkdir "$work/killed"
i=0
while [ $i -lt "$kills" ]; do
    start "$work/killed"
    # The first at once, while the ranks find each other; the others spread over the steps, each some milliseconds into one.
    while [ -z "$(rank 3)" ] && kill -0 "$job" 2>/dev/null; do sleep 0.01; done
    [ $i -eq 0 ] || until_step "$work/killed" $((i * steps / (kills + 1) + $(random 3)))
    sleep "0.0$(random 9)"
    victim=$(rank "$(random 4)")
    [ -z "$victim" ] || kill -9 $victim 2>/dev/null
    wait "$job"
    found=$?
    echo "kill $i: exit $found after $(steps_done "$work/killed") steps"
    i=$((i + 1))
done
start "$work/killed"
ended 0
cmp "$work/whole/$final" "$work/killed/$final" || complain "killed $kills times, the weights are others"

# ---- a signal to one rank ends all, saved ----
for signal in USR1 INT; do
    mkdir "$work/$signal"
    start "$work/$signal"
    until_step "$work/$signal" 1
    kill -$signal "$(rank 2)"
    wait "$job"
    found=$?
    if [ "$found" -ne 0 ]; then # 0: it had been at its end already
        [ "$found" -eq 130 ] || complain "SIG$signal: mpirun ended with $found: $(cat "$work/err")"
        one_line "interrupted after step"
    fi
    start "$work/$signal"
    ended 0
    cmp "$work/whole/$final" "$work/$signal/$final" || complain "SIG$signal: the weights are others"
done

# ---- a rank that hangs ends the job, by its name ----
mkdir "$work/hung"
export MOEC_RANK_TIMEOUT=4
start "$work/hung"
until_step "$work/hung" 1
victim=$(rank 2)
if [ -n "$victim" ] && kill -STOP "$victim" 2>/dev/null; then
    wait "$job"
    found=$?
    [ "$found" -ne 0 ] || complain "a hung rank: mpirun ended with 0"
    one_line "rank 2: not heard from for 4 s (MOEC_RANK_TIMEOUT): the job ends"
fi
export MOEC_RANK_TIMEOUT=600
start "$work/hung"
ended 0
cmp "$work/whole/$final" "$work/hung/$final" || complain "a rank hung: the weights are others"

[ "$failures" -eq 0 ]
