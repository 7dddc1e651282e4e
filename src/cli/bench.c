#include "cli/bench_machine.h"
#include "cli/bench_run.h"
#include "cli/cli.h"

#include "comm/comm.h"
#include "study/bench.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "moec bench train CONFIG [key=value ...] [options], moec bench run MODEL [options], or moec bench machine";

static const char help[] =
    "usage: moec bench train CONFIG [key=value ...] [options]\n"
    "       moec bench run MODEL [options]\n"
    "       moec bench machine [options]\n"
    "\n"
    "train:\n"
    "Times forward + backward and the optimiser's step on the config's shapes, with random tokens, and breaks the "
    "step\n"
    "down by kernel. The config is taken as it starts; its events do not fire: say moe_layers=[4,5] looping=true, or\n"
    "--after-events, to measure the model that they make.\n"
    "\n"
    "  --steps N        counted steps, after 2 for warming up; medians are printed (5)\n"
    "  --after-events   apply the config's events first\n"
    "  --forward        evaluation: the forward pass only\n"
    "  --device D       cpu (by default the config's)\n"
    "  --dtype T        bf16 or f32 (by default the config's)\n"
    "  --json           one JSON object\n"
    "\n"
    "Under mpirun or srun each rank takes a micro-batch, and rank 0 shows what a step sends, how long it waits and how "
    "long\n"
    "it computes; overlap is how much of the time that gradients were on their way it computed meanwhile (the rest of "
    "that\n"
    "time it sent and waited); with expert_ranks=N, by itself, what goes to the ranks that have the tokens' experts "
    "and back.\n"
    "\n"
    "run:\n"
    "Times a model that is run, with random tokens or a text's: how fast prompts are read and texts written, for "
    "several numbers "
    "of\n"
    "texts at a time, when a text has its first token (all of them come at once), and the memory that it takes; "
    "beside\n"
    "how fast this machine reads memory, which a token at a time cannot be faster than.\n"
    "\n"
    "  --batch N,N      texts at a time (1,4,16,64)\n"
    "  --prompt N       tokens of each prompt (128)\n"
    "  --tokens N       tokens written behind it (32)\n"
    "  --text FILE      prompts are pieces of this text, one behind another; without it random tokens\n"
    "  --speculate S    lookup or MODEL, as for moec generate: how many tokens were proposed and drawn is shown, too;\n"
    "                   with random tokens that says little (off)\n"
    "  --bandwidth N    MiB of the array whose reading is timed: more than the caches hold (512); 0: none\n"
    "  --live, --ema    of a run's weights the live, the averaged ones\n"
    "  --run-bits B, --run-inputs N   what it is run from, as for moec generate (stored, 16)\n"
    "  --layout L       auto, on, off or a folder: a file that processes of one model share, as for moec generate "
    "(auto)\n"
    "  --cache T        keys and values as f32, bf16 or int8, as for moec generate (as activations)\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (f32 beside codes, otherwise bf16 where the CPU has it)\n"
    "  --json           one JSON object\n"
    "\n"
    "machine:\n"
    "Measures what `moec simulate` needs to know of a machine: products, memory, and under mpirun or srun messages "
    "between\n"
    "two ranks.\n"
    "\n"
    "  --bandwidth N    MiB of the array whose reading is timed, of each rank (512)\n"
    "  -o FILE          a file for moec simulate; give it a name and a source there\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (by default the fastest)\n"
    "\n"
    "examples:\n"
    "  moec bench train configs/demo.yaml --after-events --steps 3\n"
    "  moec bench run runs/demo/model.moec --batch 1,16 --prompt 512\n"
    "  moec bench machine --bandwidth 64 -o machine.yaml\n";

static const profile *sorted; /* qsort's comparison has no context */

static int by_seconds(const void *a, const void *b) {
    double x = sorted->entries[*(const kernel_id *)a].seconds, y = sorted->entries[*(const kernel_id *)b].seconds;
    return (x < y) - (x > y);
}

