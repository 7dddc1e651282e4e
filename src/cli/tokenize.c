#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "store/open.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec tokenize MODEL [TEXTFILE] [--ids | --pieces | --decode] [--special]\n"
    "\n"
    "The token ids of a text, or the text of token ids. MODEL is whatever has a tokenizer: an artifact, a run folder, "
    "a\n"
    "checkpoint, a Hugging Face folder, a GGUF file, or a tokenizer itself (tokenizer.json, or SentencePiece's\n"
    "tokenizer.model). The text is TEXTFILE's or stdin's; the result goes to stdout, counts go to stderr. Nothing is "
    "put in front: no BOS.\n"
    "\n"
    "  --ids       ids, with spaces between them (without any option)\n"
    "  --pieces    a line a token: its id, a tab, and how the vocabulary writes it\n"
    "  --decode    the input is ids, and the output their text; control tokens stand for none\n"
    "  --special   names of control tokens in the text (<|im_start|>) become these tokens\n"
    "\n"
    "example: echo 'In the beginning' | moec tokenize runs/demo/model.moec --pieces\n";

enum { READ_BYTES = 1 << 20 };
static const size_t MOST_BYTES = (size_t)1 << 30; /* of a text that cannot be encoded in parts */

typedef struct job {
    tokenizer *t;
    FILE *in;
    const char *name; /* of the input, for messages */
    bool pieces, special;
    char *held; /* read and not encoded yet */
    size_t bytes, capacity;
    int64_t tokens, characters; /* so far; characters are bytes */
} job;

/* More of the input; *end: there is none. */
static status read_more(job *j, bool *end) {
    if (j->bytes + READ_BYTES > j->capacity) {
        j->capacity = 2 * j->capacity + READ_BYTES;
        j->held = xrealloc(j->held, j->capacity);
    }
    errno = 0;
    size_t got = fread(j->held + j->bytes, 1, READ_BYTES, j->in);
    if (ferror(j->in)) return fail("%s: cannot read: %s", j->name, strerror(errno));
    j->bytes += got;
    *end = got < READ_BYTES;
    return j->bytes <= MOST_BYTES ? STATUS_OK
                                  : fail("%s: expected at most %zu bytes of text, found more", j->name, MOST_BYTES);
}

/* ---- text to ids ---- */

/* "<0x0A>" and the like stay, what would break the line is escaped. */
static void print_piece(int32_t id, const char *piece) {
    printf("%" PRId32 "\t", id);
    for (; *piece; piece++) {
        if ((unsigned char)*piece < ' ' || *piece == '\x7F')
            printf("\\x%02X", (unsigned char)*piece);
        else
            putchar(*piece);
    }
    putchar('\n');
}

static status encode_part(job *j, size_t bytes) {
    int32_t *ids;
    size_t count;
    TRY(j->special ? tokenizer_encode_special(j->t, j->held, bytes, &ids, &count)
                   : tokenizer_encode(j->t, j->held, bytes, &ids, &count));
    for (size_t i = 0; i < count; i++)
        if (j->pieces)
            print_piece(ids[i], tokenizer_piece(j->t, ids[i]));
        else
            printf("%s%" PRId32, i || j->tokens ? " " : "", ids[i]);
    free(ids);
    j->tokens += (int64_t)count;
    j->characters += (int64_t)bytes;
    j->bytes -= bytes;
    memmove(j->held, j->held + bytes, j->bytes);
    return STATUS_OK;
}

/* The longest part of what is held that may be encoded by itself; 0: none may. The first `searched` bytes have no end of one. */
static size_t last_cut(const job *j, size_t searched) {
    const char *h = j->held;
    for (size_t i = j->bytes; i >= 3 && i > searched; i--)
        if (isascii(h[i - 1]) && isalpha((unsigned char)h[i - 1]) && h[i - 2] == '\n' && isascii(h[i - 3]) &&
            isgraph((unsigned char)h[i - 3]))
            return i - 1;
    return 0;
}

