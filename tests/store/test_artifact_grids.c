/* Grids in an artifact: twins, trellises, scales of groups and columns. */
#include "packed.h"

#include "quant/quantize.h"
#include "store/artifact_format.h"

/* ---- an artifact of grids alone, as far as its tensors can be read ---- */

typedef struct part {
    int kind;
    const uint8_t *bytes;
    size_t count;
} part;

static byte_buffer file_of(const packed_tensors *t) {
    byte_buffer file = {0}, planes = {0};
    planes_split(&planes, t->scales, t->scale_count, 2);
    uint8_t *coded;
    size_t coded_count;
    scales_encode(t->scales, t->runs, t->run_count, &coded, &coded_count);
    const part parts[SECTION_COUNT] = {{SECTION_CONFIG, (const uint8_t *)"{}", 2},
                                       {SECTION_TOKENIZER, NULL, 0},
                                       {SECTION_TENSORS, t->directory.bytes, t->directory.count},
                                       {SECTION_SCALES, coded, coded_count},
                                       {SECTION_HALVES, NULL, 0},
                                       {SECTION_FLOATS, NULL, 0},
                                       {SECTION_CODES, t->codes.bytes, t->codes.count}};
    size_t offset = HEADER_BYTES + SECTION_COUNT * SECTION_ENTRY_BYTES, end = offset;
    for (int i = 0; i < SECTION_COUNT; i++) end += parts[i].count;
    buffer_add(&file, ARTIFACT_MAGIC, 4);
    buffer_add_number(&file, ARTIFACT_VERSION, 4);
    buffer_add_number(&file, end + CHECKSUM_BYTES, 8);
    buffer_add_number(&file, SECTION_COUNT, 4);
    buffer_add_number(&file, 0, 4);
    for (int i = 0; i < SECTION_COUNT; i++) {
        const bool scales = parts[i].kind == SECTION_SCALES;
        buffer_add_number(&file, (uint64_t)parts[i].kind, 4);
        buffer_add_number(&file, scales ? SECTION_SCALE_CODED : SECTION_PLAIN, 4);
        buffer_add_number(&file, offset, 8);
        buffer_add_number(&file, parts[i].count, 8);
        buffer_add_number(&file, scales ? planes.count : parts[i].count, 8);
        offset += parts[i].count;
    }
    for (int i = 0; i < SECTION_COUNT; i++) buffer_add(&file, parts[i].bytes, parts[i].count);
    buffer_add_number(&file, crc64(0, file.bytes, file.count), CHECKSUM_BYTES);
    free(planes.bytes), free(coded);
    return file;
}

enum { GRIDS = 9, ROWS = 24, COLS = 48 };

typedef struct grids {
    quantized q[GRIDS];
    packed_tensors packed;
    byte_buffer file;
} grids;

static quantized noise(uint64_t seed, int bits) {
    quantized q;
    rng r = rng_seed(seed);
    assert_ok(quantized_create(&q, ROWS, COLS, bits));
    for (int i = 0; i < ROWS * COLS; i++) {
        float x;
        rng_normal(&r, &x, 1, 2);
        q.q[i] = (int8_t)grid_nearest(x, 1, (float)q.levels);
    }
    for (int i = 0; i < ROWS; i++) q.scale[i] = scale_round(0.01f * (float)(i + 5));
    return q;
}

static void add(grids *g, int at, int role, int expert, const quantized *q) {
    static param params[GRIDS];
    static const int64_t shape[] = {ROWS, COLS};
    param *p = &params[at];
    static char names[GRIDS][16];
    snprintf(names[at], sizeof names[at], "grid.%d", at);
    *p = (param){.name = names[at], .role = role, .layer = 1, .expert = expert};
    p->value.ndim = 2;
    memcpy(p->value.shape, shape, sizeof shape);
    g->q[at] = quantized_copy(q);
    quantized given = quantized_copy(q);
    size_t bytes;
    assert_ok(packed_add_grid(&g->packed, p, &given, &bytes));
}

/* As low_rank.c makes them. */
static void correct(quantized *q, int rank, int bits, uint64_t seed) {
    rng r = rng_seed(seed);
    q->correction = xcalloc(1, sizeof *q->correction);
    assert_ok(quantized_create(q->correction, rank, ROWS + COLS, bits));
    for (int i = 0; i < rank * (ROWS + COLS); i++) {
        float x;
        rng_normal(&r, &x, 1, bits == 8 ? 40 : 3);
        q->correction->q[i] = (int8_t)grid_nearest(x, 1, (float)q->correction->levels);
    }
    for (int k = 0; k < rank; k++) q->correction->scale[k] = scale_round(0.003f / (float)(k + 1));
}

