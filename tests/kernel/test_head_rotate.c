/* Norm, weight, gain and rotation of heads against the formula in double precision, and their backward pass against finite
 * differences. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

enum { POSITIONS = 50 };

typedef struct head_operation {
    operation op;   /* in: x, then the weight and the gain where there are any */
    head_args args; /* weight and gain belong to the kernel */
    rotary_table rotary;
    int weight, gain; /* which input each is; 0: none */
} head_operation;

/* ---- the naive one ----------------------------------------------------------------------------------------------- */

/* Of the first `dims` channels: (x₁, x₂) → (x₁c + x₂s, x₂c − x₁s). */
static void naive_rotate(double *x, const rotary_table *r, int32_t position) {
    const float *cosines = r->values + position * r->dims, *sines = cosines + r->dims / 2;
    for (int i = 0; i < r->dims / 2; i++) {
        double *first = x + (r->neighbours ? 2 * i : i), *second = r->neighbours ? first + 1 : first + r->dims / 2;
        double x1 = *first, x2 = *second;
        *first = x1 * cosines[i] + x2 * sines[i];
        *second = x2 * cosines[i] - x1 * sines[i];
    }
}

static double naive_rstd(const double *x, const head_args *a) {
    double squares = 0;
    for (int c = 0; c < a->head_dim; c++) squares += x[c] * x[c];
    return a->norm ? 1 / sqrt(squares / a->head_dim + (double)a->eps) : 1;
}

