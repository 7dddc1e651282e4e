/* What a model as a teacher leaves in a cache, against its logits; and that whatever ended it, it goes on to the same bytes. */
#include "small_model.h"
#include "test.h"

#include "base/lock.h"
#include "base/random.h"
#include "eval/teach.h"
#include "text/loader.h"
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VOCAB = 300, SHARDS = 3, TOKENS = 400, ALL = SHARDS * TOKENS, BOS = 1, K = 7 };

typedef struct fixture {
    char *folder;
    model *m;
    pass *p;
    shard_set text;
    int32_t ids[ALL];
} fixture;

static model_config soft_capped(void) {
    model_config c = small_model(VOCAB);
    c.head.softcap = 4; /* which the logits of these weights feel */
    return c;
}

/* Untrained logits are all about the same. */
static void sharpen(model *m, float factor) {
    param *p = model_find(m, "tok_emb.weight");
    float *values = xmalloc(tensor_bytes(&p->value));
    tensor_read(m->k, &p->value, values);
    for (int64_t i = 0; i < param_count(p); i++) values[i] *= factor;
    tensor_write(m->k, &p->value, values);
    assert_ok(model_refresh(m));
    free(values);
}

static int create(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    const model_config c = soft_capped();
    rng r = rng_seed(4);
    f->folder = scratch_create();
    assert_ok(model_create(&f->m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(f->m, 3));
    sharpen(f->m, 30);
    assert_ok(pass_create(&f->p, f->m));
    for (int i = 0; i < ALL; i++) f->ids[i] = i % 90 == 0 ? BOS : 2 + (int32_t)rng_below(&r, VOCAB - 2);
    for (int i = 0; i < SHARDS; i++) {
        char *path = xasprintf("%s/x_train_%06d.bin", f->folder, i);
        assert_ok(shard_write(path, f->ids + i * TOKENS, TOKENS, VOCAB, NULL));
        free(path);
    }
    assert_ok(shard_set_open(&f->text, f->folder, SHARDS_TRAINING, VOCAB));
    *state = f;
    return 0;
}

static int destroy(void **state) {
    fixture *f = *state;
    shard_set_close(&f->text);
    pass_destroy(f->p);
    model_destroy(f->m);
    scratch_remove(f->folder);
    free(f);
    return 0;
}

static teaching_options options_of(int64_t seq, int64_t stride, int64_t batch) {
    return (teaching_options){
        .facts = {.k = K, .tokenizer = 5, .teacher = 6, .seq = seq, .stride = stride, .name = "small"},
        .batch = batch,
        .bos = BOS};
}

/* log softmax of the model's logits at every input of the window. */
static void log_probs_of_window(fixture *f, int64_t start, int64_t T, float *out) {
    int32_t *first = xmalloc((size_t)T * sizeof *first);
    document_starts(f->ids + start, T, BOS, first);
    const batch b = {.batch = 1, .length = T, .input_ids = f->ids + start, .first = first};
    assert_ok(pass_logits(f->p, &b, out));
    for (int64_t t = 0; t < T; t++) {
        float *z = out + t * VOCAB, most = -INFINITY;
        double sum = 0;
        for (int v = 0; v < VOCAB; v++) most = fmaxf(most, z[v]);
        for (int v = 0; v < VOCAB; v++) sum += exp((double)z[v] - most);
        for (int v = 0; v < VOCAB; v++) z[v] = (float)((double)z[v] - most - log(sum));
    }
    free(first);
}

/* Of one record: the k largest of all, with the logarithms that they have, and what is left, to float16's rounding. */
static void assert_record(const float *all, const int32_t *ids, const float *log_probs, float rest) {
    double left = 0, least = 0;
    for (int v = 0; v < VOCAB; v++) left += exp(all[v]);
    for (int j = 0; j < K; j++) {
        assert_true(ids[j] >= 0 && ids[j] < VOCAB);
        assert_true(fabs(log_probs[j] - all[ids[j]]) <= 1e-5 + fabs(all[ids[j]]) / 2000);
        if (j > 0) assert_true(log_probs[j] <= log_probs[j - 1]);
        left -= exp(all[ids[j]]);
        least = all[ids[j]];
    }
    int better = 0;
    for (int v = 0; v < VOCAB; v++) better += all[v] > least + 1e-5;
    assert_true(better < K);
    assert_true(fabs(exp(rest) - left) <= 1e-5 + left * (fabs(log(left)) + 1) / 1000);
}

static void read_cache(fixture *f, const char *folder, int32_t *ids, float *log_probs, float *rest) {
    teacher_cache *c;
    assert_ok(teacher_cache_open(&c, folder, f->text.shards, f->text.count, 5, VOCAB));
    for (int i = 0; i < SHARDS; i++)
        assert_ok(
            teacher_cache_read(c, i, 0, TOKENS, ids + i * TOKENS * K, log_probs + i * TOKENS * K, rest + i * TOKENS));
    teacher_cache_close(c);
}

static void the_cache_is_the_model_s_own_top_k(void **state) {
    fixture *f = *state;
    static const int64_t shapes[][3] = {{64, 64, 3}, {50, 20, 4}, {ALL - 1, 300, 1}, {5000, 5000, 2}};
    for (int i = 0; i < 4; i++) {
        const teaching_options o = options_of(shapes[i][0], shapes[i][1], shapes[i][2]);
        char *folder = xasprintf("%s/cache-%d", f->folder, i);
        teaching_result r;
        assert_ok(teach_shards(f->p, &f->text, folder, &o, &r));
        assert_int_equal(r.tokens, ALL);
        assert_int_equal(r.there, ALL);
        assert_int_equal(r.taught, ALL);
        assert_true(r.bytes == SHARDS * teacher_file_bytes(&(teacher_facts){.k = K, .vocab_size = VOCAB}, TOKENS));
        int32_t *ids = xmalloc(ALL * K * sizeof *ids);
        float *log_probs = xmalloc(ALL * K * sizeof *log_probs), *rest = xmalloc(ALL * sizeof *rest);
        read_cache(f, folder, ids, log_probs, rest);
        for (int j = 0; j < K; j++) assert_int_equal(ids[j], -1);
        assert_true(rest[0] == 0);
        const int64_t T = shapes[i][0] < ALL - 1 ? shapes[i][0] : ALL - 1;
        float *all = xmalloc((size_t)(T * VOCAB) * sizeof *all);
        double covered = 0;
        int among = 0;
        for (int64_t seen = 0; seen < ALL - 1;) {
            int64_t end = seen == 0 ? T : seen + shapes[i][1];
            if (end > ALL - 1) end = ALL - 1;
            log_probs_of_window(f, end - T, T, all);
            for (int64_t p = seen + 1; p <= end; p++) {
                assert_record(all + (p - 1 - (end - T)) * VOCAB, ids + p * K, log_probs + p * K, rest[p]);
                covered += 1 - exp(rest[p]);
                for (int j = 0; j < K; j++) among += ids[p * K + j] == f->ids[p];
            }
            seen = end;
        }
        assert_float_equal(r.covered, covered, 0.5);
        assert_true(r.covered > 0.1 * ALL && r.covered < 0.99 * ALL);
        assert_int_equal(r.among, among);
        free(all), free(ids), free(log_probs), free(rest), free(folder);
    }
}

static void assert_same_caches(const char *a, const char *b) {
    for (int i = 0; i < SHARDS; i++) {
        char *x = xasprintf("%s/x_train_%06d.teacher", a, i), *y = xasprintf("%s/x_train_%06d.teacher", b, i);
        uint64_t of_x, of_y;
        assert_ok(file_crc64(x, &of_x));
        assert_ok(file_crc64(y, &of_y));
        assert_true(of_x == of_y);
        free(x), free(y);
    }
}

static void cut_file(const char *path, int64_t bytes) {
    assert_int_equal(truncate(path, bytes), 0);
}

/* What a kill may leave: a file that ends anywhere, others that are finished or have only begun. */
static void it_goes_on_to_the_same_bytes(void **state) {
    fixture *f = *state;
    const teaching_options o = options_of(48, 32, 5);
    char *whole = path_join(f->folder, "whole"), *cache = path_join(f->folder, "cut");
    teaching_result r;
    assert_ok(teach_shards(f->p, &f->text, whole, &o, &r));
    for (int shard = 0; shard < SHARDS; shard++) {
        assert_ok(teach_shards(f->p, &f->text, cache, &o, &r));
        for (int i = shard; i < SHARDS; i++) { /* the first one is cut, those behind it have only headers */
            char *done = xasprintf("%s/x_train_%06d.teacher", cache, i), *part = xasprintf("%s.part", done);
            assert_int_equal(rename(done, part), 0);
            const int64_t block = teacher_file_bytes(&(teacher_facts){.k = K, .vocab_size = VOCAB}, 256);
            cut_file(part, i > shard ? 512 : block + 100);
            free(done), free(part);
        }
        assert_ok(teach_shards(f->p, &f->text, cache, &o, &r));
        assert_int_equal(r.taught, (SHARDS - shard) * TOKENS - 256);
        assert_same_caches(whole, cache);
        assert_ok(teach_shards(f->p, &f->text, cache, &o, &r));
        assert_int_equal(r.taught, 0);
        assert_int_equal(r.there, ALL);
    }
    free(whole), free(cache);
}

static void a_killed_process_goes_on_to_the_same_bytes(void **state) {
    fixture *f = *state;
    const teaching_options o = options_of(16, 1, 1);
    char *whole = path_join(f->folder, "whole-16"), *cache = path_join(f->folder, "killed");
    char *first = path_join(cache, "x_train_000000.teacher"), *part = path_join(cache, "x_train_000000.teacher.part");
    teaching_result r;
    for (int kill_number = 0; kill_number < 3; kill_number++) {
        const pid_t child = fork();
        if (child == 0) { /* threads of OpenMP do not come along: a process of its own */
            execl("/proc/self/exe", "test_teach", "--teach", f->folder, cache, (char *)NULL);
            _exit(1);
        }
        while (!path_exists(part) && !path_exists(first)) usleep(1000);
        usleep(20000 + 40000 * (useconds_t)kill_number);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    assert_ok(teach_shards(f->p, &f->text, whole, &o, &r));
    assert_ok(teach_shards(f->p, &f->text, cache, &o, &r));
    assert_same_caches(whole, cache);
    free(whole), free(cache), free(first), free(part);
}

static void what_is_not_finite_is_refused_by_its_position(void **state) {
    fixture *f = *state;
    const teaching_options o = options_of(64, 64, 2);
    char *cache = path_join(f->folder, "bad");
    teaching_result r;
    param *p = model_find(f->m, "tok_emb.weight");
    float *values = xmalloc(tensor_bytes(&p->value));
    tensor_read(f->m->k, &p->value, values);
    const float was = values[f->ids[500] * 32];
    values[f->ids[500] * 32] = NAN; /* with tied embeddings every row's logit of that token is one */
    tensor_write(f->m->k, &p->value, values);
    assert_ok(model_refresh(f->m));
    assert_fails(teach_shards(f->p, &f->text, cache, &o, &r), "x_train_000000.teacher: token 1: expected ");
    assert_non_null(strstr(error_message(), "nan"));
    assert_null(strchr(error_message(), '\n'));
    values[f->ids[500] * 32] = was;
    tensor_write(f->m->k, &p->value, values);
    assert_ok(model_refresh(f->m));
    assert_ok(teach_shards(f->p, &f->text, cache, &o, &r));
    free(values), free(cache);
}

static void refusals(void **state) {
    fixture *f = *state;
    char *cache = path_join(f->folder, "refused");
    teaching_result r;
    teaching_options o = options_of(64, 65, 1);
    assert_fails(teach_shards(f->p, &f->text, cache, &o, &r), "found stride 65, window 64");
    o = options_of(64, 64, 1);
    o.facts.k = VOCAB;
    assert_fails(teach_shards(f->p, &f->text, cache, &o, &r),
                 "expected the top 1 to 256 of a vocabulary of 300, found 300");
    o.facts.k = K;
    assert_ok(teach_shards(f->p, &f->text, cache, &o, &r));
    o.facts.teacher = 7;
    assert_fails(teach_shards(f->p, &f->text, cache, &o, &r), "made by another teacher");
    lock other;
    char *path = path_join(cache, "lock");
    assert_ok(lock_take(&other, path, "another"));
    assert_fails(teach_shards(f->p, &f->text, cache, &o, &r), "another");
    lock_release(&other);
    free(path), free(cache);
}

/* The process that is killed. */
static int teach_alone(const char *folder, const char *cache) {
    fixture f = {0};
    const model_config c = soft_capped();
    const teaching_options o = options_of(16, 1, 1);
    teaching_result r;
    if (model_create(&f.m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN) != STATUS_OK) return 1;
    if (model_init(f.m, 3) != STATUS_OK) return 1;
    sharpen(f.m, 30);
    if (pass_create(&f.p, f.m) != STATUS_OK) return 1;
    if (shard_set_open(&f.text, folder, SHARDS_TRAINING, VOCAB) != STATUS_OK) return 1;
    return teach_shards(f.p, &f.text, cache, &o, &r);
}

int main(int argc, char **argv) {
    if (argc == 4) return teach_alone(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cache_is_the_model_s_own_top_k),
        cmocka_unit_test(it_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_killed_process_goes_on_to_the_same_bytes),
        cmocka_unit_test(what_is_not_finite_is_refused_by_its_position),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
