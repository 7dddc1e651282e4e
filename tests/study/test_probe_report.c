/* What a probe leaves in its folder, of domains and experts whose names mean something to CSV and to gnuplot. */
#include "test.h"

#include "base/json.h"
#include "study/probe_report.h"

enum { DOMAINS = 3, MOST_EXPERTS = 40 };

/* Domain 1 was not seen. */
static probed_router router_of(int layer, int pass, int experts) {
    probed_router r = {.layer = layer, .pass = pass, .separation = 0.5, .information = 0.25, .information_bound = 1};
    routing_table *tables[] = {&r.first, &r.gates, &r.documents};
    for (int i = 0; i < 3; i++) {
        *tables[i] = routing_table_create(DOMAINS, experts);
        tables[i]->count[0] = 3;
        tables[i]->count[experts - 1] += 1;
        tables[i]->count[2 * experts] = 4;
    }
    routing_best_experts(&r.first, r.expert);
    return r;
}

static probe probe_with(const document_table *table, int experts) {
    probe p = {.table = table, .tokens = {4, 0, 4}, .documents = {1, 0, 2}, .count = 2};
    p.routers = xcalloc(2, sizeof *p.routers);
    p.routers[0] = router_of(3, 1, experts);
    p.routers[1] = router_of(3, 2, experts);
    p.mean = router_of(-1, 0, experts);
    return p;
}

static char *text_of(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, 1 << 20, &bytes, &count));
    free(path);
    return (char *)bytes;
}

static void assert_says(const char *folder, const char *name, const char *part) {
    char *text = text_of(folder, name);
    if (!strstr(text, part)) fail_msg("%s lacks \"%s\":\n%s", name, part, text);
    free(text);
}

static char *names[] = {"it's 'code', \"C\"", "unseen", "prose"};
static const document_table table = {.domains = names, .domain_count = DOMAINS};

static void a_folder_with_everything(void **state) {
    const char *folder = *state;
    for (int experts = 1; experts <= MOST_EXPERTS;
         experts += 13) { /* a cell of its own; named cells; too many for that */
        probe p = probe_with(&table, experts);
        if (experts == 1) assert_true(labels_add(&p.names, "an expert's name"));
        cJSON *json = probe_to_json(&p), *read;
        bool drawn;
        char *path = path_join(folder, "probe.json");
        assert_ok(probe_report(&p, json, folder, &drawn));
        assert_ok(json_read_file(path, &read));
        assert_true(cJSON_Compare(json, read, true));
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(read, "routers")), 2);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(read, "domains")), 2);
        assert_says(folder, "shares.csv", "3,2,\"it's 'code', \"\"C\"\"\",0,");
        assert_says(folder, "experts.gp", "'it''s ''code'', \"C\"' 0, 'prose' 1)");
        assert_says(folder, "routers.csv", "\nmean,,0.5,");
        if (drawn) assert_says(folder, "experts.svg", "</svg>");
        if (drawn) assert_says(folder, "separation.svg", "</svg>");
        cJSON_Delete(json);
        cJSON_Delete(read);
        free(path);
        probe_free(&p);
    }
}

/* The rest is there, and nobody took a plot for drawn. */
static void without_gnuplot(void **state) {
    const char *folder = *state;
    char *before = xstrdup(getenv("PATH"));
    probe p = probe_with(&table, 3);
    cJSON *json = probe_to_json(&p);
    bool drawn = true;
    setenv("PATH", folder, 1);
    assert_ok(probe_report(&p, json, folder, &drawn));
    setenv("PATH", before, 1);
    assert_false(drawn);
    assert_says(folder, "separation.tsv", "0\t0.5\t");
    assert_says(folder, "shares.csv", "prose");
    assert_false(path_holds(folder, "experts.svg"));
    cJSON_Delete(json);
    probe_free(&p);
    free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(a_folder_with_everything), in_scratch(without_gnuplot)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