static status encode_all(job *j) {
    bool end = false;
    while (!end) {
        const size_t searched = j->bytes;
        TRY(read_more(j, &end));
        size_t part = end ? j->bytes : tokenizer_cuts_lines(j->t) ? last_cut(j, searched) : 0;
        if (part) TRY(encode_part(j, part));
    }
    if (!j->pieces) putchar('\n');
    fprintf(stderr, "%" PRId64 " tokens, %" PRId64 " bytes, %.2f bytes a token\n", j->tokens, j->characters,
            j->tokens ? (double)j->characters / (double)j->tokens : 0.0);
    return STATUS_OK;
}

/* ---- ids to text ---- */

/* Ids with white space or commas between them. */
static status read_id(job *j, int32_t *id, bool *end) {
    int c;
    int64_t value = 0;
    do c = getc(j->in);
    while (c != EOF && (isspace(c) || c == ','));
    *end = c == EOF;
    if (*end) return ferror(j->in) ? fail("%s: cannot read: %s", j->name, strerror(errno)) : STATUS_OK;
    for (; c != EOF && !isspace(c) && c != ','; c = getc(j->in)) {
        value = isdigit(c) ? 10 * value + (c - '0') : INT64_MAX;
        if (value > INT32_MAX)
            return fail("%s: expected token ids from 0 to %d, found another at id %" PRId64, j->name, INT32_MAX,
                        j->tokens);
    }
    *id = (int32_t)value;
    return STATUS_OK;
}

static status decode_all(job *j) {
    detokenizer d = detokenizer_start(j->t);
    size_t bytes;
    const char *text;
    bool end = false;
    status s = STATUS_OK;
    while (s == STATUS_OK && !end) {
        int32_t id = 0;
        s = read_id(j, &id, &end);
        if (s != STATUS_OK || end) break;
        if (id >= tokenizer_vocab_size(j->t)) {
            s = fail("%s: expected token ids below the vocabulary's %d, found %d at id %" PRId64, j->name,
                     tokenizer_vocab_size(j->t), id, j->tokens);
            break;
        }
        text = detokenizer_feed(&d, id, &bytes);
        fwrite(text, 1, bytes, stdout);
        j->tokens++;
        j->characters += (int64_t)bytes;
    }
    text = detokenizer_end(&d, &bytes);
    fwrite(text, 1, bytes, stdout);
    detokenizer_free(&d);
    if (s == STATUS_OK)
        fprintf(stderr, "%" PRId64 " tokens, %" PRId64 " bytes\n", j->tokens, j->characters + (int64_t)bytes);
    return s;
}

/* ---- the command ---- */

static status run(int argc, char **argv) {
    job j = {.in = stdin, .name = "stdin"};
    bool ids = cli_flag(&argc, argv, "--ids"), decode = cli_flag(&argc, argv, "--decode");
    j.pieces = cli_flag(&argc, argv, "--pieces");
    j.special = cli_flag(&argc, argv, "--special");
    TRY(cli_rest(argc, argv, 1, 2, "moec tokenize MODEL [TEXTFILE] [--ids | --pieces | --decode] [--special]"));
    if (ids + decode + j.pieces > 1) return fail_usage("--ids, --pieces and --decode exclude each other");
    if (decode && j.special) return fail_usage("--decode and --special exclude each other");
    TRY(open_tokenizer(argv[1], &j.t));
    status s = STATUS_OK;
    if (argc > 2 && strcmp(argv[2], "-") != 0) {
        j.name = argv[2];
        s = file_open_stream(argv[2], O_RDONLY, "rb", &j.in);
    }
    if (s == STATUS_OK) {
        s = decode ? decode_all(&j) : encode_all(&j);
        if (j.in != stdin) fclose(j.in);
    }
    free(j.held);
    tokenizer_close(j.t);
    return s;
}

const command command_tokenize = {
    .name = "tokenize", .summary = "text to token ids and back, with any model's tokenizer", .help = help, .run = run};
