/* moec teach */
#include "eval/teach.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/ranks.h"
#include "cli/teach_endpoint.h"
#include "formats/pretrained.h"
#include "store/open.h"
#include "store/source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec teach MODEL --data PATH -o CACHE [options]\n"
    "\n"
    "What a teacher thinks of each token of a training text, for those who learn from it: its N most probable tokens "
    "there\n"
    "with their log-probabilities, and the probability of all others together. MODEL is an artifact (FILE.moec), a run "
    "or\n"
    "a checkpoint, a Hugging Face folder or a GGUF file, with the tokenizer that the text was made with. CACHE is a "
    "folder,\n"
    "with a file for each shard; 87 bytes a token for 20 of 151,936. What Ctrl-C or a kill ended goes on with the "
    "same\n"
    "command.\n"
    "\n"
    "  --data PATH      a folder made by moec data (its training shards), a shard, or a pattern of shards\n"
    "  -o CACHE         the folder\n"
    "  --top N          tokens that are kept of each distribution (20)\n"
    "  --held-out       the held-out shards of the folder too\n"
    "  --seq N          window length in tokens (by default as trained, of pretrained models at most 2048)\n"
    "  --stride N       new tokens a window; the others are context (by default all)\n"
    "  --batch N        windows a pass (by default some 4096 tokens)\n"
    "  --live, --ema    the live or the averaged weights of a run or a checkpoint\n"
    "  --device D       cpu\n"
    "  --dtype T        bf16 or f32 (by default the fastest)\n"
    "  --json           print one JSON object instead of the table\n"
    "\n"
    "Under `mpirun -n N moec teach ...` or srun each rank makes and writes a part of the cache, in a folder that all "
    "see:\n"
    "the same bytes as one process. Any number of them goes on where others ended.\n"
    "\n"
    "example: moec teach runs/demo --data data/demo -o teachers/demo --top 20\n"
    "\n" TEACH_ENDPOINT_HELP;

enum { FOREIGN_SEQ = 2048, BATCH_TOKENS = 4096 };

typedef struct request {
    const char *path, *data, *out, *which;
    long long top, seq, stride, batch;
    bool held_out, json;
    const kernels *k;
    comm *ranks; /* rank 0 says what was done */
} request;

/* What was done with all parts of the text. */
typedef struct totals {
    teaching_result sum;
    int shards;
    teacher_facts facts;
    int64_t batch;
} totals;

/* ---- the command line ---- */

static status parse(int *argc, char **argv, request *q) {
    TRY(cli_device(argc, argv, NULL, &q->k));
    TRY(cli_weights(argc, argv, &q->which));
    q->data = cli_option(argc, argv, "--data");
    q->out = cli_option(argc, argv, "-o");
    q->held_out = cli_flag(argc, argv, "--held-out");
    q->json = cli_flag(argc, argv, "--json");
    TRY(cli_integer("--top", cli_option(argc, argv, "--top"), 1, TEACHER_MAX_TOP, &q->top));
    TRY(cli_integer("--seq", cli_option(argc, argv, "--seq"), 1, 1 << 20, &q->seq));
    TRY(cli_integer("--stride", cli_option(argc, argv, "--stride"), 1, 1 << 20, &q->stride));
    TRY(cli_integer("--batch", cli_option(argc, argv, "--batch"), 1, 1 << 16, &q->batch));
    TRY(cli_rest(*argc, argv, 1, 1, "moec teach MODEL --data PATH -o CACHE [options]"));
    q->path = argv[1];
    if (!q->data) return fail_usage("teach: expected --data with the text to be taught on, found none");
    if (!q->out) return fail_usage("teach: expected -o with the folder of the cache, found none");
    if (q->held_out && !path_is_folder(q->data))
        return fail_usage("--held-out: expected --data with a folder made by moec data, found %s", q->data);
    return STATUS_OK;
}

/* ---- what is taught with what ---- */

/* The weights as they are stored: rounding and the machine make no difference. */
static status identify(const request *q, const char *path, teacher_facts *facts) {
    model_source *source;
    TRY(model_source_open(&source, path, q->which));
    const status s = weight_source_fingerprint(model_source_weights(source), &facts->teacher);
    model_source_close(source);
    snprintf(facts->name, sizeof facts->name, "%s", q->path);
    return s;
}

