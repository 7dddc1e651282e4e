#!/bin/sh
# bench/coder/NAME.c with the floors of BUILD: sh bench/coder/build.sh NAME [BUILD]
set -eu
cd "$(dirname "$0")/../.."
build=${2:-build}
floors=$(for f in store quant comm eval surgery formats nn text grad kernel tensor config base; do echo "$build/floors/libmoec_$f.a"; done)
cc -std=gnu17 -O3 -D_GNU_SOURCE -Wall -Wextra -Werror -Isrc bench/coder/"$1".c -Wl,--start-group $floors \
    $(find "$build/floors" -name 'libmoec_kernel_*.a' -o -name 'libmoec_cpu*.a') -Wl,--end-group \
    $(pkg-config --libs liblzma libcjson yaml-0.1 libpcre2-8 libutf8proc) -lsentencepiece_train -lsentencepiece -ldnnl -llapacke \
    -lopenblas -lgomp -lpthread -lstdc++ -lm -o "$build/$1"
echo "$build/$1"