static void print_ops(const bench_report *r) {
    double whole = r->mean_seconds, counted = 0;
    kernel_id order[KERNELS];
    for (kernel_id id = 0; id < KERNELS; id++) order[id] = id;
    sorted = &r->ops;
    qsort(order, KERNELS, sizeof *order, by_seconds);
    printf("\n%-32s %10s %7s %8s %10s\n", "kernel", "ms a step", "share", "calls", "GFLOP/s");
    for (int i = 0; i < KERNELS; i++) {
        const profile_entry *e = &r->ops.entries[order[i]];
        counted += e->seconds;
        if (e->calls == 0) continue;
        printf("%-32s %10.2f %6.1f%% %8lld ", kernel_name(order[i]), 1e3 * e->seconds, 100 * e->seconds / whole,
               (long long)e->calls);
        if (e->flops > 0)
            printf("%10.0f\n", e->flops / e->seconds / 1e9);
        else
            printf("%10s\n", "");
    }
    printf("%-32s %10.2f %6.1f%%\n", "between kernels", 1e3 * (whole - counted), 100 * (whole - counted) / whole);
    printf("%-32s %10.2f %6.1f%%\n", "mean step", 1e3 * whole, 100.0);
}

static double overlap_of(const bench_report *r) {
    return r->reducing_seconds > 0 ? r->behind_seconds / r->reducing_seconds : 0;
}

static void print_ranks(const bench_report *r) {
    printf("  %d ranks              %9.1f ms a step computing, %.1f ms sending and waiting (%.1f %%), %.1f MB sent by "
           "each\n",
           r->ranks, 1e3 * (r->mean_seconds - r->waited_seconds), 1e3 * r->waited_seconds,
           100 * r->waited_seconds / r->mean_seconds, (double)r->sent_bytes / 1e6);
    printf("  overlap              %9.1f ms a step with gradients under way, %.1f ms (%.0f %%) of them computing "
           "meanwhile\n",
           1e3 * r->reducing_seconds, 1e3 * r->behind_seconds, 100 * overlap_of(r));
}

static void print_report(const bench_report *r, const char *kernels_name) {
    printf("%s, %d threads, %.1f M parameters, %lld tokens a step\n", kernels_name, kernels_threads(),
           (double)r->parameters / 1e6, (long long)r->tokens);
    printf("  forward + backward   %9.1f ms   %8.0f tokens/s\n", 1e3 * r->step_seconds, r->tokens_per_second);
    printf("  optimiser's step     %9.1f ms\n", 1e3 * r->optimizer_seconds);
    printf("  rate                 %9.0f GFLOP/s, %.1f %% of the %.0f GFLOP/s of the same products by themselves\n",
           r->gflops, 100 * r->gemm_share, r->product_gflops);
    if (r->ranks > 1) print_ranks(r);
    if (r->expert_ranks > 1)
        printf("  experts on %d ranks   %9.1f ms of these sending tokens and waiting for them (%.1f %%), %.1f MB sent "
               "by each\n",
               r->expert_ranks, 1e3 * r->traded_seconds, 100 * r->traded_seconds / r->mean_seconds,
               (double)r->traded_bytes / 1e6);
    printf("  peak memory          %9.0f MB\n", (double)r->peak_rss_bytes / 1e6);
    printf("  creating the model   %9.2f s\n", r->setup_seconds);
    print_ops(r);
}

