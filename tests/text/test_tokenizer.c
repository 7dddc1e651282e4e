#include "test.h"

#include "text/corpus.h"
#include "text/tokenizer.h"
#include <stdio.h>

static const char foreign[] = "../shared/data/fineweb_8192_bpe.model";

/* Texts of invented words: enough variety for a few hundred pieces. */
typedef struct words {
    int text, texts;
    char buffer[4096];
} words;

static bool next_text(void *context, const char **text, size_t *bytes) {
    static const char *syllables[] = {"ka", "lo", "mi", "ren", "tu", "vas", "el", "or", "pin", "da", "shu", "gi"};
    words *w = context;
    if (w->text == w->texts) return false;
    unsigned number = (unsigned)w->text++ * 7919u + 17u;
    *bytes = 0;
    while (*bytes < 3900) {
        number = number * 1664525u + 1013904223u;
        const char *separator = number >> 28 == 0   ? "\n"
                                : number >> 28 == 1 ? "\n        "
                                : number >> 28 == 2 ? " = 12;"
                                                    : " ";
        *bytes += (size_t)sprintf(w->buffer + *bytes, "%s%s%s%s", syllables[number >> 8 & 7],
                                  syllables[(number >> 12 & 7) + 4], syllables[(number >> 16 & 3) * 2], separator);
    }
    *text = w->buffer;
    return true;
}

static tokenizer *ours;

static int create(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "t.model");
    words w = {.texts = 30};
    assert_ok(tokenizer_train(path, 600, next_text, &w, 1));
    assert_ok(tokenizer_open(&ours, path));
    free(path);
    scratch_remove(folder);
    return 0;
}

static int destroy(void **state) {
    (void)state;
    tokenizer_close(ours);
    return 0;
}

/* Σ of the tokens' bytes when the text follows BOS. */
static int64_t counted_bytes(const tokenizer *t, const int32_t *ids, size_t count) {
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += tokenizer_token_bytes(t, ids[i], i ? ids[i - 1] : tokenizer_bos(t));
    return sum;
}

static void check_lossless(const char *text, size_t bytes) {
    int32_t *ids;
    size_t count, decoded_bytes;
    char *decoded;
    assert_ok(tokenizer_encode(ours, text, bytes, &ids, &count));
    assert_ok(tokenizer_decode(ours, ids, count, &decoded, &decoded_bytes));
    assert_int_equal(decoded_bytes, bytes);
    assert_memory_equal(decoded, text, bytes + 1);
    assert_int_equal(counted_bytes(ours, ids, count), bytes);
    free(ids);
    free(decoded);
}

static void every_text_comes_back(void **state) {
    (void)state;
    static const char *texts[] = {
        "",
        "a",
        " ",
        "   ",
        "\n",
        "\n\n\n\n",
        " leading and trailing ",
        "two  spaces   three",
        "def f(x):\n\tif x:\n\t\treturn  [x]  # tabs\n\n\n        deep\n",
        "line\r\nline\r\n\r\nold mac\rend",
        "caf\xC3\xA9 na\xC3\xAFve \xCE\xBB\xCF\x8C\xCE\xB3\xCE\xBF\xCF\x82 \xE6\x97\xA5\xE6\x9C\xAC",
        "e\xCC\x81 \xEF\xBC\xA1 \xC2\xA0 \xEF\xAC\x81 stay as they are",
        "\xF0\x9F\x98\x80\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9 emoji",
        "\xEF\xBB\xBF mark \xEF\xBF\xBD replacement",
        "\xE2\x96\x81 \xE2\x96\x81\xE2\x96\x81x\xEE\x96\x81y\xE2\x96\x81 SentencePiece's own space",
        "\xE2\x96\x85 \xE2\x81\x87 its own marks <s> </s> <unk> <0x41>",
        "\x01\x02\x7F controls",
        "kalomi renlotu 1234567890 3.14159",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_lossless(texts[i], strlen(texts[i]));
    check_lossless("a\0b", 3);
}

static void random_unicode_comes_back(void **state) {
    (void)state;
    unsigned number = 1;
    for (int round = 0; round < 300; round++) {
        char text[256];
        size_t bytes = 0;
        while (bytes < 200) { /* mostly ASCII and blanks, some of two and three bytes */
            number = number * 1664525u + 1013904223u;
            unsigned kind = number >> 29, value = number >> 8;
            if (kind < 4)
                text[bytes++] = (char)(1 + value % 126);
            else if (kind < 6)
                text[bytes++] = " \n\t "[value % 4];
            else if (kind == 6)
                bytes += (size_t)sprintf(text + bytes, "%c%c", 0xC3 + (int)(value % 8), 0x80 + (int)(value / 8 % 64));
            else
                bytes += (size_t)sprintf(text + bytes, "%c%c%c", 0xE2, 0x96, 0x80 + (int)(value % 16));
        }
        text[bytes] = '\0';
        check_lossless(text, bytes);
    }
}

static void shape_of_our_vocabulary(void **state) {
    (void)state;
    assert_int_equal(tokenizer_vocab_size(ours), 600);
    assert_int_equal(tokenizer_bos(ours), 1);
    assert_string_equal(tokenizer_piece(ours, 1), "<s>");
    int32_t *ids;
    size_t count;
    assert_ok(tokenizer_encode(ours, "12", 2, &ids, &count)); /* "▁", then a token a digit */
    assert_int_equal(count, 3);
    free(ids);
    /* A line's end and the next line's indentation are few tokens. */
    assert_ok(tokenizer_encode(ours, "kalomi\n        kalomi", 21, &ids, &count));
    assert_true(count <= 8);
    free(ids);
}

static void training_is_deterministic(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "again.model");
    words w = {.texts = 30};
    assert_ok(tokenizer_train(path, 600, next_text, &w, 1));
    uint8_t *again;
    size_t count, our_count;
    const void *bytes;
    assert_ok(file_read(path, FILE_ANY_SIZE, &again, &count));
    tokenizer_bytes(ours, &bytes, &our_count);
    assert_int_equal(count, our_count);
    assert_memory_equal(again, bytes, count);
    free(again);
    free(path);
    scratch_remove(folder);
}