/* The text's own tokenizer, where it lies beside it, must give ids the model's meaning; it also knows what documents begin with. */
static status check_tokenizer(const request *q, const tokenizer *tok, teaching_options *o) {
    char *folder = path_is_folder(q->data) ? xstrdup(q->data) : path_parent(q->data);
    char *path = path_join(folder, "tokenizer.model");
    tokenizer *own = NULL;
    status s = path_exists(path) ? tokenizer_open(&own, path) : STATUS_OK;
    o->facts.tokenizer = tokenizer_fingerprint(tok);
    o->bos = tokenizer_bos(own ? own : tok);
    if (s == STATUS_OK && own && tokenizer_fingerprint(own) != o->facts.tokenizer)
        s = fail("%s: its tokens are not those of the teacher %s: make the data with `moec data --tokenizer` of it",
                 path, q->path);
    tokenizer_close(own);
    free(path);
    free(folder);
    return s;
}

/* context: the sequence length that the model was trained with. */
static status choose_windows(const request *q, int context, teaching_options *o) {
    const int64_t own = pretrained_is(q->path) && context > FOREIGN_SEQ ? FOREIGN_SEQ : context;
    const int64_t seq = q->seq ? q->seq : own;
    if (q->stride > seq)
        return fail_usage("--stride: expected at most %lld, the window's length (%s), found %lld", (long long)seq,
                          q->seq ? "--seq" : "as trained; --seq changes it", q->stride);
    o->facts.seq = seq;
    o->facts.stride = q->stride ? q->stride : seq;
    o->batch = q->batch ? q->batch : seq < BATCH_TOKENS ? BATCH_TOKENS / seq : 1;
    return STATUS_OK;
}

/* ---- teaching ---- */

static void add(totals *t, const teaching_result *r) {
    t->sum.tokens += r->tokens;
    t->sum.there += r->there;
    t->sum.taught += r->taught;
    t->sum.bytes += r->bytes;
    t->sum.covered += r->covered;
    t->sum.among += r->among;
    t->sum.seconds += r->seconds;
}

static status teach_part(const request *q, pass *p, const shard_set *text, teaching_options *o, totals *t) {
    teaching_result r;
    o->ranks = q->ranks;
    if (q->ranks->rank > 0) o->shown = NULL;
    const status s = teach_shards(p, text, q->out, o, &r);
    t->shards += text->count;
    add(t, &r);
    if (s == STATUS_INTERRUPTED)
        (void)fail("interrupted: %s has %lld of %lld tokens; the same command goes on", q->out, (long long)r.there,
                   (long long)r.tokens);
    return s;
}

static uint64_t tokens_number(const shard_set *text) {
    enum { PIECE = 4096 };
    int32_t ids[PIECE];
    uint64_t number = 0;
    for (int64_t at = 0, all = shard_set_tokens(text); at < all; at += PIECE) {
        const int64_t count = all - at < PIECE ? all - at : PIECE;
        shard_set_read(text, at, count, ids);
        number = crc64(number, ids, (size_t)count * sizeof *ids);
    }
    return number;
}

/* Both parts are opened before the first of them takes its hours. */
static status teach_parts(const request *q, pass *p, teaching_options *o, totals *t) {
    static const char *const names[] = {[SHARDS_TRAINING] = "training", [SHARDS_HELD_OUT] = "held-out"};
    const int parts = q->held_out ? 2 : 1;
    shard_set text[2] = {{0}};
    status s = STATUS_OK;
    for (int i = 0; i < parts && s == STATUS_OK; i++)
        s = shard_set_open(&text[i], q->data, (shard_part)i, pass_model(p)->config.vocab_size);
    s = comm_agree(q->ranks, s);
    for (int i = 0; i < parts && s == STATUS_OK && q->ranks->ranks > 1; i++)
        s = cli_ranks_same(q->ranks, "text", tokens_number(&text[i]));
    for (int i = 0; i < parts && s == STATUS_OK; i++) {
        o->shown = names[i];
        s = teach_part(q, p, &text[i], o, t);
    }
    for (int i = 0; i < parts; i++) shard_set_close(&text[i]);
    return s;
}

static status teach_all(const request *q, pass *p, const tokenizer *tok, int context, const teacher_facts *facts,
                        totals *t) {
    teaching_options o = {.facts = *facts};
    o.facts.k = (int)q->top;
    TRY(comm_agree(q->ranks, check_tokenizer(q, tok, &o)));
    TRY(comm_agree(q->ranks, choose_windows(q, context, &o)));
    t->facts = o.facts;
    t->batch = o.batch;
    return teach_parts(q, p, &o, t);
}

