# cmake -DFILE=… -DOUT=… -DNAME=… -P embed.cmake: a C source with the bytes of FILE, a NUL behind them, as `const char NAME[]`, and
# their number as `NAME_bytes`.
file(READ ${FILE} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR count "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${OUT} "extern const char ${NAME}[];
extern const unsigned long ${NAME}_bytes;
const char ${NAME}[] = {
    ${bytes}0};
const unsigned long ${NAME}_bytes = ${count};
")
