#include "stream_check.h"

#include "text/sentencepiece.h"
#include <stdio.h>

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
    words w = {.texts = 30};
    assert_ok(sentencepiece_train(&ours, 600, next_text, &w, 1));
    return 0;
}

static int destroy(void **state) {
    (void)state;
    tokenizer_close(ours);
    return 0;
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
    check_stream(ours, ids, count, text, bytes);
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
    words w = {.texts = 30};
    tokenizer *again;
    const void *bytes, *our_bytes;
    size_t count, our_count;
    assert_ok(sentencepiece_train(&again, 600, next_text, &w, 1));
    tokenizer_bytes(again, &bytes, &count);
    tokenizer_bytes(ours, &our_bytes, &our_count);
    assert_int_equal(count, our_count);
    assert_memory_equal(our_bytes, bytes, count);
    tokenizer_close(again);
}

static void training_refuses(void **state) {
    (void)state;
    tokenizer *t;
    words w = {.texts = 1}, none = {0};
    assert_fails(sentencepiece_train(&t, 600, next_text, &none, 1), "found none");
    assert_fails(sentencepiece_train(&t, 299, next_text, &w, 1), "expected 300 to 1048576 pieces, found 299");
    assert_fails(sentencepiece_train(&t, 1048577, next_text, &w, 1), "found 1048577");
}

static bool next_string(void *context, const char **text, size_t *bytes) {
    const char **left = context;
    if (!*left) return false;
    *text = *left;
    *bytes = strlen(*left);
    *left = NULL;
    return true;
}

/* Trains on one text; what comes out gives it back. */
static int pieces_from(const char *text, int pieces) {
    tokenizer *t, *kept = ours;
    const char *left = text;
    assert_ok(sentencepiece_train(&t, pieces, next_string, &left, 1));
    ours = t;
    check_lossless(text, strlen(text));
    check_lossless(" a space that the text may lack", 31);
    ours = kept;
    int found = tokenizer_vocab_size(t);
    tokenizer_close(t);
    return found;
}

static void any_text_trains_a_tokenizer(void **state) {
    (void)state;
    /* One sentence of Chinese: each of its characters and a merge or two. */
    int pieces =
        pieces_from("\xE6\x88\x91\xE8\x83\xBD\xE5\x90\x9E\xE4\xB8\x8B\xE7\x8E\xBB\xE7\x92\x83\xE3\x80\x82\n", 4096);
    assert_true(pieces > 262 + 7 && pieces < 262 + 12);
    assert_true(pieces_from("a", 4096) < 300);
    enum { CHARACTERS = 2000 };
    /* Far more different characters than pieces. */
    char *text = xmalloc(3 * CHARACTERS + 1);
    for (int i = 0; i < CHARACTERS; i++)
        sprintf(text + 3 * i, "%c%c%c", 0xE4 + i / 4096, 0x80 + i / 64 % 64, 0x80 + i % 64);
    assert_int_equal(pieces_from(text, 400), 400);
    free(text);
    /* Words of 100,000 letters, with and without line ends: the trainer itself would end the process. */
    text = xmalloc(100001);
    for (int lines = 0; lines < 2; lines++) {
        for (int i = 0; i < 100000; i++)
            text[i] = lines && i % 77 == 76 ? '\n' : (char)('a' + (unsigned)i * 2654435761u / 7 % 26);
        text[100000] = '\0';
        assert_int_equal(pieces_from(text, 700), 700);
    }
    free(text);
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
    const int32_t below = -1;
    assert_fails(tokenizer_decode(ours, &below, 1, &text, &count), "0 or more, found -1");
}

