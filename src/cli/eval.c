/* moec eval */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/eval_chunks.h"
#include "cli/eval_run.h"
#include "cli/ranks.h"
#include "store/open.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec eval MODEL [top_k=N] [options]\n"
    "\n"
    "Bits per byte of text, by domain and in all, over sliding windows. MODEL is an artifact (FILE.moec), a "
    "checkpoint, a\n"
    "Hugging Face folder, a GGUF file, or a run folder: then its live weights, its averaged weights and its artifact "
    "model.moec are scored on the text that "
    "the\n"
    "run held out, with and without the causal bigram blend, beside xz -9e of the same text, and RUN/summary.json is\n"
    "written. Of a checkpoint the live or the averaged weights are scored, whichever the training found better.\n"
    "Of a model with routers it shows how many tokens each expert took, layer by layer (of a run: of the last one).\n"
    "\n"
    "  top_k=N          experts a token goes to, instead of the model's own number; then without the summary\n"
    "  --trace FILE     a CSV row for each scored token, pass, layer and chosen expert, with its gate\n"
    "  --text FILE      any file of text, instead of held-out text; may be given many times. Shows perplexity too\n"
    "  --data PATH      a folder made by moec data, or a shard (by default that of the run that MODEL is or lies in)\n"
    "  --live, --ema    only the live weights, only the averaged ones, of a run or a checkpoint\n"
    "  --seq N          window length in tokens (by default as trained, of pretrained models at most 2048)\n"
    "  --stride N       new tokens a window; the others are context (by default the run's eval_stride, else seq / 2)\n"
    "  --blend X        weight of the bigram blend (0.03)\n"
    "  --tokens N       score a sample of N tokens, the same part of every domain (0: all); then without xz, and "
    "without\n"
    "                   the summary\n"
    "  --protocol P     windows, or llama.cpp: perplexity of one --text FILE as its llama-perplexity counts it, in "
    "chunks of\n"
    "                   --seq tokens (512) whose second halves are scored\n"
    "  --run-bits B     exact; or stored, 8, 4: as moec generate runs it, to see what that costs (exact); then without "
    "the\n"
    "                   summary. --run-inputs B as there\n"
    "  --device D       cpu\n"
    "  --dtype T        bf16 or f32 (by default the fastest)\n"
    "  --json           print one JSON object instead of the table\n"
    "\n"
    "Under `mpirun -n N moec eval ...` or srun the windows are shared out among the ranks, and the figures are those "
    "of one\n"
    "process, bit for bit.\n"
    "\n"
    "examples:\n"
    "  moec eval runs/demo\n"
    "  moec eval runs/demo/model.moec --text README.md --text CHANGELOG.md\n"
    "  moec eval runs/demo/model.moec --text CHANGELOG.md --protocol llama.cpp --seq 256\n";

typedef struct request {
    const char *path, *data, *trace;
    const char **files; /* --text */
    int file_count;
    const char *which; /* weights: "chosen", "live", "ema" */
    int top_k;         /* 0: the model's own */
    long long seq, stride, tokens;
    double blend;
    const kernels *k;
    bool json;
    bool chunks; /* llama.cpp's protocol */
    model_use use;
    eval_run run;
    comm *ranks; /* rank 0 says and writes what was found */
} request;

/* One kind of weights that is scored. */
typedef struct subject {
    const char *path, *which;           /* as open_model takes them */
    const char *name, *key;             /* of its row */
    const char *blend_name, *blend_key; /* of its row with the blend; NULL: it has none */
    bool probed;                        /* its routers are watched */
} subject;

/* ---- the command line ---- */

/* The one key of a model that may change after training. */
static status parse_override(const char *text, request *q) {
    const char *value = strchr(text, '=');
    long long top_k = 0;
    if (!value || strncmp(text, "top_k=", 6) != 0)
        return fail_usage("eval: expected top_k=N behind the model, found %.60s; no other key can change there", text);
    TRY(cli_integer("top_k", value + 1, 1, MODEL_MAX_EXPERTS, &top_k));
    q->top_k = (int)top_k;
    return STATUS_OK;
}

static status parse_protocol(const char *name, request *q) {
    q->chunks = name && strcmp(name, "llama.cpp") == 0;
    if (name && !q->chunks && strcmp(name, "windows") != 0)
        return fail_usage("--protocol: expected windows or llama.cpp, found %.60s", name);
    if (q->chunks && q->file_count != 1)
        return fail_usage("--protocol llama.cpp: expected one --text FILE, found %d", q->file_count);
    if (q->chunks && (q->trace || q->stride))
        return fail_usage("--protocol llama.cpp: it has no %s", q->trace ? "--trace" : "--stride");
    return STATUS_OK;
}

