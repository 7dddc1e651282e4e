/* moec simulate */
#include "base/memory.h"
#include "cli/cli.h"
#include "study/step_report.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "moec simulate CONFIG MACHINE [key=value ...] [options]";

static const char help[] =
    "usage: moec simulate CONFIG MACHINE [key=value ...] [options]\n"
    "\n"
    "What a training step of CONFIG (a preset, see configs/) would take on MACHINE (numbers about one, see\n"
    "configs/machines/; `moec bench machine` measures them) with so many ranks: computed, updated, sent, waited for. "
    "Nothing\n"
    "is trained. A step is simulated rank by rank and message by message, in three ways: as moec shares it out today; "
    "with\n"
    "gradients that each rank sums first; and with experts on different ranks too (docs/scaling.md).\n"
    "\n"
    "  --ranks LIST     numbers of ranks (1,8,64,1024)\n"
    "  --grows          each rank has a micro-batch of CONFIG; else the ranks share the step that CONFIG describes\n"
    "  --before-events  the model as CONFIG begins; else what its events make of it\n"
    "  --imbalance X    tokens of the busiest expert rank, times the mean (1.2)\n"
    "  --messages N     at most N messages of a step are simulated one by one; beyond that a collective takes as long "
    "as\n"
    "                   its formula says (3000000)\n"
    "  -o FOLDER        simulation.md, and by gnuplot simulation.svg\n"
    "  --json           one JSON object\n"
    "\n"
    "example: moec simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 1,8,64\n";

/* "1,8,64" */
static status parse_ranks(const char *text, step_study *s) {
    if (!text) text = "1,8,64,1024";
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        const long value = strtol(at, &end, 10);
        if (end == at || errno || value < 1 || value > 1 << 14 || (*end && *end != ','))
            return fail_usage("--ranks: expected numbers from 1 to %d with commas between them, found %.60s", 1 << 14,
                              text);
        if (s->count == STEP_STUDY_MOST)
            return fail_usage("--ranks: expected up to %d numbers, found %.60s", STEP_STUDY_MOST, text);
        s->ranks[s->count++] = (int)value;
        if (!*end) return STATUS_OK;
        at = end + 1;
    }
}

static status simulate(step_study *s, const run_config *c, bool after, const char *out, bool json) {
    step_work work = step_work_of(c, after);
    s->work = &work;
    s->options.seed = c->train.seed;
    status result = step_study_run(s);
    if (result == STATUS_OK && json)
        cli_print_json(step_study_json(s));
    else if (result == STATUS_OK)
        step_study_print(s, stdout);
    if (result == STATUS_OK && out) result = step_study_write(s, out);
    if (result == STATUS_OK && out) cli_results("%s", out);
    step_work_free(&work);
    return result;
}

static status run(int argc, char **argv) {
    step_study s = {.options.imbalance = 1.2};
    long long messages = 3000000;
    machine m;
    const bool json = cli_flag(&argc, argv, "--json"), before = cli_flag(&argc, argv, "--before-events");
    s.options.grows = cli_flag(&argc, argv, "--grows");
    const char *out = cli_option(&argc, argv, "-o");
    TRY(parse_ranks(cli_option(&argc, argv, "--ranks"), &s));
    TRY(cli_number("--imbalance", cli_option(&argc, argv, "--imbalance"), 1, 1000, &s.options.imbalance));
    TRY(cli_integer("--messages", cli_option(&argc, argv, "--messages"), 0, 20000000, &messages));
    TRY(cli_rest(argc, argv, 2, INT_MAX, usage));
    s.options.messages = (double)messages;
    s.config = argv[1];
    s.machine = &m;
    status result = machine_load(&m, argv[2]);
    run_config config = run_config_default();
    if (result == STATUS_OK) result = run_config_load(&config, argv[1], argv + 3, argc - 3);
    if (result == STATUS_OK) result = simulate(&s, &config, !before, out, json);
    run_config_free(&config);
    machine_free(&m);
    return result;
}

const command command_simulate = {.name = "simulate",
                                  .summary = "what a training step would take on a machine of many ranks",
                                  .help = help,
                                  .run = run,
                                  .takes = KIND_PRESET,
                                  .takes_noun = "a preset (a YAML file as those in configs/)"};