/* 0, 1, 2: experts on a trellis with scales of columns, 1 a copy of 0 that moved a little, 2 a stranger. 3: a matrix in
 * groups. 4: of few weights that are not 0. 5, 6: experts of another role, the same ones. 7, 8: experts in groups with
 * offsets, whose columns are rotated, 8 nearly 7, and corrected, 7 with rank 1, whose few codes are kept as they are, 8
 * with as large a rank as there can be. */
static grids make(void) {
    grids g = {0};
    const trellis *t = trellis_of(8);
    quantized q = noise(1, 8);
    q.trellis = t->states;
    buffer_add_number(&g.packed.directory, GRIDS, 4);
    q.input_scale = xmalloc(COLS * sizeof(float));
    for (int i = 0; i < COLS; i++) q.input_scale[i] = scale_round(1 + 0.1f * (float)(i % 5));
    for (int i = 0; i < ROWS; i++) trellis_points(t, q.q + i * COLS, COLS, q.q + i * COLS);
    add(&g, 0, ROLE_EXPERT_FC, 0, &q);
    memset(q.q + 3 * COLS + COLS / 2, 0, COLS / 2);
    q.scale[5] *= 2;
    add(&g, 1, ROLE_EXPERT_FC, 1, &q);
    quantized other = noise(2, 8);
    other.trellis = t->states;
    for (int i = 0; i < ROWS; i++) trellis_points(t, other.q + i * COLS, COLS, other.q + i * COLS);
    add(&g, 2, ROLE_EXPERT_FC, 2, &other);
    quantized_free(&other);
    quantized grouped = noise(3, 4);
    grouped.group = COLS / 3;
    grouped.scale = xrealloc(grouped.scale, 3 * ROWS * sizeof(float));
    for (int i = 0; i < 3 * ROWS; i++) grouped.scale[i] = i / 3 == 4 ? 0 : scale_round(0.02f + 0.001f * (float)i);
    memset(grouped.q + 4 * COLS, 0, COLS);
    add(&g, 3, ROLE_C_Q, -1, &grouped);
    memset(grouped.q, 0, ROWS * COLS);
    grouped.q[77] = 1;
    add(&g, 4, ROLE_C_K, -1, &grouped);
    quantized_free(&grouped);
    quantized pair = noise(4, 6);
    add(&g, 5, ROLE_EXPERT_PROJ, 0, &pair);
    add(&g, 6, ROLE_EXPERT_PROJ, 1, &pair);
    quantized_free(&pair), quantized_free(&q);
    quantized centred = noise(5, 4);
    centred.group = COLS / 4;
    centred.rotation = 77;
    centred.scale = xrealloc(centred.scale, 4 * ROWS * sizeof(float));
    centred.offset = xmalloc(4 * ROWS * sizeof(float));
    for (int i = 0; i < 4 * ROWS; i++) {
        centred.scale[i] = i == 9 ? 0 : scale_round(0.02f + 0.001f * (float)i);
        centred.offset[i] = i == 9 ? 0 : quantized_offset(centred.scale[i], i == 50 ? -QUANTIZED_MOST_ZERO : i % 7 - 3);
    }
    memset(centred.q + 9 * COLS / 4, 0, COLS / 4);
    correct(&centred, 1, 8, 6);
    add(&g, 7, ROLE_EXPERT_FC, 0, &centred);
    quantized_free(centred.correction);
    free(centred.correction);
    correct(&centred, ROWS * COLS / (ROWS + COLS), 4, 7);
    centred.q[5] = (int8_t)-centred.q[5];
    centred.offset[20] = quantized_offset(centred.scale[20], 40);
    add(&g, 8, ROLE_EXPERT_FC, 1, &centred);
    quantized_free(&centred);
    g.file = file_of(&g.packed);
    return g;
}

static void unmake(grids *g) {
    for (int i = 0; i < GRIDS; i++) quantized_free(&g->q[i]);
    packed_tensors_free(&g->packed);
    free(g->file.bytes);
}

typedef struct opened {
    container c;
    directory d;
    value_reader v;
} opened;

