#include "generate/generate.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/prompt.h"
#include "cli/run_form.h"
#include "cli/secretary.h"
#include "cli/speculate.h"
#include "nn/expert_names.h"
#include "store/open.h"
#include "text/chat.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec generate MODEL [PROMPT] [options]";

static const char help[] =
    "usage: moec generate MODEL [PROMPT] [options]\n"
    "\n"
    "Continues PROMPT with a model: an artifact (FILE.moec), a Hugging Face folder, a GGUF file, a checkpoint or a run "
    "folder, of which the newest "
    "checkpoint\n"
    "is taken (not the run's artifact), with its live or its averaged weights, whichever the training found better "
    "when it\n"
    "ended (the averaged ones where it has not), and says which. The prompt and what follows go to stdout as they are "
    "made,\n"
    "the speed to stderr.\n"
    "\n"
    "  --prompt-file FILE  the prompt; a PROMPT of - is read from stdin. The last line end of either is left out\n"
    "  --chat              the prompt is a message of a conversation as the model's chat template has it; what is "
    "printed is\n"
    "                      the answer\n"
    "  --system TEXT       with --chat: the system message before it\n"
    "  --no-echo           only what follows, without the prompt\n"
    "  --tokens N          at most so many new tokens (256)\n"
    "  -n N                so many texts, with the seeds S, S + 1, ..., each behind a line === seed S (1)\n"
    "  --context N         of a longer prompt read only the last N tokens (all). A model knows contexts as long as "
    "those\n"
    "                      that it was trained on; what goes beyond is noted on stderr\n"
    "  --temperature X     0: always the likeliest token (0.8)\n"
    "  --top-k N           only the N likeliest tokens (0: all)\n"
    "  --top-p X           only the likeliest tokens that together have probability X (0.95)\n"
    "  --min-p X           only tokens at least X times as likely as the likeliest (0: all)\n"
    "  --repetition-penalty X  logits of tokens that prompt or text have: / X, negative ones * X (1: none)\n"
    "  --presence-penalty X    taken from the logits of tokens that the text has (0)\n"
    "  --frequency-penalty X   the same for each time that it has them (0)\n"
    "  --object            the text is one JSON object, whatever the model was taught\n"
    "  --seed S            the same seed gives the same text (1)\n"
    "  --live, --ema       the live weights, the averaged ones, whatever the training found\n"
    "  --secretary         the mixture's routers read the prompt and say which expert it needs; only that one is "
    "loaded\n"
    "  --layers N,N        with --secretary: only these layers' routers are asked (all)\n"
    "  --expert NAME,NAME  only these experts of a mixture, by name or number; no others are loaded\n"
    "  --omit NAME,NAME    all experts but these\n"
    "  --hot-experts N     of each layer at most N experts are in memory; others are read from the files when a token "
    "is sent to\n"
    "                      them, in the place of those that were not used for the longest time. auto: twice as many as "
    "a token\n"
    "                      is sent to. The text is the same. Not of an artifact (all)\n"
    "  --run-bits B        8 or 4: matrices become codes of so many bits as they are loaded (with 4, embeddings and "
    "the "
    "head of 8);\n"
    "                      stored: those that are stored as codes, in an artifact or a GGUF file, are run from them, "
    "the others as\n"
    "                      floats. Products with codes are fast and round their inputs. exact: nothing is rounded "
    "(stored)\n"
    "  --run-inputs B      16 bits, which is next to exact, or 8: faster with long prompts, and seen in the text; "
    "keys, "
    "values and\n"
    "                      the head keep 16 (16)\n"
    "  --speculate S       lookup: where the text says again what it said before, that is proposed, and several "
    "tokens are\n"
    "                      read in one pass; MODEL: a smaller model of the same tokenizer proposes. The text is the "
    "same,\n"
    "                      the line of the speed says how many of the proposed tokens were drawn (off)\n"
    "  --cache T           keys and values of the text so far as f32, bf16 or int8 (with a scale for each head of each "
    "token); bf16\n"
    "                      halves the memory of long texts, int8 makes it nearly a quarter (as activations, see "
    "--dtype)\n"
    "  --layout L          the matrices as products read them, in a file that is mapped: nothing is decoded, rounded "
    "or "
    "put in\n"
    "                      order anew, and processes of one model share its memory. auto: the one that is there, and "
    "one "
    "is made\n"
    "                      where loading took over a second; on: one is made in any case; off; or a folder for them, "
    "instead of\n"
    "                      moec/layouts in the folder for caches (XDG_CACHE_HOME or ~/.cache). rm clears it. What is "
    "run "
    "in\n"
    "                      floats has none (auto)\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (by default f32 where matrices are run as codes, else bf16 where the "
    "CPU has\n"
    "                      it)\n"
    "\n"
    "examples:\n"
    "  moec generate runs/demo/model.moec \"In the beginning\" --tokens 100\n"
    "  moec generate runs/demo --prompt-file README.md --context 256 --no-echo -n 3\n"
    "  head -20 src/cli/main.c | moec generate runs/demo/model.moec - --tokens 50\n"
    "  moec generate runs/demo \"for (int i = 0;\" --secretary\n"
    "  moec generate SmolLM2-135M.gguf \"In the beginning\" --run-bits 8\n"
    "  moec generate SmolLM2-135M.gguf --prompt-file src/cli/main.c --speculate lookup\n"
    "  moec generate SmolLM2-135M.gguf --prompt-file README.md --cache int8\n";

