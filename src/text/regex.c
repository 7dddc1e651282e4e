#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include "text/regex_translate.h"
#include <pcre2.h>
#include <stdint.h>
#include <time.h>

enum {
    NESTING = 128,         /* parentheses within one another */
    STEPS = 1 << 20,       /* of one match, and a few a byte of the text: runs of spaces are walked back through */
    STEPS_A_BYTE = 4,      /* */
    MEMORY_KIB = 64 << 10, /* of one match */
    JIT_STACK = 8 << 20,   /* bytes, of address space until they are used */
    STARTS = 64,           /* where a match may begin, between two looks at the clock */
    MATCHES_A_LOOK = 16,   /* */
    SECONDS = 5,           /* of all matches of one text, and so many more for each MB */
    SECONDS_A_MEGABYTE = 10
};

struct regex {
    pcre2_code *code;
    char *pattern; /* as its file has it, for messages */
};

struct regex_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    double started, allowed; /* seconds of this thread's processor time */
    int looked;              /* matches since the last look at the clock */
};

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- expressions ---- */

static status compile(regex **out, const char *shown, const char *translated, const char *where) {
    int error;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) memory_out(64);
    pcre2_set_parens_nest_limit(context, NESTING);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    /* Ruby's ^ and $ stand at lines. */
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)translated, PCRE2_ZERO_TERMINATED, options, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (!code) {
        char why[128] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        return fail("%s: expected a regular expression, found `%.80s`: %s", where, shown, why);
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where it cannot, PCRE2 interprets */
    *out = xmalloc(sizeof **out);
    **out = (regex){.code = code, .pattern = xstrdup(shown)};
    return STATUS_OK;
}

status regex_create(regex **out, const char *pattern, const char *where) {
    if (strlen(pattern) > REGEX_MAX_BYTES)
        return fail("%s: expected a regular expression of at most %d bytes, found %zu", where, REGEX_MAX_BYTES,
                    strlen(pattern));
    text_buffer translated = {0};
    const char *wrong = regex_translate(pattern, &translated);
    status s = wrong ? fail("%s: expected a regular expression within what moec supports, found %s in `%.80s`", where,
                            wrong, pattern)
                     : compile(out, pattern, translated.text, where);
    text_free(&translated);
    return s;
}

status regex_create_literal(regex **out, const char *string, const char *where) {
    text_buffer quoted = {0};
    regex_quote(string, &quoted);
    status s = compile(out, string, quoted.text, where);
    text_free(&quoted);
    return s;
}

void regex_free(regex *r) {
    if (!r) return;
    pcre2_code_free(r->code);
    free(r->pattern);
    free(r);
}

const char *regex_pattern(const regex *r) {
    return r->pattern;
}

/* ---- matching ---- */

regex_matcher *regex_matcher_create(size_t bytes) {
    regex_matcher *m = xcalloc(1, sizeof *m);
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK, NULL);
    if (!m->data || !m->context || !m->stack) memory_out(JIT_STACK);
    pcre2_set_match_limit(m->context, STEPS + (uint32_t)(STEPS_A_BYTE * (bytes < 256u << 20 ? bytes : 256u << 20)));
    pcre2_set_heap_limit(m->context, MEMORY_KIB);
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    m->started = thread_seconds();
    m->allowed = SECONDS + SECONDS_A_MEGABYTE * (double)bytes / 1e6;
    return m;
}

void regex_matcher_free(regex_matcher *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

regex_scan regex_begin(const regex *r, regex_matcher *m, const char *text, size_t bytes) {
    return (regex_scan){.r = r, .m = m, .text = text, .bytes = bytes, .last_end = SIZE_MAX};
}

static status runs_away(const regex *r, const char *why) {
    return fail("tokenizer: the regular expression `%.80s` runs away on this text (%s)", r->pattern, why);
}

static status look_at_clock(const regex_scan *s) {
    s->m->looked = 0;
    double spent = thread_seconds() - s->m->started;
    return spent > s->m->allowed ? runs_away(s->r, "its time is over") : STATUS_OK;
}

static size_t next_character(const regex_scan *s, size_t at) {
    do at++;
    while (at < s->bytes && ((unsigned char)s->text[at] & 0xC0) == 0x80);
    return at;
}

/* One call of PCRE2: a match that begins at most STARTS bytes behind s->next; *found: there is one. */
static status try_match(regex_scan *s, bool *found, size_t *begin, size_t *end) {
    size_t last = s->next + STARTS;
    pcre2_set_offset_limit(s->m->context, last);
    int result =
        pcre2_match(s->r->code, (PCRE2_SPTR)s->text, s->bytes, s->next, PCRE2_NO_UTF_CHECK, s->m->data, s->m->context);
    *found = result >= 0;
    if (result == PCRE2_ERROR_NOMATCH) {
        s->next = last >= s->bytes ? s->bytes + 1 : next_character(s, last);
        return look_at_clock(s);
    }
    if (result < 0) {
        char why[128] = "";
        pcre2_get_error_message(result, (PCRE2_UCHAR *)why, sizeof why);
        return runs_away(s->r, why);
    }
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(s->m->data);
    *begin = ovector[0];
    *end = ovector[1];
    return ++s->m->looked < MATCHES_A_LOOK ? STATUS_OK : look_at_clock(s);
}

status regex_next(regex_scan *s, bool *found, size_t *begin, size_t *end) {
    *found = false;
    while (s->next <= s->bytes) {
        TRY(try_match(s, found, begin, end));
        if (!*found) continue;
        if (*end < *begin || *begin < s->next) return runs_away(s->r, "a match begins before it may");
        if (*end > *begin || *end != s->last_end) {
            s->next = s->last_end = *end;
            return STATUS_OK;
        }
        s->next = next_character(s, *end);
        *found = false;
    }
    return STATUS_OK;
}