/* A changed bit may give another tokenizer, but never one that cannot be used. */
static void damaged_models_are_refused_or_work(void **state) {
    (void)state;
    const void *bytes;
    size_t count;
    tokenizer_bytes(ours, &bytes, &count);
    uint8_t *damaged = memcpy(xmalloc(count), bytes, count);
    unsigned number = 1;
    int opened = 0;
    for (int round = 0; round < 400; round++) {
        number = number * 1664525u + 1013904223u;
        size_t bit = (number >> 3) % (8 * count);
        damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
        tokenizer *t;
        if (tokenizer_parse(&t, damaged, count, "bad.model") == STATUS_OK) {
            int32_t *ids = NULL;
            size_t encoded, decoded;
            char *text = NULL;
            if (tokenizer_encode(t, "kalomi renlotu\n", 15, &ids, &encoded) == STATUS_OK)
                assert_ok(tokenizer_decode(t, ids, encoded, &text, &decoded));
            free(ids);
            free(text);
            tokenizer_close(t);
            opened++;
        } else {
            assert_memory_equal(error_message(), "bad.model: ", 11);
        }
        damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(opened > 0 && opened < 400);
    free(damaged);
}

/* Feeds ids and returns what came out, the end included; free() it. */
static char *streamed(const tokenizer *t, const int32_t *ids, size_t count) {
    detokenizer d = detokenizer_start(t);
    char *all = xstrdup("");
    size_t bytes;
    for (size_t i = 0; i <= count; i++) {
        const char *part = i < count ? detokenizer_feed(&d, ids[i], &bytes) : detokenizer_end(&d, &bytes);
        assert_int_equal(strlen(part), bytes);
        assert_int_equal(utf8_valid_prefix(part, bytes), bytes);
        char *longer = xasprintf("%s%s", all, part);
        free(all);
        all = longer;
    }
    detokenizer_free(&d);
    return all;
}

/* Bytes as byte tokens, 'a' and ' ' as the pieces "a" and "▁", '<' as </s>. */
static size_t byte_ids(const char *text, int32_t *ids) {
    size_t count = 0;
    for (; *text; text++, count++) {
        char name[8];
        sprintf(name, "<0x%02X>", (unsigned char)*text);
        const char *piece = *text == 'a' ? "a" : *text == ' ' ? "\xE2\x96\x81" : *text == '<' ? "</s>" : name;
        ids[count] = 0;
        while (strcmp(tokenizer_piece(ours, ids[count]), piece) != 0) ids[count]++;
    }
    return count;
}

static void broken_characters_are_replaced(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"\xC3\xA9", "\xC3\xA9"},
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {"\xE2\x96\x81", "\xE2\x96\x81"}, /* the bytes of U+2581 are U+2581, not a space */
        {"\xE2"
         "a",
         UTF8_REPLACEMENT "a"},
        {"\xE2\x96"
         "a",
         UTF8_REPLACEMENT UTF8_REPLACEMENT "a"},
        {"\xE2\xC3\xA9", UTF8_REPLACEMENT "\xC3\xA9"},
        {"\x96\x96", UTF8_REPLACEMENT UTF8_REPLACEMENT},
        {"\xE0\x80\x80", UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT},
        {"\xF0\x9F\x98", UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT},
        {"\xF0\x9F\xF0\x9F\x98\x80", UTF8_REPLACEMENT UTF8_REPLACEMENT "\xF0\x9F\x98\x80"},
        {"\xFF"
         "a\xC3",
         UTF8_REPLACEMENT "a" UTF8_REPLACEMENT},
        {" a", "a"}, /* one space in front is the tokenizer's */
        {"  a", " a"},
        {"a a", "a a"},
        {"a< a", "aa"}, /* another text begins */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[16];
        size_t count = byte_ids(cases[i][0], ids), bytes;
        char *stream = streamed(ours, ids, count), *whole;
        assert_ok(tokenizer_decode(ours, ids, count, &whole, &bytes));
        assert_string_equal(stream, cases[i][1]);
        assert_string_equal(whole, cases[i][1]);
        free(stream);
        free(whole);
    }
}

/* Models pad their vocabularies: what lies beyond the tokenizer's is a boundary without bytes. */
static void ids_beyond_the_pieces(void **state) {
    (void)state;
    int32_t *ids;
    size_t count, bytes;
    char *text;
    assert_ok(tokenizer_encode(ours, "kalomi", 6, &ids, &count));
    for (int32_t beyond = 600; beyond < 500000000; beyond = 3 * beyond + 1) {
        assert_true(tokenizer_is_boundary(ours, beyond));
        assert_false(tokenizer_is_end(ours, beyond));
        assert_int_equal(tokenizer_token_bytes(ours, beyond, ids[0]), 0);
        assert_int_equal(tokenizer_token_bytes(ours, ids[0], beyond), tokenizer_token_bytes(ours, ids[0], 1));
        assert_string_equal(tokenizer_piece(ours, beyond), "<padding>");
        const int32_t padded[3] = {beyond, ids[0], beyond};
        char *alone = streamed(ours, ids, 1);
        assert_ok(tokenizer_decode(ours, padded, 3, &text, &bytes));
        assert_string_equal(text, alone);
        free(text);
        free(alone);
    }
    assert_true(tokenizer_is_boundary(ours, 0) && tokenizer_is_boundary(ours, 2) && !tokenizer_is_boundary(ours, 3));
    assert_true(tokenizer_is_end(ours, 1) && tokenizer_is_end(ours, 2) && !tokenizer_is_end(ours, 0));
    assert_false(tokenizer_is_end(ours, -1));
    free(ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(random_unicode_comes_back),
        cmocka_unit_test(shape_of_our_vocabulary),
        cmocka_unit_test(training_is_deterministic),
        cmocka_unit_test(training_refuses),
        cmocka_unit_test(any_text_trains_a_tokenizer),
        cmocka_unit_test(damaged_models_are_refused_or_work),
        cmocka_unit_test(broken_characters_are_replaced),
        cmocka_unit_test(ids_beyond_the_pieces),
        cmocka_unit_test(bad_models_are_refused),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