static status teach_opened(const request *q, const char *path, totals *t) {
    teacher_facts facts = {0};
    model *m;
    pass *p = NULL;
    tokenizer *tok;
    int context = 0;
    TRY(comm_agree(q->ranks, identify(q, path, &facts)));
    TRY(cli_ranks_same(q->ranks, "model", facts.teacher));
    TRY(comm_agree(q->ranks, open_model(path, q->k, q->which, MODEL_RUN, &m, &tok, &context)));
    status s = comm_agree(q->ranks, pass_create(&p, m));
    if (s == STATUS_OK) s = teach_all(q, p, tok, context, &facts, t);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}

/* ---- what is said of it ---- */

static double a_token(double of_all, const totals *t) {
    return t->sum.taught > 0 ? of_all / (double)t->sum.taught : 0;
}

static double speed(const totals *t) {
    return t->sum.seconds > 0 ? (double)t->sum.taught / t->sum.seconds : 0;
}

static void print_table(const request *q, const totals *t) {
    const teaching_result *r = &t->sum;
    printf("\n%-12s %s\n", "teacher", q->path);
    printf("%-12s %s: %lld tokens in %d shard%s\n", "text", q->data, (long long)r->tokens, t->shards,
           t->shards == 1 ? "" : "s");
    printf("%-12s %lld tokens, %lld of them new in each\n", "windows", (long long)t->facts.seq,
           (long long)t->facts.stride);
    printf("%-12s %.1f MB, %.2f bytes a token\n", "cache", (double)r->bytes / 1e6,
           (double)r->bytes / (double)(r->tokens > 0 ? r->tokens : 1));
    if (r->taught == 0) {
        printf("%-12s nothing: all of it was there\n", "taught now");
        return;
    }
    printf("%-12s %lld tokens, %.0f a second\n", "taught now", (long long)r->taught, speed(t));
    printf("%-12s have %.1f %% of the probability, and the text's own token %.1f %% of the time\n", "the top",
           100 * a_token(r->covered, t), 100 * a_token((double)r->among, t));
}

static void print_json(const request *q, const totals *t) {
    const teaching_result *r = &t->sum;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "teacher", q->path);
    cJSON_AddStringToObject(root, "data", q->data);
    cJSON_AddStringToObject(root, "cache", q->out);
    cJSON_AddNumberToObject(root, "top", t->facts.k);
    cJSON_AddNumberToObject(root, "seq", (double)t->facts.seq);
    cJSON_AddNumberToObject(root, "stride", (double)t->facts.stride);
    cJSON_AddNumberToObject(root, "batch", (double)t->batch);
    cJSON_AddNumberToObject(root, "shards", t->shards);
    cJSON_AddNumberToObject(root, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(root, "taught", (double)r->taught);
    cJSON_AddNumberToObject(root, "bytes", (double)r->bytes);
    cJSON_AddNumberToObject(root, "seconds", r->seconds);
    cJSON_AddNumberToObject(root, "tokens_per_second", speed(t));
    cJSON_AddNumberToObject(root, "covered", a_token(r->covered, t));
    cJSON_AddNumberToObject(root, "among_top", a_token((double)r->among, t));
    cli_print_json(root);
}

static bool is_of_endpoint(int argc, char **argv) {
    static const char option[] = "--endpoint";
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], option) == 0 || strncmp(argv[i], "--endpoint=", sizeof option) == 0) return true;
    return false;
}

static status run(int argc, char **argv) {
    if (is_of_endpoint(argc, argv) && comm_launched() > 1)
        return fail_usage("teach --endpoint: works in one process, and a launcher started %d", comm_launched());
    if (is_of_endpoint(argc, argv)) return teach_endpoint(argc, argv);
    request q = {.top = 20};
    totals t = {0};
    checkpoint *saved;
    TRY(cli_ranks(argc, argv, &q.ranks));
    TRY(comm_agree(q.ranks, parse(&argc, argv, &q)));
    interrupt_catch();
    TRY(comm_agree(q.ranks, cli_hold(&saved, q.path, q.which)));
    const status s = teach_opened(&q, saved ? saved->path : q.path, &t);
    checkpoint_close(saved);
    TRY(s);
    if (q.ranks->rank > 0) return STATUS_OK;
    q.json ? print_json(&q, &t) : print_table(&q, &t);
    cli_results("%s", q.out);
    return STATUS_OK;
}

const command command_teach = {.name = "teach",
                               .summary = "a teacher's thoughts on a training text, for others to learn from",
                               .help = help,
                               .run = run,
                               .takes = KINDS_OF_MODEL,
                               .takes_noun = NOUN_OF_MODEL,
                               .takes_ranks = true};
