#include "store/layout_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "kernel/weight_room.h"
#include "store/layout_head.h"
#include <stdlib.h>
#include <string.h>

enum { CHECKED_PIECES = 256, COPY_BYTES = 1 << 20 };

bool layout_serves(const model *m) {
    bool packed = false;
    for (int i = 0; i < m->param_count; i++) packed = packed || m->params[i]->matrix.packed;
    return packed && model_use_packs(m->use) && m->room && !m->layers && !m->hot;
}

static uint64_t name_of(const param *p) {
    return crc64(0, p->name, strlen(p->name));
}

/* ---- writing ---- */

static status describe(layout_entry *e, const param *p, const kernels *k) {
    *e = (layout_entry){.name = name_of(p), .is_vector = !p->is_matrix};
    if (p->is_matrix) {
        k->weight_describe(&e->weight, &p->matrix);
        return e->weight.kind == STORED_NOTHING ? fail("%s: its form cannot be kept in a file", p->name) : STATUS_OK;
    }
    e->weight = (stored_weight){.rows = 1,
                                .cols = param_count(p),
                                .type = DTYPE_F32,
                                .array = {p->value.data},
                                .bytes = {(int64_t)tensor_bytes(&p->value)}};
    return STATUS_OK;
}

static status describe_all(layout_head *h, const model *m) {
    h->entries = xcalloc((size_t)m->param_count + 1, sizeof *h->entries);
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) TRY(describe(&h->entries[h->count++], m->params[i], m->k));
    return STATUS_OK;
}

typedef void (*byte_sink)(void *context, const void *bytes, size_t count);

typedef struct data_pass {
    const layout_head *h;
    const kernels *k;
    byte_sink sink;
    void *context;
    uint8_t *copy; /* [COPY_BYTES] */
    uint64_t at;   /* in the file */
} data_pass;

static void pad_to(data_pass *p, uint64_t offset) {
    static const uint8_t zeros[LAYOUT_PAGE];
    while (p->at < offset) {
        const size_t bytes = offset - p->at < sizeof zeros ? (size_t)(offset - p->at) : sizeof zeros;
        p->sink(p->context, zeros, bytes);
        p->at += bytes;
    }
}

static void put_array(data_pass *p, const void *device, int64_t bytes) {
    for (int64_t done = 0; done < bytes; done += COPY_BYTES) {
        const size_t piece = (size_t)(bytes - done < COPY_BYTES ? bytes - done : COPY_BYTES);
        p->k->download(p->copy, (const char *)device + done, piece);
        p->sink(p->context, p->copy, piece);
        p->at += piece;
    }
}

/* The file from its first array on, byte by byte in order. */
static void put_data(const layout_head *h, const kernels *k, byte_sink sink, void *context) {
    data_pass p = {.h = h, .k = k, .sink = sink, .context = context, .copy = xmalloc(COPY_BYTES), .at = h->data};
    for (int i = 0; i < h->count; i++)
        for (int a = 0; a < STORED_ARRAYS; a++) {
            pad_to(&p, h->entries[i].offset[a]);
            put_array(&p, h->entries[i].weight.array[a], h->entries[i].weight.bytes[a]);
        }
    pad_to(&p, h->file_bytes);
    free(p.copy);
}

typedef struct summing {
    layout_head *h;
    uint64_t at; /* in the data */
} summing;

static void sum(void *context, const void *bytes, size_t count) {
    summing *s = context;
    for (size_t done = 0; done < count;) {
        const size_t left = LAYOUT_PIECE - s->at % LAYOUT_PIECE, part = count - done < left ? count - done : left;
        uint64_t *crc = &s->h->pieces[s->at / LAYOUT_PIECE];
        *crc = crc64(*crc, (const uint8_t *)bytes + done, part);
        s->at += part;
        done += part;
    }
}

static void write_bytes(void *context, const void *bytes, size_t count) {
    file_write(context, bytes, count);
}

static status write_all(const char *path, layout_head *h, const kernels *k) {
    static const uint8_t zeros[LAYOUT_PAGE];
    file_writer w;
    byte_buffer head = {0};
    summing sums = {.h = h};
    TRY(file_create(&w, path));
    put_data(h, k, sum, &sums);
    layout_head_write(h, &head);
    file_write(&w, head.bytes, head.count);
    file_write(&w, zeros, (size_t)h->data - head.count);
    free(head.bytes);
    put_data(h, k, write_bytes, &w);
    return file_commit(&w);
}

status layout_write(const char *path, const model *m, const char *model_path, const char *key) {
    layout_head h = {.path = xstrdup(model_path), .key = xstrdup(key)};
    status s = describe_all(&h, m);
    if (s == STATUS_OK) {
        layout_head_place(&h);
        s = write_all(path, &h, m->k);
    }
    layout_head_free(&h);
    return s;
}

/* ---- checking ---- */

/* Which of the pieces is the i-th of those that are looked at: all, or every n-th from one on that the clock chose. */
static int64_t piece_at(int64_t i, int64_t checked, int64_t pieces, int64_t first) {
    return checked == pieces ? i : (i * pieces / checked + first) % pieces;
}

