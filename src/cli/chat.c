/* moec chat */
#include "cli/chat.h"

#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/line_reader.h"
#include "cli/run_form.h"
#include "cli/speculate.h"
#include "nn/expert_names.h"
#include "store/open.h"
#include "text/text_buffer.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec chat MODEL [options]";

static const char help[] =
    "usage: moec chat MODEL [options]\n"
    "\n"
    "A conversation with a model: an artifact (FILE.moec), a Hugging Face folder, a GGUF file, a checkpoint\n"
    "or a run folder. Each line is a message, and the answer follows as it is written; it goes to stdout,\n"
    "everything else to stderr. Messages are written as the model's chat template has it; a model without one\n"
    "goes on with the text as it stands. Of each turn only what is new is read. Where a conversation outgrows\n"
    "the context, its oldest question and answer are left out.\n"
    "On a terminal lines can be edited and called back (the arrow keys, Ctrl-R), also those of earlier\n"
    "conversations: they are kept in moec/chat-history in the folder for state (XDG_STATE_HOME or\n"
    "~/.local/state). Ctrl-C stops an answer, which stays as far as it came; Ctrl-D ends.\n"
    "\n"
    "  --system TEXT       a system message before all others\n"
    "  --tokens N          of an answer, at most (512)\n"
    "  --context N         of the whole conversation, at most (as long as in training, and at most 8192)\n"
    "  --temperature X     0: always the likeliest token (0.7)\n"
    "  --top-k N           only the N likeliest tokens (0: all)\n"
    "  --top-p X           only the likeliest tokens that together have probability X (0.95)\n"
    "  --seed N            the same seed gives the same answers (1)\n"
    "  --live, --ema       of a run: the live weights, the averaged ones, whatever the training found\n"
    "  --run-bits B, --run-inputs N   what it is run from, as for moec generate (stored, 16)\n"
    "  --speculate S       lookup or MODEL: several tokens are read in one pass where they can be foreseen, as for\n"
    "                      moec generate; answers are the same (off)\n"
    "  --cache T        keys and values as f32, bf16 or int8, as for moec generate (as activations)\n"
    "  --layout L       auto, on, off or a folder: a file that processes of one model share, as for moec generate "
    "(auto)\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (f32 beside codes, otherwise bf16 where the CPU has it)\n"
    "of a mixture:\n"
    "  --experts N         experts a token goes to (as it was trained)\n"
    "  --omit NAME,NAME    experts that are off, by name or number\n"
    "  --routing           each token in the colour of the expert that counted most for it (on a terminal), and\n"
    "                      behind each answer how its tokens share out\n"
    "  --routing-layer N   the same by the routers of one layer; otherwise gates are summed over all\n"
    "\n"
    "within the conversation:\n"
    "  /help lists the commands: /reset, /retry, /save FILE, /quit, and all of these settings, such as\n"
    "  /temperature 0.2 or /omit code\n"
    "\n"
    "examples:\n"
    "  moec chat SmolLM2-135M.gguf --system \"Answer in one sentence.\"\n"
    "  printf 'What is a mixture of experts?\\nAnd a router?\\n' | moec chat runs/demo --tokens 40 --temperature 0\n";

enum { USUAL_MOST_CONTEXT = 8192 };

typedef struct request {
    const char *path, *which;
    run_form form;
    speculation guess;
    const kernels *k;
    long long context; /* 0: the usual */
    const char *values[CHAT_SETTINGS];
} request;

static status parse(int argc, char **argv, request *q) {
    *q = (request){0};
    TRY(run_form_parse(&argc, argv, &q->form));
    speculate_parse(&argc, argv, &q->guess);
    TRY(cli_weights(&argc, argv, &q->which));
    TRY(cli_integer("--context", cli_option(&argc, argv, "--context"), 2, 1 << 24, &q->context));
    chat_take_options(&argc, argv, q->values);
    TRY(cli_rest(argc, argv, 1, 1, usage));
    q->path = argv[1];
    return run_form_open(&q->form, q->path, &q->k);
}

