/* The viewer's answers (dataset.h). */
#include "base/memory.h"
#include "fetch/dataset.h"
#include "fetch/json_members.h"
#include "fetch/url.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_SPLITS = 10000 };

static status take_count(json_members *p, int64_t *value) {
    uint64_t count;
    if (!json_scan_size(&p->scan, &count)) return json_malformed(p, "a number of rows");
    *value = (int64_t)count;
    return STATUS_OK;
}

static status take_row(json_members *p, dataset_row *r) {
    bool first = true, more;
    *r = (dataset_row){.index = -1};
    if (!json_scan_take(&p->scan, '{')) return json_malformed(p, "a row");
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) break;
        if (strcmp(p->text, "row_idx") == 0) {
            TRY(take_count(p, &r->index));
            continue;
        }
        const bool row = strcmp(p->text, "row") == 0, cells = strcmp(p->text, "truncated_cells") == 0;
        const char kind = json_scan_peek(&p->scan), *begin = p->scan.next;
        if (!json_scan_skip(&p->scan) || (row && kind != '{'))
            return json_malformed(p, row ? "a row's object" : "a value");
        if (row) {
            r->text = begin;
            r->bytes = (size_t)(p->scan.next - begin);
        }
        if (cells && kind == '[') r->cut = memchr(begin, '"', (size_t)(p->scan.next - begin)) != NULL;
    }
    return r->text && r->index >= 0 ? STATUS_OK : json_malformed(p, "\"row_idx\" and \"row\"");
}

static status take_rows(json_members *p, dataset_page *page) {
    if (!json_scan_take(&p->scan, '[')) return json_malformed(p, "a list of rows");
    if (json_scan_take(&p->scan, ']')) return STATUS_OK;
    do {
        if (page->count == DATASET_PAGE_ROWS) return json_malformed(p, "at most 100 rows");
        TRY(take_row(p, &page->rows[page->count++]));
    } while (json_scan_take(&p->scan, ','));
    return json_scan_take(&p->scan, ']') ? STATUS_OK : json_malformed(p, "']' behind the rows");
}

static status take_page(json_members *p, dataset_page *page) {
    bool first = true, more, rows = false;
    if (!json_scan_take(&p->scan, '{')) return json_malformed(p, "JSON, an object");
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) break;
        if (strcmp(p->text, "rows") == 0 && !rows) {
            rows = true;
            TRY(take_rows(p, page));
        } else if (strcmp(p->text, "num_rows_total") == 0) {
            TRY(take_count(p, &page->total));
        } else if (!json_scan_skip(&p->scan)) {
            return json_malformed(p, "a value");
        }
    }
    if (!json_scan_at_end(&p->scan)) return json_malformed(p, "the end");
    return rows && page->total >= 0 ? STATUS_OK : json_malformed(p, "\"rows\" and \"num_rows_total\"");
}

status dataset_parse_page(dataset_page *page, const char *text, size_t bytes, const char *where) {
    json_members p = {.scan = {text, text + bytes}, .where = where, .what = "", .text = xmalloc(bytes + 1)};
    page->count = 0;
    page->total = -1;
    status s = take_page(&p, page);
    free(p.text);
    return s;
}

/* ---- splits ---- */

typedef struct pairs {
    char *configs[MOST_SPLITS], *splits[MOST_SPLITS];
    int count;
} pairs;

static status take_pair(json_members *p, pairs *found) {
    bool first = true, more;
    char **config = &found->configs[found->count], **split = &found->splits[found->count];
    found->count++;
    if (!json_scan_take(&p->scan, '{')) return json_malformed(p, "a split");
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) break;
        char **out = strcmp(p->text, "config") == 0 ? config : strcmp(p->text, "split") == 0 ? split : NULL;
        if (out && !*out && json_scan_peek(&p->scan) == '"') {
            if (!json_scan_string(&p->scan, p->text)) return json_malformed(p, "a name");
            *out = xstrdup(p->text);
        } else if (!json_scan_skip(&p->scan)) {
            return json_malformed(p, "a value");
        }
    }
    return *config && *split ? STATUS_OK : json_malformed(p, "\"config\" and \"split\"");
}

static status take_pairs(json_members *p, pairs *found) {
    bool first = true, more;
    if (!json_scan_take(&p->scan, '{')) return json_malformed(p, "JSON, an object");
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) break;
        if (strcmp(p->text, "splits") != 0) {
            if (!json_scan_skip(&p->scan)) return json_malformed(p, "a value");
            continue;
        }
        if (!json_scan_take(&p->scan, '[')) return json_malformed(p, "a list of splits");
        if (json_scan_take(&p->scan, ']')) continue;
        do {
            if (found->count == MOST_SPLITS) return json_malformed(p, "at most 10000 splits");
            TRY(take_pair(p, found));
        } while (json_scan_take(&p->scan, ','));
        if (!json_scan_take(&p->scan, ']')) return json_malformed(p, "']' behind the splits");
    }
    return found->count > 0 ? STATUS_OK : json_malformed(p, "splits");
}

/* The one of `names` that is `wanted`, the only one, or the usual one; NULL: it must be said. Only those whose `of` is `in`. */
static const char *choose(const pairs *found, char *const *names, const char *usual, const char *in) {
    const char *only = NULL, *chosen = NULL;
    bool several = false;
    for (int i = 0; i < found->count; i++) {
        if (in && strcmp(found->configs[i], in) != 0) continue;
        several = several || (only && strcmp(only, names[i]) != 0);
        only = names[i];
        if (strcmp(names[i], usual) == 0) chosen = names[i];
    }
    return chosen ? chosen : several ? NULL : only;
}

static status must_be_said(const pairs *found, char *const *names, const char *in, const char *option,
                           const char *where) {
    char *list = xstrdup("");
    const char *last = "";
    for (int i = 0; i < found->count && strlen(list) < 600; i++) {
        if ((in && strcmp(found->configs[i], in) != 0) || strcmp(last, names[i]) == 0) continue;
        char *shown = text_shown(names[i], 60), *longer = xasprintf("%s%s%s", list, *list ? ", " : "", shown);
        free(shown);
        free(list);
        list = longer;
        last = names[i];
    }
    status s =
        fail_usage("%s: which one? Choose with %s among %s", where, option, *list ? list : "none of that config");
    free(list);
    return s;
}

status dataset_parse_splits(const char *text, size_t bytes, const char *where, char **config, char **split) {
    json_members p = {.scan = {text, text + bytes}, .where = where, .what = "", .text = xmalloc(bytes + 1)};
    pairs *found = xcalloc(1, sizeof *found);
    status s = take_pairs(&p, found);
    if (s == STATUS_OK && !*config) {
        const char *chosen = choose(found, found->configs, "default", NULL);
        if (chosen)
            *config = xstrdup(chosen);
        else
            s = must_be_said(found, found->configs, NULL, "--config", where);
    }
    if (s == STATUS_OK && !*split) {
        const char *chosen = choose(found, found->splits, "train", *config);
        if (chosen)
            *split = xstrdup(chosen);
        else
            s = must_be_said(found, found->splits, *config, "--split", where);
    }
    for (int i = 0; i < found->count; i++) {
        free(found->configs[i]);
        free(found->splits[i]);
    }
    free(found);
    free(p.text);
    return s;
}
