/* Layouts: the same bits from one as without, for every kind of model file; which there are, which go; damage of every kind is found, said
 * and mended; where none can be written the model is there all the same. */
#include "store/laid_out.h"
#include "tiny.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the same bits ---- */

/* Made, taken, and without. */
static void assert_same_three_times(const char *path, model_use use, const char *folder) {
    static float without[LOGITS], made[LOGITS], taken[LOGITS];
    const layout_wish on = {.kind = LAYOUT_ON, .folder = folder};
    char *note;
    struct stat first, second;
    open_without(path, use, without);
    open_logits(path, use, on, made, &note);
    assert_note(note, "which later starts and other processes map");
    char *file = only_file(folder);
    assert_int_equal(stat(file, &first), 0);
    open_logits(path, use, on, taken, NULL);
    assert_int_equal(stat(file, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino); /* not made anew */
    assert_memory_equal(without, made, sizeof made);
    assert_memory_equal(without, taken, sizeof taken);
    free(file);
    assert_ok(folder_remove(folder));
}

static void the_same_bits(void **state) {
    char *checkpoint = path_join(*state, "checkpoint"), *folder = path_join(*state, "layouts");
    char *artifact = path_join(*state, "model.moec");
    model_config (*const makes[])(void) = {llama, qwen2, qwen3, mixtral, qwen2_moe};
    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) {
        model_config c = makes[i]();
        c.moe.layers[1] = false;
        write_checkpoint(checkpoint, &c, 5);
        assert_same_three_times(checkpoint, eight, folder);
        assert_same_three_times(checkpoint, four, folder);
        write_artifact(artifact, &c);
        assert_same_three_times(artifact, MODEL_RUN_STORED, folder);
        assert_same_three_times(artifact, four, folder);
    }
    free(checkpoint), free(artifact), free(folder);
}

/* What is made from a seed is made from the seed, and stands in no layout. */
static void random_weights_are_made(void **state) {
    char *artifact = path_join(*state, "model.moec"), *folder = path_join(*state, "layouts");
    model_config c = tiny_model();
    c.vocab_size = VOCAB;
    c.random_up.layers[0] = true;
    c.random_up.experts = 2;
    c.random_up.rank = 3;
    write_artifact(artifact, &c);
    assert_same_three_times(artifact, MODEL_RUN_STORED, folder);
    free(artifact), free(folder);
}

/* ---- which there are ---- */

static void which_go(void **state) {
    static float logits[LOGITS], other[LOGITS], expected[LOGITS];
    char *path = path_join(*state, "checkpoint"), *folder = path_join(*state, "layouts"), *note;
    char *second = path_join(*state, "second"), *stranger = path_join(folder, "notes.txt");
    const layout_wish on = {.kind = LAYOUT_ON, .folder = folder};
    const model_config c = mixtral();
    write_checkpoint(path, &c, 5);
    open_logits(path, eight, on, logits, &note), free(note);
    open_logits(path, four, on, other, &note), free(note);
    assert_int_equal(files_in(folder), 2); /* of one model in two forms */
    assert_ok(file_write_whole(stranger, "mine", 4));
    write_checkpoint(path, &c, 6); /* another model in its place */
    open_without(path, eight, expected);
    assert_memory_not_equal(expected, logits, sizeof logits);
    open_logits(path, eight, on, logits, &note);
    assert_note(note, "later starts");
    assert_memory_equal(expected, logits, sizeof logits);
    assert_int_equal(files_in(folder), 2); /* it, and what is none of ours */
    open_logits(path, eight, on, logits, NULL);
    assert_memory_equal(expected, logits, sizeof logits);
    write_checkpoint(second, &c, 7);
    open_logits(second, eight, on, logits, &note), free(note);
    assert_int_equal(files_in(folder), 3);
    assert_ok(folder_remove(path)); /* the first one is no more */
    open_logits(second, four, on, logits, &note), free(note);
    assert_int_equal(files_in(folder), 3); /* the second one's two */
    assert_true(path_exists(stranger));
    free(path), free(folder), free(second), free(stranger);
}

