#include "config/curve.h"
#include "base/memory.h"
#include "config/read.h"
#include <stdio.h>
#include <stdlib.h>

curve curve_constant(double value) {
    return (curve){.value = {value}, .count = 1};
}

double curve_value(const curve *c, double fraction) {
    int i = 0;
    if (c->count == 0) return 0;
    while (i < c->count && c->at[i] <= fraction) i++;
    if (i == 0 || i == c->count) return c->value[i ? i - 1 : 0];
    const double part = (fraction - c->at[i - 1]) / (c->at[i] - c->at[i - 1]);
    return c->value[i - 1] + part * (c->value[i] - c->value[i - 1]);
}

bool curve_is_zero(const curve *c) {
    for (int i = 0; i < c->count; i++)
        if (c->value[i] != 0) return false;
    return true;
}

/* ---- reading ---- */

static status read_point(const config_field *f, const yaml_document *d, const yaml_node *key, curve *c) {
    const config_field place = {.key = f->key, .type = FIELD_DOUBLE, .least = 0, .most = 1};
    const config_field number = {.key = f->key, .type = FIELD_DOUBLE, .least = f->least, .most = f->most};
    if (c->count == CURVE_MOST) return yaml_fail(d, key, "%s: expected at most %d points", f->key, CURVE_MOST);
    if (!field_parse(&place, &c->at[c->count], key->text))
        return yaml_fail(d, key, "%s: expected fractions of the training from 0 to 1, found `%.60s`", f->key,
                         key->text);
    if (c->count > 0 && c->at[c->count] <= c->at[c->count - 1])
        return yaml_fail(d, key, "%s: expected rising fractions, found %.60s behind %g", f->key, key->text,
                         c->at[c->count - 1]);
    TRY(read_value(d, key->value, &number, &c->value[c->count]));
    c->count++;
    return STATUS_OK;
}

status curve_read(const config_field *f, const yaml_document *d, const yaml_node *value, curve *c) {
    curve read = {0};
    for (const yaml_node *key = value->first; key; key = key->next) TRY(read_point(f, d, key, &read));
    if (read.count == 0)
        return yaml_fail(
            d, value, "%s: expected numbers by fraction of the training, such as {0: 1, 0.5: 0.1}, found none", f->key);
    *c = read;
    return STATUS_OK;
}

bool curve_in_range(const config_field *f, const curve *c) {
    for (int i = 0; i < c->count; i++)
        if (!(c->value[i] >= f->least && c->value[i] <= f->most)) return false;
    return true;
}

/* ---- writing ---- */

static char *number(double value) {
    static const config_field f = {.key = "number", .type = FIELD_DOUBLE};
    return field_text(&f, &value);
}

char *curve_text(const curve *c) {
    if (c->count == 0) return number(0);
    if (c->count == 1 && c->at[0] == 0) return number(c->value[0]);
    char *text = xstrdup("{");
    for (int i = 0; i < c->count; i++) {
        char *at = number(c->at[i]), *value = number(c->value[i]);
        char *longer = xasprintf("%s%s%s: %s%s", text, i ? ", " : "", at, value, i == c->count - 1 ? "}" : "");
        free(text);
        free(at);
        free(value);
        text = longer;
    }
    return text;
}