static status open_grids(opened *o, const uint8_t *bytes, size_t count) {
    *o = (opened){.v = {.base = -1}};
    TRY(container_open(&o->c, bytes, count, "grids.moec", false));
    TRY(directory_read(&o->d, &o->c));
    return value_reader_open(&o->v, &o->c, &o->d);
}

static void close_grids(opened *o) {
    value_reader_close(&o->v);
    directory_free(&o->d);
    container_close(&o->c);
}

static void assert_same_correction(const quantized *a, const quantized *b) {
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
    assert_int_equal(a->levels, b->levels);
    assert_memory_equal(a->q, b->q, (size_t)(a->rows * a->cols));
    assert_memory_equal(a->scale, b->scale, (size_t)a->rows * sizeof(float));
}

static void assert_same(const quantized *a, const quantized *b) {
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->levels, b->levels);
    assert_memory_equal(a->q, b->q, ROWS * COLS);
    assert_memory_equal(a->scale, b->scale, (size_t)(ROWS * quantized_groups(a)) * sizeof(float));
    assert_int_equal(a->rotation, b->rotation);
    assert_int_equal(!a->offset, !b->offset);
    if (a->offset) assert_memory_equal(a->offset, b->offset, (size_t)(ROWS * quantized_groups(a)) * sizeof(float));
    assert_int_equal(!a->input_scale, !b->input_scale);
    if (a->input_scale) assert_memory_equal(a->input_scale, b->input_scale, COLS * sizeof(float));
    assert_int_equal(!a->correction, !b->correction);
    if (a->correction) assert_same_correction(a->correction, b->correction);
    float x[ROWS * COLS], y[ROWS * COLS];
    quantized_expand(a, x);
    quantized_expand(b, y);
    assert_memory_equal(x, y, sizeof x); /* bit for bit what was written */
}

static void grids_come_back_in_any_order(void **state) {
    (void)state;
    grids g = make();
    opened o;
    static const int orders[][GRIDS] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8}, {8, 6, 1, 5, 6, 0, 4, 1, 7}, {1, 6, 2, 1, 3, 3, 6, 8, 8}};
    for (int k = 0; k < 3; k++) {
        assert_ok(open_grids(&o, g.file.bytes, g.file.count));
        for (int i = 0; i < GRIDS; i++) {
            quantized q;
            assert_ok(value_read_grid(&o.v, &o.d.tensors[orders[k][i]], &q));
            assert_same(&g.q[orders[k][i]], &q);
            quantized_free(&q);
        }
        close_grids(&o);
    }
    unmake(&g);
}

static void twins_are_used_where_they_pay(void **state) {
    (void)state;
    grids g = make();
    opened o;
    assert_ok(open_grids(&o, g.file.bytes, g.file.count));
    const tensor_entry *t = o.d.tensors;
    const int twins[GRIDS] = {-1, 0, -1, -1, -1, -1, 5, -1, 7};
    for (int i = 0; i < GRIDS; i++) assert_int_equal(t[i].twin, twins[i]);
    assert_true(t[1].code_bytes < t[0].code_bytes / 2);
    assert_true(t[6].code_bytes < t[5].code_bytes / 8);
    assert_int_equal(t[0].trellis, 8);
    assert_int_equal(t[4].code_bytes,
                     (ROWS * COLS + MAX_PER_CODE_BYTE - 1) / MAX_PER_CODE_BYTE); /* padded: as much as a reader takes */
    close_grids(&o);
    unmake(&g);
}

/* Whatever a byte becomes, what is read stays within its levels, or is refused by name. */
static void damage_is_survived(void **state) {
    (void)state;
    grids g = make();
    rng r = rng_seed(1);
    int refused = 0;
    for (int trial = 0; trial < 3000; trial++) {
        const size_t at = HEADER_BYTES + rng_below(&r, g.file.count - HEADER_BYTES);
        const uint8_t kept = g.file.bytes[at];
        g.file.bytes[at] = (uint8_t)rng_next(&r);
        opened o;
        status s = open_grids(&o, g.file.bytes, g.file.count);
        for (int i = o.d.count - 1; i >= 0 && s == STATUS_OK; i--) {
            quantized q = {0};
            if (!entry_is_grid(&o.d.tensors[i])) continue;
            s = value_read_grid(&o.v, &o.d.tensors[i], &q);
            for (int64_t k = 0; s == STATUS_OK && k < q.rows * q.cols; k++) assert_true(abs(q.q[k]) <= q.levels);
            if (s == STATUS_OK) quantized_free(&q);
        }
        if (s != STATUS_OK) assert_non_null(strstr(error_message(), "grids.moec"));
        refused += s != STATUS_OK;
        close_grids(&o);
        g.file.bytes[at] = kept;
    }
    assert_true(refused > 100);
    unmake(&g);
}

