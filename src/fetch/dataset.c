#include "fetch/dataset.h"
#include "base/file.h"
#include "base/json_seal.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/text_stream.h"
#include "fetch/hub.h"
#include "fetch/mend.h"
#include "fetch/url.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPLITS_BYTES = 8 << 20, PAGE_SECONDS = 300 };

typedef struct job {
    const dataset_request *q;
    dataset_result *r;
    char *config, *split, *state_path;
    int64_t next, bytes,
        total; /* row to be fetched next; bytes of OUT up to it; rows of the split, -1: not known yet */
} job;

/* ---- the state beside the output ---- */

static status state_write(const job *j) {
    cJSON *state = cJSON_CreateObject();
    char *fields = row_form_fields(j->q->form);
    cJSON_AddStringToObject(state, "dataset", j->q->dataset);
    cJSON_AddStringToObject(state, "config", j->config);
    cJSON_AddStringToObject(state, "split", j->split);
    cJSON_AddStringToObject(state, "fields", fields);
    cJSON_AddNumberToObject(state, "next_row", (double)j->next);
    cJSON_AddNumberToObject(state, "lines", (double)j->r->lines);
    cJSON_AddNumberToObject(state, "bytes", (double)j->bytes);
    cJSON_AddNumberToObject(state, "total_rows", (double)j->total);
    json_seal(state);
    status s = json_write_file(j->state_path, state);
    cJSON_Delete(state);
    free(fields);
    return s;
}

static status same(const job *j, const cJSON *state, const char *key, const char *wanted) {
    const char *found;
    TRY(json_get_string(state, j->state_path, key, &found));
    if (!wanted || strcmp(found, wanted) == 0) return STATUS_OK;
    return fail_usage("%s: holds rows of %s `%s`, not `%s`: choose another -o, or remove it with %s", j->q->out, key,
                      found, wanted, j->state_path);
}

static status state_take(job *j, const cJSON *state) {
    const char *fields, *config, *split;
    char *wanted = j->q->form->field_count ? row_form_fields(j->q->form) : NULL;
    status s = same(j, state, "dataset", j->q->dataset);
    if (s == STATUS_OK) s = same(j, state, "config", j->config);
    if (s == STATUS_OK) s = same(j, state, "split", j->split);
    if (s == STATUS_OK) s = same(j, state, "fields", wanted);
    free(wanted);
    TRY(s);
    TRY(json_get_string(state, j->state_path, "config", &config));
    TRY(json_get_string(state, j->state_path, "split", &split));
    TRY(json_get_string(state, j->state_path, "fields", &fields));
    TRY(json_get_int(state, j->state_path, "next_row", &j->next));
    TRY(json_get_int(state, j->state_path, "lines", &j->r->lines));
    TRY(json_get_int(state, j->state_path, "bytes", &j->bytes));
    TRY(json_get_int(state, j->state_path, "total_rows", &j->total));
    if (!j->config) j->config = xstrdup(config);
    if (!j->split) j->split = xstrdup(split);
    return j->q->form->field_count || !*fields ? STATUS_OK : row_form_open(j->q->form, fields);
}

/* What was appended behind the state is fetched again. */
static status cut_to_state(const job *j) {
    struct stat about;
    if (stat(j->q->out, &about) != 0 || about.st_size < j->bytes)
        return fail("%s: expected at least the %" PRId64
                    " bytes that %s speaks of, found fewer: remove both to begin anew",
                    j->q->out, j->bytes, j->state_path);
    if (about.st_size > j->bytes && truncate(j->q->out, j->bytes) != 0)
        return fail("%s: cannot cut it off at byte %" PRId64 ": %s", j->q->out, j->bytes, strerror(errno));
    return STATUS_OK;
}

static status state_read(job *j) {
    path_kind out, state;
    cJSON *root;
    TRY(path_look(j->q->out, &out));
    TRY(path_look(j->state_path, &state));
    if (out != PATH_ABSENT && out != PATH_FILE)
        return fail("%s: expected a file to append to or nothing, found %s", j->q->out, path_describe(j->q->out));
    if (state == PATH_ABSENT && out == PATH_FILE)
        return fail("%s: is there, without a %s to go on by: choose another -o, or remove it", j->q->out,
                    j->state_path);
    if (state == PATH_ABSENT) return STATUS_OK;
    TRY(json_read_file(j->state_path, &root));
    status s = json_check_seal(root, j->state_path);
    if (s == STATUS_OK) s = state_take(j, root);
    cJSON_Delete(root);
    if (s == STATUS_OK && (j->bytes > 0 || out == PATH_FILE)) s = cut_to_state(j);
    return s;
}

/* ---- asking ---- */

static status explain(http_client *c, const job *j, const http_response *r, status s) {
    if (s != STATUS_FAILED || (r->code != 401 && r->code != 403 && r->code != 404)) return s;
    return fail("%s; the data set `%s` is absent, private, gated or not served row by row%s", error_message(),
                j->q->dataset, c->token ? "" : "; a token for it goes into HF_TOKEN");
}

static status ask(http_client *c, const job *j, const char *url, size_t most, http_response *r, char **shown) {
    const http_request q = {.url = url, .most_bytes = most, .most_seconds = PAGE_SECONDS};
    status s = explain(c, j, r, http_send(c, &q, r));
    *shown = url_shown(url);
    if (s == STATUS_OK)
        j->r->mended += (int64_t)(mend_utf8((char *)r->body, r->bytes) + mend_escapes((char *)r->body, r->bytes));
    return s;
}

