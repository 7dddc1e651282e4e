#include "study/machine.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "config/read.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

#define LINK(key, least, most) CONFIG_FIELD(machine_link, #key, FIELD_DOUBLE, key, least, most, NULL, NULL)
enum { LINK_OVERHEAD, LINK_LATENCY, LINK_RATE, LINK_EFFICIENCY, LINK_KEYS };
static const config_field link_fields[LINK_KEYS] = {
    [LINK_OVERHEAD] = LINK(overhead, 0, 10),
    [LINK_LATENCY] = LINK(latency, 0, 10),
    [LINK_RATE] = LINK(rate, 1, 1e18),
    [LINK_EFFICIENCY] = LINK(efficiency, 1e-3, 1),
};

static status read_link(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    int lines[LINK_KEYS] = {0};
    machine_link *l = (machine_link *)((char *)base + f->offset);
    TRY(read_mapping(d, value, f->key, link_fields, LINK_KEYS, l, lines));
    if (!lines[LINK_RATE]) return yaml_fail(d, value, "%s: expected a rate, found none", f->key);
    return STATUS_OK;
}

#define KEY(key, type, least, most) CONFIG_FIELD(machine, #key, type, key, least, most, NULL, NULL)
#define OWN_LINK(NAME)                                                                                                 \
    { .key = #NAME, .type = FIELD_OWN, .offset = offsetof(machine, NAME), .read = read_link }
enum { MACHINE_NAME, MACHINE_PRODUCTS, MACHINE_MEMORY_RATE, MACHINE_INSIDE, MACHINE_NEEDED };
static const config_field machine_fields[] = {
    [MACHINE_NAME] = KEY(name, FIELD_STRING, 1, 0),
    [MACHINE_PRODUCTS] = KEY(products, FIELD_DOUBLE, 1, 1e24),
    [MACHINE_MEMORY_RATE] = KEY(memory_rate, FIELD_DOUBLE, 1, 1e18),
    [MACHINE_INSIDE] = OWN_LINK(inside),
    OWN_LINK(between),
    KEY(source, FIELD_STRING, 0, 0),
    KEY(node_ranks, FIELD_INT, 1, 4096),
    KEY(shared, FIELD_BOOL, 0, 0),
    KEY(product_efficiency, FIELD_DOUBLE, 1e-3, 1),
    KEY(updates, FIELD_DOUBLE, 0, 1e24),
    KEY(units, FIELD_INT, 1, 1 << 20),
    KEY(tile, FIELD_INT, 1, 1 << 16),
    KEY(memory_efficiency, FIELD_DOUBLE, 1e-3, 1),
    KEY(memory, FIELD_DOUBLE, 0, 1e18),
    KEY(kernel_seconds, FIELD_DOUBLE, 0, 1),
    KEY(block_kernels, FIELD_DOUBLE, 0, 1e6),
    KEY(act_bytes, FIELD_DOUBLE, 1, 8),
    KEY(cards, FIELD_INT, 0, 4096),
    KEY(jitter, FIELD_DOUBLE, 0, 10),
};
enum { MACHINE_KEYS = sizeof machine_fields / sizeof *machine_fields };

static machine machine_default(void) {
    return (machine){.node_ranks = 1,
                     .product_efficiency = 1,
                     .units = 1,
                     .tile = 128,
                     .memory_efficiency = 1,
                     .block_kernels = 30,
                     .act_bytes = 4,
                     .inside.efficiency = 1,
                     .between.efficiency = 1};
}

static status read_machine(machine *m, const yaml_document *d) {
    int lines[MACHINE_KEYS] = {0};
    if (!d->root || yaml_is_null(d->root))
        return fail_usage("%s: expected a machine with name, products, memory_rate and inside, found nothing",
                          d->where);
    TRY(read_mapping(d, d->root, "a machine", machine_fields, MACHINE_KEYS, m, lines));
    for (int i = 0; i < MACHINE_NEEDED; i++)
        if (!lines[i]) return fail_usage("%s: %s: expected a value, found none", d->where, machine_fields[i].key);
    if (m->between.rate == 0) m->between = m->inside;
    if (m->cards > m->node_ranks)
        return fail_usage("%s: cards: expected at most node_ranks, %d, found %d", d->where, m->node_ranks, m->cards);
    return STATUS_OK;
}

status machine_parse(machine *m, const char *where, const char *yaml, size_t bytes) {
    yaml_document d;
    *m = machine_default();
    status s = yaml_read(&d, where, true, yaml, bytes);
    if (s == STATUS_OK) s = read_machine(m, &d);
    yaml_close(&d);
    return s;
}

status machine_load(machine *m, const char *path) {
    uint8_t *bytes;
    size_t count;
    *m = machine_default();
    TRY(file_read(path, YAML_MAX_BYTES, &bytes, &count));
    const status s = machine_parse(m, path, (const char *)bytes, count);
    free(bytes);
    return s;
}

void machine_free(machine *m) {
    free(m->name);
    free(m->source);
    m->name = m->source = NULL;
}

/* ---- writing ---- */

static void write_link(FILE *out, const char *key, const machine_link *l) {
    fprintf(out, "%s: {overhead: %.3g, latency: %.3g, rate: %.4g, efficiency: %g}\n", key, l->overhead, l->latency,
            l->rate, l->efficiency);
}

static void write_text(FILE *out, const machine *m) {
    fputs("name: ", out);
    yaml_write_text(out, m->name);
    if (m->source) {
        fputs("\nsource: ", out);
        yaml_write_text(out, m->source);
    }
    fprintf(out, "\nnode_ranks: %d\nshared: %s\n", m->node_ranks, m->shared ? "true" : "false");
    fprintf(out, "products: %.4g\nproduct_efficiency: %g\n", m->products, m->product_efficiency);
    fprintf(out, "updates: %.4g\n", m->updates);
    fprintf(out, "units: %d\ntile: %d\n", m->units, m->tile);
    fprintf(out, "memory_rate: %.4g\nmemory_efficiency: %g\nmemory: %.4g\n", m->memory_rate, m->memory_efficiency,
            m->memory);
    fprintf(out, "kernel_seconds: %.3g\nblock_kernels: %g\nact_bytes: %g\n", m->kernel_seconds, m->block_kernels,
            m->act_bytes);
    write_link(out, "inside", &m->inside);
    write_link(out, "between", &m->between);
    fprintf(out, "cards: %d\njitter: %g\n", m->cards, m->jitter);
}

status machine_write(const machine *m, const char *path) {
    text_stream t;
    write_text(text_stream_begin(&t), m);
    return text_stream_write(&t, path);
}

/* ---- times ---- */

static double share(const machine *m, int local) {
    return m->shared ? 1.0 / local : 1;
}

static double fill(const machine *m, double rows, double cols) {
    if (m->units == 1) return 1;
    const double tiles = ceil(rows / m->tile) * ceil(cols / m->tile);
    return tiles / (m->units * ceil(tiles / m->units));
}

double machine_product_seconds(const machine *m, int local, double flops, double rows, double cols) {
    if (flops <= 0) return 0;
    return flops / (m->products * share(m, local) * m->product_efficiency * fill(m, rows, cols));
}

double machine_update_seconds(const machine *m, int local, double flops, double rows, double cols) {
    machine u = *m;
    if (m->updates > 0) u.products = m->updates;
    return machine_product_seconds(&u, local, flops, rows, cols);
}

double machine_memory_seconds(const machine *m, int local, double bytes) {
    return bytes / (m->memory_rate * share(m, local) * m->memory_efficiency);
}

double machine_kernel_seconds(const machine *m, double kernels) {
    return kernels * m->kernel_seconds;
}

double machine_port_seconds(const machine_link *l, double bytes) {
    return l->overhead + bytes / (l->rate * l->efficiency);
}
