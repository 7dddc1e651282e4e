/* moec teach */
#include "base/file.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/ranks.h"
#include "cli/teach_endpoint.h"
#include "cli/teach_model.h"
#include "cli/teach_print.h"
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

static status parse(int *argc, char **argv, teach_request *q) {
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
    teach_request q = {.top = 20};
    teach_totals t = {0};
    checkpoint *saved;
    TRY(cli_ranks(argc, argv, &q.ranks));
    TRY(comm_agree(q.ranks, parse(&argc, argv, &q)));
    interrupt_catch();
    TRY(comm_agree(q.ranks, cli_hold(&saved, q.path, q.which)));
    const status s = teach_model(&q, saved ? saved->path : q.path, &t);
    checkpoint_close(saved);
    TRY(s);
    if (q.ranks->rank > 0) return STATUS_OK;
    q.json ? teach_print_json(&q, &t) : teach_print(&q, &t);
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
