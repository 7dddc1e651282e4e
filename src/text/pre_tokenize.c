#include "text/pre_tokenize.h"

#include "text/byte_characters.h"
#include "text/growth.h"

void pre_tokenizer_add(pre_tokenizer *p, split_step step) {
    p->steps = xrealloc(p->steps, (size_t)(p->count + 1) * sizeof *p->steps);
    p->steps[p->count++] = step;
}

void pre_tokenizer_free(pre_tokenizer *p) {
    for (int i = 0; i < p->count; i++) {
        regex_free(p->steps[i].pattern);
        free(p->steps[i].string);
    }
    free(p->steps);
    *p = (pre_tokenizer){0};
}

typedef struct walk {
    const pre_tokenizer *p;
    regex_matcher *m;
    text_buffer *rewritten; /* [steps] what each step made of the part that it has */
    size_t bytes, given;    /* of the whole text; of all words so far */
    word_sink sink;
    void *context;
} walk;

static status walk_step(walk *w, int step, const char *text, size_t bytes, bool is_first);

/* ---- splitting ---- */

/* A part that may still grow. */
typedef struct splitting {
    walk *w;
    int step;
    const char *text;
    bool is_first;
    bool pending, pending_matched; /* a part waits; its last piece is a match */
    size_t begin, end;             /* of it */
} splitting;

static status give(splitting *s, size_t begin, size_t end) {
    return walk_step(s->w, s->step + 1, s->text + begin, end - begin, s->is_first && begin == 0);
}

static status flush(splitting *s) {
    if (!s->pending) return STATUS_OK;
    s->pending = false;
    return give(s, s->begin, s->end);
}

/* Whether a piece goes to the part that waits, whose last piece was a match or not. */
static bool joins(split_behavior behavior, bool matched, bool previous_matched) {
    switch (behavior) {
    case SPLIT_CONTIGUOUS:
        return matched == previous_matched;
    case SPLIT_WITH_PREVIOUS:
        return matched && !previous_matched;
    case SPLIT_WITH_NEXT:
        return !matched && previous_matched;
    default:
        return false;
    }
}

static status take_piece(splitting *s, size_t begin, size_t end, bool matched) {
    split_behavior behavior = s->w->p->steps[s->step].behavior;
    if (behavior == SPLIT_ISOLATED) return give(s, begin, end);
    if (behavior == SPLIT_REMOVED) return matched ? STATUS_OK : give(s, begin, end);
    if (s->pending && joins(behavior, matched, s->pending_matched)) {
        s->end = end;
    } else {
        TRY(flush(s));
        s->pending = true;
        s->begin = begin;
        s->end = end;
    }
    s->pending_matched = matched;
    return STATUS_OK;
}

static status split(walk *w, int step, const char *text, size_t bytes, bool is_first) {
    const split_step *how = &w->p->steps[step];
    splitting s = {.w = w, .step = step, .text = text, .is_first = is_first};
    regex_scan scan = regex_begin(how->pattern, w->m, text, bytes);
    size_t done = 0, begin, end;
    for (bool found = true; found;) {
        TRY(regex_next(&scan, &found, &begin, &end));
        if (!found) break;
        if (begin > done) TRY(take_piece(&s, done, begin, how->inverted));
        TRY(take_piece(&s, begin, end, !how->inverted));
        done = end;
    }
    if (done < bytes) TRY(take_piece(&s, done, bytes, how->inverted));
    return flush(&s);
}

/* ---- rewriting ---- */

static bool begins_with(const char *text, size_t bytes, const char *prefix) {
    size_t length = strlen(prefix);
    return bytes >= length && memcmp(text, prefix, length) == 0;
}

static size_t count_spaces(const char *text, size_t bytes) {
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) count += text[i] == ' ';
    return count;
}

static status replace_spaces(const walk *w, const char *text, size_t bytes, const char *replacement, text_buffer *out) {
    const char *end = text + bytes, *space;
    TRY(check_growth(bytes + count_spaces(text, bytes) * strlen(replacement), w->bytes));
    while ((space = memchr(text, ' ', (size_t)(end - text)))) {
        text_append(out, text, (size_t)(space - text));
        text_append_string(out, replacement);
        text = space + 1;
    }
    text_append(out, text, (size_t)(end - text));
    return STATUS_OK;
}

static status rewrite(walk *w, int step, const char *text, size_t bytes, bool is_first) {
    const split_step *how = &w->p->steps[step];
    text_buffer *out = &w->rewritten[step];
    out->bytes = 0;
    if (how->kind == STEP_PREFIX) {
        if (begins_with(text, bytes, how->string) || (how->only_first && !is_first))
            return walk_step(w, step + 1, text, bytes, is_first);
        text_append_string(out, how->string);
        text_append(out, text, bytes);
    } else if (how->kind == STEP_SPACES) {
        TRY(replace_spaces(w, text, bytes, how->string, out));
    } else {
        byte_characters(text, bytes, out);
    }
    TRY(check_growth(out->bytes, w->bytes));
    return walk_step(w, step + 1, out->text, out->bytes, is_first);
}

static status walk_step(walk *w, int step, const char *text, size_t bytes, bool is_first) {
    if (bytes == 0) return STATUS_OK;
    if (step == w->p->count) {
        w->given += bytes;
        TRY(check_growth(w->given, w->bytes));
        w->sink(w->context, text, bytes);
        return STATUS_OK;
    }
    if (w->p->steps[step].kind == STEP_SPLIT) return split(w, step, text, bytes, is_first);
    return rewrite(w, step, text, bytes, is_first);
}

status pre_tokenize(const pre_tokenizer *p, regex_matcher *m, const char *text, size_t bytes, bool is_first,
                    word_sink sink, void *context) {
    text_buffer rewritten[PRE_TOKENIZER_STEPS] = {0};
    walk w = {.p = p, .m = m, .rewritten = rewritten, .bytes = bytes, .sink = sink, .context = context};
    status s = walk_step(&w, 0, text, bytes, is_first);
    for (int i = 0; i < p->count; i++) text_free(&rewritten[i]);
    return s;
}
