#!/bin/sh
# `cmake --install`, then another program against moec.pc: it compiles, links and runs without further ado, wherever that was.
# usage: installed.sh BUILD_FOLDER CC [CFLAGS...]
set -eu
build=$1 cc=$2
shift 2
command -v pkg-config >/dev/null || { echo "skipped: pkg-config is absent"; exit 77; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/moec-test-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

cmake --install "$build" --prefix "$prefix" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
"$prefix/bin/moec" --help >/dev/null

cat >"$scratch/program.c" <<'C'
#include <moec.h>
#include <stdio.h>

int main(void) {
    moec_model *m = moec_open("/nowhere/model.moec");
    printf("%s\n%s\n", moec_version(), m ? "opened" : moec_error());
    return m != NULL;
}
C
modules=$(dirname "$(find "$prefix" -name moec.pc)")
export PKG_CONFIG_PATH="$modules"
# shellcheck disable=SC2046  # options are words
"$cc" "$@" "$scratch/program.c" $(pkg-config --cflags --libs moec) -o "$scratch/program"
out=$(unset LD_LIBRARY_PATH && cd / && "$scratch/program")
case $out in
"$(pkg-config --modversion moec)
"*/nowhere/model.moec*) ;;
*) echo "expected moec.pc's version and an error that names the file, found: $out"; exit 1 ;;
esac