/* What a version does not know, a file of that version does not have. */
static void flags_belong_to_versions(void **state) {
    (void)state;
    grids g = make();
    assert_int_equal(g.packed.version, ARTIFACT_VERSION);
    for (int version = ARTIFACT_USUAL_VERSION; version < ARTIFACT_VERSION; version++) {
        opened o;
        g.file.bytes[4] = (uint8_t)version;
        assert_fails(open_grids(&o, g.file.bytes, g.file.count), "tensor grid.7: ");
        close_grids(&o);
    }
    unmake(&g);
}

/* A file has no later version than it needs. */
static void versions_are_as_old_as_they_can_be(void **state) {
    (void)state;
    char name[] = "w";
    param p = {.role = ROLE_C_Q, .layer = 1, .expert = -1, .name = name};
    packed_tensors packed = {0};
    for (int i = 0; i < 4; i++) {
        quantized q = noise(1, 4);
        size_t bytes;
        if (i == 1) q.rotation = 5;
        if (i == 2) correct(&q, 2, 6, 1);
        assert_ok(packed_add_grid(&packed, &p, &q, &bytes));
        const int expected[] = {0, ARTIFACT_CENTRED_VERSION, ARTIFACT_VERSION, ARTIFACT_VERSION};
        assert_int_equal(packed.version, expected[i]);
    }
    packed_tensors_free(&packed);
}

/* Every figure of a correction's entry: a rank of 0 and one that is too large, bits, coding, bytes. */
static void corrections_are_bounded(void **state) {
    (void)state;
    grids g = make();
    opened o;
    const uint8_t name[] = "grid.7";
    uint8_t *entry = memmem(g.file.bytes, g.file.count, name, 6);
    assert_non_null(entry);
    uint8_t *rank = entry + 6 + 4 + 1 + 4 + 4 + 4; /* name, coding to trellis, flags, group, twin, seed */
    assert_int_equal(rank[0], 1);
    assert_int_equal(rank[2], 8);
    static const struct {
        int at;
        uint8_t value;
    } bad[] = {{0, 0}, {0, 17}, {1, 1}, {2, 1}, {2, 9}, {3, CODING_RANGE}, {3, CODING_FLOAT16}, {4, 2}, {11, 200}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const uint8_t kept = rank[bad[i].at];
        rank[bad[i].at] = bad[i].value;
        assert_fails(open_grids(&o, g.file.bytes, g.file.count), "tensor grid.7: expected a correction");
        close_grids(&o);
        rank[bad[i].at] = kept;
    }
    unmake(&g);
}

static void offsets_are_quarters_of_steps(void **state) {
    (void)state;
    packed_tensors packed = {0};
    char name[] = "w";
    param p = {.role = ROLE_C_Q, .layer = 1, .expert = -1, .name = name};
    for (int i = 0; i < 2; i++) {
        quantized q = noise(1, 4);
        size_t bytes;
        q.offset = xcalloc(ROWS, sizeof *q.offset);
        q.offset[3] = q.scale[3] * (i ? 0.3f : 32);
        assert_fails(packed_add_grid(&packed, &p, &q, &bytes), "offset 3: expected up to 127 quarters");
    }
    packed_tensors_free(&packed);
}

static void scales_have_to_be_bfloat16(void **state) {
    (void)state;
    packed_tensors packed = {0};
    char name[] = "w";
    param p = {.role = ROLE_C_Q, .layer = 1, .expert = -1, .name = name};
    quantized q = noise(1, 4);
    size_t bytes;
    q.scale[3] = 0.1f;
    assert_fails(packed_add_grid(&packed, &p, &q, &bytes), "scale 3: expected a bfloat16, found 0.1");
    packed_tensors_free(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_come_back_in_any_order),
        cmocka_unit_test(twins_are_used_where_they_pay),
        cmocka_unit_test(damage_is_survived),
        cmocka_unit_test(flags_belong_to_versions),
        cmocka_unit_test(versions_are_as_old_as_they_can_be),
        cmocka_unit_test(corrections_are_bounded),
        cmocka_unit_test(offsets_are_quarters_of_steps),
        cmocka_unit_test(scales_have_to_be_bfloat16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
