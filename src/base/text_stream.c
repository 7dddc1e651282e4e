#include "base/text_stream.h"

#include "base/file.h"
#include "base/memory.h"
#include <stdlib.h>

FILE *text_stream_begin(text_stream *t) {
    *t = (text_stream){0};
    t->out = memory_allows() ? open_memstream(&t->text, &t->bytes) : NULL;
    if (!t->out) memory_out(1);
    return t->out;
}

char *text_stream_end(text_stream *t) {
    const int failed = ferror(t->out);
    if (fclose(t->out) != 0 || failed) memory_out(t->bytes);
    return t->text;
}

status text_stream_write(text_stream *t, const char *path) {
    char *text = text_stream_end(t);
    const status s = file_write_whole(path, text, t->bytes);
    free(text);
    return s;
}