/* Whoever has one mapped keeps it, though it has no name any more. */
static void replaced_while_it_is_mapped(void **state) {
    static float before[LOGITS], after[LOGITS];
    char *path = path_join(*state, "checkpoint"), *folder = path_join(*state, "layouts"), *note;
    const layout_wish on = {.kind = LAYOUT_ON, .folder = folder};
    const model_config c = llama();
    model *m;
    tokenizer *tok;
    write_checkpoint(path, &c, 5);
    assert_ok(open_model_laid_out(path, kernels_for(DTYPE_F32), "chosen", eight, &on, &m, &tok, NULL, &note));
    free(note);
    logits_of(m, before);
    write_checkpoint(path, &c, 6);
    open_logits(path, eight, on, after, &note), free(note);
    char *file = only_file(folder);
    assert_int_equal(unlink(file), 0);
    free(file);
    logits_of(m, after);
    assert_memory_equal(before, after, sizeof before);
    model_destroy(m);
    tokenizer_close(tok);
    free(path), free(folder);
}

static void where_none_is_made(void **state) {
    static float logits[LOGITS];
    char *path = path_join(*state, "checkpoint"), *folder = path_join(*state, "layouts"), *note;
    const layout_wish on = {.kind = LAYOUT_ON, .folder = folder}, seldom = {.kind = LAYOUT_AUTO, .folder = folder};
    const model_config c = llama();
    write_checkpoint(path, &c, 5);
    open_logits(path, MODEL_RUN_STORED, on, logits, NULL); /* floats stay floats */
    open_logits(path, MODEL_RUN, on, logits, NULL);
    assert_false(path_exists(folder));
    open_logits(path, eight, on, logits, &note), free(note);
    assert_int_equal(files_in(folder), 1);
    open_logits(path, eight, seldom, logits, NULL); /* one that is there is taken */
    assert_fails(
        open_model_laid_out("/nowhere/at/all", kernels_for(DTYPE_F32), "chosen", eight, &on, NULL, NULL, NULL, &note),
        "/nowhere/at/all");
    free(path), free(folder);
}

/* ---- where none can be written ---- */

static void no_place_for_it(void **state) {
    static float expected[LOGITS], logits[LOGITS];
    char *path = path_join(*state, "checkpoint"), *file = path_join(*state, "file"),
         *closed = path_join(*state, "closed");
    char *below = path_join(file, "layouts"), *note;
    const model_config c = llama();
    write_checkpoint(path, &c, 5);
    open_without(path, eight, expected);
    assert_ok(file_write_whole(file, "x", 1));
    open_logits(path, eight, (layout_wish){.kind = LAYOUT_ON, .folder = below}, logits, &note);
    assert_note(note, "without a layout: ");
    assert_memory_equal(expected, logits, sizeof logits);
    assert_ok(folder_create(closed));
    assert_int_equal(chmod(closed, 0555), 0);
    if (access(closed, W_OK) != 0) { /* nobody forbids root anything */
        open_logits(path, eight, (layout_wish){.kind = LAYOUT_ON, .folder = closed}, logits, &note);
        assert_note(note, "without a layout: ");
        assert_memory_equal(expected, logits, sizeof logits);
    }
    assert_int_equal(chmod(closed, 0777), 0);
    free(path), free(file), free(closed), free(below);
}

/* ---- damage ---- */

typedef struct whole {
    char *folder, *path, *file;
    layout_key key;
    uint8_t *bytes;
    size_t count, head; /* the head without its padding */
    model_config config;
    float expected[LOGITS];
} whole;

static void make_whole(whole *w, const char *scratch) {
    char *note;
    w->path = path_join(scratch, "checkpoint");
    w->folder = path_join(scratch, "layouts");
    w->config = mixtral();
    write_checkpoint(w->path, &w->config, 5);
    open_logits(w->path, eight, (layout_wish){.kind = LAYOUT_ON, .folder = w->folder}, w->expected, &note), free(note);
    w->file = only_file(w->folder);
    assert_ok(file_read(w->file, FILE_ANY_SIZE, &w->bytes, &w->count));
    assert_ok(layout_key_make(&w->key, w->folder, w->path, "chosen", kernels_for(DTYPE_F32), eight));
    byte_reader r = {.next = w->bytes + 12, .left = 4};
    w->head = (size_t)reader_number(&r, 4);
}

static void free_whole(whole *w) {
    layout_key_free(&w->key);
    free(w->bytes);
    free(w->folder), free(w->path), free(w->file);
}

