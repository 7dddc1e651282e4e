/* The command line: one file a subcommand; each parses, calls, prints, and does no mathematics. */
#ifndef MOEC_CLI_CLI_H
#define MOEC_CLI_CLI_H

#include "cli/kinds.h"
#include "kernel/kernel.h"
#include "store/checkpoint.h"
#include <stdbool.h>

typedef struct command {
    const char *name;
    const char *summary;                  /* one line for `moec` */
    const char *help;                     /* whole text of `moec NAME --help`, with an example */
    status (*run)(int argc, char **argv); /* argv[0] is the command's name */
    int takes;                            /* kinds (kinds.h) that the first argument may be of; 0: anything */
    const char *takes_noun;               /* the same in words */
    bool takes_ranks;                     /* several processes that a launcher started work on it together */
} command;

extern const command command_data, command_train, command_pack, command_eval, command_generate, command_inspect,
    command_verify, command_bench, command_sweep, command_upcycle, command_export, command_tokenize, command_fetch,
    command_probe, command_teach, command_compare, command_route, command_chat, command_serve, command_study,
    command_simulate;

status cli_run(const command *c, int argc, char **argv);

/* Options of the form --name VALUE, --name=VALUE and flags --name. Each parse removes what it understood from argv;
 * what is left over is positional. cli_rest refuses what still looks like an option, with what may have been meant: the names
 * come from the command's help, from lines like "  --out DIR   what it is". And it refuses a first argument that is certainly
 * of another kind than the command takes. */
const char *cli_option(int *argc, char **argv, const char *name); /* NULL when absent */
/* An option that may be given many times, in its order; *values is malloc'ed, the texts are argv's. */
int cli_options(int *argc, char **argv, const char *name, const char ***values);
bool cli_flag(int *argc, char **argv, const char *name);
status cli_rest(int argc, char **argv, int at_least, int at_most, const char *usage);
status cli_integer(const char *option, const char *text, long long least, long long most, long long *value);
/* Bytes: an integer, or a number with k, M or G (thousands) or Ki, Mi or Gi (1,024s) behind it, and B if one likes: 16M is 16000000. */
status cli_bytes(const char *option, const char *text, long long least, long long most, long long *value);
/* --run-bits: stored, 8, 4, or exact (MODEL_RUN); *use stays as it is where it is absent. --run-inputs: 16, or 8
 * (MODEL_RUN_INPUTS_8). */
status cli_run_bits(int *argc, char **argv, model_use *use);
/* --device and --dtype; where they are absent: cpu, and `type` ("auto" where that is NULL). */
status cli_device(int *argc, char **argv, const char *type, const kernels **k);
/* --live and --ema: which of a training's weights are asked for, as open_model takes it; "chosen" without them. */
status cli_weights(int *argc, char **argv, const char **which);
/* Hold the checkpoint that `path` names, or the newest one of that run, so that all that is read is of one step; NULL for an
 * artifact, which has no other weights to ask for. */
status cli_hold(checkpoint **saved, const char *path, const char *which);
status cli_number(const char *option, const char *text, double least, double most, double *value);

/* For --json: on stdout; json is freed. */
void cli_print_json(cJSON *json);
/* The last line of a command that left files, "results in …", on stderr and behind what went to stdout. */
void cli_results(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