static status find_split(http_client *c, job *j) {
    if (j->config && j->split) return STATUS_OK;
    char *name = url_escape(j->q->dataset, ""), *url = xasprintf("%s/splits?dataset=%s", c->endpoint, name), *shown;
    http_response r;
    status s = ask(c, j, url, SPLITS_BYTES, &r, &shown);
    if (s == STATUS_OK) s = dataset_parse_splits((char *)r.body, r.bytes, shown, &j->config, &j->split);
    http_response_clear(&r);
    free(shown);
    free(url);
    free(name);
    return s;
}

/* ---- rows to lines ---- */

static status check_page(const job *j, const dataset_page *p, int asked, const char *where) {
    if (p->count > asked) return fail("%s: expected at most %d rows, found %d", where, asked, p->count);
    if (p->count == 0 && j->next < p->total)
        return fail("%s: expected row %" PRId64 " of %" PRId64 ", found no rows", where, j->next, p->total);
    for (int i = 0; i < p->count; i++)
        if (p->rows[i].index != j->next + i)
            return fail("%s: expected row %" PRId64 ", found row %" PRId64, where, j->next + i, p->rows[i].index);
    return STATUS_OK;
}

static status put_rows(job *j, const dataset_page *p, FILE *out, int64_t *lines, const char *url) {
    for (int i = 0; i < p->count; i++) {
        const dataset_row *row = &p->rows[i];
        char *where = xasprintf("%s: row %" PRId64, url, row->index);
        bool empty = false;
        status s = STATUS_OK;
        if (row->cut) {
            j->r->cut++;
        } else {
            if (j->q->form->field_count == 0) s = row_choose(j->q->form, row->text, row->bytes, where);
            if (s == STATUS_OK) s = row_write(j->q->form, row->text, row->bytes, where, out, &empty);
            if (empty)
                j->r->empty++;
            else if (s == STATUS_OK)
                ++*lines;
        }
        free(where);
        TRY(s);
    }
    return STATUS_OK;
}

static status append_page(job *j, const dataset_page *p, const char *where) {
    text_stream t;
    int64_t lines = 0;
    status s = put_rows(j, p, text_stream_begin(&t), &lines, where);
    char *text = text_stream_end(&t);
    if (s == STATUS_OK) s = file_append(j->q->out, text, t.bytes);
    free(text);
    TRY(s);
    j->next += p->count;
    j->bytes += (int64_t)t.bytes;
    j->total = p->total;
    j->r->lines += lines;
    return state_write(j);
}

static status fetch_page(http_client *c, job *j, int count) {
    char *dataset = url_escape(j->q->dataset, ""), *config = url_escape(j->config, ""),
         *split = url_escape(j->split, "");
    char *url = xasprintf("%s/rows?dataset=%s&config=%s&split=%s&offset=%" PRId64 "&length=%d", c->endpoint, dataset,
                          config, split, j->next, count),
         *shown;
    dataset_page *page = xmalloc(sizeof *page);
    http_response r;
    status s = ask(c, j, url, DATASET_PAGE_BYTES, &r, &shown);
    if (s == STATUS_OK) s = dataset_parse_page(page, (char *)r.body, r.bytes, shown);
    if (s == STATUS_OK) s = check_page(j, page, count, shown);
    if (s == STATUS_OK) s = append_page(j, page, shown);
    http_response_clear(&r);
    free(page);
    free(shown);
    free(url);
    free(split);
    free(config);
    free(dataset);
    return s;
}

static status fetch_rows(http_client *c, job *j) {
    progress shown = progress_start("fetch");
    const int64_t begun = j->next;
    char detail[120];
    for (;;) {
        const int64_t end = j->total < 0 || (j->q->rows && j->q->rows < j->total) ? j->q->rows : j->total;
        const int64_t left = end ? end - j->next : DATASET_PAGE_ROWS;
        if (left <= 0 || (j->total >= 0 && j->next >= j->total)) break;
        TRY(fetch_page(c, j, left < DATASET_PAGE_ROWS ? (int)left : DATASET_PAGE_ROWS));
        const int64_t last = j->q->rows && j->q->rows < j->total ? j->q->rows : j->total;
        snprintf(detail, sizeof detail, "row %" PRId64 " of %" PRId64 ", %.1f MB", j->next, last,
                 (double)j->bytes / 1e6);
        progress_show(&shown, last > begun ? (double)(j->next - begun) / (double)(last - begun) : 1, detail);
    }
    j->r->was_there = j->next == begun;
    snprintf(detail, sizeof detail, "%" PRId64 " lines, %.1f MB", j->r->lines, (double)j->bytes / 1e6);
    if (!j->r->was_there) progress_end(&shown, detail);
    j->r->rows = j->next;
    return STATUS_OK;
}

status dataset_fetch(http_client *c, const dataset_request *q, dataset_result *r) {
    *r = (dataset_result){0};
    TRY(hub_check_repo(q->dataset));
    job j = {.q = q, .r = r, .total = -1, .state_path = xasprintf("%s.fetch.json", q->out)};
    char *parent = path_parent(q->out), *lock_path = xasprintf("%s.lock", j.state_path);
    lock held = {0};
    if (q->config) j.config = xstrdup(q->config);
    if (q->split) j.split = xstrdup(q->split);
    status s = folder_create(parent);
    if (s == STATUS_OK) s = lock_take(&held, lock_path, "moec fetch");
    if (s == STATUS_OK) s = state_read(&j);
    if (s == STATUS_OK) s = find_split(c, &j);
    if (s == STATUS_OK) s = fetch_rows(c, &j);
    lock_release(&held);
    free(lock_path);
    free(parent);
    free(j.config);
    free(j.split);
    free(j.state_path);
    return s;
}