static status parse(int *argc, char **argv, request *q) {
    TRY(cli_device(argc, argv, NULL, &q->k));
    q->use = MODEL_RUN;
    TRY(cli_run_bits(argc, argv, &q->use));
    TRY(cli_weights(argc, argv, &q->which));
    q->file_count = cli_options(argc, argv, "--text", &q->files);
    q->data = cli_option(argc, argv, "--data");
    q->json = cli_flag(argc, argv, "--json");
    q->trace = cli_option(argc, argv, "--trace");
    const char *protocol = cli_option(argc, argv, "--protocol");
    TRY(cli_integer("--seq", cli_option(argc, argv, "--seq"), 1, 1 << 20, &q->seq));
    TRY(cli_integer("--stride", cli_option(argc, argv, "--stride"), 1, 1 << 20, &q->stride));
    TRY(cli_integer("--tokens", cli_option(argc, argv, "--tokens"), 0, INT64_MAX, &q->tokens));
    TRY(cli_number("--blend", cli_option(argc, argv, "--blend"), 0, 0.999, &q->blend));
    TRY(cli_rest(*argc, argv, 1, 2, "moec eval MODEL [top_k=N] [options]"));
    q->path = argv[1];
    if (q->data && q->file_count) return fail_usage("--data and --text exclude each other");
    TRY(parse_protocol(protocol, q));
    return *argc > 2 ? parse_override(argv[2], q) : STATUS_OK;
}

/* ---- the text ---- */

static status open_text(const request *q, const tokenizer *tok, const model *m, scored_text *text, eval_table *t) {
    t->files = q->file_count > 0;
    t->text = text;
    if (t->files) {
        t->title = q->file_count == 1 ? xstrdup(q->files[0]) : xasprintf("%d files", q->file_count);
        t->kind = "files";
        return scored_text_of_files(text, q->files, q->file_count, tok);
    }
    const char *data = q->data ? q->data : q->run.data;
    if (!data)
        return fail_usage(
            "eval: expected --text FILE, or --data with a folder made by moec data, found neither, and %s "
            "does not lie in a run",
            q->path);
    const bool held_out = eval_run_held_out(&q->run, data);
    t->title = held_out ? xstrdup("held-out text") : xasprintf("%s, which is not known to be held out", data);
    t->kind = held_out ? "held_out" : "other";
    return scored_text_open_for(text, data, tok, m->config.vocab_size);
}

/* ---- scoring ---- */

static status open_probe(const request *q, const model *m, const tokenizer *tok, const char *name, eval_table *t) {
    if (q->trace && !model_config_has_moe(&m->config))
        return fail_usage("--trace: the model has no router whose choices could be written");
    t->probed = name;
    return routing_probe_create(&t->probe, tok, q->trace, NULL);
}

/* The text is opened with the first model. */
static status prepare(const request *q, const subject *s, pass *p, const tokenizer *tok, int context,
                      bpb_options *options, scored_text *text, eval_table *t) {
    TRY(eval_run_windows(&q->run, q->path, context, q->seq, q->stride, options));
    if (s->probed) TRY(open_probe(q, pass_model(p), tok, s->name, t));
    return text->s.path ? STATUS_OK : open_text(q, tok, pass_model(p), text, t);
}

static uint64_t shard_number(const shard *s) {
    uint64_t number = (uint64_t)s->count;
    for (int64_t i = 0; i < s->count; i++) {
        const int32_t id = shard_token(s, i);
        number = crc64(number, &id, sizeof id);
    }
    return number;
}

static status score_opened(const request *q, const subject *s, pass *p, const tokenizer *tok, int context,
                           scored_text *text, eval_table *t) {
    const bool blend = s->blend_name && q->blend > 0;
    bpb_result result;
    bpb_options options = {.tokens = q->tokens,
                           .blend_lambda = blend ? q->blend : 0,
                           .shown = q->ranks->rank == 0 ? s->name : NULL,
                           .ranks = q->ranks};
    TRY(comm_agree(q->ranks, prepare(q, s, p, tok, context, &options, text, t)));
    if (q->ranks->ranks > 1) TRY(cli_ranks_same(q->ranks, "text", shard_number(&text->s)));
    options.seed = text->seed;
    options.probe = s->probed ? t->probe : NULL;
    status outcome = bpb_evaluate(p, tok, &text->s, scored_text_documents(text), &options, &result);
    if (outcome == STATUS_INTERRUPTED)
        (void)fail("interrupted while the weights \"%s\" were scored; nothing was written", s->name);
    if (outcome == STATUS_OK && s->probed) outcome = routing_probe_finish(t->probe);
    if (outcome == STATUS_OK) {
        scored_text_count_bytes(text, &result);
        eval_table_add(t, &result, s->name, s->key, blend ? s->blend_name : NULL, s->blend_key);
    }
    bpb_result_free(&result);
    return outcome;
}

static status score(const request *q, const subject *s, scored_text *text, eval_table *t) {
    model *m;
    pass *p = NULL;
    tokenizer *tok;
    int context = 0;
    TRY(cli_ranks_same_model(q->ranks, s->path, s->which));
    TRY(comm_agree(q->ranks, open_model(s->path, q->k, s->which, q->use, &m, &tok, &context)));
    status outcome = eval_set_top_k(m, s->path, q->top_k);
    if (outcome == STATUS_OK) outcome = pass_create(&p, m);
    outcome = comm_agree(q->ranks, outcome);
    if (outcome == STATUS_OK) outcome = score_opened(q, s, p, tok, context, text, t);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    return outcome;
}