/* ---- an answer ---- */

typedef struct answer {
    chat *c;
    text_buffer text;
    int error; /* errno of a write that failed */
} answer;

static bool take_text(void *context, const char *text, size_t bytes) {
    answer *a = context;
    text_append(&a->text, text, bytes);
    if (chat_routing_print(a->c->routing, conversation_rows_behind(a->c->talk), text, bytes)) return true;
    a->error = errno;
    return false;
}

static void say_turn(const chat *c, const conversation_turn *t, status outcome) {
    fprintf(stderr, "[%" PRId64 " of %" PRId64 " tokens read in %.2f s, %" PRId64 " new ones at %.1f a second", t->read,
            t->tokens, t->read_seconds, t->new_tokens, t->seconds > 0 ? (double)t->new_tokens / t->seconds : 0);
    speculate_print(c->guess, t->drafts, stderr);
    fputs(outcome == STATUS_INTERRUPTED ? "; stopped]\n" : t->full ? "; the context is full]\n" : "]\n", stderr);
}

/* The model's answer to the messages that there are. Without one, for whatever reason, the question goes too. */
static status answer_messages(chat *c) {
    answer a = {.c = c};
    conversation_turn turn = {0};
    int32_t *ids = NULL;
    size_t count = 0;
    status s = chat_encode_fitting(c, &ids, &count);
    if (s == STATUS_OK)
        s = conversation_answer(c->talk, ids, (int64_t)count, &c->set.s, c->set.tokens, take_text, &a, &turn);
    free(ids);
    const bool said = s == STATUS_OK || (s == STATUS_INTERRUPTED && a.text.bytes > 0);
    if (said && !a.error && !chat_routing_print(NULL, 0, "\n", 1)) a.error = errno;
    if (a.error) s = fail("stdout: cannot write: %s", strerror(a.error));
    if (said && !a.error) {
        chat_add_message(c, "assistant", xstrdup(a.text.text ? a.text.text : ""));
        chat_routing_shares(c->routing);
        say_turn(c, &turn, s);
    } else {
        chat_drop_messages(c, c->count - 1, 1);
        if (s == STATUS_INTERRUPTED) fputs("[stopped before there was an answer; the message is dropped]\n", stderr);
    }
    text_free(&a.text);
    return s;
}

/* ---- the conversation ---- */

/* A message, and all lines of it: one that ends in a backslash goes on. */
static status read_message(line_reader *r, line_kind *kind, text_buffer *message) {
    const char *line;
    message->bytes = 0;
    TRY(line_reader_next(r, "> ", kind, &line));
    while (*kind == LINE_TEXT) {
        const size_t bytes = strlen(line);
        const bool goes_on = bytes > 0 && line[bytes - 1] == '\\';
        text_append(message, line, bytes - goes_on);
        if (!goes_on) return STATUS_OK;
        text_append_string(message, "\n");
        TRY(line_reader_next(r, "… ", kind, &line));
    }
    if (*kind == LINE_END && message->bytes > 0) *kind = LINE_TEXT; /* the next look finds the end again */
    return STATUS_OK;
}

static status take_message(chat *c, const char *text) {
    if (text[strspn(text, " \t\n")] == '\0') return STATUS_OK;
    if (text[0] == '/' && text[1] != '/') {
        TRY(chat_command(c, text));
        if (!c->retries) return STATUS_OK;
        c->retries = false;
    } else {
        chat_add_message(c, "user", xstrdup(text + (text[0] == '/')));
    }
    return answer_messages(c);
}

static void print_error(void) {
    const bool red = color_enabled(STDERR_FILENO);
    fprintf(stderr, "%s%s%s\n", red ? "\033[31m" : "", error_message(), red ? "\033[0m" : "");
}