static void naive_head_rotate(operation *op) {
    const head_operation *h = (const head_operation *)op;
    int heads = h->args.heads, d = h->args.head_dim;
    for (int64_t row = 0; row < op->N * heads; row++) {
        const double *x = op->in[0] + row * d;
        double *y = op->out + row * d, rstd = naive_rstd(x, &h->args);
        for (int c = 0; c < d; c++) y[c] = x[c] * rstd * (h->weight ? op->in[h->weight][c] : 1);
        naive_rotate(y, h->args.rotary, h->args.positions[row / heads]);
        for (int c = 0; c < d; c++) y[c] *= h->gain ? op->in[h->gain][row % heads] : 1;
    }
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

/* Angles without a pattern, and an amplitude beside 1, as YaRN has it. */
static float *random_rotations(int dims) {
    float *values = zeros(POSITIONS * dims, sizeof(float));
    for (int i = 0; i < POSITIONS * (dims / 2); i++) {
        int p = i / (dims / 2), pair = i % (dims / 2);
        double angle = 10 * random_value();
        values[p * dims + pair] = (float)(1.25 * cos(angle));
        values[p * dims + dims / 2 + pair] = (float)(1.25 * sin(angle));
    }
    return values;
}

typedef enum flags { NORM = 1, WEIGHT = 2, GAIN = 4, NEIGHBOURS = 8, ALL_FLAGS = 15 } flags;

static void head_operation_create(head_operation *h, const kernels *k, int64_t N, int heads, int head_dim, int dims,
                                  int set) {
    *h = (head_operation){.op = {.forward = naive_head_rotate, .N = N}};
    h->args = (head_args){.heads = heads, .head_dim = head_dim, .norm = set & NORM, .eps = 0.01f};
    h->rotary = (rotary_table){.positions = POSITIONS, .dims = dims, .neighbours = set & NEIGHBOURS};
    h->rotary.values = random_rotations(dims);
    h->args.rotary = &h->rotary;
    int32_t *positions = zeros(N, sizeof *positions); /* in no order: documents, or rows of a batch that decodes */
    for (int64_t n = 0; n < N; n++) positions[n] = (int32_t)random_below(POSITIONS);
    h->args.positions = positions;
    operation_input(k, &h->op, N * heads * head_dim, 2);
    if (set & WEIGHT) {
        h->weight = h->op.inputs;
        operation_input(k, &h->op, head_dim, 2);
        h->args.weight = float_array(h->op.in[h->weight], head_dim);
    }
    if (set & GAIN) {
        h->gain = h->op.inputs;
        operation_input(k, &h->op, heads, 2);
        h->args.gain = float_array(h->op.in[h->gain], heads);
    }
    operation_run(&h->op, N * heads * head_dim);
}

static void head_operation_free(head_operation *h) {
    operation_free(&h->op);
    free((void *)h->rotary.values), free((void *)h->args.positions);
    free((void *)h->args.weight), free((void *)h->args.gain);
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static void check_forward(const kernels *k, head_operation *h, const void *x, float *rstd) {
    int64_t count = h->op.outs, rows = h->op.N * h->args.heads;
    void *y = act_array(k, NULL, count);
    k->head_rotate(y, rstd, x, &h->args, h->op.N);
    assert_acts(k, "head_rotate", y, h->op.out, count);
    for (int64_t row = 0; rstd && row < rows; row++)
        assert_near(k, false, "rstd", row, rstd[row], naive_rstd(h->op.in[0] + row * h->args.head_dim, &h->args), 0);
    void *in_place = act_array(k, h->op.in[0], count);
    k->head_rotate(in_place, rstd, in_place, &h->args, h->op.N);
    assert_memory_equal(in_place, y, count * act_bytes(k));
    free(y), free(in_place);
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

static gradient wanted_param(const kernels *k, head_operation *h, int input, bool wanted) {
    return input && wanted ? gradient_of_param(k, &h->op, input) : (gradient){0};
}

static void check_backward(const kernels *k, head_operation *h, const void *x, const float *rstd) {
    double *dy = random_array(k, h->op.outs, 1);
    void *given = act_array(k, dy, h->op.outs);
    static const struct {
        gradient_mode dx;
        bool dweight, dgain;
    } wishes[] = {{OVERWRITE, true, true}, {ADD, true, false}, {UNWANTED, false, true}, {ADD, false, false}};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        gradient dx = gradient_of_act(k, &h->op, 0, wishes[i].dx);
        gradient dweight = wanted_param(k, h, h->weight, wishes[i].dweight);
        gradient dgain = wanted_param(k, h, h->gain, wishes[i].dgain);
        k->head_rotate_backward(gradient_out(dx, wishes[i].dx), dweight.data, dgain.data, given, x, rstd, &h->args,
                                h->op.N);
        gradient_check(k, &h->op, "head_rotate_backward dx", 0, dx, dy);
        gradient_check(k, &h->op, "head_rotate_backward dweight", h->weight, dweight, dy);
        gradient_check(k, &h->op, "head_rotate_backward dgain", h->gain, dgain, dy);
    }
    free(dy), free(given);
}

static void check_heads(const kernels *k, int64_t N, int heads, int head_dim, int dims, int set) {
    head_operation h;
    head_operation_create(&h, k, N, heads, head_dim, dims, set);
    void *x = act_array(k, h.op.in[0], h.op.outs);
    float *rstd = h.args.norm ? float_array(NULL, N * heads) : NULL; /* nothing to keep without a norm */
    check_forward(k, &h, x, rstd);
    check_backward(k, &h, x, rstd);
    free(x), free(rstd);
    head_operation_free(&h);
}

/* Rotations of all channels, of some, of none; halves that are no whole vectors; enough rows for threads. */
static void test_head_rotate(void **state) {
    (void)state;
    static const int shapes[][4] = {/* N, heads, head_dim, dims */ {0, 2, 16, 16},
                                    {1, 1, 8, 8},
                                    {5, 3, 64, 16},
                                    {3, 2, 80, 80},
                                    {7, 2, 24, 8},
                                    {6, 2, 32, 0},
                                    {4, 1, 40, 36},
                                    {5, 2, 12, 10},
                                    {70, 2, 128, 64}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int set = 0; set <= ALL_FLAGS; set++) {
                const int *shape = shapes[s];
                if (shape[0] == 70 && set % 5) continue; /* much to add up: some combinations are enough */
                check_heads(&tables[t], shape[0], shape[1], shape[2], shape[3], set);
            }
}

/* Generation asks for one position more each time: the same bits as for all of them at once. */
static void test_one_position_at_a_time(void **state) {
    (void)state;
    enum { N = 200, HEADS = 3, D = 40 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        head_operation h;
        head_operation_create(&h, k, N, HEADS, D, 32, NORM | GAIN);
        size_t row = HEADS * D * act_bytes(k);
        float rstd[N * HEADS];
        char *x = act_array(k, h.op.in[0], N * HEADS * D), *all = act_array(k, NULL, N * HEADS * D);
        char *one = act_array(k, NULL, HEADS * D);
        k->head_rotate(all, rstd, x, &h.args, N);
        head_args args = h.args;
        for (int n = 0; n < N; n++, args.positions++) {
            k->head_rotate(one, rstd, x + n * row, &args, 1);
            assert_memory_equal(one, all + n * row, row);
        }
        free(x), free(all), free(one);
        head_operation_free(&h);
    }
}

/* Over several chunks of rows, by several threads. */
static void test_sums_are_reproducible(void **state) {
    (void)state;
    enum { N = 701, HEADS = 3, D = 40 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        head_operation h;
        head_operation_create(&h, k, N, HEADS, D, 32, NORM | GAIN | WEIGHT);
        void *x = act_array(k, h.op.in[0], N * HEADS * D), *y = act_array(k, NULL, N * HEADS * D);
        float *rstd = float_array(NULL, N * HEADS), sums[2][D + HEADS] = {{0}};
        k->head_rotate(y, rstd, x, &h.args, N);
        for (int run = 0; run < 2; run++)
            k->head_rotate_backward((grad_out){0}, sums[run], sums[run] + D, y, x, rstd, &h.args, N);
        assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
        for (int i = 0; i < D + HEADS; i++) assert_true(sums[0][i] != 0);
        free(x), free(y), free(rstd);
        head_operation_free(&h);
    }
}

int main(void) {
    table_count =
        test_tables(tables, fill_attention_avx2_f32, fill_attention_avx512_f32, fill_attention_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_rotate),
        cmocka_unit_test(test_one_position_at_a_time),
        cmocka_unit_test(test_sums_are_reproducible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