static void training_refuses(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "none.model");
    words w = {.texts = 1}, none = {0};
    assert_fails(tokenizer_train(path, 20000, next_text, &w, 1), "too small or too varied for a vocabulary of 20000");
    assert_null(strchr(error_message(), '\n'));
    assert_fails(tokenizer_train(path, 600, next_text, &none, 1), "found none");
    assert_fails(tokenizer_train(path, 10, next_text, &w, 1), "found 10");
    assert_false(path_exists(path));
    free(path);
    scratch_remove(folder);
}

static void bad_models_are_refused(void **state) {
    (void)state;
    tokenizer *t;
    assert_fails(tokenizer_parse(&t, "", 0, "empty.model"), "empty.model");
    assert_fails(tokenizer_parse(&t, "no model at all", 15, "text.model"),
                 "text.model: expected a SentencePiece model");
    const void *bytes;
    size_t count;
    tokenizer_bytes(ours, &bytes, &count);
    assert_fails(tokenizer_parse(&t, bytes, count - 1, "cut.model"), "cut.model");
    assert_fails(tokenizer_open(&t, "/nowhere/t.model"), "/nowhere/t.model");
    char *text;
    const int32_t beyond = 600;
    assert_fails(tokenizer_decode(ours, &beyond, 1, &text, &count), "below 600, found 600");
}

/* The record scripts' tables for a foreign vocabulary, computed here from the pieces themselves. */
static int reference_bytes(const tokenizer *t, int32_t id, int32_t prev) {
    const char *piece = tokenizer_piece(t, id);
    if (strcmp(piece, "<pad>") == 0 || strcmp(piece, "<s>") == 0 || strcmp(piece, "</s>") == 0 ||
        strcmp(piece, "<unk>") == 0)
        return 0;
    if (strncmp(piece, "<0x", 3) == 0 && strlen(piece) == 6) return 1;
    bool space = strncmp(piece, "\xE2\x96\x81", 3) == 0, prev_is_boundary = prev < 4;
    return (int)strlen(piece) - (space ? 3 : 0) + (space && !prev_is_boundary);
}

static void foreign_model_counts_as_the_scripts_do(void **state) {
    (void)state;
    if (!path_exists(foreign)) skip();
    tokenizer *t;
    assert_ok(tokenizer_open(&t, foreign));
    assert_int_equal(tokenizer_vocab_size(t), 8192);
    assert_int_equal(tokenizer_bos(t), 1);
    for (int32_t id = 0; id < 8192; id++) {
        assert_int_equal(tokenizer_token_bytes(t, id, 100), reference_bytes(t, id, 100));
        assert_int_equal(tokenizer_token_bytes(t, id, 1), reference_bytes(t, id, 1));
    }
    const char *text = "The quick brown fox's 42 caf\xC3\xA9s \xF0\x9F\x98\x80 jump.";
    int32_t *ids;
    size_t count;
    assert_ok(tokenizer_encode(t, text, strlen(text), &ids, &count));
    assert_int_equal(counted_bytes(t, ids, count), strlen(text));
    free(ids);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(random_unicode_comes_back),
        cmocka_unit_test(shape_of_our_vocabulary),
        cmocka_unit_test(training_is_deterministic),
        cmocka_unit_test(training_refuses),
        cmocka_unit_test(bad_models_are_refused),
        cmocka_unit_test(foreign_model_counts_as_the_scripts_do),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
