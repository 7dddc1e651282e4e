#include "train/mix_report.h"
#include "base/text_stream.h"
#include <stdio.h>

cJSON *mix_shares(const loader *l) {
    const mix *m = loader_mixture(l);
    int count;
    const char *const *names = loader_domains(l, &count);
    cJSON *shares = m ? cJSON_CreateObject() : NULL;
    for (int d = 0; m && d < count; d++)
        if (mix_share(m, d) > 0) cJSON_AddNumberToObject(shares, names[d], mix_share(m, d));
    return shares;
}

cJSON *mix_drawn_tokens(const loader *l) {
    const mix *m = loader_mixture(l);
    int count;
    const char *const *names = loader_domains(l, &count);
    cJSON *drawn = m ? cJSON_CreateObject() : NULL;
    for (int d = 0; m && d < count; d++)
        if (mix_share(m, d) > 0) cJSON_AddNumberToObject(drawn, names[d], (double)mix_drawn(m, d));
    return drawn;
}

static void describe_domain(FILE *out, const mix *m, int d, bool drawn, double all) {
    const double tokens = (double)mix_tokens(m, d), taken = (double)mix_drawn(m, d);
    if (drawn)
        fprintf(out, " %.3g %% (%.3g M tokens, %.3g times its text)", all > 0 ? 100 * taken / all : 0, taken / 1e6,
                taken / tokens);
    else
        fprintf(out, " %.3g %% (of %.3g M tokens of text)", 100 * mix_share(m, d), tokens / 1e6);
}

static char *describe(const loader *l, bool drawn) {
    const mix *m = loader_mixture(l);
    if (!m) return NULL;
    int count;
    const char *const *names = loader_domains(l, &count), *separator = "";
    double all = 0;
    text_stream t;
    FILE *out = text_stream_begin(&t);
    for (int d = 0; d < count; d++) all += (double)mix_drawn(m, d);
    for (int d = 0; d < count; d++) {
        if (mix_share(m, d) <= 0) continue;
        fprintf(out, "%s%s", separator, names[d]);
        describe_domain(out, m, d, drawn, all);
        separator = ", ";
    }
    return text_stream_end(&t);
}

char *mix_describe(const loader *l) {
    return describe(l, false);
}

char *mix_describe_drawn(const loader *l) {
    return describe(l, true);
}