static status check_pieces(const layout_head *h, const uint8_t *bytes, const char *where) {
    const int64_t pieces = h->piece_count, checked = pieces < CHECKED_PIECES ? pieces : CHECKED_PIECES;
    const int64_t first = checked == pieces ? 0 : (int64_t)(time_of_day() * 1e3) % pieces;
    int64_t damaged = -1;
#pragma omp parallel for schedule(dynamic) reduction(max : damaged)
    for (int64_t i = 0; i < checked; i++) {
        const int64_t piece = piece_at(i, checked, pieces, first);
        const uint64_t begin = h->data + (uint64_t)piece * LAYOUT_PIECE, left = h->file_bytes - begin;
        const size_t size = left < LAYOUT_PIECE ? (size_t)left : LAYOUT_PIECE;
        if (crc64(0, bytes + begin, size) != h->pieces[piece]) damaged = piece;
    }
    if (damaged < 0) return STATUS_OK;
    return fail("%s: bytes from %llu on: expected others for their checksum: it is damaged", where,
                (unsigned long long)(h->data + (uint64_t)damaged * LAYOUT_PIECE));
}

/* ---- a model in it ---- */

static void unmap(void *owner) {
    file_map *map = owner;
    file_map_close(map);
    free(map);
}

/* The weight with its arrays as they lie at `bytes`. */
static stored_weight weight_at(const layout_entry *e, const uint8_t *bytes) {
    stored_weight w = e->weight;
    for (int a = 0; a < STORED_ARRAYS; a++) w.array[a] = w.bytes[a] > 0 ? bytes + e->offset[a] : NULL;
    return w;
}

static status fill_param(param *p, const kernels *k, const layout_entry *e, const uint8_t *bytes) {
    const stored_weight w = weight_at(e, bytes);
    if (e->name != name_of(p) || e->is_vector == p->is_matrix)
        return fail("expected this parameter of the model's config, found another");
    if (p->is_matrix) return param_adopt(p, k, &w);
    if (w.bytes[0] != (int64_t)tensor_bytes(&p->value))
        return fail("expected %zu bytes, found %lld", tensor_bytes(&p->value), (long long)w.bytes[0]);
    k->upload(p->value.data, w.array[0], (size_t)w.bytes[0]);
    return STATUS_OK;
}

static status fill(model *m, const layout_head *h, const uint8_t *bytes, const char *where) {
    int next = 0;
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->derived) continue;
        if (next == h->count) return fail("%s: expected more than %d parameters", where, h->count);
        TRY(fail_in(fill_param(p, m->k, &h->entries[next++], bytes), "%s: %s", where, p->name));
    }
    return next == h->count ? STATUS_OK : fail("%s: expected %d parameters, found %d", where, next, h->count);
}

/* The room owns the map from here on. */
static status create(const layout_head *h, file_map *map, const char *where, const model_config *config,
                     const kernels *k, model_use use, model **m) {
    status s = model_create(m, config, k, use);
    if (s == STATUS_OK) {
        s = weight_room_adopt((*m)->room, (void *)map->bytes, map->count, unmap, map);
        if (s == STATUS_OK) {
            s = fill(*m, h, map->bytes, where);
            if (s != STATUS_OK) model_destroy(*m);
            return s;
        }
        model_destroy(*m);
    }
    unmap(map);
    return s;
}

static status open_head(layout_head *h, const file_map *map, const char *path, const char *key) {
    TRY(layout_head_parse(h, map->bytes, map->count, map->count, path, true));
    status s = STATUS_OK;
    if (strcmp(h->key, key) != 0) s = fail("%s: expected the layout for %s, found that for %s", path, key, h->key);
    if (s == STATUS_OK) s = check_pieces(h, map->bytes, path);
    if (s != STATUS_OK) layout_head_free(h);
    return s;
}

status layout_open_model(const char *path, const char *key, const model_config *config, const kernels *k, model_use use,
                         model **m) {
    layout_head h;
    file_map *map = xcalloc(1, sizeof *map);
    status s = file_map_open(map, path);
    if (s == STATUS_OK) s = open_head(&h, map, path, key);
    if (s != STATUS_OK) {
        unmap(map);
        return s;
    }
    s = create(&h, map, path, config, k, use, m);
    layout_head_free(&h);
    return s;
}

/* ---- fuzzing ---- */

/* The first and the last row, as products would read them. */
static void read_ends(const weight *w, const kernels *k) {
    float *row = xmalloc((size_t)w->cols * sizeof *row);
    k->weight_values(row, w, 0, 1);
    k->weight_values(row, w, w->rows - 1, 1);
    free(row);
}

status layout_check(const uint8_t *bytes, size_t count, const char *where, bool check_crc) {
    const kernels *k = kernels_for(DTYPE_F32);
    layout_head h;
    weight_room *room = NULL;
    TRY(layout_head_parse(&h, bytes, count, count, where, check_crc));
    status s = check_crc ? check_pieces(&h, bytes, where) : STATUS_OK;
    if (s == STATUS_OK) s = weight_room_create(&room, k, LAYOUT_PAGE, true);
    for (int i = 0; i < h.count && s == STATUS_OK; i++) {
        const stored_weight stored = weight_at(&h.entries[i], bytes);
        weight w;
        if (h.entries[i].is_vector || k->weight_adopt(&w, &stored, room) != STATUS_OK) continue;
        read_ends(&w, k);
        k->weight_destroy(&w);
    }
    weight_room_destroy(room);
    layout_head_free(&h);
    return s;
}