typedef struct request {
    const kernels *k;
    run_form form;
    speculation guess;
    sampler s;
    long long tokens, texts, context;
    bool echo;
    bool chat;          /* the prompt is a message, and the model's answer is to follow */
    const char *system; /* a message before it; NULL: none */
    expert_wish experts;
    const char *which;                   /* weights of a run or a checkpoint */
    const char *model, *argument, *file; /* the prompt's; or NULL */
} request;

static status parse_sampler(int *argc, char **argv, sampler *s) {
    long long top_k = 0, seed = 1;
    double temperature = 0.8, top_p = 0.95, min_p = 0, repetition = 1, presence = 0, frequency = 0;
    TRY(cli_number("--temperature", cli_option(argc, argv, "--temperature"), 0, 100, &temperature));
    TRY(cli_integer("--top-k", cli_option(argc, argv, "--top-k"), 0, 1 << 20, &top_k));
    TRY(cli_number("--top-p", cli_option(argc, argv, "--top-p"), 0, 1, &top_p));
    TRY(cli_number("--min-p", cli_option(argc, argv, "--min-p"), 0, 1, &min_p));
    TRY(cli_number("--repetition-penalty", cli_option(argc, argv, "--repetition-penalty"), 0.01, 100, &repetition));
    TRY(cli_number("--presence-penalty", cli_option(argc, argv, "--presence-penalty"), -100, 100, &presence));
    TRY(cli_number("--frequency-penalty", cli_option(argc, argv, "--frequency-penalty"), -100, 100, &frequency));
    TRY(cli_integer("--seed", cli_option(argc, argv, "--seed"), 0, INT64_MAX, &seed));
    *s = (sampler){.temperature = (float)temperature,
                   .top_k = (int)top_k,
                   .top_p = (float)top_p,
                   .min_p = (float)min_p,
                   .repetition_penalty = (float)repetition,
                   .presence_penalty = (float)presence,
                   .frequency_penalty = (float)frequency,
                   .json = cli_flag(argc, argv, "--object"),
                   .seed = (uint64_t)seed};
    return STATUS_OK;
}

