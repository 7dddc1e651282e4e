#include "cli/prompt.h"

#include "base/file.h"
#include "base/memory.h"
#include "text/utf8.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 16 << 20 };

static status read_stdin(prompt *p) {
    size_t capacity = 1 << 16;
    p->text = xmalloc(capacity + 1);
    for (size_t got = 1; got > 0; p->bytes += got) {
        if (p->bytes == capacity) p->text = xrealloc(p->text, (capacity *= 2) + 1);
        got = fread(p->text + p->bytes, 1, capacity - p->bytes, stdin);
        if (p->bytes + got > MOST_BYTES)
            return fail("stdin: expected at most %d bytes of prompt, found more", MOST_BYTES);
    }
    p->text[p->bytes] = '\0';
    return ferror(stdin) ? fail("stdin: cannot read: %m") : STATUS_OK;
}

static status read_text(prompt *p, const char *argument, const char *file) {
    if (file) {
        uint8_t *bytes;
        TRY(file_read(file, MOST_BYTES, &bytes, &p->bytes));
        p->text = (char *)bytes;
        return STATUS_OK;
    }
    if (argument && strcmp(argument, "-") == 0) return read_stdin(p);
    p->text = xstrdup(argument ? argument : "");
    p->bytes = strlen(p->text);
    return STATUS_OK;
}

static void drop_line_end(prompt *p) {
    if (p->bytes > 0 && p->text[p->bytes - 1] == '\n') p->bytes--;
    if (p->bytes > 0 && p->text[p->bytes] == '\n' && p->text[p->bytes - 1] == '\r') p->bytes--;
    p->text[p->bytes] = '\0';
}

status prompt_read(prompt *p, const char *argument, const char *file) {
    const char *name = file ? file : argument && strcmp(argument, "-") == 0 ? "stdin" : NULL;
    *p = (prompt){0};
    status s = read_text(p, argument, file);
    if (s == STATUS_OK && name) drop_line_end(p);
    size_t valid = s == STATUS_OK ? utf8_valid_prefix(p->text, p->bytes) : 0;
    if (s == STATUS_OK && valid < p->bytes)
        s = fail_usage("%s: expected UTF-8 text, found the byte 0x%02X at byte offset %zu", name ? name : "PROMPT",
                       (unsigned char)p->text[valid], valid);
    if (s != STATUS_OK) prompt_free(p);
    return s;
}

void prompt_free(prompt *p) {
    free(p->text);
    *p = (prompt){0};
}