static status try_to_open(const whole *w) {
    model *m;
    TRY(layout_open_model(w->file, w->key.form, &w->config, kernels_for(DTYPE_F32), eight, &m));
    model_destroy(m);
    return STATUS_OK;
}

static void put(const whole *w, size_t at, uint8_t byte) {
    const int fd = open(w->file, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Every byte of the head, and some of the data, which every piece of a MiB and every array has some of. */
static void every_flip_is_found(void **state) {
    static whole w;
    make_whole(&w, *state);
    assert_ok(try_to_open(&w));
    for (size_t at = 0; at < w.count; at += at < w.head ? 1 : 4099) {
        const bool padding = at >= w.head && at < (w.head + LAYOUT_PAGE - 1) / LAYOUT_PAGE * LAYOUT_PAGE;
        if (padding) continue;
        put(&w, at, w.bytes[at] ^ (uint8_t)(1 << at % 8));
        if (try_to_open(&w) == STATUS_OK) fail_msg("byte %zu of %zu was another, and nobody saw it", at, w.count);
        if (!strstr(error_message(), w.file)) fail_msg("%s: does not name the file", error_message());
        put(&w, at, w.bytes[at]);
    }
    assert_ok(try_to_open(&w));
    free_whole(&w);
}

static void every_cut_is_found(void **state) {
    static whole w;
    make_whole(&w, *state);
    for (size_t count = 0; count < w.count; count += count < w.head + 2 ? 1 : 1021) {
        if (count % 3 && count < w.head) continue; /* writing takes its time */
        const int fd = open(w.file, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, w.bytes, count), (ssize_t)count);
        close(fd);
        if (try_to_open(&w) == STATUS_OK) fail_msg("%zu of %zu bytes were enough", count, w.count);
    }
    byte_buffer longer = {0};
    buffer_add(&longer, w.bytes, w.count);
    buffer_add(&longer, "x", 1);
    assert_ok(file_write_whole(w.file, longer.bytes, longer.count));
    assert_fails(try_to_open(&w), "expected a file of");
    free(longer.bytes);
    free_whole(&w);
}

static void damage_is_mended(void **state) {
    static whole w;
    static float logits[LOGITS];
    char *note;
    make_whole(&w, *state);
    const size_t places[] = {0, 9, 30, w.head - 1, w.count / 2, w.count - 100};
    const layout_wish seldom = {.kind = LAYOUT_AUTO, .folder = w.folder};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        put(&w, places[i], w.bytes[places[i]] ^ 0x20);
        open_logits(w.path, eight, seldom, logits, &note);
        if (!note || !strstr(note, "expected") || strchr(note, '\n'))
            fail_msg("no line for byte %zu: %s", places[i], note);
        free(note);
        assert_memory_equal(w.expected, logits, sizeof logits);
        open_logits(w.path, eight, seldom, logits, NULL); /* it is as it was */
        assert_memory_equal(w.expected, logits, sizeof logits);
        assert_int_equal(files_in(w.folder), 1);
    }
    free_whole(&w);
}

/* A good layout under the name of another model's. */
static void of_another_model(void **state) {
    static whole w;
    model *m;
    const kernels *k = kernels_for(DTYPE_F32);
    make_whole(&w, *state);
    assert_fails(layout_open_model(w.file, "something else", &w.config, k, eight, &m),
                 "expected the layout for something else");
    const model_config dense = llama(), wide = mixture(base(), 3, 2, GATE_NORMALIZED);
    assert_fails(layout_open_model(w.file, w.key.form, &dense, k, eight, &m), w.file);
    assert_fails(layout_open_model(w.file, w.key.form, &wide, k, eight, &m), w.file);
    model_config narrow = w.config;
    narrow.moe.expert_hidden /= 2;
    assert_fails(layout_open_model(w.file, w.key.form, &narrow, k, eight, &m), "expected a matrix of");
    free_whole(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(the_same_bits),
        in_scratch(random_weights_are_made),
        in_scratch(which_go),
        in_scratch(replaced_while_it_is_mapped),
        in_scratch(where_none_is_made),
        in_scratch(no_place_for_it),
        in_scratch(every_flip_is_found),
        in_scratch(every_cut_is_found),
        in_scratch(damage_is_mended),
        in_scratch(of_another_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
