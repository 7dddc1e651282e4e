#include "config/field.h"
#include "base/byte_count.h"
#include "base/memory.h"
#include "config/curve.h"
#include "config/labels.h"
#include "config/names.h"
#include "config/records.h"
#include "config/weights.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

/* A decimal integer and nothing else. */
static bool parse_integer(const char *text, long long *value) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*digits)) return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool parse_unsigned(const char *text, unsigned long long *value) {
    if (!isdigit((unsigned char)*text)) return false;
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* A decimal number; not "nan", "inf" or hexadecimal, which strtod would take. */
static bool parse_number(const char *text, double *value) {
    if (*text == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0') return false;
    char *end;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static int choice_index(const config_field *f, const char *text) {
    for (int i = 0; f->choices[i]; i++)
        if (strcmp(f->choices[i], text) == 0) return i;
    return -1;
}

/* The word that a FIELD_DOUBLE's value stands for, or NULL for a number. */
static const char *word_of(const config_field *f, double value) {
    for (int i = 0; f->choices && f->choices[i]; i++)
        if (value == -1 - i) return f->choices[i];
    return NULL;
}

static bool within(const config_field *f, double value) {
    return value >= f->least && value <= f->most;
}

static bool parse_whole(const config_field *f, void *target, const char *text) {
    long long value;
    if (!parse_integer(text, &value) || !within(f, (double)value)) return false;
    if (f->type == FIELD_INT)
        *(int *)target = (int)value;
    else
        *(int64_t *)target = value;
    return true;
}

static bool parse_bytes(const config_field *f, int64_t *target, const char *text) {
    int64_t value;
    if (!byte_count_parse(text, &value) || !within(f, (double)value)) return false;
    *target = value;
    return true;
}

static bool parse_real(const config_field *f, void *target, const char *text) {
    double value;
    int word = f->choices ? choice_index(f, text) : -1;
    if (word >= 0) {
        *(double *)target = -1 - word;
        return true;
    }
    if (!parse_number(text, &value)) return false;
    if (f->type == FIELD_DOUBLE) {
        if (!within(f, value)) return false;
        *(double *)target = value;
        return true;
    }
    /* The limits of a float are compared as floats, else the limit 0.1 itself would be out of range. */
    float rounded = (float)value;
    if (rounded < (float)f->least || rounded > (float)f->most) return false;
    *(float *)target = rounded;
    return true;
}

static bool parse_string(const config_field *f, char **target, const char *text) {
    if (f->choices && choice_index(f, text) < 0) return false;
    if (*text == '\0' && f->least > 0) return false;
    char *copy = *text ? xstrdup(text) : NULL;
    free(*target);
    *target = copy;
    return true;
}

static bool parse_constant(const config_field *f, curve *target, const char *text) {
    double value;
    if (!parse_number(text, &value) || !within(f, value)) return false;
    *target = curve_constant(value);
    return true;
}

bool field_parse(const config_field *f, void *base, const char *text) {
    void *target = (char *)base + f->offset;
    switch (f->type) {
    case FIELD_INT:
    case FIELD_INT64:
        return parse_whole(f, target, text);
    case FIELD_BYTES:
        return parse_bytes(f, target, text);
    case FIELD_UINT64: {
        unsigned long long value;
        if (!parse_unsigned(text, &value)) return false;
        *(uint64_t *)target = value;
        return true;
    }
    case FIELD_FLOAT:
    case FIELD_DOUBLE:
        return parse_real(f, target, text);
    case FIELD_BOOL: {
        bool yes = strcmp(text, "true") == 0;
        if (!yes && strcmp(text, "false") != 0) return false;
        *(bool *)target = yes;
        return true;
    }
    case FIELD_CHOICE: {
        int index = choice_index(f, text);
        if (index < 0) return false;
        *(int *)target = index;
        return true;
    }
    case FIELD_STRING:
        return parse_string(f, target, text);
    case FIELD_CURVE:
        return parse_constant(f, target, text);
    case FIELD_SET:
    case FIELD_WEIGHTS:
    case FIELD_NAMES:
    case FIELD_LABELS:
    case FIELD_RECORDS:
    case FIELD_OWN:
        return false; /* not scalars */
    }
    return false;
}

bool set_add(bool *set, int count, const char *text) {
    long long member;
    if (!parse_integer(text, &member) || member < 0 || member >= count) return false;
    set[member] = true;
    return true;
}

/* ---- writing ---- */

static char *number_text(double value, bool is_float) {
    char text[64];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value) break;
    }
    return xstrdup(text);
}

static int set_size(const config_field *f) {
    return (int)f->most + 1;
}

char *set_text(const bool *set, int count) {
    char *text = xstrdup("[");
    for (int i = 0; i < count; i++) {
        if (!set[i]) continue;
        char *longer = xasprintf("%s%s%d", text, text[1] ? ", " : "", i);
        free(text);
        text = longer;
    }
    char *closed = xasprintf("%s]", text);
    free(text);
    return closed;
}

char *field_text(const config_field *f, const void *base) {
    const void *source = (const char *)base + f->offset;
    switch (f->type) {
    case FIELD_INT:
        return xasprintf("%d", *(const int *)source);
    case FIELD_INT64:
    case FIELD_BYTES:
        return xasprintf("%lld", (long long)*(const int64_t *)source);
    case FIELD_UINT64:
        return xasprintf("%llu", (unsigned long long)*(const uint64_t *)source);
    case FIELD_FLOAT:
        return number_text(*(const float *)source, true);
    case FIELD_DOUBLE:
        if (word_of(f, *(const double *)source)) return xstrdup(word_of(f, *(const double *)source));
        return number_text(*(const double *)source, false);
    case FIELD_BOOL:
        return xstrdup(*(const bool *)source ? "true" : "false");
    case FIELD_CHOICE:
        return xstrdup(f->choices[*(const int *)source]);
    case FIELD_STRING:
        return *(char *const *)source ? xstrdup(*(char *const *)source) : NULL;
    case FIELD_SET:
        return set_text(source, set_size(f));
    case FIELD_WEIGHTS:
        return weights_text(source);
    case FIELD_NAMES:
        return names_text(source);
    case FIELD_LABELS:
        return labels_text(source);
    case FIELD_CURVE:
        return curve_text(source);
    case FIELD_RECORDS:
        return records_text(f->records, source);
    case FIELD_OWN:
        return NULL;
    }
    return NULL;
}

/* ---- copying ---- */

static size_t value_bytes(const config_field *f) {
    switch (f->type) {
    case FIELD_INT:
    case FIELD_CHOICE:
        return sizeof(int);
    case FIELD_INT64:
    case FIELD_UINT64:
    case FIELD_BYTES:
        return sizeof(int64_t);
    case FIELD_FLOAT:
        return sizeof(float);
    case FIELD_DOUBLE:
        return sizeof(double);
    case FIELD_BOOL:
        return sizeof(bool);
    case FIELD_SET:
        return (size_t)set_size(f) * sizeof(bool);
    case FIELD_LABELS:
        return sizeof(label_list);
    case FIELD_CURVE:
        return sizeof(curve);
    default:
        return 0;
    }
}

void field_copy(const config_field *f, const void *from, void *to) {
    const void *source = (const char *)from + f->offset;
    void *target = (char *)to + f->offset;
    field_free(f, to);
    if (f->type == FIELD_STRING)
        *(char **)target = *(char *const *)source ? xstrdup(*(char *const *)source) : NULL;
    else if (f->type == FIELD_WEIGHTS)
        *(weight_list *)target = weights_copy(source);
    else if (f->type == FIELD_NAMES)
        *(name_list *)target = names_copy(source);
    else
        memcpy(target, source, value_bytes(f));
}

void field_free(const config_field *f, void *base) {
    void *value = (char *)base + f->offset;
    if (f->type == FIELD_WEIGHTS) weights_free(value);
    if (f->type == FIELD_NAMES) names_free(value);
    if (f->type != FIELD_STRING) return;
    free(*(char **)value);
    *(char **)value = NULL;
}

/* ---- describing ---- */

static char *choices_text(const config_field *f) {
    char *text = xstrdup("one of");
    for (int i = 0; f->choices[i]; i++) {
        char *longer = xasprintf("%s%s %s", text, i ? "," : "", f->choices[i]);
        free(text);
        text = longer;
    }
    return text;
}

char *field_expected(const config_field *f) {
    if (f->choices && f->type == FIELD_DOUBLE) {
        char *words = choices_text(f), *text = xasprintf("a number from %g to %g or %s", f->least, f->most, words);
        free(words);
        return text;
    }
    if (f->choices) return choices_text(f);
    switch (f->type) {
    case FIELD_INT:
    case FIELD_INT64:
        return xasprintf("an integer from %.17g to %.17g", f->least, f->most);
    case FIELD_BYTES:
        return xasprintf("bytes from %.17g to %.17g, such as " BYTE_COUNT_EXAMPLES, f->least, f->most);
    case FIELD_UINT64:
        return xstrdup("an integer of at least 0 and under 2^64");
    case FIELD_FLOAT:
    case FIELD_DOUBLE:
        return xasprintf("a number from %g to %g", f->least, f->most);
    case FIELD_BOOL:
        return xstrdup("true or false");
    case FIELD_SET:
        return xasprintf("a list of numbers from 0 to %d, such as [4, 5]", (int)f->most);
    case FIELD_WEIGHTS:
        return xasprintf("numbers from %g to %g by name, such as {a: 0.4, b: 0.6}", f->least, f->most);
    case FIELD_NAMES:
        return xstrdup("a list of texts, such as [a, b]");
    case FIELD_LABELS:
        return xstrdup("a list of names, such as [a, b]");
    case FIELD_CURVE:
        return xasprintf(
            "a number from %g to %g, or such numbers by fraction of the training, such as {0: 1, 0.5: 0.1}", f->least,
            f->most);
    case FIELD_RECORDS:
        return xasprintf("a list of %ss, such as [%s]", f->records->one, f->records->example);
    default:
        return xstrdup(f->least > 0 ? "a text that is not empty" : "a text");
    }
}

bool field_in_range(const config_field *f, const void *base) {
    const void *source = (const char *)base + f->offset;
    switch (f->type) {
    case FIELD_INT:
        return within(f, *(const int *)source);
    case FIELD_INT64:
    case FIELD_BYTES:
        return within(f, (double)*(const int64_t *)source);
    case FIELD_FLOAT:
        return *(const float *)source >= (float)f->least && *(const float *)source <= (float)f->most;
    case FIELD_DOUBLE:
        return word_of(f, *(const double *)source) || within(f, *(const double *)source);
    case FIELD_CHOICE: {
        int count = 0;
        while (f->choices[count]) count++;
        return *(const int *)source >= 0 && *(const int *)source < count;
    }
    case FIELD_STRING: {
        const char *text = *(char *const *)source;
        if (!text || !*text) return f->least == 0 && !f->choices;
        return !f->choices || choice_index(f, text) >= 0;
    }
    case FIELD_CURVE:
        return curve_in_range(f, source);
    case FIELD_WEIGHTS:
        return weights_in_range(f, source);
    default:
        return true;
    }
}

status field_check(const config_field *f, const void *base) {
    if (field_in_range(f, base)) return STATUS_OK;
    /* What an enum's unknown number was called is not known; a text that is not there is NULL. */
    char *expected = field_expected(f), *found = f->type == FIELD_CHOICE ? NULL : field_text(f, base);
    status s = fail_usage("%s: expected %s, found %s", f->key, expected, found ? found : "nothing that is known");
    free(expected);
    free(found);
    return s;
}
