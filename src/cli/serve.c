/* moec serve */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/run_form.h"
#include "cli/speculate.h"
#include "serve/server.h"
#include "store/open.h"
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] = "moec serve MODEL [options]";

static const char help[] =
    "usage: moec serve MODEL [options]\n"
    "\n"
    "Answers over HTTP as OpenAI's API does: /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models; a page "
    "at "
    "/;\n"
    "/tokenize, /detokenize, /health, /metrics (Prometheus); of a mixture which experts each token went to, and "
    "/v1/routing.\n"
    "MODEL is what `moec generate` takes: an artifact, a Hugging Face folder, a GGUF file, a checkpoint or a run.\n"
    "docs/serve.md says what requests may have in them.\n"
    "\n"
    "  --host H            address or name to listen on (127.0.0.1)\n"
    "  --port P            0: one that is free; the line on stdout says which (8080)\n"
    "  --api-key-file FILE clients must show a key of this file (Authorization: Bearer KEY), which has one a line\n"
    "  --insecure-without-key  listen elsewhere than on this machine itself though no key is asked for: whoever "
    "reaches "
    "the\n"
    "                      port can use the model\n"
    "  --allow-origin O    pages of this origin (https://host) may ask, too (CORS); none else than the server's own\n"
    "  --name NAME         the model's name for clients (the last part of MODEL)\n"
    "  --slots N           texts that are written at a time (8)\n"
    "  --cache-memory BYTES  of keys and values of all texts, such as 150M, 1.5G (powers of 1000) or 512MiB (of "
    "1024);\n"
    "                      beyond it texts wait, and the newest are put back to be read again (what all slots take\n"
    "                      when each has a whole context)\n"
    "  --queue N           texts that wait beyond those; more are refused with 429 (64)\n"
    "  --context N         tokens of a text with its prompt (what the model was trained with, at most 4096)\n"
    "  --max-tokens N      of one answer, at most (the context)\n"
    "  --choices N         texts of one request, n times its prompts, at most (16)\n"
    "  --max-body BYTES    of a request, at most; written alike (4MiB)\n"
    "  --connections N     open at a time (256)\n"
    "  --request-seconds S within which a request must have come in whole (30)\n"
    "  --idle-seconds S    after which a connection without a byte either way is closed (60)\n"
    "  --routing-state FILE  keeps the counts of /v1/routing over restarts\n"
    "  --log FILE          a line of JSON for each request, without its texts\n"
    "  --live, --ema       of a run: the live weights, the averaged ones, whatever the training found\n"
    "  --run-bits B, --run-inputs N   what it is run from, as for moec generate (stored, 16)\n"
    "  --speculate S       lookup or MODEL: several tokens of a text are read in one pass where they can be foreseen, "
    "as "
    "for\n"
    "                      moec generate; answers are the same, /metrics counts what was proposed and drawn (off)\n"
    "  --hot-experts N  of a mixture: as for moec generate (all)\n"
    "  --cache T        keys and values as f32, bf16 or int8, as for moec generate (as activations)\n"
    "  --layout L       auto, on, off or a folder: a file that processes of one model share, as for moec generate "
    "(auto)\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (f32 beside codes, otherwise bf16 where the CPU has it)\n"
    "\n"
    "Ctrl-C or SIGTERM ends it when the answers that are under way are out; a second one cuts them.\n"
    "\n"
    "examples:\n"
    "  moec serve runs/demo/model.moec\n"
    "  moec serve SmolLM2-135M.gguf --port 0 --name smol --log requests.jsonl\n"
    "  moec serve SmolLM2-135M.gguf --port 0 --layout on\n";

enum { MOST_CONTEXT_BY_DEFAULT = 4096, DEFAULT_PORT = 8080, DEFAULT_CHOICES = 16 };

typedef struct request {
    run_form form;
    speculation guess;
    const kernels *k;
    const char *path, *which, *host, *key_file, *name;
    long long port, context;
    bool insecure;
    served_options served;
    server_options server;
} request;