static void print_json(const bench_report *r) {
    cJSON *root = cJSON_CreateObject(), *ops = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "tokens_per_second", r->tokens_per_second);
    cJSON_AddNumberToObject(root, "gflops", r->gflops);
    cJSON_AddNumberToObject(root, "gemm_share", r->gemm_share);
    cJSON_AddNumberToObject(root, "gemm_gflops", r->product_gflops);
    cJSON_AddNumberToObject(root, "step_seconds", r->step_seconds);
    cJSON_AddNumberToObject(root, "optimizer_seconds", r->optimizer_seconds);
    cJSON_AddNumberToObject(root, "setup_seconds", r->setup_seconds);
    cJSON_AddNumberToObject(root, "peak_rss_bytes", (double)r->peak_rss_bytes);
    cJSON_AddNumberToObject(root, "parameters", (double)r->parameters);
    cJSON_AddNumberToObject(root, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(root, "threads", kernels_threads());
    cJSON_AddNumberToObject(root, "ranks", r->ranks);
    cJSON_AddNumberToObject(root, "compute_seconds", r->mean_seconds - r->waited_seconds);
    cJSON_AddNumberToObject(root, "waited_seconds", r->waited_seconds);
    cJSON_AddNumberToObject(root, "sent_bytes", (double)r->sent_bytes);
    cJSON_AddNumberToObject(root, "reducing_seconds", r->reducing_seconds);
    cJSON_AddNumberToObject(root, "behind_seconds", r->behind_seconds);
    cJSON_AddNumberToObject(root, "overlap", overlap_of(r));
    cJSON_AddNumberToObject(root, "expert_ranks", r->expert_ranks);
    cJSON_AddNumberToObject(root, "traded_seconds", r->traded_seconds);
    cJSON_AddNumberToObject(root, "traded_bytes", (double)r->traded_bytes);
    cJSON_AddStringToObject(root, "isa", kernels_isa());
    for (kernel_id id = 0; id < KERNELS; id++)
        if (r->ops.entries[id].calls) cJSON_AddNumberToObject(ops, kernel_name(id), r->ops.entries[id].seconds);
    cJSON_AddItemToObject(root, "ops", ops);
    char *text = cJSON_PrintUnformatted(root);
    puts(text);
    free(text);
    cJSON_Delete(root);
}

static status run(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "run") == 0) return bench_run_command(argc, argv);
    if (argc > 1 && strcmp(argv[1], "machine") == 0) return bench_machine_command(argc, argv);
    long long steps = 5;
    bool json = cli_flag(&argc, argv, "--json"), after = cli_flag(&argc, argv, "--after-events");
    bool forward = cli_flag(&argc, argv, "--forward");
    const char *device = cli_option(&argc, argv, "--device"), *type = cli_option(&argc, argv, "--dtype");
    const kernels *k;
    bench_report report;
    TRY(cli_integer("--steps", cli_option(&argc, argv, "--steps"), 1, 1000, &steps));
    if (argc > 1 && kind_of(argv[1]) == KIND_PRESET)
        return fail_usage("bench: expected what to time first: moec bench train %s", argv[1]);
    TRY(cli_rest(argc, argv, 2, 1 << 10, usage));
    if (strcmp(argv[1], "train") != 0)
        return fail_usage("bench: expected train, run or machine, found %s; usage: %s", argv[1], usage);
    TRY(kind_expect("bench", argv[2], argc > 3 ? argv[3] : NULL, KIND_PRESET,
                    "a preset (a YAML file as those in configs/)"));
    run_config config = run_config_default();
    status s = run_config_load(&config, argv[2], argv + 3, argc - 3);
    if (s == STATUS_OK && after) config.model = model_after_events(&config.events, &config.model);
    if (s == STATUS_OK) s = device_open(device ? device : config.train.device, type ? type : config.train.dtype, &k);
    bench_options options = {.warmup = 2, .steps = (int)steps, .forward_only = forward};
    if (s == STATUS_OK) s = bench_train(&config, k, &options, &report);
    run_config_free(&config);
    TRY(s);
    if (!comm_speaks(STATUS_OK)) return STATUS_OK;
    if (json)
        print_json(&report);
    else
        print_report(&report, k->name);
    return STATUS_OK;
}

const command command_bench = {.name = "bench",
                               .summary = "time a training step on real shapes, or a model that is run",
                               .help = help,
                               .run = run,
                               .takes_ranks = true};