/* On a terminal an error or a Ctrl-C ends a turn; elsewhere nobody would see it, and it ends the conversation. */
static status converse(chat *c, line_reader *r) {
    const bool terminal = line_reader_is_terminal(r);
    text_buffer message = {0};
    status s = STATUS_OK;
    while (s == STATUS_OK && !c->ended) {
        line_kind kind;
        s = read_message(r, &kind, &message);
        if (s != STATUS_OK || kind == LINE_END) break;
        if (kind == LINE_DROPPED) continue;
        if (terminal) interrupt_forget(); /* one that came while a line was typed */
        s = take_message(c, message.text);
        if (!terminal || s == STATUS_OK || ferror(stdout)) continue;
        if (s != STATUS_INTERRUPTED) print_error();
        s = STATUS_OK;
    }
    text_free(&message);
    return s;
}

static void greet(const chat *c) {
    const moe_config *moe = &c->m->config.moe;
    fprintf(stderr, "%s: ", c->path);
    if (c->routing) {
        char list[256];
        fprintf(stderr, "%d experts (%s), %d a token; ", moe->experts, expert_list(moe, NULL, list, sizeof list),
                moe->top_k);
    }
    fprintf(stderr, "a context of %" PRId64 " tokens. /help tells the commands, Ctrl-D ends.\n", c->context);
}

static status begin(chat *c, request *q, int trained) {
    const int64_t usual = trained < USUAL_MOST_CONTEXT ? trained : USUAL_MOST_CONTEXT;
    c->context = q->context > 0 ? q->context : usual;
    c->format = chat_format_create(tokenizer_chat_template(c->tok));
    TRY(pass_create(&c->p, c->m));
    TRY(conversation_open(&c->talk, c->p, c->tok, c->context));
    c->guess = &q->guess;
    TRY(speculate_open(&q->guess, &q->form, c->tok));
    TRY(conversation_speculate(c->talk, &q->guess.source));
    if (model_config_has_moe(&c->m->config)) c->routing = chat_routing_create(c->p);
    c->set.top_k = c->m->config.moe.top_k;
    if (chat_format_family(c->format) == CHAT_NONE)
        fprintf(stderr, "%s: no chat template that moec knows: the model goes on with the text as it stands\n",
                q->path);
    return chat_set_options(c, q->values, true);
}

static status talk(chat *c, request *q, int trained) {
    TRY(begin(c, q, trained));
    line_reader *r = line_reader_open("chat-history");
    if (line_reader_is_terminal(r)) {
        greet(c);
        interrupt_catch();
        signal(SIGTERM, SIG_DFL); /* nothing is lost by it, and a line that is edited would not see the flag */
    }
    const status s = converse(c, r);
    line_reader_close(r);
    return s;
}

static void close_chat(chat *c) {
    chat_drop_messages(c, 0, c->count);
    free(c->messages);
    free(c->set.system);
    free(c->saved);
    conversation_close(c->talk);
    pass_destroy(c->p);
    chat_routing_free(c->routing);
    chat_format_free(c->format);
    if (c->m) model_destroy(c->m);
    tokenizer_close(c->tok);
}

static status run(int argc, char **argv) {
    request q;
    int trained;
    TRY(parse(argc, argv, &q));
    chat c = {.path = q.path, .set = {.s = {.temperature = 0.7f, .top_p = 0.95f, .seed = 1}, .tokens = 512}};
    status s = chat_set_options(&c, q.values, false);
    if (s == STATUS_OK) s = run_form_load(&q.form, q.path, q.k, q.which, &c.m, &c.tok, &trained);
    if (s == STATUS_OK) s = talk(&c, &q, trained);
    close_chat(&c);
    speculate_close(&q.guess);
    return s;
}

const command command_chat = {
    .name = "chat",
    .summary = "talk with a model in the terminal",
    .help = help,
    .run = run,
    .takes = KINDS_OF_MODEL,
    .takes_noun = NOUN_OF_MODEL,
};