static status parse_sizes(int *argc, char **argv, request *q) {
    struct {
        const char *option;
        long long least, most, value;
        status (*read)(const char *option, const char *text, long long least, long long most, long long *value);
    } sizes[] = {{"--slots", 1, 256, 0, cli_integer},
                 {"--queue", 1, 1 << 16, 0, cli_integer},
                 {"--max-tokens", 1, 1 << 24, 0, cli_integer},
                 {"--choices", 1, 1024, DEFAULT_CHOICES, cli_integer},
                 {"--max-body", 1024, 1 << 30, 0, cli_bytes},
                 {"--connections", 1, 4096, 0, cli_integer},
                 {"--request-seconds", 1, 86400, 0, cli_integer},
                 {"--idle-seconds", 1, 86400, 0, cli_integer},
                 {"--cache-memory", 1, INT64_MAX, 0, cli_bytes}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        TRY(sizes[i].read(sizes[i].option, cli_option(argc, argv, sizes[i].option), sizes[i].least, sizes[i].most,
                          &sizes[i].value));
    q->served.slots = (int)sizes[0].value;
    q->served.queue = (int)sizes[1].value;
    q->served.max_tokens = sizes[2].value;
    q->served.choices = (int)sizes[3].value;
    q->server.body_bytes = (size_t)sizes[4].value;
    q->server.connections = (int)sizes[5].value;
    q->server.request_seconds = (int)sizes[6].value;
    q->server.idle_seconds = (int)sizes[7].value;
    q->served.cache_bytes = sizes[8].value;
    return STATUS_OK;
}

/* A scheme and an authority, as the Origin header has them. */
static bool is_an_origin(const char *text) {
    const char *authority = strstr(text, "://");
    return authority && authority > text && authority[3] && !authority[3 + strcspn(authority + 3, "/?#@ ")];
}

static status parse(int argc, char **argv, request *q) {
    *q = (request){.port = DEFAULT_PORT};
    TRY(run_form_parse(&argc, argv, &q->form));
    speculate_parse(&argc, argv, &q->guess);
    TRY(run_form_parse_hot(&argc, argv, &q->form));
    TRY(cli_weights(&argc, argv, &q->which));
    q->host = cli_option(&argc, argv, "--host");
    q->key_file = cli_option(&argc, argv, "--api-key-file");
    q->insecure = cli_flag(&argc, argv, "--insecure-without-key");
    q->name = cli_option(&argc, argv, "--name");
    q->server.allowed_origin = cli_option(&argc, argv, "--allow-origin");
    q->server.routing_state = cli_option(&argc, argv, "--routing-state");
    q->server.log = cli_option(&argc, argv, "--log");
    TRY(cli_integer("--port", cli_option(&argc, argv, "--port"), 0, 65535, &q->port));
    TRY(cli_integer("--context", cli_option(&argc, argv, "--context"), 2, 1 << 24, &q->context));
    TRY(parse_sizes(&argc, argv, q));
    TRY(cli_rest(argc, argv, 1, 1, usage));
    q->path = argv[1];
    TRY(run_form_open(&q->form, q->path, &q->k));
    if (!q->host) q->host = "127.0.0.1";
    if (q->name && !*q->name) return fail_usage("--name: expected a name, found an empty one");
    if (q->server.allowed_origin && !is_an_origin(q->server.allowed_origin))
        return fail_usage("--allow-origin: expected what browsers call a site (https://host or https://host:port, with "
                          "nothing behind), found `%s`",
                          q->server.allowed_origin);
    return STATUS_OK;
}

/* ---- until a signal ---- */

static sem_t signals;                 /* one for each that came */
static const double LOOK_SECONDS = 1; /* between looks at whether the model still answers */

static void note_signal(int number) {
    const int error = errno;
    (void)number;
    sem_post(&signals);
    errno = error;
}

static void catch_signals(void) {
    const struct sigaction stop = {.sa_handler = note_signal, .sa_flags = SA_RESTART}, ignore = {.sa_handler = SIG_IGN};
    sem_init(&signals, 0, 0);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* Whether one comes within so many seconds, fewer than two. */
static bool wait_for_signal(double seconds) {
    struct timespec until;
    int got;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    do got = sem_timedwait(&signals, &until);
    while (got != 0 && errno == EINTR);
    return got == 0;
}

/* Nobody is served by a server that can write no text any more: whoever watches over it starts it again. */
static status end_failed(server *s) {
    server_cut(s);
    (void)server_stop(s);
    return fail("out of memory while texts were written: they have ended with an error, and the server ends");
}

static status answer_until_stopped(server *s, const served *what) {
    while (!wait_for_signal(LOOK_SECONDS))
        if (scheduler_failed(what->scheduler)) return end_failed(s);
    fprintf(stderr, "stopping: what is under way is finished; once more cuts it\n");
    server_drain(s);
    while (!server_is_idle(s))
        if (wait_for_signal(0.05)) {
            server_cut(s);
            break;
        }
    return server_stop(s);
}

/* ---- the command ---- */

static status say_address(const listener *l, const served *s) {
    const moe_config *c = &s->m->config.moe;
    const bool six = strchr(l->host, ':');
    scheduler_statistics figures;
    scheduler_read(s->scheduler, &figures);
    const int said = printf("listening on http://%s%s%s:%d\n", six ? "[" : "", l->host, six ? "]" : "", l->port);
    if (said < 0 || fflush(stdout) != 0) return fail("standard output: cannot write the address: %s", strerror(errno));
    fprintf(stderr, "%s: ", s->name);
    if (model_config_has_moe(&s->m->config))
        fprintf(stderr, "a mixture of %d experts, top-%d", c->experts, model_config_active_experts(&s->m->config));
    else
        fprintf(stderr, "a dense model");
    const cache_figures *cache = &figures.cache;
    fprintf(stderr,
            "; context %lld tokens; keys and values %.1f kB a token, up to %.0f MB in %lld blocks of %lld tokens; "
            "%d slots\n",
            (long long)s->context, (double)cache->token_bytes / 1e3,
            (double)(cache->token_bytes * cache->block_tokens * cache->blocks) / 1e6, (long long)cache->blocks,
            (long long)cache->block_tokens, figures.slots);
    return STATUS_OK;
}

/* Nobody finds a server whose address could not be said. */
static status say_and_answer(server *s, const listener *l, const served *what) {
    const status said = say_address(l, what);
    if (said == STATUS_OK) return answer_until_stopped(s, what);
    server_cut(s);
    (void)server_stop(s);
    return said;
}

static status serve_model(request *q, listener *l, const api_keys *keys, model *m, const tokenizer *tok, int trained) {
    server *s;
    served *what;
    const int64_t usual = trained < MOST_CONTEXT_BY_DEFAULT ? trained : MOST_CONTEXT_BY_DEFAULT;
    char *plain = path_plain(q->path);
    q->served.name = q->name ? q->name : path_last(plain);
    q->served.context = q->context ? q->context : usual;
    q->server.keys = keys;
    if (q->served.context > trained)
        fprintf(stderr, "note: the model was trained on sequences of %d tokens: what goes beyond may be poor\n",
                trained);
    const status started = served_start(&what, m, tok, &q->served);
    free(plain);
    TRY(started);
    const listener at = *l; /* which the server takes */
    catch_signals();
    status outcome = server_start(&s, what, l, &q->server);
    if (outcome == STATUS_OK) outcome = say_and_answer(s, &at, what);
    served_stop(what);
    return outcome;
}

static status open_and_serve(request *q, listener *l, const api_keys *keys) {
    checkpoint *saved;
    model *m;
    tokenizer *tok;
    int trained;
    TRY(cli_hold(&saved, q->path, q->which));
    status s = run_form_load(&q->form, saved ? saved->path : q->path, q->k, q->which, &m, &tok, &trained);
    checkpoint_close(saved);
    TRY(s);
    s = speculate_open(&q->guess, &q->form, tok);
    q->served.drafts = q->guess.source;
    if (s == STATUS_OK) s = serve_model(q, l, keys, m, tok, trained);
    speculate_close(&q->guess);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}

/* Keys and address first: what is wrong with them is known before the model is loaded. */
static status run(int argc, char **argv) {
    request q;
    listener l;
    api_keys keys = {0};
    TRY(parse(argc, argv, &q));
    if (q.key_file) TRY(api_keys_read(&keys, q.key_file));
    status s = listener_open(&l, q.host, (int)q.port);
    if (s == STATUS_OK && !l.loopback && keys.count == 0 && !q.insecure)
        s = fail_usage(
            "--host %s: expected --api-key-file, or --insecure-without-key to let everybody use the model who "
            "reaches it, found neither",
            q.host);
    if (s == STATUS_OK) s = open_and_serve(&q, &l, &keys);
    listener_close(&l);
    api_keys_free(&keys);
    return s;
}

const command command_serve = {
    .name = "serve",
    .summary = "answer over HTTP as OpenAI's API does, with a page to chat on",
    .help = help,
    .run = run,
    .takes = KINDS_OF_MODEL,
    .takes_noun = NOUN_OF_MODEL,
};