static status parse(int *argc, char **argv, request *q) {
    *q = (request){.tokens = 256, .texts = 1};
    TRY(run_form_parse(argc, argv, &q->form));
    speculate_parse(argc, argv, &q->guess);
    TRY(cli_weights(argc, argv, &q->which));
    TRY(parse_sampler(argc, argv, &q->s));
    TRY(expert_wish_parse(argc, argv, &q->experts));
    TRY(run_form_parse_hot(argc, argv, &q->form));
    if (q->form.hot_experts && expert_wish_is(&q->experts))
        return fail_usage("--hot-experts: expected neither --expert, --omit nor --secretary beside it, found one");
    q->file = cli_option(argc, argv, "--prompt-file");
    q->echo = !cli_flag(argc, argv, "--no-echo");
    q->chat = cli_flag(argc, argv, "--chat");
    q->system = cli_option(argc, argv, "--system");
    TRY(cli_integer("--tokens", cli_option(argc, argv, "--tokens"), 1, 1 << 20, &q->tokens));
    TRY(cli_integer("--context", cli_option(argc, argv, "--context"), 1, 1 << 24, &q->context));
    TRY(cli_integer("-n", cli_option(argc, argv, "-n"), 1, 1 << 20, &q->texts));
    TRY(cli_rest(*argc, argv, 1, 2, usage));
    q->model = argv[1];
    q->argument = *argc > 2 ? argv[2] : NULL;
    if (q->file && q->argument)
        return fail_usage("generate: PROMPT and --prompt-file exclude each other, found `%.60s` and %s", q->argument,
                          q->file);
    if (q->system && !q->chat) return fail_usage("generate: --system: expected --chat beside it, found none");
    if (q->chat) q->echo = false;
    return run_form_open(&q->form, q->model, &q->k);
}

/* *context, an int: errno of a write that failed. */
static bool print_text(void *context, const char *text, size_t bytes) {
    int *error = context;
    errno = 0;
    if (fwrite(text, 1, bytes, stdout) == bytes && fflush(stdout) == 0) return true;
    *error = errno;
    return false;
}

/* What the model was trained on, and what it is asked for. */
static void note_context(const prompt_report *r, int64_t context, int64_t trained) {
    if (r->read < r->tokens)
        fprintf(stderr,
                "the prompt has %" PRId64 " tokens; only the last %" PRId64 " are read (--context %" PRId64 ")\n",
                r->tokens, r->read, context);
    if (r->read > trained)
        fprintf(stderr,
                "note: the prompt has %" PRId64 " tokens, and the model was trained on sequences of %" PRId64
                ": what follows may be poor; --context %" PRId64 " reads only the prompt's end\n",
                r->read, trained, trained);
}

static void print_speed(const request *q, const prompt_report *r, const generate_result *g, int64_t trained) {
    int64_t beyond = r->read < trained ? r->read + g->new_tokens - trained : 0;
    fprintf(stderr, "%" PRId64 " prompt tokens in %.2f s, %" PRId64 " new tokens at %.1f tokens/s", r->read, r->seconds,
            g->new_tokens, g->seconds > 0 ? (double)g->new_tokens / g->seconds : 0);
    if (beyond > 0)
        fprintf(stderr, ", the last %" PRId64 " beyond the %" PRId64 " tokens of a sequence in training", beyond,
                trained);
    speculate_print(&q->guess, g->drafts, stderr);
    fputc('\n', stderr);
}

/* One text behind the prompt, and the line end behind it. */
static status print_one(const request *q, generation *g, const prompt *p, sampler s, int64_t trained) {
    int error = 0;
    generate_result result = {0};
    prompt_report report = generation_prompt(g);
    status outcome = STATUS_OK;
    if (q->texts > 1) printf("=== seed %" PRIu64 "\n", s.seed);
    if (print_text(&error, p->text, q->echo ? p->bytes : 0))
        outcome = generation_continue(g, &s, print_text, &error, &result);
    if (!error) print_text(&error, "\n", 1);
    if (error) return fail("stdout: cannot write: %s", strerror(error));
    if (outcome == STATUS_OK) print_speed(q, &report, &result, trained);
    return outcome;
}

/* The prompt as it is, or as a message of a conversation. */
static status open_generation(const request *q, pass *p, const tokenizer *tok, const prompt *text, generation **g) {
    const prompt_options options = {.context = q->context, .show_progress = true};
    if (!q->chat) return generation_open(g, p, tok, text->text, text->bytes, &options, q->tokens);
    const chat_message messages[] = {{"system", q->system}, {"user", text->text}};
    const int first = q->system ? 0 : 1;
    chat_format *format = chat_format_create(tokenizer_chat_template(tok));
    int32_t *ids;
    size_t count;
    status s =
        fail_in(chat_encode(format, tok, messages + first, 2 - first, true, &ids, &count), "%s: --chat", q->model);
    chat_format_free(format);
    TRY(s);
    s = generation_open_ids(g, p, tok, ids, count, &options, q->tokens);
    free(ids);
    return s;
}

