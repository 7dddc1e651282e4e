/* MOEC_ISA and OMP_NUM_THREADS are read once in a process, so each case is a child: this program again with --report. */
#include "kernel/kernel.h"
#include "test.h"
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the child ---- */

/* Whether x Wᵀ with x = 1 … 4 and W = [I; all 1] is right. */
static bool product_works(const kernels *k) {
    float w_values[5][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {1, 1, 1, 1}}, y[5];
    float x_values[4] = {1, 2, 3, 4};
    weight w;
    void *x;
    if (k->weight_create(&w, 5, 4, NULL) != STATUS_OK || k->alloc(&x, 16) != STATUS_OK) return false;
    k->to_act(x, x_values, 4);
    k->weight_update(&w, &w_values[0][0], 0, w.rows);
    k->linear(y, DTYPE_F32, x, &w, 1);
    k->release(x);
    k->weight_destroy(&w);
    return y[0] == 1 && y[1] == 2 && y[2] == 3 && y[3] == 4 && y[4] == 10;
}

static int report(void) {
    status s = kernels_check();
    const kernels *f32 = kernels_for(DTYPE_F32), *bf16 = kernels_for(DTYPE_BF16);
    printf("%s|%s|%s|%d|%s", kernels_isa(), f32 ? f32->name : "-", bf16 ? bf16->name : "-", kernels_threads(),
           s == STATUS_OK ? "OK" : error_message());
    if (f32 && !product_works(f32)) printf("|wrong f32 product");
    if (bf16 && !product_works(bf16)) printf("|wrong bf16 product");
    /* Without tiles it is up to the maker of the CPU. */
    const bool best_bf16 = kernels_best_act() == DTYPE_BF16, tiles = strcmp(kernels_isa(), "amx") == 0;
    if ((best_bf16 && !bf16) || (tiles && !best_bf16)) printf("|wrong best act");
    return s;
}

/* ---- the parent ---- */

typedef struct answer {
    int code;
    char text[512], *isa, *f32, *bf16, *threads, *rest;
} answer;

/* The report of a child with the variable set (NULL: unset). */
static void ask(answer *a, const char *variable, const char *value) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        unsetenv("MOEC_ISA");
        if (value) setenv(variable, value, 1);
        execl("/proc/self/exe", "test_isa", "--report", (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], a->text + length, sizeof a->text - 1 - length)) > 0) length += (size_t)got;
    a->text[length] = 0;
    close(ends[0]);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    a->code = WEXITSTATUS(result);
    char *rest = a->text;
    a->isa = strsep(&rest, "|"), a->f32 = strsep(&rest, "|"), a->bf16 = strsep(&rest, "|");
    a->threads = strsep(&rest, "|"), a->rest = rest ? rest : "";
}

static const char *const names[] = {"avx2", "avx512", "avx512bf16", "amx"};

static int level_of(const char *name) {
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return i;
    fail_msg("'%s' is no instruction set of ours", name);
    return -1;
}

static void test_default(void **state) {
    (void)state;
    answer a;
    ask(&a, "MOEC_ISA", NULL);
    assert_int_equal(a.code, STATUS_OK);
    assert_string_equal(a.rest, "OK");
    assert_int_equal(strcmp(a.bf16, "-") != 0, level_of(a.isa) >= 2);
}

/* Every level up to this CPU's is taken when asked for and computes rightly; those above are refused. */
static void test_each_level(void **state) {
    (void)state;
    static const char *const f32_names[] = {"cpu avx2 f32", "cpu avx512 f32", "cpu avx512 f32", "cpu avx512 f32"};
    static const char *const bf16_names[] = {"-", "-", "cpu avx512bf16 bf16", "cpu amx bf16"};
    answer a;
    ask(&a, "MOEC_ISA", NULL);
    int best = level_of(a.isa);
    for (int i = 0; i < 4; i++) {
        answer b;
        ask(&b, "MOEC_ISA", names[i]);
        if (i > best) {
            assert_int_equal(b.code, STATUS_USAGE);
            assert_non_null(strstr(b.rest, names[i]));
            assert_non_null(strstr(b.rest, names[best]));
            assert_string_equal(b.f32, "-");
            continue;
        }
        assert_int_equal(b.code, STATUS_OK);
        assert_string_equal(b.rest, "OK");
        assert_string_equal(b.isa, names[i]);
        assert_string_equal(b.f32, f32_names[i]);
        assert_string_equal(b.bf16, bf16_names[i]);
    }
}

static void test_unknown_name(void **state) {
    (void)state;
    answer a;
    ask(&a, "MOEC_ISA", "sse9");
    assert_int_equal(a.code, STATUS_USAGE);
    assert_non_null(strstr(a.rest, "'sse9'"));
    assert_string_equal(a.isa, "none");
    assert_string_equal(a.bf16, "-");
}

static void test_threads(void **state) {
    (void)state;
    answer a;
    ask(&a, "OMP_NUM_THREADS", "1");
    assert_string_equal(a.threads, "1");
    ask(&a, "OMP_NUM_THREADS", "3");
    assert_string_equal(a.threads, "3");
}

static void test_tensor_copies(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    assert_non_null(k);
    float values[6] = {1, 2, 3, 4, 5, 6}, back[6] = {0};
    tensor t = {.type = DTYPE_F32, .ndim = 2, .shape = {2, 3}};
    assert_ok(k->alloc(&t.data, tensor_bytes(&t)));
    tensor_write(k, &t, values);
    tensor_read(k, &t, back);
    assert_memory_equal(values, back, sizeof values);
    k->release(t.data);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--report") == 0) return report();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default), cmocka_unit_test(test_each_level),    cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_tensor_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
