# What all command-line tests begin with; sourced by strict.sh and lenient.sh. Sets moec (the script's $1) and work, a scratch
# folder that goes with the script.
moec=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache" # nothing that tests leave is the user's
export OMP_WAIT_POLICY=passive # threads that spin starve each other where tests run side by side

# write_text FOLDER COUNT: COUNT files of simple sentences, no two files alike
write_text() {
    mkdir "$1"
    i=0
    while [ $i -lt "$2" ]; do
        for who in 'the cat' 'a dog' 'the old man' 'my sister' nobody; do
            echo "$who sees $((i * 7 % 13)) birds, and $who likes number $((i * 11 % 17))."
        done >"$1/$i.txt"
        i=$((i + 1))
    done
}