static status print_texts(const request *q, pass *p, const tokenizer *tok, const prompt *text, int64_t trained) {
    generation *g;
    TRY(open_generation(q, p, tok, text, &g));
    prompt_report report = generation_prompt(g);
    note_context(&report, q->context, trained);
    status s = generation_speculate(g, &q->guess.source);
    if (s == STATUS_OK) s = generation_read(g);
    for (long long i = 0; i < q->texts && s == STATUS_OK; i++) {
        sampler one = q->s;
        one.seed += (uint64_t)i;
        s = print_one(q, g, text, one, trained);
    }
    generation_close(g);
    return s;
}

static void say_weights(const checkpoint *saved, const char *which) {
    if (!saved) return;
    char *note = checkpoint_weights_note(saved, which);
    fprintf(stderr, "%s: %s\n", saved->path, note);
    free(note);
}

/* What the experts that are there weigh, and those that are not; they are called as the whole model calls them. */
static void say_experts(const model *m, const model_config *whole, const bool *chosen) {
    const int experts = m->config.moe.experts;
    const double bytes = (double)model_expert_bytes(m) / 1e6;
    char list[256];
    fprintf(stderr,
            "loaded %d of %d experts (%s): %.1f MB; the others' %.1f MB are not in memory, and %.1f MB of all are\n",
            experts, whole->moe.experts, expert_list(&whole->moe, chosen, list, sizeof list), bytes,
            bytes / experts * (whole->moe.experts - experts), (double)memory_resident() / 1e6);
}

static status open_some(const request *q, const char *path, const prompt *text, model **m, tokenizer **tok,
                        int *trained) {
    const expert_question asked = {.path = path, .which = q->which, .k = q->k, .text = text, .context = q->context};
    bool chosen[MODEL_MAX_EXPERTS] = {false};
    model_config whole;
    TRY(experts_choose(&q->experts, &asked, &whole, chosen));
    TRY(open_model_experts(path, q->k, q->which, q->form.use, chosen, m, tok, trained));
    (*m)->cache = q->form.cache;
    say_experts(*m, &whole, chosen);
    return STATUS_OK;
}

static status open_asked(const request *q, const prompt *text, model **m, tokenizer **tok, int *trained) {
    checkpoint *saved;
    TRY(cli_hold(&saved, q->model, q->which));
    const char *path = saved ? saved->path : q->model;
    status s = expert_wish_is(&q->experts) ? open_some(q, path, text, m, tok, trained)
                                           : run_form_load(&q->form, path, q->k, q->which, m, tok, trained);
    if (s == STATUS_OK) say_weights(saved, q->which);
    checkpoint_close(saved);
    return s;
}

static status run_model(request *q, const prompt *text) {
    model *m;
    tokenizer *tok;
    pass *p = NULL;
    int trained;
    TRY(open_asked(q, text, &m, &tok, &trained));
    interrupt_catch();
    status s = speculate_open(&q->guess, &q->form, tok);
    if (s == STATUS_OK) s = pass_create(&p, m);
    if (s == STATUS_OK) s = print_texts(q, p, tok, text, trained);
    pass_destroy(p);
    speculate_close(&q->guess);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}

static status run(int argc, char **argv) {
    request q;
    prompt text;
    TRY(parse(&argc, argv, &q));
    TRY(prompt_read(&text, q.argument, q.file));
    status s = run_model(&q, &text);
    prompt_free(&text);
    return s;
}

const command command_generate = {
    .name = "generate",
    .summary = "continue a prompt with an artifact or a checkpoint",
    .help = help,
    .run = run,
    .takes = KINDS_OF_MODEL,
    .takes_noun = NOUN_OF_MODEL,
};