/* All that a run has. */
static status score_run(const request *q, scored_text *text, eval_table *t) {
    const char *saved = q->run.saved->path;
    char *artifact = path_join(q->run.folder, "model.moec");
    const bool packed = path_exists(artifact), average = checkpoint_has_average(q->run.saved);
    const subject live = {saved, "live", "live", "live", NULL, NULL, !average && !packed};
    const subject averaged = {saved, "ema", q->run.average_name, "ema", NULL, NULL, !packed};
    const subject artifact_of_it = {artifact, "chosen", "packed", "packed", "packed + blend", "packed_blend", true};
    status s = score(q, &live, text, t);
    if (s == STATUS_OK && average) s = score(q, &averaged, text, t);
    if (s == STATUS_OK && packed) s = score(q, &artifact_of_it, text, t);
    free(artifact);
    return s;
}

/* An artifact or a pretrained model, or one kind of a checkpoint's weights. */
static status score_one(const request *q, scored_text *text, eval_table *t) {
    const char *which = "chosen";
    if (!open_is_saved(q->path)) {
        const subject s = {q->path, which, "model", "model", "model + blend", "model_blend", true};
        return score(q, &s, text, t);
    }
    TRY(checkpoint_weights(q->run.saved, q->which, &which));
    const bool average = strcmp(which, "ema") == 0, swa = strcmp(q->run.average_name, "SWA") == 0;
    const subject s = {q->run.saved->path,
                       which,
                       average ? q->run.average_name : "live",
                       average ? "ema" : "live",
                       !average ? "live + blend"
                       : swa    ? "SWA + blend"
                                : "EMA + blend",
                       average ? "ema_blend" : "live_blend",
                       true};
    return score(q, &s, text, t);
}

/* ---- the whole ---- */

/* Which of the training's weights others use. */
static status note_choice(const request *q, eval_table *t) {
    if (!open_is_saved(q->path)) return STATUS_OK;
    TRY(checkpoint_weights(q->run.saved, "chosen", &t->chosen));
    t->note = checkpoint_weights_note(q->run.saved, q->which);
    return STATUS_OK;
}

static status score_chunks(const request *q) {
    return eval_chunks(&(chunks_request){.path = q->path,
                                         .which = q->which,
                                         .k = q->k,
                                         .use = q->use,
                                         .text = q->files[0],
                                         .top_k = q->top_k,
                                         .length = q->seq,
                                         .tokens = q->tokens,
                                         .json = q->json,
                                         .ranks = q->ranks});
}

/* What lies on the disk now; without a trace the rest is on stdout only. */
static void say_results(const request *q, bool summary) {
    char *file = summary ? path_join(q->run.folder, "summary.json") : NULL;
    if (file && q->trace)
        cli_results("%s and %s", file, q->trace);
    else if (file || q->trace)
        cli_results("%s", file ? file : q->trace);
    free(file);
}

/* Which run it is, and that what is asked for is there. */
static status find_run(request *q) {
    status found = eval_run_find(&q->run, q->path);
    const bool text_is_given = q->data || q->file_count; /* what an artifact's run has is not asked for then */
    if (found != STATUS_OK && (open_is_saved(q->path) || !text_is_given)) return found;
    return open_check_weights(q->path, q->which);
}

static status evaluate(request *q, scored_text *text, eval_table *t) {
    TRY(comm_agree(q->ranks, find_run(q)));
    const bool run = q->run.folder && open_is_saved(q->path), everything = run && strcmp(q->which, "chosen") == 0;
    TRY(comm_agree(q->ranks, everything ? score_run(q, text, t) : score_one(q, text, t)));
    if (q->ranks->rank > 0) return STATUS_OK;
    TRY(eval_table_add_xz(t));
    TRY(note_choice(q, t));
    q->json ? eval_table_print_json(t) : eval_table_print(t);
    const bool own = strcmp(t->kind, "held_out") == 0;
    const bool summary = everything && own && t->whole && q->top_k == 0 && q->use == MODEL_RUN;
    if (summary) TRY(eval_run_summarize(&q->run, t, !q->json));
    say_results(q, summary);
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q = {.blend = 0.03};
    scored_text text = {0};
    eval_table t = {0};
    TRY(cli_ranks(argc, argv, &q.ranks));
    status s = comm_agree(q.ranks, parse(&argc, argv, &q));
    if (s == STATUS_OK && q.trace && q.ranks->ranks > 1)
        s = comm_alike(q.ranks,
                       fail_usage("--trace: is written by one process, and a launcher started %d", q.ranks->ranks));
    interrupt_catch();
    if (s == STATUS_OK) s = q.chunks ? score_chunks(&q) : evaluate(&q, &text, &t);
    scored_text_close(&text);
    eval_table_free(&t);
    eval_run_free(&q.run);
    free(q.files);
    return s;
}

const command command_eval = {.name = "eval",
                              .summary = "bits per byte of held-out or any other text",
                              .help = help,
                              .run = run,
                              .takes = KINDS_OF_MODEL,
                              .takes_noun = NOUN_OF_MODEL,
                              .takes_ranks = true};
